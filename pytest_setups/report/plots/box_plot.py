"""Latencies of each stage as box plots after Tukey, beside those of the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.performance import by_stage, percentile
from pytest_setups.report.formatting import seconds
from pytest_setups.report.plots.axis import Axis, Dot, Tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_setups.registry.measurement import Measurement

# The labels of the upright axis stand left of this.
LEFT: Final = 14.0
BOX_WIDTH: Final = 12.0
PAIRED_BOX_WIDTH: Final = 8.0
PAIR_OFFSET: Final = 5.0
# Tukey's: a value further from the box, in box heights, is an outlier.
WHISKER_REACH: Final = 1.5


@dataclass(frozen=True, slots=True)
class TimedAnswer:
    """How long one answer took, and of which image."""

    seconds: float
    image: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a box stands; ``series`` is its stage, or ``before`` for the baseline's."""

    series: str
    name: str
    across: float
    width: float


@dataclass(frozen=True, slots=True)
class Box:
    """One box with its whiskers and outliers; the positions from ``highest`` to ``lowest`` are downwards."""

    place: Place
    title: str
    highest: float
    third_quartile: float
    median: float
    first_quartile: float
    lowest: float
    outliers: Sequence[Dot]

    @classmethod
    def of(cls, place: Place, answers: Sequence[TimedAnswer], axis: Axis) -> Self:
        """The box of these answers, of which there is at least one."""
        values = [answer.seconds for answer in answers]
        first, median, third = (percentile(values, percent) for percent in (25, 50, 75))
        reach = WHISKER_REACH * (third - first)
        inside = [value for value in values if first - reach <= value <= third + reach]
        outliers = [answer for answer in answers if not first - reach <= answer.seconds <= third + reach]
        return cls(
            place=place,
            title=f"{place.name}: median {seconds(median)} s, middle half from {seconds(first)} s "
            f"to {seconds(third)} s, {len(values)} {'answer' if len(values) == 1 else 'answers'}",
            # Quartiles are interpolated, so that of few values one may lie beyond the last value inside.
            highest=axis.down(max(third, *inside)),
            third_quartile=axis.down(third),
            median=axis.down(median),
            first_quartile=axis.down(first),
            lowest=axis.down(min(first, *inside)),
            outliers=[_outlier(place, answer, axis) for answer in outliers],
        )

    @property
    def left(self) -> float:
        """Where the box begins."""
        return round(self.place.across - self.place.width / 2, 2)

    @property
    def right(self) -> float:
        """Where the box ends."""
        return round(self.place.across + self.place.width / 2, 2)

    @property
    def height(self) -> float:
        """From the first to the third quartile."""
        return round(self.first_quartile - self.third_quartile, 2)


def _outlier(place: Place, answer: TimedAnswer, axis: Axis) -> Dot:
    title = f"{place.name} of {one_line(answer.image, 60)}: {seconds(answer.seconds)} s"
    return Dot(place.across, axis.down(answer.seconds), title)


@dataclass(frozen=True, slots=True)
class BoxPlot:
    """The boxes of all stages; ``stages`` are the names below them and where these stand."""

    ticks: Sequence[Tick]
    stages: Sequence[tuple[Stage, float]]
    boxes: Sequence[Box]

    @property
    def paired(self) -> bool:
        """Whether boxes of a baseline are among them."""
        return any(box.place.series == "before" for box in self.boxes)


def box_plot(measurements: Iterable[Measurement], before: Iterable[Measurement] = ()) -> BoxPlot | None:
    """The latencies of each stage; None where ``measurements`` has none. ``before`` is the baseline's."""
    now, earlier = _answers(measurements), _answers(before)
    if not any(now.values()):
        return None
    everything = [answer for side in (now, earlier) for answers in side.values() for answer in answers]
    axis = Axis.up_to(max(answer.seconds for answer in everything), max_steps=5)
    room = (100 - LEFT) / len(Stage)
    centres = {stage: round(LEFT + room * (number + 0.5), 2) for number, stage in enumerate(Stage)}
    boxes: list[Box] = []
    for stage, centre in centres.items():
        place = Place(stage, stage, centre, BOX_WIDTH)
        if earlier[stage]:
            baseline = Place("before", f"{stage}, baseline", centre - PAIR_OFFSET, PAIRED_BOX_WIDTH)
            boxes.append(Box.of(baseline, earlier[stage], axis))
            place = Place(stage, stage, centre + PAIR_OFFSET, PAIRED_BOX_WIDTH)
        if now[stage]:
            boxes.append(Box.of(place, now[stage], axis))
    return BoxPlot(axis.ticks, list(centres.items()), boxes)


def _answers(measurements: Iterable[Measurement]) -> dict[Stage, list[TimedAnswer]]:
    grouped = by_stage(measurements)
    return {
        stage: [TimedAnswer(m.latency_s, m.image) for m in grouped.get(stage, ()) if m.latency_s is not None]
        for stage in Stage
    }
