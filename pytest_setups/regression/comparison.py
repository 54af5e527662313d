"""The comparison: figures before and after, how sure their change is, and which bounds it breaks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.entry import Stage
from pytest_setups.regression.figures import FIGURES, Worse
from pytest_setups.regression.statistics import estimate_uncertainty

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_setups.registry.measurement import Measurement
    from pytest_setups.regression.bounds import Bound
    from pytest_setups.regression.figures import Cells, Figure, Value

LARGEST_MARGIN: Final = 10.0
"""A logarithm; what is less sure than that is not known."""
_LEAST: Final = 1e-12
"""Keeps the logarithm of nothing finite."""


class Finding(StrEnum):
    """What came of a bound, the gravest last."""

    OK = "ok"
    NOT_PROVED = "not proved"
    BREACH = "breach"
    NOISE_UNKNOWN = "noise unknown"
    NOT_COMPARABLE = "not comparable"


GRAVITY: Final = list(Finding)
FATAL: Final = frozenset({Finding.BREACH, Finding.NOISE_UNKNOWN, Finding.NOT_COMPARABLE})


@dataclass(frozen=True, slots=True)
class Judged:
    """A bound as it was typed, and what came of it."""

    bound: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Row:
    """One figure before and after.

    ``change`` is a share of the figure before, and with ``CONFIDENCE`` the true one is not below ``low``
    and not above ``high``; of likenesses, which have no figure before, these are of the figure itself.
    All are None where figures do not compare, ``low`` and ``high`` also where they are not known.
    """

    name: str
    unit: str
    before: float | None
    after: float | None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    judged: Sequence[Judged] = ()

    @property
    def finding(self) -> Finding | None:
        """The gravest finding, None where no bound was given."""
        return max((one.finding for one in self.judged), key=GRAVITY.index, default=None)


@dataclass(frozen=True, slots=True)
class Populated:
    """How many answers of a stage were populated before and after, and the images that no longer are."""

    stage: str
    total: int
    before: int
    after: int
    lost: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """Two sets of measurements side by side; ``images`` and ``samples`` count what both have.

    ``untimed`` says why times do not compare, and is empty where they do; ``unmeasured`` are bounds of
    which no figure was measured.
    """

    images: int
    samples: int
    populated: Sequence[Populated] = ()
    rows: Sequence[Row] = ()
    unmeasured: Sequence[str] = ()
    untimed: str = ""

    @property
    def broken(self) -> list[str]:
        """The names of the figures that breach a bound, and of the stages that lost answers."""
        lost = [f"{stage.stage} populated" for stage in self.populated if stage.lost]
        return [*lost, *(row.name for row in self.rows if row.finding in FATAL), *self.unmeasured]


def compare(
    before: Sequence[Measurement],
    after: Sequence[Measurement],
    bounds: Iterable[Bound] = (),
    *,
    untimed: str = "",
) -> Compared:
    """Compare measurements pair by pair; ``untimed`` says why times do not compare."""
    wanted = list(bounds)
    common = {(m.image, m.sample) for m in before} & {(m.image, m.sample) for m in after}
    before, after = ([m for m in measured if (m.image, m.sample) in common] for measured in (before, after))
    cells = {name: figure.cells(before, after) for name, figure in FIGURES.items()}
    rows = [
        _row(name, FIGURES[name], found, [one for one in wanted if name in one.names], timed=not untimed)
        for name, found in cells.items()
        if found
    ]
    judged = {name for one in wanted for name in one.names}
    lost = {name for name in judged if len(FIGURES[name].cells(before, before)) > len(cells[name])}
    return Compared(
        images=len({image for image, _ in common}),
        samples=len({sample for _, sample in common}),
        populated=[_populated(stage, before, after) for stage in Stage],
        rows=rows,
        unmeasured=[
            one.text
            for one in wanted
            if lost.intersection(one.names) or not any(cells[name] for name in one.names)
        ],
        untimed=untimed,
    )


def _row(name: str, figure: Figure, cells: Cells, bounds: Sequence[Bound], *, timed: bool) -> Row:
    pairs = list(cells.values())
    before = None if figure.worse is Worse.LEVEL else figure.before(pairs)
    after = figure.after(pairs)
    if figure.timed and not timed:
        judged = [Judged(bound.text, Finding.NOT_COMPARABLE) for bound in bounds]
        return Row(name, figure.unit, before, after, judged=judged)
    judged = [Judged(bound.text, judge(figure, cells, bound)) for bound in bounds]
    if before is None:
        margin = estimate_uncertainty(cells, figure.after, drift=_drift(figure, cells)).margin
        low, high = _range(max(after - margin, 0.0), min(after + margin, 1.0), margin)
        return Row(name, figure.unit, None, after, None, low, high, judged)
    ratio = after / before
    margin = estimate_uncertainty(
        cells,
        lambda drawn: _log(figure.after(drawn)) - _log(figure.before(drawn)),
        drift=_drift(figure, cells),
    ).margin
    factor = math.exp(min(margin, LARGEST_MARGIN))
    low, high = _range(ratio / factor - 1, ratio * factor - 1, margin)
    return Row(name, figure.unit, before, after, ratio - 1, low, high, judged)


def judge(figure: Figure, cells: Cells, bound: Bound) -> Finding:
    """What comes of one bound on one figure: broken only when that is sure beyond the noise."""

    def excess(drawn: Sequence[tuple[Value, Value]]) -> float:
        """By how much the bound is exceeded: as a logarithm, of levels as a difference."""
        limit, after = bound.limit(figure.before(drawn)), figure.after(drawn)
        if bound.level is not None:
            return limit - after
        return _log(after) - _log(limit) if bound.rising else _log(limit) - _log(after)

    found = excess(list(cells.values()))
    if found <= 0:
        return Finding.OK
    margin = estimate_uncertainty(cells, excess, drift=_drift(figure, cells)).margin
    if math.isinf(margin):
        return Finding.NOISE_UNKNOWN
    return Finding.BREACH if found > margin else Finding.NOT_PROVED


def _populated(stage: str, before: Sequence[Measurement], after: Sequence[Measurement]) -> Populated:
    old, new = (
        {(m.image, m.sample): m.passed for m in measured if m.stage == stage} for measured in (before, after)
    )
    places = sorted(old.keys() & new.keys())
    return Populated(
        stage=stage,
        total=len(places),
        before=sum(old[place] for place in places),
        after=sum(new[place] for place in places),
        lost=list(
            dict.fromkeys(image for image, sample in places if old[image, sample] > new[image, sample])
        ),
    )


def _drift(figure: Figure, cells: Cells) -> float | None:
    """How much the machine's speed moves a figure, None where its samples must tell."""
    if not figure.timed:
        return 0.0
    slacks = [[value.slack for value in side] for side in zip(*cells.values(), strict=True)]
    known = [[slack for slack in side if slack is not None] for side in slacks]
    return math.hypot(*map(fmean, known)) if all(known) else None


def _range(low: float, high: float, margin: float) -> tuple[float | None, float | None]:
    return (low, high) if margin < LARGEST_MARGIN else (None, None)


def _log(value: float) -> float:
    return math.log(max(value, _LEAST))
