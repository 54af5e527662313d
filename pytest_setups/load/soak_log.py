"""What a soak has seen so far: failures, memory and latency of each image; and what follows from it."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from pytest_setups.load.trend import (
    CONFIDENCE,
    FEWEST_IMAGES,
    HeldMemory,
    ImageLatency,
    latency_trend,
    left_out,
    memory_trend,
)
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry_fields import MAX_FIGURE
from pytest_setups.registry.load_records import SoakLatencyRecord, SoakMemoryRecord, SoakRecord, SoakSeries
from pytest_setups.registry.measurement import NOT_ASKED_CHECK
from pytest_setups.serving.local.gpus import MIB
from pytest_setups.serving.local.listener import ListenerNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.load.host_caches import HostCache
    from pytest_setups.load.server_memory import ServerMemory
    from pytest_setups.load.trend import Trend
    from pytest_setups.tagging.outputs import Outcome

MOST_POINTS: Final = 200
FIRST_PROGRESS_S: Final = 10.0
PROGRESS_S: Final = 60.0
LEAK_PER_IMAGE: Final = 16 * 1024
"""Bytes from which on a rise matters: a library of 80,000 photographs would take 1.2 GiB."""
LEAK_IN_ALL: Final = 32 * MIB
"""Bytes that must be proved to have been taken: allocators and pools of buffers take some MiB at a time."""
SLOWER_IN_ALL: Final = 0.1
"""The share by which latency must be proved to have risen: one run of the same setup on the same machine
differs from the next by nearly as much (``ASSUMED_DRIFT`` in ``regression/statistics.py`` is twice
that)."""
MAX_QUOTE: Final = 200


@dataclass(slots=True)
class SoakLog:
    """Takes images as they are tagged.

    Attributes:
        memory: reads the memory of the server; None where it cannot be read.
        memory_reason: why there is no figure of memory.
        cache: a cache that the server fills meanwhile.
        ended_early: why the soak ended before its time.
        images: the number of images so far.
        failed: how many of them have an output that is not populated.
        server_fault: what the server did when it gave no answer, where the soak ended early.
        unanswered_in_a_row: the number of images since the last answer.
    """

    memory: ServerMemory | None
    memory_reason: str | None = None
    cache: HostCache | None = None
    ended_early: str | None = None
    images: int = 0
    failed: int = 0
    unanswered_in_a_row: int = 0
    server_fault: str | None = None
    _progress_due: float = FIRST_PROGRESS_S
    _started: float = field(default_factory=time.monotonic)
    _checks: Counter[str] = field(default_factory=Counter)
    _first_failure: str | None = None
    _last_fault: str | None = None
    _seconds: list[float] = field(default_factory=list)
    _readings: list[HeldMemory] = field(default_factory=list)
    _latencies: list[ImageLatency] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._read_memory()

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Take the judged outcomes of an image."""
        self.images += 1
        self._seconds.append(self.seconds)
        self._read_memory()
        latency = _image_seconds(outcomes)
        if latency is not None:
            self._latencies.append(ImageLatency(self.images, outcomes[0].sample.name, latency))
        is_unanswered = all(outcome.output is None for outcome in outcomes)
        self.unanswered_in_a_row = self.unanswered_in_a_row + 1 if is_unanswered else 0
        self._last_fault = next((outcome.server_fault for outcome in outcomes if outcome.server_fault), None)
        self._count_failures(outcomes)

    def end_early(self, reason: str) -> None:
        """The soak ends before its time."""
        self.ended_early, self.server_fault = reason, self._last_fault

    def is_progress_due(self) -> bool:
        """Whether the user is to be shown where the soak stands: at first soon, then every minute."""
        if self.seconds < self._progress_due:
            return False
        self._progress_due = self.seconds + PROGRESS_S
        return True

    @property
    def seconds(self) -> float:
        """Seconds since the soak began."""
        return time.monotonic() - self._started

    @property
    def memory_now_mib(self) -> float | None:
        """The last reading of the memory, None where there is none."""
        return _mib(self._readings[-1].size) if self._readings else None

    def record(self) -> SoakRecord:
        """What is known now, as an entry keeps it."""
        memory = memory_trend(self._readings, self.images)
        latency = latency_trend(self._latencies, self.images)
        too_few = None
        if self.images < FEWEST_IMAGES:
            too_few = f"a slope needs {FEWEST_IMAGES} images, and there are {self.images}"
        no_memory = self.memory_reason or (None if memory else too_few or "too few readings")
        return SoakRecord(
            reason=self.ended_early,
            duration_s=round(self._seconds[-1], 3) if self._seconds else 0.0,
            images=self.images,
            failed_images=self.failed,
            checks=dict(self._checks.most_common()) or None,
            first_failure=self._first_failure,
            left_out=left_out(self.images) if memory or latency else None,
            confidence=CONFIDENCE,
            memory=self._memory_record(memory if self.memory_reason is None else None),
            memory_reason=no_memory,
            latency=self._latency_record(latency),
            latency_reason=None if latency else too_few or "too few images were timed",
            series=self._series(),
        )

    def _read_memory(self) -> None:
        if self.memory is None:
            return
        try:
            self._readings.append(HeldMemory(self.images, self.memory.read()))
        except ListenerNotFoundError as error:
            self.memory, self.memory_reason = None, f"{error}, after {self.images} images"

    def _count_failures(self, outcomes: Sequence[Outcome]) -> None:
        failed = [outcome for outcome in outcomes if outcome.failures]
        if not failed:
            return
        self.failed += 1
        checks = [outcome.failures[0].check for outcome in failed]
        # A description that was not asked for follows from another failure.
        self._checks.update(check for check in checks if check != NOT_ASKED_CHECK)
        if self._first_failure is None:
            first, failure = failed[0], failed[0].failures[0]
            text = one_line(first.output.text, MAX_QUOTE) if first.output else ""
            quoted = f"; the answer was {text!r}" if text else ""
            self._first_failure = (
                f"image {self.images}, after {self.seconds:.0f} s: "
                f"{first.stage} of {first.sample.name}: {failure.check}: {failure.reason}{quoted}"
            )

    def _memory_record(self, trend: Trend | None) -> SoakMemoryRecord | None:
        if not self._readings:
            return None
        return SoakMemoryRecord(
            start_mib=_mib(self._readings[0].size),
            end_mib=_mib(self._readings[-1].size),
            mib_per_image=_mib(trend.slope) if trend else None,
            low=_mib(trend.low) if trend else None,
            high=_mib(trend.high) if trend else None,
            is_leak=trend and _is_leak(trend, self._readings[-1].size - self._readings[0].size, self.cache),
            cache=self.cache.name if self.cache else None,
            cache_off=self.cache.setting if self.cache else None,
            cache_mib=_mib(min(self.cache.size, MAX_FIGURE)) if self.cache else None,
        )

    def _latency_record(self, trend: Trend | None) -> SoakLatencyRecord | None:
        seconds = [latency.seconds for latency in self._latencies if latency.image > left_out(self.images)]
        if not seconds:
            return None
        quarter = -(-len(seconds) // 4)
        return SoakLatencyRecord(
            start_s=round(median(seconds[:quarter]), 6),
            end_s=round(median(seconds[-quarter:]), 6),
            share_per_image=_share(trend.slope) if trend else None,
            low=_share(trend.low) if trend else None,
            high=_share(trend.high) if trend else None,
            is_rising=trend and _is_slower(trend),
        )

    def _series(self) -> SoakSeries | None:
        if not self.images:
            return None
        stride = -(-self.images // MOST_POINTS)
        ends = [*range(stride, self.images, stride), self.images]
        sizes: dict[int, list[float]] = {}
        latencies: dict[int, list[float]] = {}
        for reading in self._readings:
            sizes.setdefault(-(-max(reading.image, 1) // stride), []).append(reading.size)
        for latency in self._latencies:
            latencies.setdefault(-(-latency.image // stride), []).append(latency.seconds)
        buckets = range(1, len(ends) + 1)
        return SoakSeries(
            image=ends,
            seconds=[round(self._seconds[end - 1], 3) for end in ends],
            memory_mib=[_mib(median(sizes[bucket])) if bucket in sizes else None for bucket in buckets],
            latency_s=[
                round(median(latencies[bucket]), 6) if bucket in latencies else None for bucket in buckets
            ],
        )


def _is_leak(trend: Trend, rise: int, cache: HostCache | None) -> bool:
    """Whether a rise of memory is proved, matters, and is more than a cache of the server may take."""
    matters = trend.low >= LEAK_PER_IMAGE and trend.proved_rise >= LEAK_IN_ALL
    return matters and (cache is None or rise > cache.size)


def _is_slower(trend: Trend) -> bool:
    """Whether a rise of latency is proved, and matters."""
    return trend.proved_rise >= math.log1p(SLOWER_IN_ALL)


def _image_seconds(outcomes: Sequence[Outcome]) -> float | None:
    """Seconds of an image: its answers together, or what its tagger took; None where an answer is missing."""
    outputs = [outcome.output for outcome in outcomes if outcome.output is not None]
    if len(outputs) < len(outcomes):
        return None
    replies = [output.reply for output in outputs if output.reply is not None]
    if len(replies) == len(outputs):
        return sum(reply.latency_s for reply in replies)
    return outputs[0].image_s


def _mib(size: float) -> float:
    return round(size / MIB, 6)


def _share(value: float) -> float:
    return round(value, 9)
