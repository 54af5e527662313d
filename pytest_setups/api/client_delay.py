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


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the watch has seen: ticks, how late they were in all, and how long others would have waited."""

    ticks: int = 0
    late_s: float = 0.0
    waits_s2: float = 0.0

    def with_tick(self, late_s: float) -> _Seen:
        """This, and one more tick."""
        return _Seen(self.ticks + 1, self.late_s + late_s, self.waits_s2 + late_s * late_s / 2)

    def since(self, before: _Seen) -> float | None:
        """The mean delay of what was due since then, in seconds, None without a tick.

        A thread is woken late by as much as a tick is. And in the midst of a stall, which is one tick however
        long it lasts, whatever arrives waits for its end: on average for half of it, in a part of the time
        that is as long as the stall (the "coordinated omission" of load generators).
        """
        ticks = self.ticks - before.ticks
        if not ticks:
            return None
        late_s = self.late_s - before.late_s
        return late_s / ticks + (self.waits_s2 - before.waits_s2) / (ticks * TICK_S + late_s)


class DelayWatch:
    """Watches while requests are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        # Counts the times without a request: what a tick has seen of them says nothing of any request.
        self._pauses = 0
        self._busy = threading.Event()
        self._seen = _Seen()
        self._due = 0.0
        self._thread: threading.Thread | None = None

    @contextmanager
    def during_request(self) -> Iterator[Delay]:
        """Watch while a request is under way; the delay is known afterwards."""
        delay = Delay()
        before = self._begin()
        try:
            yield delay
        finally:
            delay.mean_s = self._end().since(before)

    def _begin(self) -> _Seen:
        with self._lock:
            self._under_way += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="setup-client-delay", daemon=True)
                self._thread.start()
            if self._under_way == 1:
                self._due = time.perf_counter() + TICK_S
                self._busy.set()
            return self._seen

    def _end(self) -> _Seen:
        """What was seen up to now, with a tick that is overdue: what stops it may last for long."""
        with self._lock:
            self._under_way -= 1
            if not self._under_way:
                self._pauses += 1
                self._busy.clear()
            late_s = time.perf_counter() - self._due
            return self._seen.with_tick(late_s) if late_s > 0 else self._seen

    def _watch(self) -> None:
        while self._busy.wait():
            with self._lock:
                pauses, self._due = self._pauses, time.perf_counter() + TICK_S
            time.sleep(TICK_S)
            with self._lock:
                late_s = time.perf_counter() - self._due
                if self._pauses == pauses:
                    self._seen = self._seen.with_tick(max(late_s, 0.0))
