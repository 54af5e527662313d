"""One reading of a server's ``/metrics``: the samples of its backend, by name."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_setups.api.errors import ServerError
from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_setups.api.client import Client
    from pytest_setups.load.counter_names import CounterNames, Names

ROUTE: Final = "/metrics"
# vLLM 0.32 answers 57 KiB in 14 ms.
MAX_BYTES: Final = 2 * 1024 * 1024
DEADLINE_S: Final = 2.0
PROCESS_START: Final = "process_start_time_seconds"
ALL_SOURCES: Final = {"cache_source": "total"}
"""The sample in which SGLang adds up the others."""


class ReadingError(Exception):
    """``/metrics`` gives no figures; the message says why."""


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One sample: the metric's name as the server spells it, its labels and its value."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The samples of a backend at one time.

    Attributes:
        before: seconds since the epoch, just before the server was asked.
        after: the same, once it had answered.
        samples: by the metric's name, with ``_`` for the colon.
    """

    before: float
    after: float
    samples: Mapping[str, Sequence[MetricSample]] = field(default_factory=dict)

    def values(self, names: Names) -> Sequence[MetricSample]:
        """The samples of the first of these names that there are any of."""
        samples = next((self.samples[name] for name in names if name in self.samples), ())
        totals = [sample for sample in samples if ALL_SOURCES.items() <= sample.labels.items()]
        return totals or samples


def read(client: Client, names: CounterNames, *, only: Names = ()) -> Reading:
    """Ask a server for its metrics, or for these ``only``, which takes a fraction of the time to parse.

    Raises:
        ReadingError: it has none, does not answer in time, or answers what cannot be parsed.
    """
    before = time.time()
    try:
        text = client.get_text(ROUTE, timeout_s=min(DEADLINE_S, client.timeout_s), max_bytes=MAX_BYTES)
    except ServerError as error:
        # llama.cpp's own message ends with this advice.
        is_advised = (
            error.status in {404, 501} and names.switch and names.switch not in str(error).replace("`", "")
        )
        raise ReadingError(f"{error}; start it {names.switch}" if is_advised else str(error)) from None
    if only:
        return Reading(before, time.time(), _samples(_lines_of(text, only), names.prefix))
    samples = _samples(text, names.prefix)
    if not any(name.startswith(names.prefix) for name in samples):
        advice = f"; start it {names.switch}" if names.switch else ""
        raise ReadingError(f"{ROUTE} has no metrics of {names.backend}{advice}")
    return Reading(before, time.time(), samples)


def _lines_of(text: str, names: Names) -> str:
    """The lines of these metrics, without those that say what kind they are of: gauges need none."""
    return "\n".join(line for line in text.splitlines() if line.replace(":", "_", 1).startswith(names))


def _samples(text: str, prefix: str) -> Mapping[str, Sequence[MetricSample]]:
    # Imported here: it takes 75 ms, and plain runs against a server without metrics need none of it.
    from prometheus_client.parser import text_string_to_metric_families

    # Of the buckets, four fifths of all lines, nothing is used.
    lines = "\n".join(line for line in text.splitlines() if "_bucket{" not in line)
    samples: dict[str, list[MetricSample]] = defaultdict(list)
    try:
        for family in text_string_to_metric_families(f"{lines}\n"):
            for sample in family.samples:
                name = sample.name.replace(":", "_", 1)
                if (name.startswith(prefix) or name == PROCESS_START) and math.isfinite(sample.value):
                    samples[name].append(MetricSample(sample.name, sample.labels, sample.value))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ReadingError(f"{ROUTE} cannot be parsed: {one_line(str(error), 120)}") from None
    return samples


def total(samples: Iterable[MetricSample]) -> float:
    """The samples of all engines and models together."""
    return sum(sample.value for sample in samples)
