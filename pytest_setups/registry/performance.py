"""The figures of measurements: latencies of stages and of whole images, rates."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import timedelta
from statistics import fmean, quantiles
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.entry import ImagePerformance, Performance, Stage, StagePerformance
from pytest_setups.registry.load_records import ClientDelayRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Sized

    from pytest_setups.registry.measurement import ImageSample, Measurement

CLIENT_SHARE: Final = 0.015
"""The part of the mean time beyond which a client that runs late is the limit.

Since the kernel times the arrival of an answer, only sending a request is delayed. Measured at 1 to 64
requests at once, with and without other programs on both processors, that makes a latency longer by 0.1 to
1.8 times the delay; by more than half of it only where the delay is below 1 ms (``benchmarks.load``).
"""
CLIENT_DELAY_S: Final = 0.001
"""Even on an idle machine, timers wake threads nearly this late."""
_RESOLUTION_S: Final = 1e-6
"""Of the times at which requests start."""


def by_stage(measurements: Iterable[Measurement]) -> dict[Stage, list[Measurement]]:
    """Measurements grouped by stage."""
    grouped: dict[Stage, list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        grouped[measurement.stage].append(measurement)
    return grouped


def stage_performance(measurements: Sequence[Measurement]) -> StagePerformance:
    """The figures of one stage, over the answers that arrived."""
    timed = [m for m in measurements if m.latency_s is not None]
    latencies = [m.latency_s for m in timed if m.latency_s is not None]
    firsts = [m.ttft_s for m in timed if m.ttft_s is not None]
    counted = [(m.output_tokens, m.latency_s) for m in timed if m.output_tokens is not None and m.latency_s]
    seconds = sum(latency for _, latency in counted)
    return StagePerformance(
        n=len(latencies),
        mean_s=_rounded(fmean(latencies)) if latencies else None,
        p50_s=_rounded(percentile(latencies, 50)) if latencies else None,
        p95_s=_rounded(percentile(latencies, 95)) if latencies else None,
        max_s=_rounded(max(latencies)) if latencies else None,
        ttft_p50_s=_rounded(percentile(firsts, 50)) if firsts else None,
        output_tokens_per_s=_rounded(sum(tokens for tokens, _ in counted) / seconds) if seconds else None,
    )


def run_performance(
    measurements: Sequence[Measurement], *, concurrency: int | None, repeat: int
) -> Performance:
    """The figures of a whole run.

    Args:
        measurements: the last attempt at each.
        concurrency: images worked on at once, None where that is not known.
        repeat: samples taken of every stage of every image.
    """
    seconds = image_seconds(measurements)
    return Performance(
        avg_latency_s=mean_image_seconds(seconds),
        images_per_s=images_per_s(measurements, seconds),
        concurrency=concurrency,
        repeat=repeat,
        stages={stage: stage_performance(group) for stage, group in by_stage(measurements).items()},
        image=image_performance(seconds),
        client_delay=client_delay((m.client_delay_s, m.ttft_s or m.latency_s) for m in measurements),
    )


def client_delay(answers: Iterable[tuple[float | None, float | None]]) -> ClientDelayRecord | None:
    """The client's own part in the latencies, None where it was not seen.

    Args:
        answers: of each answer, the mean seconds that the client ran late meanwhile, and the shortest time
            that was measured: the time to first token, else the latency.
    """
    pairs = [(delay_s, seconds) for delay_s, seconds in answers if delay_s is not None and seconds]
    if not pairs:
        return None
    delay_s, time_s = (fmean(values) for values in zip(*pairs, strict=True))
    share = delay_s / time_s
    limited = share > CLIENT_SHARE and delay_s > CLIENT_DELAY_S
    return ClientDelayRecord(mean_s=_rounded(delay_s), share=_rounded(share), limited=limited)


def image_seconds(measurements: Iterable[Measurement]) -> dict[ImageSample, float]:
    """The seconds that each sample of an image took: its three answers together, or what its tagger reported.

    A sample that lacks an answer is left out.
    """
    reported: dict[ImageSample, float] = {}
    answers: dict[ImageSample, list[float]] = defaultdict(list)
    for measurement in measurements:
        image = measurement.image, measurement.sample
        if measurement.latency_s is not None:
            answers[image].append(measurement.latency_s)
        elif measurement.image_s is not None:
            reported[image] = measurement.image_s
    whole = {image: sum(latencies) for image, latencies in answers.items() if len(latencies) == len(Stage)}
    return reported | whole


def reported_models(measurements: Iterable[Measurement]) -> dict[Stage, str]:
    """The model that a tagger command reports for each stage, where all its records agree."""
    reported: dict[Stage, set[str]] = defaultdict(set)
    for measurement in measurements:
        models = (measurement.extra or {}).get("models")
        name = models.get(measurement.stage) if isinstance(models, dict) else None
        if isinstance(name, str) and name:
            reported[measurement.stage].add(name)
    return {stage: names.pop() for stage, names in reported.items() if len(names) == 1}


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
    # Wall time and not the sum of latencies: requests may overlap.
    timed = [(m.started_utc, m.latency_s) for m in measurements if m.started_utc and m.latency_s is not None]
    if not timed:
        return None
    first = min(start for start, _ in timed)
    last = max(start + timedelta(seconds=latency) for start, latency in timed)
    return _rounded(len(seconds) / max((last - first).total_seconds(), _RESOLUTION_S))


def mean_image_seconds(seconds: Mapping[ImageSample, float]) -> float | None:
    """The mean seconds that one image takes, all three stages."""
    return _rounded(fmean(seconds.values())) if seconds else None


def percentile(values: Sequence[float], percent: int) -> float:
    """A percentile of one or more values, interpolated linearly between the closest ranks.

    This is definition 7 of Hyndman and Fan (1996), the default of NumPy and R.
    """
    if len(values) == 1:  # Python 3.11 and 3.12 refuse the quantiles of a single value
        return values[0]
    step = math.gcd(percent, 100)  # a median needs 1 cut point and not 99
    return quantiles(values, n=100 // step, method="inclusive")[percent // step - 1]


def _rounded(value: float) -> float:
    return round(value, 6)
