"""The tables that commands print. Text of entries is made printable and is never read as markup."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from pytest_setups.redaction import one_line, printable, redact
from pytest_setups.registry.documents import fields
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.field_redaction import public_document
from pytest_setups.report.formatting import rate, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_setups.registry.differences import Difference, EntryComparison
    from pytest_setups.registry.entry import Entry
    from pytest_setups.registry.entry_import import ImportedFile
    from pytest_setups.registry.validation import RegistryFault
    from pytest_setups.report.picture_text import LinePart

_COLORS: Final = {
    "success": "green", "failed": "red", "imported": "green", "refused": "red", "present": "yellow",
    "ok": "green", "breach": "red", "not proved": "yellow", "not comparable": "red", "noise unknown": "red",
    "not measured": "red", "removed": "red", "added": "green",
}  # fmt: skip


def cell(value: object, style: str = "", limit: int = 300) -> Text:
    """A value as a terminal can show it: one line, no control characters, no secrets, no markup."""
    text = value if isinstance(value, str) else _text(value)
    return Text(one_line(redact(text), limit), style=style or _COLORS.get(text, ""), overflow="fold")


def entries_table(rows: Iterable[dict[str, Any]]) -> Table:
    """The rows of the index."""
    table = _table("slug", "status", "server", "date", "s/image", "model")
    for row in rows:
        table.add_row(
            cell(row["slug"], "bold"),
            cell(row["status"]),
            cell(f"{row['backend']} {row['version'] or ''}".strip()),
            cell(str(row["date_utc"])[:10]),
            _seconds(row["avg_latency_s"]),
            cell(row["model_repo"] or row["served_model_name"]),
        )
    return table


def entry_table(slug: str, entry: Entry) -> Table:
    """Everything in an entry except the stages, one field a row."""
    table = _table("field", "value", show_header=False)
    table.columns[0].style = "cyan"
    table.add_row(cell("slug"), cell(slug, "bold"))
    document = public_document(entry, exclude_none=True, exclude={"performance": {"stages"}})
    for path, value in fields(document):
        table.add_row(cell(path), cell(value, limit=2000))
    table.add_row(cell("fingerprint"), cell(entry.fingerprint()))
    return table


def stages_table(entry: Entry) -> Table:
    """The latencies of each stage."""
    table = _table("stage", "answers", "mean s", "p50 s", "p95 s", "max s", "first token p50 s", "tokens/s")
    for stage, figures in (entry.performance.stages or {}).items():
        latencies = (figures.mean_s, figures.p50_s, figures.p95_s, figures.max_s, figures.ttft_p50_s)
        table.add_row(
            cell(stage),
            cell(figures.n),
            *(_seconds(latency) for latency in latencies),
            _number(rate(figures.output_tokens_per_s, missing="")),
        )
    return table


def differences_table(title: str, differences: Iterable[Difference], slugs: tuple[str, str]) -> Table:
    """The fields that differ; a star marks those that affect behaviour."""
    table = _table(title, *slugs)
    for difference in differences:
        label = cell(f"{difference.name} *", "bold") if difference.decides else cell(difference.name)
        table.add_row(label, cell(difference.a), cell(difference.b))
    return table


def outcomes_table(comparison: EntryComparison, slugs: tuple[str, str]) -> Table:
    """Outcomes side by side."""
    table = _table("outcome", *slugs, "change")
    for outcome in comparison.outcomes:
        change = "" if outcome.change is None else f"{outcome.change:+.1%}"
        table.add_row(cell(outcome.name), cell(outcome.a), cell(outcome.b), _number(change))
    return table


def history_table(entries: Iterable[tuple[str, Entry]], current: str) -> Table:
    """One setup over time: mean seconds an image, median seconds a stage; ``current`` is bold."""
    table = _table("date", "version", "status", "s/image", *Stage, "slug")
    for slug, entry in entries:
        stages = entry.performance.stages or {}
        medians = (stages[stage].p50_s if stage in stages else None for stage in Stage)
        table.add_row(
            cell(f"{entry.verification.date_utc:%Y-%m-%d}"),
            cell(entry.server.version),
            cell(entry.verification.status),
            _seconds(entry.performance.avg_latency_s),
            *(_seconds(median) for median in medians),
            cell(slug, "bold" if slug == current else ""),
        )
    return table


def compared_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Figures before and after."""
    table = _table(*columns)
    for first, *rest, verdict in rows:
        table.add_row(cell(first), *map(_number, rest), cell(verdict))
    return table


def difference_line(parts: Iterable[LinePart]) -> Text:
    """A line of a difference by word; colours only add to its marks."""
    return Text().join(Text(printable(part.text), style=_COLORS.get(part.change, "")) for part in parts)


def fault_lines(faults: Iterable[RegistryFault]) -> Text:
    """One line a fault, after the name of its file."""
    return Text("\n").join(cell(str(fault), limit=1000) for fault in faults)


def imports_table(imports: Iterable[ImportedFile]) -> Table:
    """The outcome of each imported file."""
    table = _table("file", "outcome", "slug", "why")
    for imported in imports:
        outcome, slug, reason = cell(imported.outcome), cell(imported.slug), cell(imported.message, limit=600)
        table.add_row(cell(str(imported.source)), outcome, slug, reason)
    return table


def _table(*columns: str, show_header: bool = True) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=show_header, pad_edge=False, collapse_padding=True)
    for column in columns:
        table.add_column(cell(column), overflow="fold")
    return table


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _seconds(value: float | None) -> Text:
    return _number(seconds(value, missing=""))


def _number(text: str) -> Text:
    return Text(text, justify="right")
