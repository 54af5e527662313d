"""The tagger of a run, and the work on one picture: the stages in their order, each asked when needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_setups.api.errors import ServerError
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import ImageError
from pytest_setups.tagging.outputs import TAGGER_CHECK, Failure, Outcome, TaggerError, without_reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outputs import Output


class Tagger(Protocol):
    """What makes the outputs of a setup."""

    @property
    def chained(self) -> bool:
        """Whether a description is made of the image's caption and keywords."""

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """The output of one stage; a chained tagger is given caption and keywords for the description.

        Raises:
            ImageError: the picture cannot be prepared.
            ServerError: the server did not answer as it should.
            TaggerError: the tagger gave no output.
        """


class Work:
    """The stages of one image, each asked when it is needed; a stage asked again is asked anew."""

    def __init__(self, tagger: Tagger, sample: Sample) -> None:
        self._tagger = tagger
        self._sample = sample
        self._outcomes: dict[Stage, Outcome] = {}

    def ask(self, stage: Stage) -> Outcome:
        """Ask one stage now; for the description, first what it is given."""
        outcome = self._outcome(stage)
        self._outcomes[stage] = outcome
        return outcome

    def have(self, stage: Stage) -> Outcome:
        """The outcome of a stage, asked now unless it was before."""
        return self._outcomes.get(stage) or self.ask(stage)

    def _outcome(self, stage: Stage) -> Outcome:
        caption: str = ""
        keywords: tuple[str, ...] = ()
        if stage is Stage.DESCRIPTION and self._tagger.chained:
            missing, caption, keywords = self._context()
            if missing is not None:
                return Outcome(self._sample, stage, None, (missing,))
        try:
            output = self._tagger.tag(stage, self._sample, caption, keywords)
        except ImageError as error:
            return Outcome(self._sample, stage, None, (Failure("image", str(error)),))
        except ServerError as error:
            return Outcome(self._sample, stage, None, (Failure("server", str(error)),))
        except TaggerError as error:
            return Outcome(self._sample, stage, None, (Failure(TAGGER_CHECK, str(error)),))
        return Outcome(self._sample, stage, output)

    def _context(self) -> tuple[Failure | None, str, tuple[str, ...]]:
        caption, keywords = self.have(Stage.CAPTION), self.have(Stage.KEYWORDS)
        for needed in (caption, keywords):
            if needed.output is None:
                reason = f"not asked: it is given the {needed.stage}, and none came"
                return Failure("not-asked", reason), "", ()
        caption_text = without_reasoning(caption.output.text) if caption.output else ""
        found = keywords.output.keywords if keywords.output else None
        return None, caption_text, found.words if found else ()
