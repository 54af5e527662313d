"""What the server counts while a run is measured: the differences between two readings of its counters."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.load.counter_names import UNFINISHED, names_of
from pytest_setups.load.counter_reading import PROCESS_START, ReadingError, read, total
from pytest_setups.redaction import one_line
from pytest_setups.registry.load_records import ServerCountersRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_setups.api.client import Client
    from pytest_setups.api.request_log import RequestLog
    from pytest_setups.load.counter_names import CounterNames, Names
    from pytest_setups.load.counter_reading import MetricSample, Reading

# vLLM takes 14 ms for an answer: at these intervals, below 0.3 % of the server's time in a long run.
FIRST_INTERVAL_S: Final = 0.5
LONGEST_INTERVAL_S: Final = 5.0
GRACE_S: Final = 0.05
"""A request that ended so shortly before the first reading may be counted after it."""
NOT_SHOWN: Final = "not among the server's metrics"
MAX_FAULT: Final = 500
MAX_LABELS: Final = 200
MAX_LABEL: Final = 200


@dataclass(frozen=True, slots=True)
class OwnRequests:
    """The requests of this run, in all its processes; ``unknown`` says why there may be more."""

    log: RequestLog
    unknown: str | None = None


class GaugeSampler:
    """Reads a gauge in a thread of its own from time to time, and keeps the highest value.

    ``fault`` is why the last reading gave none: after the readings before it, the gauge may have risen.
    """

    def __init__(
        self,
        client: Client,
        names: CounterNames,
        *,
        first_s: float = FIRST_INTERVAL_S,
        longest_s: float = LONGEST_INTERVAL_S,
    ) -> None:
        self._client = client
        self._names = names
        self._first_s = first_s
        self._longest_s = longest_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="setup-metrics", daemon=True)
        self.highest: float | None = None
        self.readings = 0
        self.fault: str | None = None

    def start(self) -> None:
        """Begin, unless the backend has no such gauge."""
        if self._names.kv_cache:
            self._thread.start()

    def stop(self) -> None:
        """End; waits for a reading that is under way."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _sample(self) -> None:
        interval_s = self._first_s
        while not self._stopped.wait(interval_s):
            interval_s = min(2 * interval_s, self._longest_s)
            try:
                reading = read(self._client, self._names, only=self._names.kv_cache)
            except ReadingError as error:
                interval_s = self._longest_s  # a server that is busy or gone is not asked more often
                self.fault = one_line(str(error), MAX_FAULT)
                continue
            samples = reading.values(self._names.kv_cache)
            if not samples:
                self.fault = NOT_SHOWN
                return
            self.fault = None
            self.readings += 1
            self.highest = max(self.highest or 0.0, *(sample.value for sample in samples))


class ServerCounters:
    """The meter: reads the counters before the first measured request and after the last.

    Args:
        client: of this meter only, so that no measured request waits for a connection.
        backend: the kind of server.
        own: the requests of this run, asked for at the end.
    """

    def __init__(self, client: Callable[[], Client], backend: str, own: Callable[[], OwnRequests]) -> None:
        self._make_client = client
        self._backend = backend
        self._own = own
        self._names = names_of(backend)
        self._client: Client | None = None
        self._sampler: GaugeSampler | None = None
        self._first: Reading | None = None
        self._last: Reading | None = None
        self._fault: str | None = None

    def start(self) -> None:
        """Read the counters for the first time."""
        if self._names is None:
            self._fault = f"{self._backend} publishes no counters that are known here"
            return
        self._client = self._make_client()
        self._first = self._read(self._client, self._names)
        if self._first is not None:
            self._sampler = GaugeSampler(self._client, self._names)
            self._sampler.start()

    def stop(self) -> None:
        """Read them again."""
        if self._sampler is not None:
            self._sampler.stop()
        if self._client is not None:
            if self._names is not None and self._first is not None:
                self._last = self._read(self._client, self._names)
            self._client.close()

    def record(self) -> ServerCountersRecord:
        """The differences."""
        names, first, last = self._names, self._first, self._last
        if names is None or first is None or last is None:
            return ServerCountersRecord(reason=self._fault)
        differences = _Differences(names, first, last)
        if restart := differences.restart():
            reason = f"{restart}: the server was started again during the run"
            return ServerCountersRecord(reason=reason, restarted=True)
        figures, missing = differences.figures()
        self._add_requests(differences, figures, missing)
        self._add_gauges(last, figures, missing)
        return ServerCountersRecord(
            span_s=round(last.before - first.after, 3),
            missing=dict(sorted(missing.items())) or None,
            **figures,
        )

    def _read(self, client: Client, names: CounterNames) -> Reading | None:
        try:
            return read(client, names)
        except ReadingError as error:
            self._fault = one_line(str(error), MAX_FAULT)
            return None

    def _add_requests(
        self, differences: _Differences, figures: dict[str, Any], missing: dict[str, str]
    ) -> None:
        own = self._own()
        if own.unknown:
            missing |= dict.fromkeys(
                ("own_requests", "requests_of_others", "prompt_tokens_of_others"), own.unknown
            )
            return
        span = _OwnSpan.of(own.log, differences.first, differences.last)
        figures["own_requests"] = span.requests
        if figures["finished"] is None:
            missing["requests_of_others"] = missing["finished"]
        else:
            counts = figures["finished"].items()
            finished = sum(count for reason, count in counts if reason not in UNFINISHED)
            others = figures["requests_of_others"] = span.requests_of_others(finished)
            figures["own_requests"] = max(span.requests, finished - others)
        if figures["prompt_tokens"] is None:
            missing["prompt_tokens_of_others"] = missing["prompt_tokens"]
        elif span.failed or not span.has_tokens:
            missing["prompt_tokens_of_others"] = "the tokens of this run's requests are not all known"
        else:
            figures["prompt_tokens_of_others"] = span.tokens_of_others(figures["prompt_tokens"])

    def _add_gauges(self, last: Reading, figures: dict[str, Any], missing: dict[str, str]) -> None:
        names, sampler = self._names, self._sampler
        if names is None or sampler is None:
            return
        figures["readings"] = sampler.readings or None
        if sampler.fault is not None:
            missing["kv_cache_max"] = sampler.fault
        elif sampler.highest is None:
            is_shown = bool(last.values(names.kv_cache))
            short = f"the run was shorter than {FIRST_INTERVAL_S:g} s" if is_shown else NOT_SHOWN
            missing["kv_cache_max"] = _absent(names, names.kv_cache) or short
        else:
            figures["kv_cache_max"] = round(min(sampler.highest, 1.0), 4)
        settings = last.values((names.configuration,))
        if settings:
            figures["configuration"] = _configuration(settings[0])


@dataclass(frozen=True, slots=True)
class _OwnSpan:
    """The requests of this run within the span.

    Those ``at_start`` ended while the counters were read for the first time or shortly before: they may have
    been counted after it. Of the ``failed`` ones the server may have counted any.
    """

    inside: Sequence[int | None]
    at_start: Sequence[int | None]
    failed: int

    @classmethod
    def of(cls, log: RequestLog, first: Reading, last: Reading) -> _OwnSpan:
        begin, end = first.before - GRACE_S, last.after
        return cls(
            inside=[tokens for ended, tokens in log.answered if first.after < ended <= end],
            at_start=[tokens for ended, tokens in log.answered if begin < ended <= first.after],
            failed=sum(begin < ended <= end for ended in log.unanswered),
        )

    @property
    def requests(self) -> int:
        return len(self.inside)

    @property
    def has_tokens(self) -> bool:
        return None not in self.inside and None not in self.at_start

    def requests_of_others(self, finished: int) -> int:
        return _beyond(finished - self.requests - self.failed, len(self.at_start))

    def tokens_of_others(self, counted: int) -> int:
        own, doubtful = (sum(filter(None, part)) for part in (self.inside, self.at_start))
        return _beyond(counted - own, doubtful)


def _beyond(others: int, doubtful: int) -> int:
    """What is not this run's; nothing where all of it may be what ended at the start."""
    return others if others > doubtful else 0


@dataclass(frozen=True, slots=True)
class _Differences:
    """What changed between two readings."""

    names: CounterNames
    first: Reading
    last: Reading

    def restart(self) -> str | None:
        """The counters that are lower than before, or a process that is another one; None without either."""
        used = {names for sums in self.names.sums.values() for names in sums} | {
            *self.names.finished.values()
        }
        first = [self.first.values(names) for names in used if (self.of(names) or 0) < 0]
        if lower := sorted(samples[0].name for samples in first):
            return f"{', '.join(lower)} went backwards"
        # The new process may have counted beyond the old one.
        started = [total(reading.values((PROCESS_START,))) for reading in (self.first, self.last)]
        return f"{PROCESS_START} changed" if started[0] != started[1] else None

    def figures(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The figures by field, and why each that is None could not be measured."""
        figures: dict[str, Any] = {"finished": self._finished()}
        for field in _COUNTED:
            parts = [self.of(names) for names in self.names.sums.get(field, ())]
            known = [part for part in parts if part is not None]
            whole = sum(known) if parts and len(known) == len(parts) else None
            figures[field] = _rounded(field, whole)
        missing = {
            field: _absent(self.names, self.names.sums.get(field, ())) or NOT_SHOWN
            for field in _COUNTED
            if figures[field] is None
        }
        if figures["finished"] is None:
            absent = _absent(self.names, tuple(self.names.finished))
            missing["finished"] = absent or NOT_SHOWN
        return figures, missing

    def of(self, names: Names) -> float | None:
        """The difference of one counter, None where it is in neither reading."""
        first, last = self.first.values(names), self.last.values(names)
        # Counters with labels appear when they count for the first time.
        return total(last) - total(first) if first or last else None

    def _finished(self) -> dict[str, int] | None:
        if self.names.finished_label:
            (names,) = self.names.finished.values()
            first, last = (self._by_label(reading.values(names)) for reading in (self.first, self.last))
            counts = {reason: round(count - first.get(reason, 0)) for reason, count in last.items()}
            return counts or None
        differences = {reason: self.of(names) for reason, names in self.names.finished.items()}
        return {reason: round(count) for reason, count in differences.items() if count is not None} or None

    def _by_label(self, samples: Sequence[MetricSample]) -> Mapping[str, float]:
        counts: dict[str, float] = {}
        for sample in samples:
            reason = one_line(sample.labels.get(self.names.finished_label, "unknown"), 60)
            counts[reason] = counts.get(reason, 0.0) + sample.value
        return counts


_COUNTED: Final = (
    "prompt_tokens",
    "output_tokens",
    "prefix_cache_queries",
    "prefix_cache_hits",
    "multimodal_cache_queries",
    "multimodal_cache_hits",
    "preemptions",
    "queue_s",
    "prefill_s",
    "decode_s",
)


def _rounded(field: str, value: float | None) -> float | None:
    if value is None:
        return None
    return round(value, 6) if field.endswith("_s") else round(value)


def _absent(names: CounterNames, known: tuple[object, ...]) -> str | None:
    return None if known else f"{names.backend} does not count it"


def _configuration(sample: MetricSample) -> dict[str, str]:
    """The labels of a gauge that holds settings; those that are not set, and internal ones, are left out."""
    settled = {
        name: value
        for name, value in sorted(sample.labels.items())
        if value not in {"", "None"} and name != "engine" and not name.startswith("_")
    }
    return {
        one_line(name, 60): one_line(value, MAX_LABEL) for name, value in list(settled.items())[:MAX_LABELS]
    }
