"""What tests hand to the run: measurements and evidence, each one line of JSON; and their figures."""

from __future__ import annotations

import hashlib
import statistics
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, get_args

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
)

from pytest_setups.registry.entry import ImagePerformance, StageName, StagePerformance
from pytest_setups.registry.files import read_bounded
from pytest_setups.registry.parsing import EntryError, faults
from pytest_setups.registry.results import MAX_RESULTS_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Sized
    from pathlib import Path

    from pytest_setups.proofs.vision import Vision
    from pytest_setups.registry.entry import Results
    from pytest_setups.tagging.tagger import Outcome


Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
ImageSample = tuple[str, int]
"""An image's name, and which of its samples."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True)


class FailedCheck(_Line):
    """A check that an output did not pass."""

    check: str
    reason: str


class Measurement(_Line):
    """One (image, stage) outcome; times in seconds, None where there was no answer to time.

    ``sample`` counts the outcomes that were asked for, from 1; ``attempt`` those of one sample. Where
    only the whole image was timed, ``image_s`` says so in each of its stages; ``extra`` is what else an
    external tagger wrote of the image.
    """

    kind: Literal["measurement"] = "measurement"
    image: str
    stage: StageName
    sample: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    attempt: int = 1
    passed: bool
    failures: tuple[FailedCheck, ...] = ()
    text: str | None = None
    keywords: tuple[str, ...] | None = None
    keywords_form: str | None = None
    finish_reason: str | None = None
    started_utc: AwareDatetime | None = None
    latency_s: Seconds | None = None
    ttft_s: Seconds | None = None
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None
    image_s: Seconds | None = None
    extra: dict[str, JsonValue] | None = None

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """The measurement of an outcome."""
        output = outcome.output
        reply = output.reply if output else None
        found = output.keywords if output else None
        return cls(
            image=outcome.sample.name,
            stage=outcome.stage.value,
            sample=outcome.sample.nth,
            passed=not outcome.failures,
            failures=tuple(FailedCheck(check=f.check, reason=f.reason) for f in outcome.failures),
            text=output.text if output else None,
            keywords=found.words if found else None,
            keywords_form=found.form if found else None,
            finish_reason=reply.finish_reason if reply else None,
            started_utc=datetime.fromtimestamp(reply.started_at, UTC) if reply else None,
            latency_s=round(reply.latency_s, 6) if reply else None,
            ttft_s=round(reply.ttft_s, 6) if reply and reply.ttft_s is not None else None,
            prompt_tokens=reply.prompt_tokens if reply else None,
            output_tokens=reply.output_tokens if reply else None,
            image_s=_rounded(output.image_s) if output and output.image_s is not None else None,
            extra=dict(output.extra) if output and output.extra is not None else None,
        )


class TaggerEvidence(_Line):
    """How an external tagger's command went: as run on one line, and in how many seconds."""

    kind: Literal["tagger"] = "tagger"
    passed: bool
    reason: str | None = None
    command: str | None = None
    places: dict[str, str] = Field(default_factory=dict)
    seconds: float | None = None
    log: str | None = None


class ModelsEvidence(_Line):
    """Whether the server lists the models."""

    kind: Literal["models"] = "models"
    passed: bool
    reason: str | None = None


class VisionEvidence(_Line):
    """Whether the model sees, and how that is known."""

    kind: Literal["vision"] = "vision"
    seen: bool
    reason: str | None = None
    answers: dict[str, str] = Field(default_factory=dict)
    prompt_tokens: dict[str, int | None] = Field(default_factory=dict)

    @classmethod
    def of(cls, vision: Vision) -> Self:
        """The evidence of a proof."""
        return cls(
            seen=vision.seen, reason=vision.reason, answers=vision.answers, prompt_tokens=vision.prompt_tokens
        )


Evidence = Measurement | ModelsEvidence | VisionEvidence | TaggerEvidence
_EVIDENCE: Final[TypeAdapter[Evidence]] = TypeAdapter(Annotated[Evidence, Field(discriminator="kind")])


def parse_evidence(line: str) -> Evidence:
    """The evidence in one line of JSON."""
    return _EVIDENCE.validate_json(line)


def read_measurements(root: Path, results: Results) -> list[Measurement]:
    """The last attempts in a results file of the registry folder ``root``.

    Raises:
        EntryError: it cannot be read, holds other bytes than recorded, or no measurements.
    """
    try:
        data = read_bounded(root / results.file, MAX_RESULTS_BYTES)
        if hashlib.sha256(data).hexdigest() != results.sha256:
            message = f"{results.file} holds other bytes than recorded; restore it"
            raise EntryError(message)
        found = [Measurement.model_validate_json(line) for line in data.splitlines()]
    except OSError as error:
        message = f"{root / results.file} cannot be read: {error.strerror}"
        raise EntryError(message) from None
    except ValidationError as error:
        message = f"{results.file} does not hold measurements: {faults(error)[0]}"
        raise EntryError(message) from None
    return list({(one.image, one.stage, one.sample): one for one in found}.values())


def by_stage(measurements: Iterable[Measurement]) -> dict[StageName, list[Measurement]]:
    """Measurements grouped by stage."""
    grouped: dict[StageName, list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        grouped[measurement.stage].append(measurement)
    return grouped


def stage_performance(measurements: Sequence[Measurement]) -> StagePerformance:
    """The figures of one stage, over the answers that came."""
    timed = [m for m in measurements if m.latency_s is not None]
    latencies = [m.latency_s for m in timed if m.latency_s is not None]
    firsts = [m.ttft_s for m in timed if m.ttft_s is not None]
    counted = [(m.output_tokens, m.latency_s) for m in timed if m.output_tokens is not None and m.latency_s]
    seconds = sum(latency for _, latency in counted)
    return StagePerformance(
        n=len(latencies),
        mean_s=_rounded(statistics.fmean(latencies)) if latencies else None,
        p50_s=_rounded(percentile(latencies, 50)) if latencies else None,
        p95_s=_rounded(percentile(latencies, 95)) if latencies else None,
        max_s=_rounded(max(latencies)) if latencies else None,
        ttft_p50_s=_rounded(percentile(firsts, 50)) if firsts else None,
        output_tokens_per_s=_rounded(sum(tokens for tokens, _ in counted) / seconds) if seconds else None,
    )


def image_seconds(measurements: Iterable[Measurement]) -> dict[ImageSample, float]:
    """The seconds that each sample of an image took: its three answers together, or as its tagger told.

    One that lacks an answer is left out.
    """
    told: dict[ImageSample, float] = {}
    answers: dict[ImageSample, list[float]] = defaultdict(list)
    for measurement in measurements:
        image = measurement.image, measurement.sample
        if measurement.latency_s is not None:
            answers[image].append(measurement.latency_s)
        elif measurement.image_s is not None:
            told[image] = measurement.image_s
    whole = {image: sum(each) for image, each in answers.items() if len(each) == len(get_args(StageName))}
    return told | whole


def told_models(measurements: Iterable[Measurement]) -> dict[StageName, str]:
    """The model that an external tagger says it used at each stage, where all its records agree."""
    told: dict[StageName, set[str]] = defaultdict(set)
    for measurement in measurements:
        models = (measurement.extra or {}).get("models")
        name = models.get(measurement.stage) if isinstance(models, dict) else None
        if isinstance(name, str) and name:
            told[measurement.stage].add(name)
    return {stage: names.pop() for stage, names in told.items() if len(names) == 1}


def image_performance(seconds: Mapping[ImageSample, float]) -> ImagePerformance:
    """The figures of whole images."""
    values = list(seconds.values())
    return ImagePerformance(
        n=len(values),
        mean_s=mean_image_seconds(seconds),
        p50_s=_rounded(percentile(values, 50)) if values else None,
        p95_s=_rounded(percentile(values, 95)) if values else None,
        max_s=_rounded(max(values)) if values else None,
    )


def images_per_s(measurements: Sequence[Measurement], seconds: Sized) -> float | None:
    """Images per second of wall time, from the first request sent to the last answer read."""
    timed = [(m.started_utc, m.latency_s) for m in measurements if m.started_utc and m.latency_s is not None]
    if not timed:
        return None
    first = min(start for start, _ in timed)
    last = max(start + timedelta(seconds=latency) for start, latency in timed)
    return _rounded(len(seconds) / max((last - first).total_seconds(), 1e-9))


def mean_image_seconds(seconds: Mapping[ImageSample, float]) -> float | None:
    """The mean seconds that one image takes, all three stages."""
    return _rounded(statistics.fmean(seconds.values())) if seconds else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile of values that are not empty, interpolated linearly between the closest ranks.

    Source: Hyndman and Fan (1996), definition 7, the default of NumPy and R.
    """
    ordered = sorted(values)
    rank = (len(ordered) - 1) * percent / 100
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def _rounded(value: float) -> float:
    return round(value, 6)
