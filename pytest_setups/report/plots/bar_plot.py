"""Seconds of each image as a bar, its stages stacked."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final, Self

from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.report.formatting import seconds
from pytest_setups.report.plots.axis import Axis, Tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_setups.registry.measurement import Measurement

MAX_BARS: Final = 40
# The labels below fit side by side on a phone.
MAX_STEPS: Final = 4
# The longest name that fits beside the total on a phone; photos of a series differ at its end.
MAX_NAME: Final = 36
KEPT_END: Final = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a bar that one stage took."""

    series: Stage
    title: str
    across: float
    width: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One image: its name, its seconds, and the stages that they consist of."""

    name: str
    total: str
    segments: Sequence[Segment]

    @classmethod
    def of(cls, image: str, means: Mapping[Stage, float], axis: Axis) -> Self:
        """The bar of an image from the mean seconds of its stages."""
        segments, end = [], 0.0
        for stage in Stage:
            if stage in means:
                start, end = end, end + means[stage]
                title = f"{one_line(image, 60)}, {stage}: {seconds(means[stage])} s"
                width = round(axis.along(end) - axis.along(start), 2)
                segments.append(Segment(stage, title, axis.along(start), width))
        return cls(_shortened(one_line(image)), f"{seconds(end)} s", segments)


@dataclass(frozen=True, slots=True)
class BarPlot:
    """The slowest images, the slowest first; ``omitted`` is the number of faster ones."""

    ticks: Sequence[Tick]
    bars: Sequence[Bar]
    omitted: int


def bar_plot(measurements: Iterable[Measurement]) -> BarPlot | None:
    """Mean seconds of each stage of each image, at most ``MAX_BARS``; None when nothing was timed."""
    samples: dict[str, dict[Stage, list[float]]] = defaultdict(lambda: defaultdict(list))
    for measurement in measurements:
        if measurement.latency_s is not None:
            samples[measurement.image][measurement.stage].append(measurement.latency_s)
    means = {
        image: {stage: fmean(values) for stage, values in stages.items()} for image, stages in samples.items()
    }
    slowest = sorted(means, key=lambda image: sum(means[image].values()), reverse=True)
    if not slowest:
        return None
    axis = Axis.up_to(sum(means[slowest[0]].values()), max_steps=MAX_STEPS)
    bars = [Bar.of(image, means[image], axis) for image in slowest[:MAX_BARS]]
    return BarPlot(axis.ticks, bars, len(slowest) - len(bars))


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - KEPT_END - 1]}…{name[-KEPT_END:]}"
