"""A soak as two curves over the number of images: the server's memory, and the seconds of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_setups.report.formatting import duration, seconds
from pytest_setups.report.plots.axis import Axis, Dot
from pytest_setups.report.plots.capacity_plot import CapacityPlot, LevelLabel
from pytest_setups.report.plots.line_plot import FIRST, LAST, MAX_SECONDS, PlotLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.registry.load_records import SoakRecord, SoakSeries


def soak_plots(record: SoakRecord | None) -> list[CapacityPlot]:
    """The curves of memory and latency; none where there are fewer than two points."""
    series = record.series if record else None
    if series is None or not _is_whole(series):
        return []
    memory = [_known(value) for value in series.memory_mib]
    # From the lowest: beside the weights, a leak could not be seen.
    lowest = min((value for value in memory if value is not None), default=0.0)
    risen = [None if value is None else value - lowest for value in memory]
    latency = [_known(value) for value in series.latency_s]
    plots = [
        _plot(f"Memory of the server above {lowest:.0f} MiB", series, risen, "MiB"),
        _plot("Seconds of an image", series, latency, "s"),
    ]
    return [plot for plot in plots if plot is not None]


def _is_whole(series: SoakSeries) -> bool:
    """Whether an entry, which may be written by hand, has as many values of each kind."""
    columns: Sequence[Sequence[object]] = (
        series.image,
        series.seconds,
        series.memory_mib,
        series.latency_s,
    )
    return len(series.image) >= 2 and len({len(column) for column in columns}) == 1


def _known(value: float | None) -> float | None:
    return value if value is not None and value <= MAX_SECONDS else None


def _plot(name: str, series: SoakSeries, values: Sequence[float | None], unit: str) -> CapacityPlot | None:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    axis = Axis.up_to(max(known), max_steps=5, unit=unit)
    width = max(*series.image, 1)
    dots = [
        None
        if value is None
        else Dot(
            round(FIRST + (LAST - FIRST) * image / width, 2),
            axis.down(value),
            f"{image} images, {duration(elapsed)}: {seconds(value)} {unit}",
        )
        for image, elapsed, value in zip(series.image, series.seconds, values, strict=True)
    ]
    labels = [
        LevelLabel(round(FIRST + (LAST - FIRST) * quarter / 4, 2), str(round(width * quarter / 4)))
        for quarter in range(5)
    ]
    return CapacityPlot(name, axis.ticks, [PlotLine("whole", dots)], labels)
