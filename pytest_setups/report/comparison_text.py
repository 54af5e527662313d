"""A comparison with a baseline, as lines and cells for every place that tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.registry.differences import compare_entries, shown
from pytest_setups.regression.comparison import FATAL, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.entry import Entry
    from pytest_setups.regression.baseline import Baseline
    from pytest_setups.regression.comparison import Comparison, FigureComparison, JudgedBound

COLUMNS: Final = ("figure", "before", "after", "change", "99% range", "bound", "verdict")
MOST_CHANGES: Final = 12
VERBS: Final = {
    Finding.BREACH: "breaks {}",
    Finding.NOT_PROVED: "exceeds {} within the noise",
    Finding.NOISE_UNKNOWN: "exceeds {}, and one image tells nothing of the noise: compare two or more",
}


def rows(comparison: Comparison) -> Iterator[list[str]]:
    """The cells of each row: figures, their change and its range, the bound, and the verdict."""
    for stage in comparison.populated:
        if stage.total:
            counts = [f"{stage.before}/{stage.total}", f"{stage.after}/{stage.total}"]
            yield [
                f"{stage.stage} populated",
                *counts,
                "",
                "",
                "",
                Finding.BREACH if stage.lost else Finding.OK,
            ]
    for row in comparison.rows:
        bounds = ", ".join(one.bound.partition(":")[2] for one in row.judged)
        yield [row.name, figure(row.before), figure(row.after), *_changed(row), bounds, row.finding or ""]


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
        yield from (f"regression: {_told(row, one)}" for one in row.judged if one.finding in FATAL)
    for bound in comparison.unmeasured:
        yield f"regression: {bound} cannot be judged: no figure of it was measured on both sides"


def good_lines(baseline: Baseline, after: Entry, comparison: Comparison) -> Iterator[str]:
    """What it was compared with, what changed around it, and what exceeds a bound without proof."""
    yield headline(baseline, comparison)
    yield from (f"changed: {change}" for change in changes(baseline.entry, after))
    if comparison.untimed:
        yield f"times are not compared: {comparison.untimed}"
    yield from unproved(comparison)


def table(comparison: Comparison) -> Iterator[str]:
    """The rows as aligned lines, after a heading."""
    found = [list(COLUMNS), *rows(comparison)]
    widths = [max(len(line[column]) for line in found) for column in range(len(COLUMNS))]
    for first, *rest in found:
        cells = (f"{cell:>{width + 2}}" for cell, width in zip(rest, widths[1:], strict=True))
        yield f"{first:<{widths[0]}}{''.join(cells)}".rstrip()


def unproved(comparison: Comparison) -> Iterator[str]:
    """A line for each bound that is exceeded, but not by more than the noise."""
    for row in comparison.rows:
        yield from (
            f"not proved: {_told(row, one)}" for one in row.judged if one.finding is Finding.NOT_PROVED
        )


def changes(before: Entry, after: Entry) -> list[str]:
    """What changed around two runs of one setup: versions, hardware, and what was allowed to differ."""
    found = [
        f"{difference.name}: {shown(difference.a)} -> {shown(difference.b)}"
        for difference in compare_entries(before, after).differences
    ]
    more = len(found) - MOST_CHANGES
    return found if more <= 0 else [*found[:MOST_CHANGES], f"and {more} more: `pytest-setups diff`"]


def headline(baseline: Baseline, comparison: Comparison) -> str:
    """Which baseline it is, and how much was compared."""
    before = baseline.entry
    version = one_line(f"{before.server.backend} {before.server.version or ''}".strip(), 60)
    samples = f" x {comparison.samples} samples" if comparison.samples > 1 else ""
    return (
        f"compared with {one_line(baseline.name, 200)} ({before.verification.date_utc:%Y-%m-%d}, {version}): "
        f"{comparison.images} {'image' if comparison.images == 1 else 'images'}{samples}"
    )


def figure(value: float | None) -> str:
    """A figure with three decimals, large ones with one."""
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"


def _changed(row: FigureComparison) -> tuple[str, str]:
    change = "" if row.change is None else f"{row.change:+.1%}"
    if row.low is None or row.high is None:
        return change, ""
    low, high = (f"{end:+.0%}" if change else f"{end:.2f}" for end in (row.low, row.high))
    return change, f"{low}..{high}"


def _told(row: FigureComparison, judged: JudgedBound) -> str:
    if judged.finding is Finding.NOT_COMPARABLE:
        return f"{row.name}: {judged.bound} cannot be judged: the two were not timed alike"
    change, sure = _changed(row)
    unit = f" {row.unit}" if row.unit else ""
    values = (
        f"{figure(row.before)} -> {figure(row.after)}{unit}" if row.before is not None else figure(row.after)
    )
    told = ", ".join(filter(None, (change, sure)))
    return f"{row.name} {values}{f' ({told})' if told else ''} {VERBS[judged.finding].format(judged.bound)}"
