"""The tagger: asks a server the three stages of a picture, and judges each answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self

from pytest_setups.api.client import ServerError
from pytest_setups.checks.output_checks import TAGGER_CHECK, Failure, Output, failures, without_reasoning
from pytest_setups.tagging.images import ImageError, Prepared, Sample, prepare
from pytest_setups.tagging.stages import Stage, encode_request, parse_keywords

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.api.client import Client
    from pytest_setups.tagging.stages import Prompts


class TaggerError(Exception):
    """A tagger gave no output; the message says why."""


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


@dataclass(frozen=True, slots=True)
class Request:
    """What every request carries: the model of each stage, the prompts and the sampling parameters."""

    models: Mapping[Stage, str]
    prompts: Prompts
    parameters: Mapping[str, Any]
    stream: bool = False

    def body(self, stage: Stage, prompt: str, image: Prepared | None, **changed: object) -> bytes:
        """The encoded body of one request; ``changed`` replaces parameters."""
        streaming = {"stream": True, "stream_options": {"include_usage": True}}
        how = streaming if self.stream else {"stream": False}
        fields = {"model": self.models[stage], **how, **self.parameters, **changed}
        return encode_request(fields, prompt, self.prompts.system, image)


class ServedTagger:
    """Asks a served model; keeps the ``at_once`` pictures in work prepared."""

    chained = True

    def __init__(self, client: Client, request: Request, *, max_edge: int, at_once: int = 1) -> None:
        self._client = client
        self._request = request
        self._prepared = lru_cache(maxsize=at_once)(lambda sample: prepare(sample.path, max_edge))

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """The output of one stage."""
        prompts = self._request.prompts
        prompt = prompts.of(stage, caption, keywords)
        body = self._request.body(stage, prompt, self._prepared(sample))
        reply = self._client.chat(body, stream=self._request.stream)
        return Output(
            stage=stage,
            text=reply.text,
            keywords=parse_keywords(without_reasoning(reply.text)) if stage is Stage.KEYWORDS else None,
            reply=reply,
            prompt=getattr(prompts, stage.value),
            caption=caption if stage is Stage.DESCRIPTION else "",
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """One (image, stage): its output, unless none came, and why it does not count as populated."""

    sample: Sample
    stage: Stage
    output: Output | None
    failures: tuple[Failure, ...]


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
        return Outcome(self._sample, stage, output, failures(output))

    def _context(self) -> tuple[Failure | None, str, tuple[str, ...]]:
        caption, keywords = self.have(Stage.CAPTION), self.have(Stage.KEYWORDS)
        for needed in (caption, keywords):
            if needed.output is None:
                reason = f"not asked: it is given the {needed.stage}, and none came"
                return Failure("not-asked", reason), "", ()
        caption_text = without_reasoning(caption.output.text) if caption.output else ""
        found = keywords.output.keywords if keywords.output else None
        return None, caption_text, found.words if found else ()
