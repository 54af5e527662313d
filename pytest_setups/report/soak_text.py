"""A soak in words: what it measured, and why it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.report.formatting import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.load_records import SoakLatencyRecord, SoakMemoryRecord, SoakRecord
    from pytest_setups.run.result import RunResult

MAX_FAILURE: Final = 600
UNLIMITED_MIB: Final = 1e8


def lines(result: RunResult) -> Iterator[str]:
    """The lines of a run; none without a soak."""
    if result.performance.soak is not None:
        yield from (f"soak: {line}" for line in record_lines(result.performance.soak))


def record_lines(record: SoakRecord) -> Iterator[str]:
    """Length and failures, memory, latency."""
    if not record.images:
        yield record.reason or "no image was tagged"
        return
    early = f"; ended early: {record.reason}" if record.reason else ""
    yield (
        f"{record.images} images in {duration(record.duration_s or 0)}, "
        f"{record.failed_images or 0} failed{_left_out(record)}{early}"
    )
    yield f"memory {_memory(record)}"
    yield f"latency {_latency(record)}"


def faults(record: SoakRecord) -> list[str]:
    """Why the soak fails, a sentence each; none where the server did well."""
    sentences = [f"the soak ended early: {record.reason}"] if record.reason else []
    if record.failed_images:
        sentences.append(_failures(record))
    if record.memory is not None and record.memory.is_leak:
        by = "" if record.memory.mib_per_image is None else f" by {_rise_of(record, record.memory)}"
        sentences.append(
            f"the server's memory rises{by}: {record.images or 0} images took "
            f"{record.memory.end_mib - record.memory.start_mib:.0f} MiB"
        )
    if record.latency is not None and record.latency.is_rising:
        by = "" if record.latency.share_per_image is None else f" by {_slower_by(record, record.latency)}"
        sentences.append(
            f"the server becomes slower{by}: one took "
            f"{record.latency.start_s:.3f} s at first and {record.latency.end_s:.3f} s in the end"
        )
    return sentences


def progress(images: int, seconds: float, failed: int, memory_mib: float | None) -> str:
    """A line while it runs."""
    held = "" if memory_mib is None else f", the server holds {memory_mib:.0f} MiB"
    return f"{images} images in {duration(seconds)}, {failed} failed{held}"


def _failures(record: SoakRecord) -> str:
    checks = ", ".join(f"{check} {count}" for check, count in (record.checks or {}).items())
    by = f" ({one_line(checks, MAX_FAILURE)})" if checks else ""
    first = f"; the first: {one_line(record.first_failure, MAX_FAILURE)}" if record.first_failure else ""
    return f"{record.failed_images} of {record.images or 0} images failed{by}{first}"


def _left_out(record: SoakRecord) -> str:
    return f"; the first {record.left_out} are left out of the slopes" if record.left_out else ""


def _memory(record: SoakRecord) -> str:
    memory = record.memory
    if memory is None:
        return f"not measured: {one_line(record.memory_reason or 'unknown', MAX_FAILURE)}"
    text = f"{memory.start_mib:.0f} MiB to {memory.end_mib:.0f} MiB"
    if memory.mib_per_image is None:
        return f"{text}; no slope: {one_line(record.memory_reason or 'unknown', MAX_FAILURE)}"
    return f"{text}, {_rise_of(record, memory, sign='+')}{_in_cache(memory)}"


def _latency(record: SoakRecord) -> str:
    latency = record.latency
    if latency is None:
        return f"not measured: {one_line(record.latency_reason or 'unknown', MAX_FAILURE)}"
    text = f"{latency.start_s:.3f} s to {latency.end_s:.3f} s"
    if latency.share_per_image is None:
        return f"{text}; no slope: {one_line(record.latency_reason or 'unknown', MAX_FAILURE)}"
    return f"{text}, {_slower_by(record, latency, sign='+')}"


def _in_cache(memory: SoakMemoryRecord) -> str:
    """Where a rise is proved that may be a cache: what fills, and how to rule it out."""
    if memory.cache is None or not memory.low or memory.low <= 0 or memory.is_leak:
        return ""
    name = one_line(memory.cache, 80)
    if memory.cache_mib is not None:
        limit = "any size" if memory.cache_mib > UNLIMITED_MIB else f"{memory.cache_mib:.0f} MiB"
        name += f", which may take {limit}"
    off = (
        f"start the server with {one_line(memory.cache_off, 80)} for a soak, or " if memory.cache_off else ""
    )
    return f"; this may be {name}: {off}soak until it is full"


def _rise_of(record: SoakRecord, memory: SoakMemoryRecord, sign: str = "") -> str:
    return (
        f"{memory.mib_per_image or 0:{sign}.2f} MiB an image{_interval(record, memory.low, memory.high, 2)}"
    )


def _slower_by(record: SoakRecord, latency: SoakLatencyRecord, sign: str = "") -> str:
    low, high = (None if share is None else 100 * share for share in (latency.low, latency.high))
    slope = 100 * (latency.share_per_image or 0)
    return f"{slope:{sign}.3f} % an image{_interval(record, low, high, 3)}"


def _interval(record: SoakRecord, low: float | None, high: float | None, digits: int) -> str:
    """In brackets; nothing where the entry lacks an end of it."""
    if low is None or high is None:
        return ""
    share = "" if record.confidence is None else f"{100 * record.confidence:g} % "
    return f" ({share}interval {low:.{digits}f} to {high:.{digits}f})"
