"""Energy out of the readings of one sensor, and the readings that cannot be true.

A device that is switched on always draws some power, and never much more than its limit for longer than the
fraction of a second. A sensor that says otherwise gives no figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.load.power_sensors import Quantity, SensorError

if TYPE_CHECKING:
    from pytest_setups.load.power_sensors import PowerSensor

WINDOW_S: Final = 2.0
"""Over which a counter must advance, by no more than the device can draw: NVML's advances every 0.1 s."""
MIN_SPAN_S: Final = 2.0
"""The energy of a shorter span is not known to 5 %: counters advance every 0.1 s, NVML's watts are of 1 s."""
MAX_GAP_S: Final = 2.0
"""Between two readings of watts; what was drawn in a longer time is not known."""
TOLERANCE: Final = 1.5
"""Times the limit: boards exceed theirs for moments."""
UNLIMITED_W: Final = 2000.0
"""The limit of a device that states none: more than any GPU or processor of one socket draws."""


class EnergyIntegral:
    """The energy of one sensor, from its first reading to its last.

    Counters count by themselves, between readings too; watts are integrated with the trapezoid rule. The
    first reading that cannot be true ends it.
    """

    def __init__(self, sensor: PowerSensor) -> None:
        self.sensor = sensor
        self._limit = TOLERANCE * (sensor.limit_w or UNLIMITED_W)
        self._first_s: float | None = None
        self._last_s = 0.0
        self._last_value = 0.0
        self._joules = 0.0
        self._window_s = 0.0
        self._window_joules = 0.0
        self._fault: str | None = None

    def sample(self, now: float) -> None:
        """Take a reading; ``now`` is its time in seconds."""
        if self._fault is not None:
            return
        try:
            self._add(now, self.sensor.read())
        except SensorError as error:
            self._fault = str(error)

    @property
    def joules(self) -> float:
        """The energy of the span.

        Raises:
            SensorError: it is not known; the message says why.
        """
        if self._fault is None:
            self._fault = self._implausible(self._joules, self._last_s - (self._first_s or 0.0))
        if self._fault is not None:
            raise SensorError(self._fault)
        return self._joules

    def _add(self, now: float, value: float) -> None:
        if self.sensor.quantity is Quantity.POWER:
            self._check_power(value)
        if self._first_s is None:
            self._first_s = self._window_s = now
        else:
            self._joules += self._advance(now - self._last_s, value)
        self._last_s, self._last_value = now, value
        if now - self._window_s >= WINDOW_S:
            self._check_window(now)

    def _advance(self, seconds: float, value: float) -> float:
        """The energy since the last reading."""
        if self.sensor.quantity is Quantity.POWER:
            if seconds > MAX_GAP_S:
                message = f"no reading for {seconds:.1f} s"
                raise SensorError(message)
            return seconds * (self._last_value + value) / 2
        advance = value - self._last_value
        if advance < 0 and self.sensor.range_j is not None:
            advance += self.sensor.range_j
        if advance < 0:
            message = f"its counter went back by {-advance:.1f} J"
            raise SensorError(message)
        return advance

    def _check_power(self, watts: float) -> None:
        if watts <= 0:
            message = "it reports a power of 0 W, which no device that is switched on draws"
            raise SensorError(message)
        if watts > self._limit:
            raise SensorError(self._too_much(watts))

    def _check_window(self, now: float) -> None:
        fault = self._implausible(self._joules - self._window_joules, now - self._window_s)
        if fault is not None:
            raise SensorError(fault)
        self._window_s, self._window_joules = now, self._joules

    def _implausible(self, joules: float, seconds: float) -> str | None:
        if joules <= 0:
            return f"its counter stood still for {seconds:.1f} s, while every device draws power"
        watts = joules / seconds
        return self._too_much(watts) if watts > self._limit else None

    def _too_much(self, watts: float) -> str:
        known = self.sensor.limit_w
        limit = f"its limit is {known:.0f} W" if known else f"no device draws {UNLIMITED_W:.0f} W"
        return f"it reports {watts:.0f} W, and {limit}"
