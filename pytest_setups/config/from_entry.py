"""Again: the settings that an entry holds, for a run that verifies its setup once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.tagging.prompts import Prompts

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from pytest_setups.registry.entry import Entry, PromptSet

_SAME_NAMES: Final = ("max_new_tokens", "temperature", "top_p", "seed", "stream", "extra_body", "concurrency")


def load_origin(root: Path, slug: str) -> Entry:
    """The entry to verify again.

    Raises:
        ValueError: there is none of that slug, or it cannot be read.
    """
    try:
        return Registry(root).find(slug)
    except (RegistryError, EntryError) as error:
        raise ValueError(str(error)) from None


def settings_of(entry: Entry, given: Collection[str]) -> dict[str, Any]:
    """The settings in an entry, by field; ``given`` are the fields that the user gave, which win.

    A base URL is none of them when a server is launched, for then its command tells.
    """
    tagger = entry.tagger
    found: dict[str, Any] = {name: getattr(tagger, name) for name in _SAME_NAMES}
    if "tagger_command" not in given:
        found["repeat"] = entry.performance.repeat
    found["max_edge"] = tagger.image.max_edge if tagger.image else None
    found["prompts"] = _prompts(tagger.prompts)
    if "launch" not in given:
        found["base_url"] = tagger.base_url
    if "model" not in given:
        found |= {f"{stage}_model": name for stage, name in tagger.models.items()}
    return {name: value for name, value in found.items() if value is not None and name not in given}


def _prompts(kept: PromptSet | None) -> Prompts | None:
    if kept is None or not (kept.caption and kept.keywords and kept.description):
        return None
    return Prompts(
        profile=kept.profile or "entry",
        system=kept.system,
        caption=kept.caption,
        keywords=kept.keywords,
        description=kept.description,
    )
