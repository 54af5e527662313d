"""The capacity of a server as curves over the number of images at once: images per second, and seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.report.formatting import seconds
from pytest_setups.report.plots.axis import Axis, Dot, Tick
from pytest_setups.report.plots.line_plot import FIRST, LAST, PlotLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.registry.load_records import CapacityLevel, CapacityRecord

FIGURES: Final = {"images_per_s": "images/s", "p50_s": "s, median of an image", "p95_s": "s, p95 of an image"}
SERIES: Final = {"images_per_s": "whole", "p50_s": "p50", "p95_s": "p95"}
LEAST_DISTANCE: Final = 7.0
"""In percent of the width: nearer than this, only one of two levels has a label."""


@dataclass(frozen=True, slots=True)
class LevelLabel:
    """A number of images at once, below its dots."""

    across: float
    text: str


@dataclass(frozen=True, slots=True)
class CapacityPlot:
    """Curves over the levels, whose distances are those of their logarithms; ``name`` says what they show."""

    name: str
    ticks: Sequence[Tick]
    lines: Sequence[PlotLine]
    labels: Sequence[LevelLabel]


def capacity_plots(record: CapacityRecord | None) -> list[CapacityPlot]:
    """The curves of throughput and of times; none where fewer than two levels have a figure of a curve."""
    levels = record.levels or () if record else ()
    plots = (
        _plot("Images per second", levels, ("images_per_s",), unit="/s"),
        _plot("Seconds of an image", levels, ("p50_s", "p95_s"), unit="s"),
    )
    return [plot for plot in plots if plot]


def _plot(
    name: str, levels: Sequence[CapacityLevel], figures: Sequence[str], *, unit: str
) -> CapacityPlot | None:
    levels = [level for level in levels if any(getattr(level, figure) is not None for figure in figures)]
    if len(levels) < 2:
        return None
    values = {figure: [getattr(level, figure) for level in levels] for figure in figures}
    highest = max(value for line in values.values() for value in line if value is not None)
    axis = Axis.up_to(highest, max_steps=5, unit=unit)
    places = _places([level.at_once for level in levels])
    lines = [
        PlotLine(
            SERIES[figure],
            [
                None if value is None else Dot(place, axis.down(value), _title(level, figure, value))
                for place, level, value in zip(places, levels, values[figure], strict=True)
            ],
        )
        for figure in figures
    ]
    return CapacityPlot(name, axis.ticks, lines, _labels(places, levels))


def _places(numbers: Sequence[int]) -> list[float]:
    logs = [math.log2(max(number, 1)) for number in numbers]
    width = max(logs[-1] - logs[0], 1e-9)
    return [round(FIRST + (LAST - FIRST) * (log - logs[0]) / width, 2) for log in logs]


def _labels(places: Sequence[float], levels: Sequence[CapacityLevel]) -> list[LevelLabel]:
    labels: list[LevelLabel] = []
    for place, level in zip(places, levels, strict=True):
        if not labels or place - labels[-1].across >= LEAST_DISTANCE:
            labels.append(LevelLabel(place, str(level.at_once)))
    return labels


def _title(level: CapacityLevel, figure: str, value: float) -> str:
    return f"{level.at_once} at once: {seconds(value)} {FIGURES[figure]}"
