"""A soak in words: what it measured, and why it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.report.formatting import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.load_records import SoakLatencyRecord, SoakMemoryRecord, SoakRecord
    from pytest_setups.run.result import RunResult

MIB: Final = 1024**2
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
        checks = ", ".join(f"{check} {count}" for check, count in (record.checks or {}).items())
        sentences.append(
            f"{record.failed_images} of {record.images} images failed ({one_line(checks, MAX_FAILURE)}); "
            f"the first: {one_line(record.first_failure or '', MAX_FAILURE)}"
        )
    if record.memory is not None and record.memory.is_leak:
        sentences.append(
            f"the server's memory rises by {_rise_of(record, record.memory)}: {record.images} images took "
            f"{record.memory.end_mib - record.memory.start_mib:.0f} MiB"
        )
    if record.latency is not None and record.latency.is_rising:
        sentences.append(
            f"the server becomes slower by {_slower_by(record, record.latency)}: one took "
            f"{record.latency.start_s:.3f} s at first and {record.latency.end_s:.3f} s in the end"
        )
    return sentences


def progress(images: int, seconds: float, failed: int, memory: int | None) -> str:
    """A line while it runs; the memory is in bytes."""
    held = "" if memory is None else f", the server holds {memory / MIB:.0f} MiB"
    return f"{images} images in {duration(seconds)}, {failed} failed{held}"


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
    """Where a rise is proved that may be a cache: what fills, and how to see behind it."""
    if memory.cache is None or not memory.low or memory.low <= 0 or memory.is_leak:
        return ""
    limit = "any size" if (memory.cache_mib or 0) > UNLIMITED_MIB else f"{memory.cache_mib:.0f} MiB"
    return (
        f"; this may be {one_line(memory.cache, 80)}, which may take {limit}: start the server with "
        f"{one_line(memory.cache_off or '', 80)} for a soak, or soak until it is full"
    )


def _rise_of(record: SoakRecord, memory: SoakMemoryRecord, sign: str = "") -> str:
    interval = _interval(record, memory.low, memory.high, 2)
    return f"{memory.mib_per_image or 0:{sign}.2f} MiB an image ({interval})"


def _slower_by(record: SoakRecord, latency: SoakLatencyRecord, sign: str = "") -> str:
    slope, low, high = (100 * (value or 0) for value in (latency.share_per_image, latency.low, latency.high))
    return f"{slope:{sign}.3f} % an image ({_interval(record, low, high, 3)})"


def _interval(record: SoakRecord, low: float | None, high: float | None, digits: int) -> str:
    ends = f"{low or 0:.{digits}f} to {high or 0:.{digits}f}"
    return f"{100 * (record.confidence or 0):g} % interval {ends}"
