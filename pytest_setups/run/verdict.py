"""The verdict on a run: success only when everything was asked, proved and populated."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.texts import normalised, normalised_answer
from pytest_setups.proofs.vision_experiment import MAX_ANSWER
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.serving.processes.server_process import without_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_setups.registry.measurement import ImageSample, Measurement
    from pytest_setups.run.collector import Collected, MeasurementKey
    from pytest_setups.run.evidence import ExpectationEvidence, VisionEvidence

SAME_WORDS_CHECK: Final = "same-words"
EXPECTATIONS_CHECK: Final = "expectations"
NO_PICTURE_CHECK: Final = "no-picture"
MIN_NO_PICTURE_WORDS: Final = 5
"""A shorter caption may be right by chance."""
MAX_PAIRS_SHOWN: Final = 3


class Standing(StrEnum):
    """Where a run stands: everything proved, something failed, or something missing."""

    SUCCESS = "success"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of a run; ``reason`` is empty only for a success."""

    standing: Standing
    reason: str = ""

    def failed_because(self, reason: str) -> Verdict:
        """This verdict as a failed one, with one more reason."""
        return Verdict(Standing.FAILED, "; ".join(filter(None, (self.reason, reason))))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a whole run consists of.

    Attributes:
        measurements: every image, sample and stage.
        look_alike: whether two images, by their names, are the same or nearly the same picture.
        expectations: every image and sample of which something is expected.
        has_tagger: whether a tagger command is verified.
        has_server: whether a server answered.
        has_capacity: whether the capacity of the server is measured.
        has_soak: whether the server is asked for a long time.
    """

    measurements: Sequence[MeasurementKey]
    expectations: Sequence[ImageSample]
    look_alike: Callable[[str, str], bool]
    has_tagger: bool
    has_server: bool
    has_capacity: bool = False
    has_soak: bool = False


def judge(collected: Collected, expected: Expected) -> Verdict:
    """Judge a run: success needs the models, the vision proof and every image at every stage."""
    missing = "; ".join(_missing(collected, expected))
    if missing:
        return Verdict(Standing.INCOMPLETE, missing)
    failures = "; ".join(_failures(collected, expected))
    return Verdict(Standing.FAILED, failures) if failures else Verdict(Standing.SUCCESS)


def _missing(collected: Collected, expected: Expected) -> Iterator[str]:
    tests: dict[str, object] = {"models": collected.models, "vision": collected.vision}
    if expected.has_tagger:
        tests["tagger"] = collected.tagger
    if expected.has_capacity:
        tests["capacity"] = collected.capacity
    if expected.has_soak:
        tests["soak"] = collected.soak
    yield from (f"test_{name} did not run" for name, evidence in tests.items() if evidence is None)
    # Anything deselected, interrupted or lost with a worker shows here, whatever the reason.
    measured = {(m.image, m.sample, m.stage) for m in collected.measurements}
    absent = [key for key in expected.measurements if key not in measured]
    if absent:
        counts = Counter(stage for _, _, stage in absent)
        by_stage = ", ".join(f"{count} {stage}" for stage, count in counts.items())
        total = len(expected.measurements)
        yield f"{len(absent)} of {total} measurements are missing ({by_stage})"
    unjudged = [key for key in expected.expectations if key not in collected.expectations]
    if unjudged:
        yield f"test_expectations did not run for {len(unjudged)} of {len(expected.expectations)} images"


def _failures(collected: Collected, expected: Expected) -> Iterator[str]:
    models, vision, tagger = collected.models, collected.vision, collected.tagger
    if models is not None and not models.passed:
        yield f"models: {models.reason}"
    if not expected.has_server:
        return  # every other test failed for the same reason
    if vision is not None and not vision.seen:
        yield f"vision: {vision.reason}"
    if tagger is not None and tagger.reason is not None:
        reason = "; ".join(tagger.reason.splitlines())
        yield f"tagger: {one_line(reason, 1000)}"
    yield from _unpopulated(collected)
    yield from _unexpected(list(collected.expectations.values()))
    yield from _same_words(collected.measurements, expected.look_alike)
    if vision is not None:
        yield from _answers_without_picture(collected.measurements, vision)
    if collected.capacity is not None and collected.capacity.reason is not None:
        yield f"capacity: {one_line(collected.capacity.reason, 500)}"
    if collected.soak is not None and collected.soak.reason is not None:
        yield f"soak: {one_line(without_log(collected.soak.reason), 1000)}"


def _unpopulated(collected: Collected) -> Iterator[str]:
    measurements = collected.measurements
    failed = [measurement for measurement in measurements if not measurement.passed]
    if failed:
        # What failed first when the server did, since the rest may have failed because of that.
        first = collected.first_fault or failed[0]
        failure = first.failures[0]
        example = f"{first.stage} of {first.image}: {failure.check}: {without_log(failure.reason)}"
        yield f"{len(failed)} of {len(measurements)} answers are not populated; {example}"


def _unexpected(expectations: Sequence[ExpectationEvidence]) -> Iterator[str]:
    failed = [evidence for evidence in expectations if not evidence.passed]
    if failed:
        first = (failed[0].reason or "").split("\n")[0]
        count = f"{len(failed)} of {len(expectations)} are not met"
        yield f"{EXPECTATIONS_CHECK}: {count}; {one_line(first, 500)}"


def _same_words(measurements: Sequence[Measurement], look_alike: Callable[[str, str], bool]) -> Iterator[str]:
    """Different pictures that got the same words: a stale or dropped picture (vllm#20261)."""
    # Frames of a burst may get the same words. To see that, pictures are decoded: only as many as are shown.
    pairs = (
        f"{first} and {second}"
        for first, second in _pairs_with_same_words(measurements)
        if not look_alike(first, second)
    )
    shown = ", ".join(islice(pairs, MAX_PAIRS_SHOWN))
    if shown:
        yield f"{SAME_WORDS_CHECK}: different pictures got the same words: {shown}"


def _answers_without_picture(measurements: Sequence[Measurement], vision: VisionEvidence) -> Iterator[str]:
    """Captions that the server also gave without a picture: refusals in any language, dropped pictures."""
    answer = str((vision.without_picture or {}).get("answer", ""))
    words = normalised_answer(answer)
    images = {
        measurement.image
        for measurement in measurements
        if measurement.stage == Stage.CAPTION
        # As evidence, the answer was cut.
        and normalised_answer(one_line(measurement.text or "", MAX_ANSWER)) == words
    }
    if images and len(words.split()) >= MIN_NO_PICTURE_WORDS:
        shown = ", ".join(sorted(images)[:MAX_PAIRS_SHOWN])
        yield f"{NO_PICTURE_CHECK}: {shown} got the answer without a picture: {one_line(answer, 120)!r}"


def _pairs_with_same_words(measurements: Sequence[Measurement]) -> list[tuple[str, str]]:
    texts: dict[ImageSample, dict[Stage, str]] = defaultdict(dict)
    for measurement in measurements:
        key = measurement.image, measurement.sample
        texts[key][measurement.stage] = normalised(measurement.text or "")
    groups: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for (image, _), outputs in texts.items():
        # Captions are short, and two honest ones may agree: together with the keywords they do not.
        for stages in ((Stage.DESCRIPTION,), (Stage.CAPTION, Stage.KEYWORDS)):
            words = tuple(outputs.get(stage, "") for stage in stages)
            if all(words):
                groups[words].add(image)
    return sorted({pair for group in groups.values() for pair in pairwise(sorted(group))})
