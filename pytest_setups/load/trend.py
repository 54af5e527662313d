"""Whether memory or latency rises from image to image: the slope, and an interval that holds it.

The first quarter of the images is left out: caches, pools and lazily loaded code fill meanwhile. What is left
is cut into ``BLOCKS`` blocks of consecutive images, because neighbours are alike: noise lasts longer than an
image, and only what happens again in block after block is evidence.

Memory and latency have different noise, and so different slopes:

- **Memory** keeps its steps: an allocator or a cache that takes 200 MiB once has risen for good, and a
  straight line through that step has a slope. So the differences from block to block are averaged, without
  the largest and the smallest, and their scatter is the uncertainty (Yuen, The two-sample trimmed t for
  unequal population variances, Biometrika 61, 1974). A block counts by its floor, what remains between
  garbage collections and below the buffers of requests under way.
- **Latency** returns to its level, so that a straight line through all images is the most exact estimate.
  It is fitted to logarithms, each picture compared only with itself; the uncertainty adds up the noise of
  whole blocks (Bester, Conley and Hansen, Inference with dependent data using cluster covariance
  estimators, Journal of Econometrics 165, 2011). A step of latency, such as another user's load, has a
  slope then: a rise is sustained only where both halves rise as well.

``benchmarks.soak`` measures how often either is wrong.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from pytest_setups.regression.statistics import t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

T = TypeVar("T")
CONFIDENCE: Final = 0.99
"""That the slope is in the interval: of 200 steady servers, one has its interval above zero."""
WARM_UP_SHARE: Final = 0.25
BLOCKS: Final = 12
FEWEST_IMAGES: Final = 40
"""With fewer, a block has less than three images."""
_TRIMMED: Final = 2
"""Differences that are left out at either end: so many blocks may have a step."""
_FLOOR: Final = 10
"""Percent of a block's readings that may lie below its floor: one reading in a restart is no floor."""
_SUSTAINED_MEMORY: Final = 0.5
"""How steep the flatter half must be beside the other: a cache that fills rises ever more slowly."""
_SUSTAINED_LATENCY: Final = 0.3
"""How steep each half must be beside the whole; halves of latencies are noisy."""
_VISITS: Final = 3
"""Times that pictures were asked for on average, from which on each is compared with itself."""
_OUTLIER: Final = 4.0
"""Standard deviations, from the median deviation, to which an answer's deviation is cut."""
_MAD_OF_NORMAL: Final = 0.6745
_TAIL: Final = (1 + CONFIDENCE) / 2


class HeldMemory(NamedTuple):
    """Bytes after so many images."""

    image: int
    size: int


class ImageLatency(NamedTuple):
    """Seconds of an image, which of the run's images it was, and the picture it shows."""

    image: int
    picture: Hashable
    seconds: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The change from one image to the next, in bytes or as a share of the latency.

    Attributes:
        slope: the estimate.
        low: the lower end of the interval.
        high: the upper end.
        images: over how many images.
        sustained: whether both halves rise like the whole.
    """

    slope: float
    low: float
    high: float
    images: int
    sustained: bool

    @property
    def proved_rise(self) -> float:
        """How much the images rose at least, zero where no rise is proved."""
        return self.low * self.images if self.low > 0 and self.sustained else 0.0


def left_out(images: int) -> int:
    """How many of the first images are left out."""
    return math.ceil(WARM_UP_SHARE * images)


def memory_trend(readings: Sequence[HeldMemory], images: int) -> Trend | None:
    """The trend of memory in bytes per image, None for fewer than ``FEWEST_IMAGES`` images or readings."""
    judged = [reading for reading in readings if reading.image > left_out(images)]
    if images < FEWEST_IMAGES or len(judged) < 2 * BLOCKS:
        return None
    blocks = [
        (statistics.fmean(reading.image for reading in block), _floor([reading.size for reading in block]))
        for block in _blocks(judged)
    ]
    steps = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(blocks)]
    slope, margin = _trimmed(steps)
    middle = len(steps) // 2
    halves = [statistics.median(half) for half in (steps[:middle], steps[middle:])]
    return Trend(
        slope=slope,
        low=slope - margin,
        high=slope + margin,
        images=judged[-1].image - judged[0].image + 1,
        sustained=min(halves) >= _SUSTAINED_MEMORY * max(halves),
    )


def latency_trend(latencies: Sequence[ImageLatency], images: int) -> Trend | None:
    """The trend of latency as a share per image, None for fewer than ``FEWEST_IMAGES`` images."""
    judged = [latency for latency in latencies if latency.image > left_out(images) and latency.seconds > 0]
    if images < FEWEST_IMAGES or len(judged) < 2 * BLOCKS:
        return None
    pictures = {latency.picture for latency in judged}
    by_picture = len(judged) >= _VISITS * len(pictures)
    points = [
        _Point(latency.image, latency.picture if by_picture else None, math.log(latency.seconds))
        for latency in judged
    ]
    slope, error = _fit(points)
    margin = t_quantile(_TAIL, BLOCKS - 1) * error
    middle = len(points) // 2
    halves = [_fit(half)[0] for half in (points[:middle], points[middle:])]
    return Trend(
        slope=slope,
        low=slope - margin,
        high=slope + margin,
        images=judged[-1].image - judged[0].image + 1,
        sustained=min(halves) >= _SUSTAINED_LATENCY * slope,
    )


class _Point(NamedTuple):
    """A value at an image; values of one group are compared with each other."""

    x: float
    group: Hashable
    y: float


def _fit(points: Sequence[_Point]) -> tuple[float, float]:
    """The slope of a line through points, each group at its own height, and its standard error."""
    # Twice: an answer is an outlier only beside the line.
    slope = _slope(points)
    deviations = _centred(points, lambda point: point.y - slope * point.x)
    spread = statistics.median(map(abs, deviations)) / _MAD_OF_NORMAL
    limit = _OUTLIER * spread if spread > 0 else math.inf
    cut = [
        point._replace(y=point.y - deviation + max(-limit, min(limit, deviation)))
        for point, deviation in zip(points, deviations, strict=True)
    ]
    slope = _slope(cut)
    xs = _centred(cut, lambda point: point.x)
    noise = _centred(cut, lambda point: point.y - slope * point.x)
    products = [x * deviation for x, deviation in zip(xs, noise, strict=True)]
    variance = sum(sum(block) ** 2 for block in _blocks(products)) * BLOCKS / (BLOCKS - 1)
    return slope, math.sqrt(variance) / sum(x * x for x in xs)


def _slope(points: Sequence[_Point]) -> float:
    xs, ys = _centred(points, lambda point: point.x), _centred(points, lambda point: point.y)
    squares = sum(x * x for x in xs)
    return sum(x * y for x, y in zip(xs, ys, strict=True)) / squares if squares else 0.0


def _centred(points: Sequence[_Point], value: Callable[[_Point], float]) -> list[float]:
    """Values without the mean of their group."""
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for point in points:
        groups[point.group].append(value(point))
    means = {group: statistics.fmean(values) for group, values in groups.items()}
    return [value(point) - means[point.group] for point in points]


def _blocks(values: Sequence[T]) -> list[Sequence[T]]:
    """The values in ``BLOCKS`` parts of equal length, as far as that is possible."""
    ends = [len(values) * number // BLOCKS for number in range(BLOCKS + 1)]
    return [values[start:end] for start, end in pairwise(ends)]


def _floor(sizes: Sequence[int]) -> int:
    return sorted(sizes)[len(sizes) * _FLOOR // 100]


def _trimmed(steps: Sequence[float]) -> tuple[float, float]:
    """The mean of differences without the largest and the smallest, and the margin of its interval."""
    ordered = sorted(steps)
    kept = ordered[_TRIMMED:-_TRIMMED]
    winsorised = [max(kept[0], min(kept[-1], step)) for step in steps]
    error = statistics.stdev(winsorised) * math.sqrt(len(steps)) / len(kept)
    return statistics.fmean(kept), t_quantile(_TAIL, len(kept) - 1) * error
