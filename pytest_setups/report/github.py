"""GitHub Actions: a Markdown summary of the step, and annotations.

Source: "Workflow commands for GitHub Actions" in GitHub's documentation, and the escaping of its own
toolkit (actions/toolkit, packages/core/src/command.ts). Every text of a model, a server or a file is
untrusted: it can neither be Markdown nor HTML here, nor end a workflow command or begin one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.report import comparison_text, terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_setups.registry.measurement import Measurement
    from pytest_setups.report.conclusion import Conclusion

SUMMARY_BYTES: Final = 1024 * 1024
"""What a step's summary may hold; GitHub drops a larger one whole."""
ANNOTATIONS: Final = 10
"""How many errors of one step GitHub shows."""
TITLE: Final = "pytest-setups"
_CUT: Final = "\n\n… and more than a step's summary may hold\n"
_MARKS: Final = re.compile(r"[^A-Za-z0-9 ,;'/=%()+\-\u00a0-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Annotation:
    """An error that GitHub shows on the page of the workflow run."""

    title: str
    message: str

    def __str__(self) -> str:
        """The workflow command that makes it, one line."""
        return f"::error title={_property(self.title)}::{_data(self.message)}"


def summary_file() -> Path | None:
    """The file that takes the step's summary, None outside GitHub Actions."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(name) if name and in_actions() else None


def in_actions() -> bool:
    """Whether this is a step of a GitHub Actions workflow."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def errors(conclusion: Conclusion) -> list[Annotation]:
    """What went wrong: lines of the outcome that are not good, then measurements that failed.

    At most as many as GitHub shows; the last one then counts the others.
    """
    found = [Annotation(TITLE, conclusion.shown(line)) for line in conclusion.faults]
    for measurement in _failed(conclusion):
        title = conclusion.shown(f"{TITLE}: {measurement.stage} of {measurement.image}", 200)
        found.append(Annotation(title, conclusion.shown(_reasons(measurement))))
    if len(found) <= ANNOTATIONS:
        return found
    shown = found[: ANNOTATIONS - 1]
    return [*shown, Annotation(TITLE, f"and {len(found) - len(shown)} more: see the log")]


def append_summary(file: Path, conclusion: Conclusion) -> None:
    """Add the verdict, the table of stages and the failed measurements to the step's summary.

    What would not fit beside what the file holds is left out.

    Raises:
        OSError: the file cannot be written.
    """
    room = SUMMARY_BYTES - (file.stat().st_size if file.exists() else 0)
    with file.open("ab") as summary:
        summary.write(_fitting(_markdown(conclusion), room))


def _markdown(conclusion: Conclusion) -> Iterator[str]:
    run = conclusion.run
    mark = {"success": "✅", "failed": "❌"}.get(conclusion.word, "⚠️")
    yield f"\n## {mark} Setup: {conclusion.word}\n\n"
    yield f"{_code(conclusion, terminal.header(run.session, run.concurrency))}\n\n"
    lines = [line for line, _ in conclusion.outcome] or list(filter(None, [conclusion.verdict.reason]))
    for line in lines:
        yield f"- {_code(conclusion, line)}\n"
    measurements = run.measurements
    if not measurements:
        return
    yield "\n"
    yield from _table(terminal.COLUMNS, list(terminal.rows(measurements)), right=True)
    slowest = terminal.slowest(measurements)
    if slowest is not None:
        yield f"\n{_code(conclusion, slowest)}\n"
    if conclusion.comparing.compared is not None:
        yield "\n### Against the baseline\n\n"
        yield from _table(
            comparison_text.COLUMNS,
            [
                [_code(conclusion, cell) for cell in row]
                for row in comparison_text.rows(conclusion.comparing.compared)
            ],
            right=True,
        )
    failed = [
        (m.stage, _code(conclusion, m.image), _code(conclusion, _reasons(m))) for m in _failed(conclusion)
    ]
    if failed:
        yield "\n### Failed\n\n"
        yield from _table(("stage", "image", "why"), failed)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: bool = False) -> Iterator[str]:
    yield _row(head)
    yield _row(["---", *["---:" if right else "---"] * (len(head) - 1)])
    for row in rows:
        yield _row(row)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _fitting(parts: Iterable[str], room: int) -> bytes:
    kept, room = b"", room - len(_CUT.encode())
    for part in parts:
        data = part.encode()
        if len(kept) + len(data) > room:
            return kept + _CUT.encode() if room >= 0 else b""
        kept += data
    return kept


def _failed(conclusion: Conclusion) -> list[Measurement]:
    return [measurement for measurement in conclusion.run.measurements if not measurement.passed]


def _reasons(measurement: Measurement) -> str:
    return "; ".join(f"{failure.check}: {failure.reason}" for failure in measurement.failures)


def _code(conclusion: Conclusion, text: str) -> str:
    """Text that stays text: as references of characters it is no Markdown, and in code no mention or link."""
    shown = _MARKS.sub(lambda match: f"&#{ord(match[0])};", conclusion.shown(text))
    return f"<code>{shown}</code>"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
