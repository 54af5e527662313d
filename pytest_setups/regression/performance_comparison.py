"""The comparison of figures that two entries hold ready."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from pytest_setups.regression.comparison import FigureComparison
from pytest_setups.regression.findings import Finding, JudgedBound
from pytest_setups.regression.performance_figures import PERFORMANCE_FIGURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_setups.registry.entry import Performance
    from pytest_setups.regression.bounds import Bound
    from pytest_setups.regression.performance_figures import PerformanceFigure


def performance_rows(
    before: Performance, after: Performance, bounds: Sequence[Bound], *, timed: bool
) -> Iterator[FigureComparison]:
    """A row for each figure that both sides have; ``timed`` says whether times compare."""
    for name, figure in PERFORMANCE_FIGURES.items():
        old, new = figure.value(before), figure.value(after)
        if old is None or new is None:
            continue
        own = [bound for bound in bounds if name in bound.names]
        why = figure.incomparable(before, after)
        if why or (figure.timed and not timed):
            judged = _each(own, lambda _: Finding.NOT_COMPARABLE)
            yield FigureComparison(name, figure.unit, old, new, judged=judged, incomparable=why)
            continue
        margin = _margin(figure, before, after)
        judged = _each(own, partial(_judge, old=old, new=new, margin=margin))
        yield FigureComparison(name, figure.unit, old, new, *_change(old, new, margin), judged)


def unmeasured_bounds(before: Performance, after: Performance, bounds: Sequence[Bound]) -> list[str]:
    """The bounds, as typed, whose figure one of the two entries lacks."""
    return [
        bound.text
        for bound in bounds
        for name in bound.names
        if (figure := PERFORMANCE_FIGURES.get(name))
        and (figure.value(before) is None or figure.value(after) is None)
    ]


def _each(bounds: Sequence[Bound], judge: Callable[[Bound], Finding]) -> list[JudgedBound]:
    return [JudgedBound(bound.text, judge(bound), floor=not bound.rising) for bound in bounds]


def _judge(bound: Bound, *, old: float, new: float, margin: float | None) -> Finding:
    limit = bound.limit(old)
    if new <= limit if bound.rising else new >= limit:
        return Finding.OK
    # Noise multiplies times and rates, so the distance is a ratio.
    smallest = min(new, limit)
    excess = abs(math.log(new / limit)) if smallest > 0 else math.inf
    return Finding.BREACH if excess > (margin or 0.0) else Finding.NOT_PROVED


def _margin(figure: PerformanceFigure, before: Performance, after: Performance) -> float | None:
    """The margin of the ratio of both figures, as a logarithm; None where that of one is not known."""
    margins = [figure.margin(before), figure.margin(after)]
    known = [margin for margin in margins if margin is not None]
    return math.log1p(math.hypot(*known)) if len(known) == len(margins) else None


def _change(old: float, new: float, margin: float | None) -> tuple[float | None, float | None, float | None]:
    """The change as a share, and the least and the greatest that it may truly be."""
    if old <= 0:
        return None, None, None
    ratio = new / old
    if margin is None:
        return ratio - 1, None, None
    factor = math.exp(margin)
    return ratio - 1, ratio / factor - 1, ratio * factor - 1
