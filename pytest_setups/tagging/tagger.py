"""The protocol that every kind of tagger has, and the outcomes of one image in the order of their stages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from pytest_setups.api.errors import ServerError
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.measurement import NOT_ASKED_CHECK, SERVER_CHECK
from pytest_setups.tagging.images import ImageError
from pytest_setups.tagging.outputs import TAGGER_CHECK, Failure, Outcome, TaggerError
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outputs import Output


class Tagger(Protocol):
    """What makes the outputs of a setup."""

    @property
    def chained(self) -> bool:
        """Whether the description is made from the image's caption and keywords."""

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """The output of one stage; caption and keywords are empty unless a chained tagger describes.

        Raises:
            ImageError: the image cannot be prepared.
            ServerError: the server failed, or did not answer in time.
            TaggerError: the tagger gave no output.
        """


class ImageOutcomes:
    """The outcomes of one image, each made when it is needed."""

    def __init__(self, tagger: Tagger, sample: Sample) -> None:
        self._tagger = tagger
        self._sample = sample
        self._outcomes: dict[Stage, Outcome] = {}
        self._untaken: set[Stage] = set()

    @property
    def untaken(self) -> bool:
        """Whether an outcome was made that has not been taken."""
        return bool(self._untaken)

    def put(self, outcome: Outcome) -> None:
        """Keep an outcome that was made elsewhere, until it is taken."""
        self._outcomes[outcome.stage] = outcome
        self._untaken.add(outcome.stage)

    def get(self, stage: Stage) -> Outcome:
        """The outcome of a stage, made now unless it was made before."""
        if stage not in self._outcomes:
            self.put(self._make(stage))
        return self._outcomes[stage]

    def take(self, stage: Stage) -> Outcome:
        """The outcome of a stage, made now unless it was made before and never taken.

        For a description, caption and keywords are made if missing.
        """
        if stage not in self._untaken:
            self._outcomes[stage] = self._make(stage)
        self._untaken.discard(stage)
        return self._outcomes[stage]

    def _make(self, stage: Stage) -> Outcome:
        if stage is not Stage.DESCRIPTION or not self._tagger.chained:
            return self._tag(stage)
        # Made here where no test has asked for them, as with -k description.
        sources = self.get(Stage.CAPTION), self.get(Stage.KEYWORDS)
        caption, keywords = (source.output for source in sources)
        if caption is None or keywords is None:
            # Without them the prompt would be another one than in the recorded setup.
            missing = sources[0] if caption is None else sources[1]
            return self._failed(stage, NOT_ASKED_CHECK, f"skipped: no {missing.stage}", missing.server_fault)
        words = keywords.keywords.words if keywords.keywords else ()
        return self._tag(stage, without_reasoning(caption.text), words)

    def _tag(self, stage: Stage, caption: str = "", keywords: Sequence[str] = ()) -> Outcome:
        try:
            output = self._tagger.tag(stage, self._sample, caption, keywords)
        except ImageError as error:
            return self._failed(stage, "image", str(error))
        except ServerError as error:
            failed = self._failed(stage, SERVER_CHECK, str(error), str(error))
            return replace(failed, waits=error.waits)
        except TaggerError as error:
            return self._failed(stage, TAGGER_CHECK, str(error))
        return Outcome(self._sample, stage, output)

    # Names of checks are recorded in entries: they never change.
    def _failed(self, stage: Stage, check: str, reason: str, server_fault: str | None = None) -> Outcome:
        return Outcome(self._sample, stage, None, (Failure(check, reason, server_fault),))
