"""Sampling beside a run: a thread that wakes at most ten times a second, and reads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_S: Final = 0.1
"""The client shares its processor with this thread: what is read takes a small part of a millisecond."""
STOP_WITHIN_S: Final = 5.0


class Ticker(Protocol):
    """When to sample."""

    def wait(self) -> bool:
        """Wait for the next moment; False when there is none any more."""

    def stop(self) -> None:
        """End the waiting, now and later."""


class PeriodicTicker:
    """A moment every so many seconds, after the work of the last one."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._stopped = threading.Event()

    def wait(self) -> bool:
        """Wait for a period."""
        return not self._stopped.wait(self._period_s)

    def stop(self) -> None:
        """End the waiting."""
        self._stopped.set()


class Sampler:
    """Calls a function at the start, at every tick, and at the end."""

    def __init__(self, sample: Callable[[], None], ticker: Ticker) -> None:
        self._sample = sample
        self._ticker = ticker
        # A driver that hangs must not keep the run from ending.
        self._thread = threading.Thread(target=self._run, name="setups-sampler", daemon=True)

    def start(self) -> None:
        """Sample now and from now on."""
        self._sample()
        self._thread.start()

    def stop(self) -> bool:
        """Sample once more and end; False where reading hangs, and nothing of it can be used."""
        self._ticker.stop()
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            return False
        self._sample()
        return True

    def _run(self) -> None:
        while self._ticker.wait():
            self._sample()
