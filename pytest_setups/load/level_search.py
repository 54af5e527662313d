"""Which numbers of images at once are measured: given ones, or doubled until more gain nothing.

Pure: what measures a level is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_setups.config.load_values import MOST_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_setups.config.load_values import ServiceLevel
    from pytest_setups.registry.load_records import CapacityLevel

LEAST_GAIN: Final = 0.05
"""Of a doubling: less is no growth. The knee is the least level that lacks no more than this."""
FINENESS: Final = 8
"""Between two levels that differ by less than this part of the higher one, no third is measured."""


@dataclass(slots=True)
class LevelSearch:
    """The search for the knee, and for the largest level that keeps a service level.

    Args:
        measure: measures one level.
        given: the levels to measure and no others; empty to search for them.
        slo: what is to be kept.
    """

    measure: Callable[[int], CapacityLevel]
    given: Sequence[int] = ()
    slo: ServiceLevel | None = None
    measured: dict[int, CapacityLevel] = field(default_factory=dict)

    def run(self) -> Iterator[CapacityLevel]:
        """Measure levels, each returned as soon as it is; none after one at which images failed."""
        for at_once in sorted(set(self.given)) or _doublings():
            yield self._measure(at_once)
            if self._is_over(at_once):
                break
        if not self.given:
            yield from self._refine_knee()
            yield from self._refine_slo()

    def _measure(self, at_once: int) -> CapacityLevel:
        self.measured[at_once] = self.measure(at_once)
        return self.measured[at_once]

    def _is_over(self, at_once: int) -> bool:
        level, before = self.measured[at_once], self.measured.get(at_once // 2)
        if not is_sound(level):
            return True
        if self.given or before is None:
            return False
        if self.slo is not None and self.slo.is_kept(level):
            return False  # the largest level that keeps it is still to come
        return rate(level) < rate(before) * (1 + LEAST_GAIN)

    def _refine_knee(self) -> Iterator[CapacityLevel]:
        most = max(map(rate, self.measured.values()), default=0.0)
        enough = most * (1 - LEAST_GAIN)
        knee = knee_of(list(self.measured.values()))
        if knee is not None:
            below = max((level for level in self.measured if level < knee.at_once), default=None)
            yield from self._between(below, knee.at_once, lambda level: rate(level) < enough)

    def _refine_slo(self) -> Iterator[CapacityLevel]:
        slo = self.slo
        if slo is None:
            return
        levels = sorted(self.measured.values(), key=lambda level: level.at_once)
        kept = [level.at_once for level in levels if is_sound(level) and slo.is_kept(level)]
        broken = [
            level.at_once
            for level in levels
            if is_sound(level) and not slo.is_kept(level) and level.at_once > max(kept, default=0)
        ]
        if kept and broken:
            yield from self._between(max(kept), min(broken), slo.is_kept)

    def _between(
        self, low: int | None, high: int, is_low: Callable[[CapacityLevel], bool]
    ) -> Iterator[CapacityLevel]:
        """Halve the distance of two levels, of which the lower is low and the higher is not."""
        while low is not None and high - low > max(1, high // FINENESS):
            middle = (low + high) // 2
            level = self.measured.get(middle)
            if level is None:
                level = self._measure(middle)
                yield level
            if not is_sound(level):
                return
            low, high = (middle, high) if is_low(level) else (low, middle)


def knee_of(levels: Sequence[CapacityLevel]) -> CapacityLevel | None:
    """The least level whose throughput lacks at most ``LEAST_GAIN`` of the greatest; None without any."""
    sound = [level for level in levels if is_sound(level)]
    most = max(map(rate, sound), default=0.0)
    enough = [level for level in sound if rate(level) >= most * (1 - LEAST_GAIN)]
    return min(enough, key=lambda level: level.at_once, default=None)


def kept_level(levels: Sequence[CapacityLevel], slo: ServiceLevel) -> CapacityLevel | None:
    """The largest level that keeps a service level, None where none does."""
    kept = [level for level in levels if is_sound(level) and slo.is_kept(level)]
    return max(kept, key=lambda level: level.at_once, default=None)


def is_sound(level: CapacityLevel) -> bool:
    """Whether every image of a level was answered, and its throughput is known."""
    return not level.failures and level.images_per_s is not None


def rate(level: CapacityLevel) -> float:
    """Images per second, zero where that is not known."""
    return level.images_per_s or 0.0


def _doublings() -> Iterator[int]:
    at_once = 1
    while at_once <= MOST_AT_ONCE:
        yield at_once
        at_once *= 2
