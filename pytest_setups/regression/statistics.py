"""How sure a figure is: its standard error, and Student's t.

The noise of a figure has two sources. Images differ in how they changed: they are resampled. And a
machine is faster at one time than at another, for seconds and for minutes, which moves figures in time.
How much, the figure's scatter tells: from sample to sample, or with fewer than ``ENOUGH_SAMPLES`` from
image to image. That scatter is not divided by how many there are, because all of them share what the
machine did in those minutes. So a figure is rather too little sure than too much;
``benchmarks.regression`` measures both.

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
        """Half of the interval: with ``CONFIDENCE`` the true figure is not farther off on one side."""
        return t_quantile(CONFIDENCE, self.freedom) * self.error if self.error else 0.0


UNKNOWN: Final = Spread(math.inf, 1.0)


def spread(
    cells: Mapping[tuple[str, int], Cell], figure: Callable[[Sequence[Cell]], float], *, timed: bool
) -> Spread:
    """The spread of a figure of cells, each of one image and one of its samples; ``timed`` in time.

    Of fewer than two images nothing is known: the error is infinite.
    """
    images = sorted({image for image, _ in cells})
    samples = sorted({sample for _, sample in cells})
    if len(images) < 2:  # noqa: PLR2004  # one image has no spread
        return UNKNOWN
    by_image = [[cells[image, one] for one in samples if (image, one) in cells] for image in images]
    sources = [(_resampled(by_image, figure), len(images) - 1)]
    if timed:
        by_sample = [[cells[image, one] for image in images if (image, one) in cells] for one in samples]
        units = by_sample if len(samples) >= ENOUGH_SAMPLES else by_image
        sources.append((statistics.variance(map(figure, units)), len(units) - 1))
    total = sum(variance for variance, _ in sources)
    if total == 0:
        return Spread(0.0, float(len(images) - 1))
    return Spread(math.sqrt(total), total**2 / sum(variance**2 / free for variance, free in sources))


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
    chance = random.Random(SEED)  # noqa: S311  # no cryptography: the same verdict for the same figures
    figures = []
    for _ in range(RESAMPLES):
        drawn = chance.choices(groups, k=len(groups) - 1)
        figures.append(figure([cell for group in drawn for cell in group]))
    return statistics.variance(figures)
