"""What tests hand to the run: measurements, and the evidence of proofs, each one line of JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field, JsonValue, TypeAdapter

from pytest_setups.proofs.vision_experiment import MAX_ANSWER
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.entry_fields import OptionalJsonObject
from pytest_setups.registry.field_redaction import TextKind
from pytest_setups.registry.load_records import CapacityRecord, SoakRecord
from pytest_setups.registry.measurement import ExpectationResult, FailedCheck, Line, Measurement

if TYPE_CHECKING:
    from pytest_setups.checks.vocabulary import Vocabulary
    from pytest_setups.proofs.vision import VisionProof
    from pytest_setups.run.reference import Reference
    from pytest_setups.tagging.outputs import Outcome


class TaggerEvidence(Line):
    """How a tagger command ended: the command as it was run, on one line, and the seconds it took."""

    kind: Literal["tagger"] = "tagger"
    passed: bool
    reason: Annotated[str | None, TextKind.FREE_TEXT] = None
    command: Annotated[str | None, TextKind.COMMAND] = None
    seconds: float | None = None
    log: str | None = None


class ModelsEvidence(Line):
    """Whether the server lists the models."""

    kind: Literal["models"] = "models"
    passed: bool
    reason: Annotated[str | None, TextKind.FREE_TEXT] = None


class VisionEvidence(Line):
    """Whether the model sees, and how that is known.

    ``p_value`` is of all ``experiments`` together. ``without_picture`` has the answer to the same question
    without a picture, and its prompt tokens. ``waits`` is how often a busy server asked to wait meanwhile.
    """

    kind: Literal["vision"] = "vision"
    seen: bool
    reason: Annotated[str | None, TextKind.FREE_TEXT] = None
    p_value: float | None = None
    without_picture: OptionalJsonObject = None
    experiments: Annotated[list[dict[str, JsonValue]], TextKind.JSON] = Field(default_factory=list)
    waits: int | None = None

    @classmethod
    def of(cls, proof: VisionProof) -> Self:
        """The evidence of a proof."""
        without = proof.without_picture
        return cls(
            seen=proof.seen,
            reason=proof.reason,
            p_value=proof.p_value,
            without_picture=without
            and {"answer": one_line(without.text, MAX_ANSWER), "prompt_tokens": without.prompt_tokens},
            experiments=[experiment.evidence() for experiment in proof.experiments],
            waits=proof.waits or None,
        )


class ExpectationEvidence(Line):
    """How one sample of an image meets what is expected of it; no result where nothing could be asked."""

    kind: Literal["expectations"] = "expectations"
    image: str
    sample: int
    passed: bool
    reason: Annotated[str | None, TextKind.FREE_TEXT] = None
    result: ExpectationResult | None = None


class CapacityEvidence(Line):
    """The capacity of the server, as far as it was measured; ``reason`` says why the test failed."""

    kind: Literal["capacity"] = "capacity"
    reason: Annotated[str | None, TextKind.FREE_TEXT] = None
    record: CapacityRecord | None = None


class SoakEvidence(Line):
    """How the server did over a long time, as far as it was measured; ``reason`` says why the test failed."""

    kind: Literal["soak"] = "soak"
    reason: Annotated[str | None, TextKind.FREE_TEXT] = None
    record: SoakRecord | None = None


Evidence = (
    Measurement
    | ModelsEvidence
    | VisionEvidence
    | TaggerEvidence
    | ExpectationEvidence
    | CapacityEvidence
    | SoakEvidence
)
_EVIDENCE: Final[TypeAdapter[Evidence]] = TypeAdapter(Annotated[Evidence, Field(discriminator="kind")])


def parse_evidence(line: str) -> Evidence:
    """The evidence in one line of JSON."""
    return _EVIDENCE.validate_json(line)


def measurement_of(outcome: Outcome) -> Measurement:
    """The measurement of an outcome."""
    output = outcome.output
    reply = output.reply if output else None
    keywords = output.keywords if output else None
    return Measurement(
        image=outcome.sample.name,
        stage=outcome.stage.value,
        sample=outcome.sample.nth,
        passed=not outcome.failures,
        failures=tuple(FailedCheck(check=f.check, reason=f.reason) for f in outcome.failures),
        text=output.text if output else None,
        keywords=keywords.words if keywords else None,
        keywords_form=keywords.form if keywords else None,
        finish_reason=reply.finish_reason if reply else None,
        started_utc=datetime.fromtimestamp(reply.started_at, UTC) if reply else None,
        latency_s=_rounded(reply.latency_s) if reply else None,
        ttft_s=_rounded(reply.ttft_s) if reply else None,
        prompt_tokens=reply.prompt_tokens if reply else None,
        cached_tokens=reply.cached_tokens if reply else None,
        output_tokens=reply.output_tokens if reply else None,
        image_s=_rounded(output.image_s) if output else None,
        waits=(reply.waits if reply else outcome.waits) or None,
        client_delay_s=_rounded(reply.client_delay_s) if reply else None,
        extra=dict(output.extra) if output and output.extra is not None else None,
    )


def with_keyword_matches(
    measurement: Measurement, vocabulary: Vocabulary | None, reference: Reference | None, language: str
) -> Measurement:
    """The measurement; that of keywords with what of them is in the vocabulary and in the reference.

    ``language`` is the ISO 639-1 code of the language whose inflections count.
    """
    if measurement.stage is not Stage.KEYWORDS:
        return measurement
    words = measurement.keywords
    changes = {
        "vocabulary": vocabulary.match(words, language) if vocabulary and words else None,
        # Keywords that are missing contain none of the reference: a fault must not raise the figure.
        "reference": reference.match(measurement.image, words or (), language) if reference else None,
    }
    return measurement.model_copy(update=changes)


def _rounded(seconds: float | None) -> float | None:
    """Seconds to the microsecond."""
    return None if seconds is None else round(seconds, 6)
