"""What a tagger gives: the output of one stage, why there is none, and the three outputs of a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from pytest_setups.registry.entry import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.api.reply import Reply
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.keywords import Keywords

TAGGER_CHECK: Final = "tagger"
"""The check's name for what the tagger itself says went wrong."""
_THINKING: Final = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)


class TaggerError(Exception):
    """A tagger gave no output; the message says why."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a tagger gave for one stage of one image.

    ``prompt`` is the template that was asked with. ``fault`` is the tagger's own word on why the stage
    went wrong. Where a tagger makes all stages of an image at once, ``image_s`` is how many seconds
    the image took, and ``extra`` what else it told of the image.
    """

    stage: Stage
    text: str
    keywords: Keywords | None = None
    reply: Reply | None = None
    prompt: str = ""
    caption: str = ""
    fault: str | None = None
    image_s: float | None = None
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an output does not count as populated: the check's name and its reason in one line."""

    check: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One (image, stage): its output, unless none came, and why it does not count as populated."""

    sample: Sample
    stage: Stage
    output: Output | None
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Tagging:
    """The three outputs for one image."""

    image: Sample
    caption: str
    keywords: tuple[str, ...]
    description: str

    @classmethod
    def of(cls, sample: Sample, outcomes: Sequence[Outcome]) -> Self:
        """The outputs of populated outcomes."""
        outputs = {outcome.stage: outcome.output for outcome in outcomes if outcome.output}
        found = outputs[Stage.KEYWORDS].keywords
        return cls(
            image=sample,
            caption=without_reasoning(outputs[Stage.CAPTION].text),
            keywords=found.words if found else (),
            description=without_reasoning(outputs[Stage.DESCRIPTION].text),
        )


def without_reasoning(text: str) -> str:
    """The text without ``<think>`` blocks, closed or not."""
    return _THINKING.sub("", text).strip()
