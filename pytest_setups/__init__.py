"""Prove that a served vision-language model tags photographs, and keep the proof in git.

The names here are what a conftest or a test may import; they are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_setups.config.settings import Settings
    from pytest_setups.registry.entry import Entry, Stage
    from pytest_setups.registry.store import Registry
    from pytest_setups.serving.server import Server
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outputs import Output, Tagging
    from pytest_setups.tagging.python_tagger import ImageTagger, StageTagger

__all__ = [
    "Entry",
    "ImageTagger",
    "Output",
    "Registry",
    "Sample",
    "Server",
    "Settings",
    "Stage",
    "StageTagger",
    "Tagging",
]

_HOMES = {
    "Entry": "pytest_setups.registry.entry",
    "ImageTagger": "pytest_setups.tagging.python_tagger",
    "Output": "pytest_setups.tagging.outputs",
    "Registry": "pytest_setups.registry.store",
    "Sample": "pytest_setups.tagging.images",
    "Server": "pytest_setups.serving.server",
    "Settings": "pytest_setups.config.settings",
    "Stage": "pytest_setups.registry.entry",
    "StageTagger": "pytest_setups.tagging.python_tagger",
    "Tagging": "pytest_setups.tagging.outputs",
}


if not TYPE_CHECKING:  # a type checker would take any name for one of the module's

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        return getattr(import_module(_HOMES[name]), name)
