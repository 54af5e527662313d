"""The comparison: figures before and after, how sure their change is, and which bounds it breaks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pytest_setups.regression.figures import FIGURES, STAGES, Worse
from pytest_setups.regression.statistics import spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_setups.measurement import Measurement
    from pytest_setups.regression.bounds import Bound
    from pytest_setups.regression.figures import Cells, Figure, Value

LARGEST_MARGIN: Final = 10.0
_LEAST: Final = 1e-12
"""Keeps the logarithm of nothing finite."""


class Finding(StrEnum):
    """What came of a bound, the gravest last."""

    OK = "ok"
    NOT_PROVED = "not proved"
    BREACH = "breach"
    NOT_COMPARABLE = "not comparable"


GRAVITY: Final = list(Finding)
FATAL: Final = frozenset({Finding.BREACH, Finding.NOT_COMPARABLE})


@dataclass(frozen=True, slots=True)
class Judged:
    """A bound as it was typed, and what came of it."""

    bound: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Row:
    """One figure before and after.

    ``change`` is a share of the figure before, and ``margin`` how far the true change may be from it;
    of likenesses, which have no figure before, ``margin`` is that of the figure itself. Both are None
    where figures do not compare, ``margin`` also where it is more than tenfold or not known.
    """

    name: str
    unit: str
    before: float | None
    after: float | None
    change: float | None
    margin: float | None
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
    """Two sets of measurements side by side; ``images`` and ``samples`` count what both have."""

    images: int
    samples: int
    populated: Sequence[Populated] = ()
    rows: Sequence[Row] = ()
    unmeasured: Sequence[str] = ()

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
    timed: bool = True,
) -> Compared:
    """Compare measurements pair by pair; ``timed`` is False where times do not compare."""
    wanted = list(bounds)
    cells = {name: figure.cells(before, after) for name, figure in FIGURES.items()}
    rows = [
        _row(name, FIGURES[name], found, [one for one in wanted if name in one.names], timed=timed)
        for name, found in cells.items()
        if found
    ]
    common = {(m.image, m.sample) for m in before} & {(m.image, m.sample) for m in after}
    return Compared(
        images=len({image for image, _ in common}),
        samples=len({sample for _, sample in common}),
        populated=[_populated(stage, before, after) for stage in STAGES],
        rows=rows,
        unmeasured=[one.text for one in wanted if not any(cells[name] for name in one.names)],
    )


def _row(name: str, figure: Figure, cells: Cells, bounds: Sequence[Bound], *, timed: bool) -> Row:
    pairs = list(cells.values())
    before = None if figure.worse is Worse.LEVEL else figure.before(pairs)
    after = figure.after(pairs)
    if figure.timed and not timed:
        judged = [Judged(bound.text, Finding.NOT_COMPARABLE) for bound in bounds]
        return Row(name, figure.unit, before, after, None, None, judged)
    judged = [Judged(bound.text, judge(figure, cells, bound)) for bound in bounds]
    if before is None:
        margin = spread(cells, figure.after, timed=figure.timed).margin
        return Row(name, figure.unit, None, after, None, _known(margin), judged)
    change = after / before - 1
    margin = spread(
        cells, lambda drawn: _log(figure.after(drawn)) - _log(figure.before(drawn)), timed=figure.timed
    ).margin
    upwards = (1 + change) * math.expm1(min(margin, LARGEST_MARGIN))
    return Row(name, figure.unit, before, after, change, _known(upwards), judged)


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
    return Finding.BREACH if found > spread(cells, excess, timed=figure.timed).margin else Finding.NOT_PROVED


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


def _known(margin: float) -> float | None:
    return margin if margin < LARGEST_MARGIN else None


def _log(value: float) -> float:
    return math.log(max(value, _LEAST))
