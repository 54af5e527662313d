"""The comparison of two runs: figures before and after, how sure their change is, which bounds it breaks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.entry import Stage
from pytest_setups.regression.figures import FIGURES, PER_PICTURE, Worsening
from pytest_setups.regression.findings import FATAL, Finding, JudgedBound, most_serious
from pytest_setups.regression.pictures import pair_pictures
from pytest_setups.regression.statistics import estimate_uncertainty

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_setups.registry.measurement import ImageSample, Measurement
    from pytest_setups.regression.bounds import Bound
    from pytest_setups.regression.figures import Figure, Pair, Pairs
    from pytest_setups.regression.levels import FigureLevel
    from pytest_setups.regression.pictures import AnswerChange, PictureChange, PicturePairs

LARGEST_MARGIN: Final = 10.0
"""Of a logarithm: a margin beyond a factor of 22,000 says nothing, so the range is left out."""
_SMALLEST: Final = 1e-12
"""Keeps the logarithm of zero finite."""


@dataclass(frozen=True, slots=True)
class FigureComparison:
    """One figure before and after.

    ``change`` is a share of the figure before. With ``CONFIDENCE`` the true change is not below ``low``,
    and with ``CONFIDENCE`` not above ``high``. Similarities of texts have no figure before: their range is
    of the figure itself. All three are None where figures do not compare; ``low`` and ``high`` also where
    the noise is unknown. ``incomparable`` says why a figure does not compare, where that is not for all.
    """

    name: str
    unit: str
    before: float | None
    after: float | None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    judged: Sequence[JudgedBound] = ()
    incomparable: str | None = None

    @property
    def finding(self) -> Finding | None:
        """The most serious finding, None where no bound was given."""
        return most_serious(self.judged)


@dataclass(frozen=True, slots=True)
class PopulatedCounts:
    """How many outputs of a stage were populated before and after, and the images that no longer are."""

    stage: str
    total: int
    before: int
    after: int
    lost: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BrokenPicture:
    """A picture that breaks a bound on each picture: the bound as typed, and the answers."""

    bound: str
    image: str
    answer: AnswerChange


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of measurements side by side; ``images`` and ``samples`` count what both have.

    ``untimed`` is the reason why times do not compare, empty where they do. ``unmeasured`` are the bounds,
    as typed, whose figure was not measured on both sides. ``pictures`` are those whose answers changed, the
    least similar first, and ``broken_pictures`` those that break a bound, the worst of each bound first.
    ``levels`` are the figures of each run by itself.
    """

    images: int
    samples: int
    populated: Sequence[PopulatedCounts] = ()
    rows: Sequence[FigureComparison] = ()
    unmeasured: Sequence[str] = ()
    untimed: str = ""
    pictures: Sequence[PictureChange] = ()
    broken_pictures: Sequence[BrokenPicture] = ()
    levels: Sequence[FigureLevel] = ()

    @property
    def broken(self) -> list[str]:
        """What got worse than allowed, and the figures of the later run that break a bound by themselves."""
        return [*self.worse, *self.unjudged, *(level.name for level in self.levels if level.finding in FATAL)]

    @property
    def worse(self) -> list[str]:
        """The figures that break a bound, the stages that lost outputs, and the unmeasured bounds."""
        lost = [f"{stage.stage} populated" for stage in self.populated if stage.lost]
        rows = [row.name for row in self.rows if row.finding in FATAL and row.name not in self.unjudged]
        return [*lost, *rows, *self.unmeasured]

    @property
    def unjudged(self) -> list[str]:
        """The figures with a bound that were not measured under the same conditions."""
        return [row.name for row in self.rows if row.finding is Finding.NOT_COMPARABLE]


def compare(
    before: Sequence[Measurement],
    after: Sequence[Measurement],
    bounds: Sequence[Bound] = (),
    *,
    untimed: str = "",
) -> Comparison:
    """Compare the measurements of the same images and samples.

    Args:
        before: measurements of the baseline.
        after: measurements of the run that is judged.
        bounds: how much worse each figure may be.
        untimed: why times do not compare, empty where they do.
    """
    common = _places(before) & _places(after)
    before, after = (
        [measured for measured in side if (measured.image, measured.sample) in common]
        for side in (before, after)
    )
    counts, rows = _rows(before, after, bounds, timed=not untimed)
    pictures = pair_pictures(before, after)
    by_picture = [bound for bound in bounds if bound.per_picture]
    return Comparison(
        images=len({image for image, _ in common}),
        samples=len({sample for _, sample in common}),
        populated=[_populated(stage, before, after) for stage in Stage],
        rows=[*rows, *_picture_rows(pictures, by_picture)],
        unmeasured=[*_unmeasured(before, counts, bounds), *_unpaired(pictures, by_picture)],
        untimed=untimed,
        pictures=pictures.changes(),
        broken_pictures=list(_broken_pictures(pictures, by_picture)),
    )


def judge(figure: Figure, pairs: Pairs, bound: Bound) -> Finding:
    """Judge one bound on one figure: it is broken only when that is sure beyond the noise."""

    def excess(drawn: Sequence[Pair]) -> float:
        """How far the bound is exceeded: as a logarithm, of levels as a difference."""
        limit, after = bound.limit(figure.before(drawn)), figure.after(drawn)
        if bound.level is not None:
            return limit - after
        # Noise multiplies times and rates, so distances are ratios.
        return _log(after) - _log(limit) if bound.rising else _log(limit) - _log(after)

    # The uncertainty of the excess itself: noise that before and after share cancels out in each pair.
    exceeded = excess(list(pairs.values()))
    if exceeded <= 0:
        return Finding.OK
    margin = estimate_uncertainty(pairs, excess, drift=_drift(figure, pairs)).margin
    if math.isinf(margin):
        return Finding.NOISE_UNKNOWN
    return Finding.BREACH if exceeded > margin else Finding.NOT_PROVED


def _places(measurements: Iterable[Measurement]) -> set[ImageSample]:
    return {(measured.image, measured.sample) for measured in measurements}


def _rows(
    before: Sequence[Measurement], after: Sequence[Measurement], bounds: Sequence[Bound], *, timed: bool
) -> tuple[dict[str, int], list[FigureComparison]]:
    """The number of pairs of each figure, and a row for each that both sides have."""
    counts: dict[str, int] = {}
    rows: list[FigureComparison] = []
    for name, figure in FIGURES.items():
        # Of one figure at a time: those of all take more memory than the answers.
        pairs = figure.pairs(before, after)
        counts[name] = len(pairs)
        if pairs:
            rows.append(_row(name, pairs, [bound for bound in bounds if name in bound.names], timed=timed))
    return counts, rows


def _row(name: str, pairs: Pairs, bounds: Sequence[Bound], *, timed: bool) -> FigureComparison:
    figure = FIGURES[name]
    if figure.worsening is Worsening.BELOW_LEVEL:
        return _similarity_row(name, pairs, bounds)
    both = list(pairs.values())
    before, after = figure.before(both), figure.after(both)
    if figure.timed and not timed:
        refused = [
            JudgedBound(bound.text, Finding.NOT_COMPARABLE, floor=not bound.rising) for bound in bounds
        ]
        return FigureComparison(name, figure.unit, before, after, judged=refused)
    low, high = _change_range(figure, pairs, after / before)
    return FigureComparison(
        name, figure.unit, before, after, after / before - 1, low, high, _judged(figure, pairs, bounds)
    )


def _similarity_row(name: str, pairs: Pairs, bounds: Sequence[Bound]) -> FigureComparison:
    """The row of a similarity, which is a number from 0 to 1 and has nothing before it."""
    figure = FIGURES[name]
    after = figure.after(list(pairs.values()))
    margin = estimate_uncertainty(pairs, figure.after, drift=_drift(figure, pairs)).margin
    low, high = _if_known(max(after - margin, 0.0), min(after + margin, 1.0), margin)
    return FigureComparison(name, figure.unit, None, after, None, low, high, _judged(figure, pairs, bounds))


def _judged(figure: Figure, pairs: Pairs, bounds: Sequence[Bound]) -> list[JudgedBound]:
    return [JudgedBound(bound.text, judge(figure, pairs, bound), floor=not bound.rising) for bound in bounds]


def _change_range(figure: Figure, pairs: Pairs, ratio: float) -> tuple[float | None, float | None]:
    """The least and the greatest true change, as shares.

    The noise of times multiplies them, so the margin is of the ratio's logarithm.
    """

    def log_ratio(drawn: Sequence[Pair]) -> float:
        return _log(figure.after(drawn)) - _log(figure.before(drawn))

    margin = estimate_uncertainty(pairs, log_ratio, drift=_drift(figure, pairs)).margin
    factor = math.exp(min(margin, LARGEST_MARGIN))
    return _if_known(ratio / factor - 1, ratio * factor - 1, margin)


def _unmeasured(
    before: Sequence[Measurement], counts: Mapping[str, int], bounds: Sequence[Bound]
) -> list[str]:
    """The bounds of which a figure was measured on one side only, or on neither."""
    bounds = [bound for bound in bounds if FIGURES.keys() >= set(bound.names)]
    names = {name for bound in bounds for name in bound.names}
    # Paired with itself, the baseline shows how many pairs there could be.
    lost = {name for name in names if len(FIGURES[name].pairs(before, before)) > counts[name]}
    return [
        bound.text
        for bound in bounds
        if lost.intersection(bound.names) or not any(counts[name] for name in bound.names)
    ]


def _picture_rows(pictures: PicturePairs, bounds: Sequence[Bound]) -> Iterator[FigureComparison]:
    """A row for each bound on each picture: the figure is that of the least similar picture."""
    for bound in bounds:
        (name,) = bound.names
        similarities = pictures.similarities(PER_PICTURE[name])
        if similarities:
            lowest = min(similarities.values())
            finding = Finding.BREACH if lowest < bound.limit(lowest) else Finding.OK
            judged = [JudgedBound(bound.text, finding, floor=True)]
            yield FigureComparison(name, "", None, lowest, judged=judged)


def _broken_pictures(pictures: PicturePairs, bounds: Sequence[Bound]) -> Iterator[BrokenPicture]:
    for bound in bounds:
        below = pictures.below(PER_PICTURE[bound.names[0]], bound.limit(1.0))
        yield from (BrokenPicture(bound.text, image, answer) for image, answer in below)


def _unpaired(pictures: PicturePairs, bounds: Sequence[Bound]) -> list[str]:
    return [bound.text for bound in bounds if not pictures.similarities(PER_PICTURE[bound.names[0]])]


def _populated(stage: str, before: Sequence[Measurement], after: Sequence[Measurement]) -> PopulatedCounts:
    old, new = (
        {(measured.image, measured.sample): measured.passed for measured in side if measured.stage == stage}
        for side in (before, after)
    )
    places = sorted(old.keys() & new.keys())
    lost = dict.fromkeys(image for image, sample in places if old[image, sample] > new[image, sample])
    return PopulatedCounts(
        stage=stage,
        total=len(places),
        before=sum(old[place] for place in places),
        after=sum(new[place] for place in places),
        lost=list(lost),
    )


def _drift(figure: Figure, pairs: Pairs) -> float | None:
    """How much the machine's speed moves a figure; None where that must be measured between samples.

    Only the fastest of several samples carries a slack, which bounds its drift by itself.
    """
    if not figure.timed:
        return 0.0
    # After Robson and Whitlock, the distance of the fastest from the limit is about its distance from the
    # second fastest, averaged over the images; before and after are independent.
    slacks = [[value.slack for value in side] for side in zip(*pairs.values(), strict=True)]
    known = [[slack for slack in side if slack is not None] for side in slacks]
    return math.hypot(*map(fmean, known)) if all(known) else None


def _if_known(low: float, high: float, margin: float) -> tuple[float | None, float | None]:
    return (low, high) if margin < LARGEST_MARGIN else (None, None)


def _log(value: float) -> float:
    return math.log(max(value, _SMALLEST))
