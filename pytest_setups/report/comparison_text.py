"""A comparison with a baseline, as lines and cells for every reporter that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.registry.differences import compare_entries, value_text
from pytest_setups.regression.figures import PER_PICTURE
from pytest_setups.regression.findings import FATAL, Finding
from pytest_setups.report import picture_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.entry import Entry
    from pytest_setups.regression.baseline import Baseline
    from pytest_setups.regression.comparison import Comparison, FigureComparison
    from pytest_setups.regression.findings import JudgedBound
    from pytest_setups.regression.levels import FigureLevel

COLUMNS: Final = ("figure", "before", "after", "change", "99% range", "bound", "verdict")
MOST_CHANGES: Final = 12
_NOISE_UNKNOWN: Final = ", but noise cannot be estimated from one image: compare two or more"
VERBS: Final = {
    Finding.BREACH: "breaks {}",
    Finding.NOT_PROVED: "exceeds {} within the noise",
    Finding.NOISE_UNKNOWN: f"exceeds {{}}{_NOISE_UNKNOWN}",
}
FLOOR_VERBS: Final = {
    Finding.BREACH: "is below {}",
    Finding.NOT_PROVED: "is below {} within the noise",
    Finding.NOISE_UNKNOWN: f"is below {{}}{_NOISE_UNKNOWN}",
}

_NO_CHANGE: Final = ("", "", "")


def rows(comparison: Comparison) -> Iterator[list[str]]:
    """The cells of each row: figures, their change and its range, the bound, and the verdict."""
    for stage in comparison.populated:
        if stage.total:
            counts = [f"{stage.before}/{stage.total}", f"{stage.after}/{stage.total}"]
            finding = Finding.BREACH if stage.lost else Finding.OK
            yield [f"{stage.stage} populated", *counts, *_NO_CHANGE, finding]
    for row in comparison.rows:
        bounds = ", ".join(judged.bound.partition(":")[2] for judged in row.judged)
        yield [row.name, figure(row.before), figure(row.after), *_changed(row), bounds, row.finding or ""]
    yield from map(_level_row, comparison.levels)


def is_good(verdict: str) -> bool | None:
    """Whether a verdict in a row is good; None where nothing was judged."""
    return None if verdict in {"", Finding.NOT_PROVED} else verdict == Finding.OK


def breaches(comparison: Comparison) -> Iterator[str]:
    """A line for each bound that is broken or cannot be judged, and for each stage that lost answers."""
    for stage in comparison.populated:
        if stage.lost:
            lost = ", ".join(one_line(image, 120) for image in stage.lost[:3])
            counts = f"{stage.after} of {stage.total} answers are populated, {stage.before} were"
            yield f"regression: {stage.stage}: {counts}; lost: {lost}"
    for row in comparison.rows:
        for judged in row.judged:
            if judged.finding in FATAL:
                yield from (f"regression: {sentence}" for sentence in _sentences(comparison, row, judged))
    for bound in comparison.unmeasured:
        yield f"regression: {bound} cannot be judged: its figure was not measured in both runs"
    for level in comparison.levels:
        yield from (f"regression: {fault}" for fault in level.faults)


def good_lines(baseline: Baseline, after: Entry, comparison: Comparison) -> Iterator[str]:
    """The baseline, what else changed, and what breaks a bound without proof."""
    yield headline(baseline, comparison)
    yield from baseline.skipped
    yield from (f"changed: {change}" for change in changes(baseline.entry, after))
    if comparison.untimed:
        yield f"times are not compared: {comparison.untimed}"
    yield from unproved(comparison)


def table(comparison: Comparison) -> Iterator[str]:
    """The rows as aligned lines, after a heading."""
    lines = [list(COLUMNS), *rows(comparison)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    for first, *rest in lines:
        cells = (f"{cell:>{width + 2}}" for cell, width in zip(rest, widths[1:], strict=True))
        yield f"{first:<{widths[0]}}{''.join(cells)}".rstrip()


def unproved(comparison: Comparison) -> Iterator[str]:
    """A line for each bound that is broken by less than the noise."""
    for row in comparison.rows:
        not_proved = [judged for judged in row.judged if judged.finding is Finding.NOT_PROVED]
        yield from (f"not proved: {_sentence(row, judged)}" for judged in not_proved)


def changes(before: Entry, after: Entry) -> list[str]:
    """What else changed between two runs of one setup: versions, hardware, allowed differences."""
    lines = [
        f"{difference.name}: {value_text(difference.a)} -> {value_text(difference.b)}"
        for difference in compare_entries(before, after).differences
    ]
    more = len(lines) - MOST_CHANGES
    return lines if more <= 0 else [*lines[:MOST_CHANGES], f"and {more} more: `pytest-setups diff`"]


def headline(baseline: Baseline, comparison: Comparison) -> str:
    """Which baseline it was, and how much was compared."""
    before = baseline.entry
    version = one_line(f"{before.server.backend} {before.server.version or ''}".strip(), 60)
    samples = f" x {comparison.samples} samples" if comparison.samples > 1 else ""
    return (
        f"compared with {one_line(baseline.name, 200)} ({before.verification.date_utc:%Y-%m-%d}, {version}): "
        f"{comparison.images} {'image' if comparison.images == 1 else 'images'}{samples}"
    )


def figure(value: float | None) -> str:
    """A figure with three decimals, or one decimal from 100 up."""
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"


def _level_row(level: FigureLevel) -> list[str]:
    before, after = (None if share is None else share.value for share in (level.before, level.after))
    change = "" if before is None or after is None else f"{after - before:+.3f}"
    change = level.incomparable or change
    bounds = ", ".join(judged.bound.partition(":")[2] for judged in level.judged)
    return [level.name, figure(before), figure(after), change, "", bounds, level.finding or ""]


def _changed(row: FigureComparison) -> tuple[str, str]:
    change = "" if row.change is None else f"{row.change:+.1%}"
    if row.low is None or row.high is None:
        return change, ""
    low, high = (f"{end:+.0%}" if change else f"{end:.2f}" for end in (row.low, row.high))
    return change, f"{low}..{high}"


def _sentences(comparison: Comparison, row: FigureComparison, judged: JudgedBound) -> Iterator[str]:
    """What is wrong with a figure; of a bound on each picture, a sentence for each of them."""
    if row.name in PER_PICTURE:
        yield from picture_text.broken_pictures(comparison, judged.bound)
    else:
        yield _sentence(row, judged)


def _sentence(row: FigureComparison, judged: JudgedBound) -> str:
    if judged.finding is Finding.NOT_COMPARABLE:
        why = row.incomparable or "the two runs were timed under different conditions"
        return f"{row.name}: {judged.bound} cannot be judged: {why}"
    change, interval = _changed(row)
    unit = f" {row.unit}" if row.unit else ""
    values = (
        f"{figure(row.before)} -> {figure(row.after)}{unit}" if row.before is not None else figure(row.after)
    )
    details = ", ".join(filter(None, (change, interval)))
    change_shown = f" ({details})" if details else ""
    verbs = FLOOR_VERBS if judged.floor else VERBS
    return f"{row.name} {values}{change_shown} {verbs[judged.finding].format(judged.bound)}"
