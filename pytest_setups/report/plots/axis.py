"""Axes with round ticks, and the values along them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

# A server that answers faster is not timed by these plots; it also keeps the logarithm finite.
SHORTEST_S: Final = 0.001
# Longer numbers would not fit a phone.
MAX_STEP_WRITTEN_OUT: Final = 1e5


@dataclass(frozen=True, slots=True)
class Tick:
    """A round value of an axis: its label, and its distance from zero in percent of the axis."""

    label: str
    along: float


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis that begins at zero and has ``steps`` steps of ``step`` in its unit, which is seconds."""

    step: float
    steps: int
    unit: str = "s"

    @classmethod
    def up_to(cls, highest: float, *, max_steps: int, unit: str = "s") -> Axis:
        """The shortest axis that holds a value, with at most ``max_steps`` steps of 1, 2 or 5 times 10^n."""
        rough = max(highest, SHORTEST_S) / max_steps
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
        return cls(step, math.ceil(max(highest, SHORTEST_S) / step), unit)

    @property
    def ticks(self) -> list[Tick]:
        """Zero and the end of every step."""
        decimals = max(0, -math.floor(math.log10(self.step)))
        form = f".{decimals}f" if self.step < MAX_STEP_WRITTEN_OUT else "g"
        return [
            Tick(f"{self.step * number:{form}} {self.unit}", round(100 * number / self.steps, 2))
            for number in range(self.steps + 1)
        ]

    def along(self, value: float) -> float:
        """The distance of a value from zero, in percent of the axis."""
        return round(100 * min(1.0, max(0.0, value / (self.step * self.steps))), 2)

    def down(self, value: float) -> float:
        """The distance of a value from the top of an upright axis, in percent of the axis."""
        return round(100 - self.along(value), 2)


@dataclass(frozen=True, slots=True)
class Dot:
    """One value, and its tooltip."""

    across: float
    down: float
    title: str
