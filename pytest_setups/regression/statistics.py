"""How uncertain a figure is: its standard error, and the quantiles of Student's t distribution.

Two sources of noise are modelled:

- Images change by different amounts, so the images are resampled (a bootstrap).
- A machine is faster at some times than at others, for seconds or for minutes, and that moves every figure
  in time together. The scatter between samples measures this drift. It is not divided by the number of
  images, because all images of one sample share it. With fewer than ``ENOUGH_SAMPLES`` samples it cannot be
  measured, and ``ASSUMED_DRIFT`` is used.

``benchmarks.regression`` measures how often a verdict is wrong.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 6; drawing one image less
than there are makes the variance of a mean unbiased (Hesterberg, What Teachers Should Know About the
Bootstrap, 2015, section 3.2); degrees of freedom after Welch (1947) and Satterthwaite (1946).
"""

from __future__ import annotations

import math
import random
import statistics
from array import array
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
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
class Uncertainty:
    """The standard error of a figure, in the figure's own unit, and its degrees of freedom."""

    standard_error: float
    degrees_of_freedom: float

    @property
    def margin(self) -> float:
        """The largest distance to the true figure, on either side, with ``CONFIDENCE``."""
        if self.standard_error == 0:
            return 0.0
        return t_quantile(CONFIDENCE, self.degrees_of_freedom) * self.standard_error


UNKNOWN: Final = Uncertainty(math.inf, 1.0)


@dataclass(frozen=True, slots=True)
class _Variance:
    """What one source of noise adds to the variance of a figure."""

    value: float
    degrees_of_freedom: float


def estimate_uncertainty(
    cells: Mapping[tuple[str, int], Cell],
    figure: Callable[[Sequence[Cell]], float],
    *,
    drift: float | None = 0.0,
) -> Uncertainty:
    """The uncertainty of a figure.

    Args:
        cells: what the figure is computed from, by image name and sample number.
        figure: computes it from cells; of times, its logarithm.
        drift: the standard deviation that the machine's changing speed adds to the figure. None: it is
            measured between the samples, or ``ASSUMED_DRIFT`` where there are fewer than ``ENOUGH_SAMPLES``.

    Returns:
        ``UNKNOWN`` for a single image, unless the drift is measured: one image does not show how much
        images differ.
    """
    by_image, by_sample = (_grouped(cells, position) for position in (0, 1))
    drift_is_measured = drift is None and len(by_sample) >= ENOUGH_SAMPLES
    if len(by_image) == 1 and not drift_is_measured:
        return UNKNOWN
    sources = []
    if len(by_image) > 1:  # a single image cannot be resampled; its drift alone is then the noise
        sources.append(_Variance(_bootstrap_variance(by_image, figure), len(by_image) - 1))
    if drift_is_measured:
        sources.append(_Variance(statistics.variance(map(figure, by_sample)), len(by_sample) - 1))
    else:
        sources.append(_Variance((ASSUMED_DRIFT if drift is None else drift) ** 2, math.inf))
    return _combined(sources)


def t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """The quantile of Student's t distribution, for probabilities above 0.5 and 1 or more degrees of freedom.

    Exact for 1, 2 and 4 degrees, whose quantiles have closed forms (Shaw, Sampling Student's T distribution,
    Journal of Computational Finance 9 (4), 2006, section 3). Between them too large by up to 4 %, never too
    small: the logarithm of the quantile is a convex function of 1/degrees, so a chord lies above it. From 4
    degrees on the expansion 26.7.5 of Abramowitz and Stegun, Handbook of Mathematical Functions (1964), is
    within 0.3 % up to a probability of 0.995.
    """
    if degrees_of_freedom < 2:
        return _on_chord(degrees_of_freedom, (1, _t_quantile_1(probability)), (2, _t_quantile_2(probability)))
    if degrees_of_freedom <= 4:
        return _on_chord(degrees_of_freedom, (2, _t_quantile_2(probability)), (4, _t_quantile_4(probability)))
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees_of_freedom**power for power, term in enumerate(terms, start=1))


def _t_quantile_1(probability: float) -> float:
    return math.tan(math.pi * (probability - 0.5))


def _t_quantile_2(probability: float) -> float:
    return (2 * probability - 1) / math.sqrt(2 * probability * (1 - probability))


def _t_quantile_4(probability: float) -> float:
    root = math.sqrt(4 * probability * (1 - probability))
    return 2 * math.sqrt(math.cos(math.acos(root) / 3) / root - 1)


def _on_chord(degrees: float, low: tuple[float, float], high: tuple[float, float]) -> float:
    """The value at ``degrees`` between two (degrees, quantile): linear in 1/degrees and the logarithm."""
    (low_degrees, low_quantile), (high_degrees, high_quantile) = low, high
    weight = (1 / degrees - 1 / high_degrees) / (1 / low_degrees - 1 / high_degrees)
    return float(low_quantile**weight * high_quantile ** (1 - weight))


def _grouped(cells: Mapping[tuple[str, int], Cell], position: int) -> list[list[Cell]]:
    """The cells by image (position 0) or by sample (1), in a fixed order so that a seed repeats."""
    groups: dict[str | int, list[Cell]] = defaultdict(list)
    for place in sorted(cells):
        groups[place[position]].append(cells[place])
    return [group for _, group in sorted(groups.items())]


def _bootstrap_variance(groups: Sequence[Sequence[Cell]], figure: Callable[[Sequence[Cell]], float]) -> float:
    """The variance of the figure over random draws of the groups, one group less than there are."""
    figures = []
    for places in _draws(len(groups)):
        drawn = map(groups.__getitem__, places)
        figures.append(figure(list(chain.from_iterable(drawn))))
    return statistics.variance(figures)


# Drawing takes as long as all the rest, and most figures are of the same images. 8 MB for 10,000 of them.
@lru_cache(maxsize=2)
def _draws(count: int) -> Sequence[array[int]]:
    """The places that are drawn of so many groups, for each of the resamples."""
    chance = random.Random(SEED)  # the same verdict for the same measurements
    # Whole images are drawn, with all their samples: the samples of one image are not independent.
    return [array("I", chance.choices(range(count), k=count - 1)) for _ in range(RESAMPLES)]


def _combined(sources: Sequence[_Variance]) -> Uncertainty:
    """The sum of independent variances, with its degrees of freedom after Welch and Satterthwaite."""
    total = sum(source.value for source in sources)
    if total == 0:  # the same figures twice
        return Uncertainty(0.0, 1.0)
    shares = sum(source.value**2 / source.degrees_of_freedom for source in sources)
    return Uncertainty(math.sqrt(total), total**2 / shares if shares else math.inf)
