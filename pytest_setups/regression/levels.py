"""Levels: the figures of one run, judged against the lowest or the highest value that is accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_setups.regression.findings import FATAL, Finding, JudgedBound, most_serious
from pytest_setups.regression.run_figures import RUN_FIGURES, Share, measured_figures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_setups.registry.measurement import Measurement
    from pytest_setups.regression.bounds import Bound


@dataclass(frozen=True, slots=True)
class FigureLevel:
    """One figure of a run.

    Attributes:
        name: the figure's name.
        before: the baseline's, None without a baseline or where it was not measured.
        after: the run's own, None where it was not measured.
        judged: the bounds on it.
        incomparable: why it does not compare with the baseline's, which was measured.
    """

    name: str
    before: Share | None
    after: Share | None
    judged: Sequence[JudgedBound] = ()
    incomparable: str | None = None

    @property
    def finding(self) -> Finding | None:
        """The most serious finding, None where no bound was given."""
        return most_serious(self.judged)

    @property
    def words(self) -> str:
        """The run's figure in words."""
        if self.after is None:
            return "not measured in this run"
        return RUN_FIGURES[self.name].sentence(self.after)

    @property
    def sentence(self) -> str:
        """The run's figure in words and as a number."""
        return self.words if self.after is None else f"{self.words} ({self.after.value:.3f})"

    @property
    def faults(self) -> Iterator[str]:
        """A sentence for each bound that is broken or cannot be judged."""
        for judged in self.judged:
            if judged.finding is Finding.NOT_MEASURED:
                yield f"{judged.bound} cannot be judged: {self.name} was not measured in this run"
            elif judged.finding in FATAL:
                side = "below" if judged.floor else "above"
                yield f"{self.name} is {side} {judged.bound}: {self.sentence}"


def judge_levels(
    after: Sequence[Measurement], bounds: Sequence[Bound], before: Sequence[Measurement] = ()
) -> list[FigureLevel]:
    """The figures of a run that have something to show: a value, or a bound that none could be judged by.

    Args:
        after: the last attempts of the run that is judged.
        bounds: bounds of any kind; those on figures of one run are judged.
        before: the last attempts of the baseline.
    """
    old, new = measured_figures(before), measured_figures(after)
    levels = []
    for name, figure in RUN_FIGURES.items():
        share, earlier = new.get(name), old.get(name)
        compares = share is None or earlier is None or figure.compares(before, after)
        incomparable = None if compares else f"other {figure.basis_name}"
        judged = _judged(name, share, bounds)
        levels.append(FigureLevel(name, earlier if compares else None, share, judged, incomparable))
    return [level for level in levels if _is_shown(level)]


def _judged(name: str, share: Share | None, bounds: Sequence[Bound]) -> list[JudgedBound]:
    return [
        JudgedBound(bound.text, _finding(share, bound), floor=not bound.rising)
        for bound in bounds
        if name in bound.names
    ]


def _finding(share: Share | None, bound: Bound) -> Finding:
    if share is None or bound.level is None:
        return Finding.NOT_MEASURED
    is_broken = share.value > bound.level if bound.rising else share.value < bound.level
    return Finding.BREACH if is_broken else Finding.OK


def _is_shown(level: FigureLevel) -> bool:
    if level.judged:
        return True
    shares = [share for share in (level.before, level.after) if share is not None]
    if RUN_FIGURES[level.name].hidden_at_zero:
        return any(share.part for share in shares)
    return bool(shares)
