"""Bounds: how much worse a figure may become, parsed from what people type."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.regression.figures import FIGURES, PER_PICTURE, SIMILARITIES, Figure, Worsening
from pytest_setups.regression.performance_figures import PERFORMANCE_FIGURES, PerformanceFigure
from pytest_setups.regression.run_figures import RUN_FIGURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SPEC: Final = re.compile(r"(?P<name>[a-z0-9_.]+)\s*:\s*(?P<limits>.+)")
_LIMIT: Final = re.compile(r"(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*(?P<unit>%|ms|s)?")
EXAMPLES: Final = (
    "p50:20%, caption.p95:0.5s, tokens_per_s:-15%, keywords_overlap:0.6, keywords_overlap.each:0.3"
)


AnyFigure = Figure | PerformanceFigure


@dataclass(frozen=True, slots=True)
class Bound:
    """How much worse figures may become, or for a level how low or high they may be.

    Attributes:
        text: the bound as it was typed.
        names: the figures that it judges, one or those of every stage.
        rising: whether a rise breaks it, and not a fall; of a level, whether it is the highest value allowed.
        relative: the change that is allowed, as a share of the baseline's figure.
        absolute: likewise in the figure's unit; of the two allowances the larger counts.
        level: the lowest or highest figure that is allowed, whatever the baseline's; None where a change is
            judged.
    """

    text: str
    names: tuple[str, ...]
    rising: bool
    relative: float = 0.0
    absolute: float = 0.0
    level: float | None = None

    @property
    def timed(self) -> bool:
        """Whether it judges times, which compare only on the same hardware."""
        known = (FIGURES.get(name) or PERFORMANCE_FIGURES.get(name) for name in self.names)
        return any(figure.timed for figure in known if figure)

    @property
    def needs_baseline(self) -> bool:
        """Whether it compares two runs; the figures of one run are judged by themselves."""
        return not all(name in RUN_FIGURES for name in self.names)

    @property
    def per_picture(self) -> bool:
        """Whether it holds for each picture by itself, and not for the mean of all."""
        return all(name in PER_PICTURE for name in self.names)

    def limit(self, before: float) -> float:
        """The figure that is still allowed, given the baseline's."""
        if self.level is not None:
            return self.level
        allowance = max(self.relative * before, self.absolute)
        return before + allowance if self.rising else before - allowance


def judge_times(bounds: Iterable[Bound]) -> bool:
    """Whether any of these bounds judges times."""
    return any(bound.timed for bound in bounds)


def names_run_figure(text: str) -> bool:
    """Whether a bound, as it is typed, is on a figure of one run, which needs no baseline."""
    return text.partition(":")[0].strip().lower() in RUN_FIGURES


def parse_bound(text: str) -> Bound:
    """The bound in a text such as ``p50:20%`` (of every stage) or ``caption.p50:20%,0.5s``.

    Raises:
        ValueError: the text is not a bound; the message says what to type.
    """
    match = _SPEC.fullmatch(text.strip().lower())
    if match is None:
        message = f"{text!r} is not a bound: type FIGURE:LIMIT, such as {EXAMPLES}"
        raise ValueError(message)
    if match["name"] in {*RUN_FIGURES, *SIMILARITIES, *PER_PICTURE}:
        return _level_bound(text.strip(), match["name"], match["limits"])
    if match["name"] in PERFORMANCE_FIGURES:
        name = match["name"]
        return _bound(text.strip(), (name,), PERFORMANCE_FIGURES[name], match["limits"])
    # "p50" stands for caption.p50, keywords.p50, description.p50 and image.p50.
    figures = {name: figure for name, figure in FIGURES.items() if match["name"] in {name, figure.short}}
    if not figures:
        message = f"{text!r}: {_unknown(match['name'])}"
        raise ValueError(message)
    figure = next(iter(figures.values()))
    return _bound(text.strip(), tuple(figures), figure, match["limits"])


def _unknown(name: str) -> str:
    """What is wrong with the name of a figure, and which there are."""
    own = dict.fromkeys(figure.short for figure in FIGURES.values())
    shorts = [*own, *RUN_FIGURES, *PERFORMANCE_FIGURES]
    known = (
        f"the figures are {', '.join(shorts)}; "
        "of one stage as in caption.p50, of whole images image.mean, image.p50 and image.p95, "
        f"of each picture {', '.join(PER_PICTURE)}"
    )
    if name.endswith(".each") and name.removesuffix(".each") in {*shorts, *FIGURES}:
        return f".each exists only for {', '.join(SIMILARITIES)}; {known}"
    names = [*shorts, *FIGURES, *SIMILARITIES, *PER_PICTURE]
    # Of short names, half the others are similar: p51 is as near to p95 as to p50.
    meant = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return "; ".join([f"unknown figure {name!r}", *(f"did you mean {word}?" for word in meant), known])


def _bound(text: str, names: tuple[str, ...], figure: AnyFigure, limits: str) -> Bound:
    shares: list[float] = []
    amounts: list[float] = []
    for number, unit in _limits(text, figure, limits):
        (shares if unit == "%" else amounts).append(number)
    if len(shares) > 1 or len(amounts) > 1:
        message = f"{text!r}: type at most one relative limit (20%) and one absolute limit, after a comma"
        raise ValueError(message)
    rising = _is_rising(text, figure, [*shares, *amounts])
    relative, absolute = (abs(limit[0]) if limit else 0.0 for limit in (shares, amounts))
    if not rising and relative >= 1:  # such a bound could never be broken
        message = f"{text!r}: a figure cannot fall by 100 % or more"
        raise ValueError(message)
    return Bound(text, names, rising, relative, absolute)


def _level_bound(text: str, name: str, limits: str) -> Bound:
    """The bound on a figure whose lowest value that is accepted is given, or the highest one."""
    run_figure = RUN_FIGURES.get(name)
    rising = run_figure is not None and not run_figure.higher_is_better
    level = _level(limits)
    if level is None:
        side = "highest" if rising else "lowest"
        message = f"{text!r}: type the {side} value that is acceptable, from 0 to 1, such as {name}:0.6"
        raise ValueError(message)
    return Bound(text, (name,), rising=rising, level=level)


def _level(limits: str) -> float | None:
    """A level from 0 to 1, typed as a share or in percent; None for anything else."""
    match = _LIMIT.fullmatch(limits.strip())
    if match is None or match["unit"] in {"s", "ms"}:
        return None
    level = float(match["number"]) / (100 if match["unit"] else 1)
    return level if 0 <= level <= 1 else None


def _limits(text: str, figure: AnyFigure, limits: str) -> Iterator[tuple[float, str]]:
    """Each limit of a bound: a share and ``%``, or an amount in the figure's unit and an empty text."""
    for part in limits.split(","):
        match = _LIMIT.fullmatch(part.strip())
        if match is None:
            message = f"{text!r}: {part.strip()!r} is not a limit; type one such as 20%, 0.5s or 300ms"
            raise ValueError(message)
        number, unit = float(match["number"]), match["unit"] or ""
        if unit == "%":
            yield number / 100, "%"
        # A number without a unit is ambiguous for times: 0.5 might mean seconds or a share.
        elif (unit in {"s", "ms"}) != (figure.unit == "s"):
            message = f"{text!r}: {figure.short} is in {figure.unit}; type {figure.example}"
            raise ValueError(message)
        else:
            yield number / 1000 if unit == "ms" else number, ""


def _is_rising(text: str, figure: AnyFigure, limits: list[float]) -> bool:
    """Whether the bound judges a rise; a minus sign before its limits means a fall."""
    signs = {limit < 0 for limit in limits}
    falling = signs == {True}
    if len(signs) > 1:
        message = f"{text!r}: the two limits of a bound need the same sign"
        raise ValueError(message)
    if figure.worsening is Worsening.RISE and falling:
        message = f"{text!r}: {figure.short} is worse when it rises; type {figure.example}"
        raise ValueError(message)
    if figure.worsening is Worsening.FALL and not falling:
        message = f"{text!r}: {figure.short} is worse when it falls; type {figure.example}"
        raise ValueError(message)
    return not falling
