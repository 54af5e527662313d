"""How late this process runs when it is due: a client's own part in the latencies that it measures.

A thread asks to be woken every few milliseconds and sees how late that happens. The threads that send
requests and read answers are woken as late: the processors are taken by other programs, or the interpreter
lock (GIL) by other threads.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# 200 times a second costs half a percent of a processor.
TICK_S: Final = 0.005


@dataclass(slots=True)
class Delay:
    """The mean seconds that this process ran late during a request, None for one shorter than a tick."""

    mean_s: float | None = None


class DelayWatch:
    """Watches while requests are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._busy = threading.Event()
        self._late_s = 0.0
        self._ticks = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def during_request(self) -> Iterator[Delay]:
        """Watch while a request is under way; the delay is known afterwards."""
        delay = Delay()
        self._begin()
        late_s, ticks = self._late_s, self._ticks
        try:
            yield delay
        finally:
            seen = self._ticks - ticks
            delay.mean_s = (self._late_s - late_s) / seen if seen > 0 else None
            self._end()

    def _begin(self) -> None:
        with self._lock:
            self._under_way += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="setup-client-delay", daemon=True)
                self._thread.start()
        self._busy.set()

    def _end(self) -> None:
        with self._lock:
            self._under_way -= 1
            if not self._under_way:
                self._busy.clear()

    def _watch(self) -> None:
        while self._busy.wait():
            due = time.perf_counter() + TICK_S
            time.sleep(TICK_S)
            self._late_s += max(time.perf_counter() - due, 0.0)
            self._ticks += 1
