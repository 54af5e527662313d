"""The figures of one level of a load, from the time in which it was steady.

At the beginning all images are begun in the same moment, and at the end fewer and fewer are under way. Only
the time between counts: from the moment when as many images have ended as are tagged at once, to the moment
when there is no more image to begin. An image that is in this time only in part counts for that part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.performance import percentile
from pytest_setups.regression.statistics import Uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.load.image_load import ImageTiming

FEWEST_IMAGES: Final = 4
"""With fewer, the scatter of their times says nothing."""


@dataclass(frozen=True, slots=True)
class SteadyWindow:
    """The steady time of one round of a load.

    Attributes:
        seconds: how long it was.
        images: how many images were tagged in it, with the parts of those at its ends.
        image_seconds: the seconds of each image that ended in it.
    """

    seconds: float
    images: float
    image_seconds: Sequence[float]


def steady_window(timings: Sequence[ImageTiming], at_once: int) -> SteadyWindow | None:
    """The steady time of a round, whose timings are in the order of their ends; None where there was none."""
    if len(timings) <= at_once:
        return None
    begin, last_begun = timings[at_once - 1].ended, max(timing.begun for timing in timings)
    # The thread whose image ends next has no other image to begin.
    end = next((timing.ended for timing in timings if timing.ended > last_begun), begin)
    if end <= begin:
        return None
    answered = [timing for timing in timings if timing.fault is None]
    return SteadyWindow(
        seconds=end - begin,
        images=sum(_share_inside(timing, begin, end) for timing in answered),
        image_seconds=[timing.seconds for timing in answered if begin < timing.ended <= end],
    )


def images_per_s(windows: Sequence[SteadyWindow]) -> float | None:
    """The throughput in all these windows, None where there is none."""
    seconds = sum(window.seconds for window in windows)
    return sum(window.images for window in windows) / seconds if seconds else None


def margin(windows: Sequence[SteadyWindow]) -> float | None:
    """How far the true throughput may be from the measured one, as a share of it; None where not known.

    As many images are under way at any time as are tagged at once, so the throughput is that number divided
    by the mean seconds of an image (Little's law), and as sure as that mean. The margin is that of a
    confidence of 99 % for independent images; those that are tagged at the same time are not quite
    independent, so that it holds with about 97 % on either side. It says nothing of a server that becomes
    slower later.
    """
    seconds = [value for window in windows for value in window.image_seconds]
    if len(seconds) < FEWEST_IMAGES:
        return None
    error = stdev(seconds) / math.sqrt(len(seconds)) / fmean(seconds)
    return Uncertainty(error, len(seconds) - 1).margin


def image_percentile(windows: Sequence[SteadyWindow], percent: int) -> float | None:
    """A percentile of the seconds of an image, None where none ended in the steady time."""
    seconds = [value for window in windows for value in window.image_seconds]
    return percentile(seconds, percent) if seconds else None


def _share_inside(timing: ImageTiming, begin: float, end: float) -> float:
    inside = min(timing.ended, end) - max(timing.begun, begin)
    return max(inside, 0.0) / max(timing.seconds, 1e-9)
