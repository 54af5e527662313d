"""One setup over time: a line for each stage, and one for whole images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.report.formatting import seconds
from pytest_setups.report.plots.axis import Axis, Dot, Tick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.registry.entry import Entry

# Half a date, which is centred below its dots, fits on either side on a phone; four fit side by side.
FIRST: Final = 14.0
LAST: Final = 86.0
MAX_DATES: Final = 4
MAX_VERSION: Final = 10
MAX_SECONDS: Final = 1e9


@dataclass(frozen=True, slots=True)
class PlotLine:
    """One figure over time; an entry without it leaves a gap. ``series`` is a stage, or ``whole``."""

    series: str
    dots: Sequence[Dot | None]

    @property
    def pieces(self) -> list[tuple[Dot, Dot]]:
        """The neighbours that are joined."""
        return [(left, right) for left, right in pairwise(self.dots) if left and right]


class DateLabel(NamedTuple):
    """The date and the server's version of an entry, below its dots."""

    across: float
    date: str
    version: str


@dataclass(frozen=True, slots=True)
class LinePlot:
    """The lines, evenly spaced by entry; as many entries are labelled as fit."""

    ticks: Sequence[Tick]
    lines: Sequence[PlotLine]
    labels: Sequence[DateLabel]


def line_plot(history: Sequence[tuple[str, Entry]]) -> LinePlot | None:
    """Median seconds of each stage and mean seconds of an image, over the entries of one setup by date.

    None with fewer than two entries, or without any figure.
    """
    entries = [entry for _, entry in history]
    figures = {stage.value: [_median(entry, stage) for entry in entries] for stage in Stage}
    figures["whole"] = [_known(entry.performance.avg_latency_s) for entry in entries]
    known = [value for values in figures.values() for value in values if value is not None]
    if len(entries) < 2 or not known:
        return None
    axis = Axis.up_to(max(known), max_steps=5)
    places = [round(FIRST + (LAST - FIRST) * n / (len(entries) - 1), 2) for n in range(len(entries))]
    lines = [
        PlotLine(
            series,
            [
                None if value is None else Dot(place, axis.down(value), _title(entry, series, value))
                for place, entry, value in zip(places, entries, values, strict=True)
            ],
        )
        for series, values in figures.items()
    ]
    return LinePlot(axis.ticks, lines, [_label(places[n], entries[n]) for n in _labelled(len(entries))])


def _median(entry: Entry, stage: Stage) -> float | None:
    figures = (entry.performance.stages or {}).get(stage)
    return _known(figures.p50_s) if figures else None


def _known(value: float | None) -> float | None:
    """The value, unless it is one that only an entry written by hand can hold."""
    return value if value is not None and 0 <= value <= MAX_SECONDS else None


def _title(entry: Entry, series: str, value: float) -> str:
    version = one_line(entry.server.version or "", 60)
    figure = "image, mean" if series == "whole" else f"{series}, median"
    when = " ".join(filter(None, (f"{entry.verification.date_utc:%Y-%m-%d}", version)))
    return f"{when}: {figure} {seconds(value)} s"


def _label(across: float, entry: Entry) -> DateLabel:
    version = one_line(entry.server.version or "", MAX_VERSION)
    return DateLabel(across, f"{entry.verification.date_utc:%Y-%m-%d}", version)


def _labelled(count: int) -> range:
    """At most ``MAX_DATES`` of this many positions, equally far apart, the last among them."""
    stride = math.ceil((count - 1) / (MAX_DATES - 1))
    return range(count - 1, -1, -stride)
