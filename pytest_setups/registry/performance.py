"""The figures of measurements: latencies of stages and of whole images, rates."""

from __future__ import annotations

import statistics
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from pytest_setups.registry.entry import ImagePerformance, Stage, StagePerformance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Sized

    from pytest_setups.registry.measurement import ImageSample, Measurement


def by_stage(measurements: Iterable[Measurement]) -> dict[Stage, list[Measurement]]:
    """Measurements grouped by stage."""
    grouped: dict[Stage, list[Measurement]] = defaultdict(list)
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
    whole = {image: sum(each) for image, each in answers.items() if len(each) == len(Stage)}
    return told | whole


def told_models(measurements: Iterable[Measurement]) -> dict[Stage, str]:
    """The model that an external tagger says it used at each stage, where all its records agree."""
    told: dict[Stage, set[str]] = defaultdict(set)
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
