"""What a tagger gives: the output of one stage, why there is none, and the three outputs of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.api.reply import Reply
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.keyword_schema import KeywordSchema
    from pytest_setups.tagging.keywords import Keywords

TAGGER_CHECK: Final = "tagger"
"""The name, in failures and entries, of the check that the tagger itself reports no fault."""

CLIENT_CHECK: Final = "client"
"""The name of the check that this package itself was able to ask."""


class TaggerError(Exception):
    """A tagger gave no output; the message says why."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a tagger gave for one stage of one image.

    Attributes:
        stage: the stage.
        text: the answer; keywords that came as a sequence are joined by commas.
        keywords: what was read from the answer, in the keywords stage; None where nothing can be read.
        reply: the server's reply with its timings; None where another program asked the server.
        prompt: the stage's prompt with its placeholders; empty where it is not known.
        caption: the caption that a description was made from, else empty.
        fault: what the tagger itself reports went wrong.
        language: the ISO 639-1 code of the language that it must be in, None where any will do.
        image_s: seconds that all stages of the image took, where the tagger makes them together.
        extra: what else the tagger wrote of the image.
        schema: the JSON schema that the answer was asked with, None without one.
    """

    stage: Stage
    text: str
    keywords: Keywords | None = None
    reply: Reply | None = None
    prompt: str = ""
    caption: str = ""
    fault: str | None = None
    language: str | None = None
    image_s: float | None = None
    extra: Mapping[str, Any] | None = None
    schema: KeywordSchema | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an output is not populated: the name of a check and its reason, on one line.

    ``server_fault`` is the fault of the server that it comes from, None where the server answered.
    """

    check: str
    reason: str
    server_fault: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One (image, stage): its output, or None where there is none, and why it is not populated.

    ``waits`` is how often the request was sent again as the server asked, where no output came of it.
    """

    sample: Sample
    stage: Stage
    output: Output | None
    failures: tuple[Failure, ...] = ()
    waits: int = 0

    @property
    def server_fault(self) -> str | None:
        """The fault of the server because of which there is no output, None without one."""
        return next((failure.server_fault for failure in self.failures if failure.server_fault), None)

    def having_schema(self, schema: KeywordSchema | None) -> Self:
        """The outcome with this schema, where it is one of keywords.

        Two processes that exchange outcomes both have the schema and leave it out of them: with a vocabulary
        it has thousands of terms.
        """
        if self.output is None or self.stage is not Stage.KEYWORDS:
            return self
        return replace(self, output=replace(self.output, schema=schema))


@dataclass(frozen=True, slots=True)
class Tagging:
    """The three outputs for one image."""

    image: Sample
    caption: str
    keywords: tuple[str, ...]
    description: str

    @classmethod
    def of(cls, sample: Sample, outcomes: Sequence[Outcome]) -> Self:
        """The tagging in the populated outcomes of all three stages."""
        outputs = {outcome.stage: outcome.output for outcome in outcomes if outcome.output}
        keywords = outputs[Stage.KEYWORDS].keywords
        return cls(
            image=sample,
            caption=without_reasoning(outputs[Stage.CAPTION].text),
            keywords=keywords.words if keywords else (),
            description=without_reasoning(outputs[Stage.DESCRIPTION].text),
        )
