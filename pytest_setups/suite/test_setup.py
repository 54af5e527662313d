"""The suite: the server lists the model, the model sees, and every image gets its three outputs.

``test_tagger`` is collected only where an external tagger is verified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_setups.registry.entry import Stage

if TYPE_CHECKING:
    from pytest_setups.plugin.steps import Asking
    from pytest_setups.tagging.images import Sample


def test_models(_asking: Asking) -> None:
    _asking.models()


def test_vision(_asking: Asking) -> None:
    _asking.vision()


def test_tagger(_asking: Asking) -> None:
    _asking.tagger()


def test_caption(_asking: Asking, setup_image: Sample) -> None:
    _asking.stage(setup_image, Stage.CAPTION)


def test_keywords(_asking: Asking, setup_image: Sample) -> None:
    _asking.stage(setup_image, Stage.KEYWORDS)


def test_description(_asking: Asking, setup_image: Sample) -> None:
    _asking.stage(setup_image, Stage.DESCRIPTION)
