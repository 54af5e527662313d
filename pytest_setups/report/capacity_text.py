"""The capacity of a server as lines: its levels, the knee, the service level, the hours for a library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.report import formatting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_setups.registry.load_records import CapacityLevel, CapacityRecord
    from pytest_setups.run.result import RunResult

COLUMNS: Final = ("at once", "images", "failed", "unpopulated", "images/s", "p50 s", "p95 s")


def lines(result: RunResult) -> Iterator[str]:
    """The lines of a terminal; none where no capacity was measured."""
    record = result.performance.capacity
    if record is None:
        return
    if record.levels:
        yield "capacity: whole images, at each number of them at once"
        yield _line(COLUMNS)
        yield from (_line(cells(level)) for level in record.levels)
    yield from sentences(record)


def cells(level: CapacityLevel) -> list[str]:
    """The cells of a level's row."""
    unpopulated = formatting.NO_FIGURE if level.unpopulated is None else str(level.unpopulated)
    counts = [str(level.at_once), str(level.images), str(level.failures), unpopulated]
    return [*counts, *map(formatting.seconds, (level.images_per_s, level.p50_s, level.p95_s))]


def level_text(level: CapacityLevel) -> str:
    """One level in one line, while others are still measured."""
    rate, p95 = formatting.seconds(level.images_per_s), formatting.seconds(level.p95_s)
    failed = f", {level.failures} of {level.images} images failed" if level.failures else ""
    return f"{level.at_once} at once: {rate} images/s, p95 {p95} s{failed}"


def sentences(record: CapacityRecord) -> Iterator[str]:
    """What the levels say."""
    failed = [level for level in record.levels or () if level.failures]
    for level in failed:
        why = one_line(level.reason or "", 200)
        yield f"capacity: {level.failures} of {level.images} images failed at {level.at_once} at once: {why}"
    limited = [str(level.at_once) for level in record.levels or () if level.client_limited]
    if limited:
        yield f"capacity: at {', '.join(limited)} at once this machine was the limit, and not the server"
    if record.knee is not None and record.images_per_s is not None:
        yield f"knee: {record.images_per_s:.3f} images/s at {record.knee} at once{_more(record)}"
    if record.slo is not None and record.slo_level is not None:
        least = "at least " if record.slo_at_least else ""
        yield f"slo: {one_line(record.slo, 60)} is kept {least}up to {record.slo_level} at once"
    if record.reason is not None and record.reason not in [level.reason for level in failed]:
        yield f"capacity: {one_line(record.reason, 200)}"
    yield from prediction(record)


def prediction(record: CapacityRecord) -> Iterator[str]:
    """The hours for a library: ``80,000 photographs: 9.4 h at 12 at once``."""
    if record.library is None or record.hours is None:
        return
    text = f"{record.library:,} photographs: {_hours(record.hours)}"
    if record.recommended is not None:
        text += f" at {record.recommended} at once"
    if record.hours_low is not None and record.hours_high is not None:
        text += f" ({_hours(record.hours_low)} to {_hours(record.hours_high)})"
    yield text


def _more(record: CapacityRecord) -> str:
    """Whether more at once was tried."""
    highest = max((level.at_once for level in record.levels or () if not level.failures), default=0)
    return "; more at once gain less than 5 %" if record.knee is not None and record.knee < highest else ""


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _line(row: Sequence[str]) -> str:
    return "".join(f"{cell:>{max(len(name) + 2, 9)}}" for cell, name in zip(row, COLUMNS, strict=True))
