"""How sure a figure is: its standard error, and Student's t.

The noise of a figure has two sources. Images differ in how they changed: they are resampled. And a
machine is faster at one time than at another, for seconds and for minutes, which moves all figures in
time. How much, the scatter from sample to sample tells; it is not divided by how many there are, because
all of them share what the machine did in those minutes. With fewer than ``ENOUGH_SAMPLES`` it cannot be
seen, and is assumed. ``benchmarks.regression`` measures how often a verdict is wrong.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 6; drawing one less than
there are makes the variance unbiased for a mean (Hesterberg, What Teachers Should Know About the
Bootstrap, 2015, section 3.2); degrees of freedom after Welch (1947) and Satterthwaite (1946).
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CONFIDENCE: Final = 0.99
"""One-sided: how sure it must be that a bound is broken."""
ENOUGH_SAMPLES: Final = 4
ASSUMED_DRIFT: Final = 0.15
"""Of a logarithm of times: about twice what one run differed from the next on two shared cores."""
RESAMPLES: Final = 200
SEED: Final = 1
Cell = TypeVar("Cell")


@dataclass(frozen=True, slots=True)
class Spread:
    """The standard error of a figure, in the figure's own unit, and its degrees of freedom."""

    error: float
    freedom: float

    @property
    def margin(self) -> float:
        """How far off the true figure is at most, on either side, with ``CONFIDENCE``."""
        return t_quantile(CONFIDENCE, self.freedom) * self.error if self.error else 0.0


UNKNOWN: Final = Spread(math.inf, 1.0)


def spread(
    cells: Mapping[tuple[str, int], Cell],
    figure: Callable[[Sequence[Cell]], float],
    *,
    drift: float | None = 0.0,
) -> Spread:
    """The spread of a figure of cells, each of one image and one of its samples.

    Args:
        cells: what the figure is made of.
        figure: makes it, of times as a logarithm.
        drift: how much the machine's speed moves it, as a standard deviation; None takes that from the
            samples, or assumes ``ASSUMED_DRIFT`` where they are too few.

    Of one image nothing is known, but for its drift: the error is infinite where that is not seen.
    """
    images = sorted({image for image, _ in cells})
    samples = sorted({sample for _, sample in cells})
    seen = drift is None and len(samples) >= ENOUGH_SAMPLES
    if len(images) == 1 and not seen:
        return UNKNOWN
    sources: list[tuple[float, float]] = []
    if len(images) > 1:
        by_image = [[cells[image, one] for one in samples if (image, one) in cells] for image in images]
        sources.append((_resampled(by_image, figure), len(images) - 1))
    if seen:
        by_sample = [[cells[image, one] for image in images if (image, one) in cells] for one in samples]
        sources.append((statistics.variance(map(figure, by_sample)), len(samples) - 1))
    else:
        sources.append(((ASSUMED_DRIFT if drift is None else drift) ** 2, math.inf))
    total = sum(variance for variance, _ in sources)
    if total == 0:
        return Spread(0.0, 1.0)
    shares = sum(variance**2 / free for variance, free in sources)
    return Spread(math.sqrt(total), total**2 / shares if shares else math.inf)


def t_quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t, within 3 % from two degrees of freedom on.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def _resampled(groups: Sequence[Sequence[Cell]], figure: Callable[[Sequence[Cell]], float]) -> float:
    """The variance of the figure when groups are drawn at random, one less than there are."""
    chance = random.Random(SEED)
    figures = []
    for _ in range(RESAMPLES):
        drawn = chance.choices(groups, k=len(groups) - 1)
        figures.append(figure([cell for group in drawn for cell in group]))
    return statistics.variance(figures)
