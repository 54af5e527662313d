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

from pytest_setups.api.errors import fault_key
from pytest_setups.redaction import one_line
from pytest_setups.registry.measurement import NOT_ASKED_CHECK
from pytest_setups.report import (
    capacity_text,
    comparison_text,
    energy_text,
    library_text,
    picture_text,
    server_counters_text,
    soak_text,
    terminal,
)
from pytest_setups.report.reporter import MAX_NOTICE, Level, Notice, faults, verdict_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_setups.registry.measurement import Measurement
    from pytest_setups.regression.comparison import Comparison
    from pytest_setups.run.result import RunResult

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


class GithubReporter:
    """Adds the verdict to the step's summary, and collects what is to be annotated.

    ``annotations`` are printed by the caller after pytest's last line: each needs a line of its own.
    """

    def __init__(self) -> None:
        self.annotations: list[Annotation] = []

    def report(self, result: RunResult, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Append the summary to the file that GitHub names; a file that cannot be written is a warning."""
        if not in_actions():
            return ()
        self.annotations = errors(result, notices)
        file = summary_file()
        try:
            if file is not None:
                append_summary(file, result, notices)
        except OSError as error:
            text = f"GITHUB_STEP_SUMMARY cannot be written: {error.strerror or error}"
            return [Notice(text, Level.WARNING)]
        return ()


def errors(result: RunResult, notices: Sequence[Notice]) -> list[Annotation]:
    """What went wrong: notices that are not good, then measurements that failed.

    At most as many as GitHub shows; the last one then counts the others.
    """
    annotations = [Annotation(TITLE, one_line(fault, MAX_NOTICE)) for fault in faults(notices)]
    for measurement in _annotated(result, "\n".join(faults(notices))):
        title = one_line(f"{TITLE}: {measurement.stage} of {measurement.image}", 200)
        annotations.append(Annotation(title, one_line(_reasons(measurement), MAX_NOTICE)))
    for image, reason in _unexpected(result):
        title = one_line(f"{TITLE}: expectations of {image}", 200)
        annotations.append(Annotation(title, one_line(reason, MAX_NOTICE)))
    if len(annotations) <= ANNOTATIONS:
        return annotations
    shown = annotations[: ANNOTATIONS - 1]
    return [*shown, Annotation(TITLE, f"and {len(annotations) - len(shown)} more: see the log")]


def append_summary(file: Path, result: RunResult, notices: Sequence[Notice]) -> None:
    """Add the verdict, the table of stages and the failed measurements to the step's summary.

    What would not fit beside what the file holds is left out.

    Raises:
        OSError: the file cannot be written.
    """
    # Other steps of the job share the file, and GitHub drops all of it when it is too large.
    room = SUMMARY_BYTES - (file.stat().st_size if file.exists() else 0)
    with file.open("ab") as summary:
        summary.write(_fitting(_markdown(result, notices), room))


def _markdown(result: RunResult, notices: Sequence[Notice]) -> Iterator[str]:
    word = verdict_word(result, notices)
    mark = {"success": "✅", "failed": "❌"}.get(word, "⚠️")
    yield f"\n## {mark} Setup: {word}\n\n"
    yield f"{_code(terminal.header(result.header))}\n\n"
    lines = [notice.text for notice in notices] or list(filter(None, [result.verdict.reason]))
    for line in lines:
        yield f"- {_code(line)}\n"
    if result.measurements:
        yield from _stages(result)
    if result.comparison is not None:
        yield "\n### Against the baseline\n\n"
        rows = comparison_text.rows(result.comparison.comparison)
        yield from _table(
            comparison_text.COLUMNS, [[_code(cell) for cell in row] for row in rows], right=True
        )
        yield from _pictures(result.comparison.comparison)
    shown = list(_annotated(result, ""))
    failed = [(m.stage.value, _code(m.image), _code(_reasons(m))) for m in shown]
    failed += [("expectations", _code(image), _code(reason)) for image, reason in _unexpected(result)]
    if failed:
        yield "\n### Failed\n\n"
        yield from _table(("stage", "image", "why"), failed)
    counted = len(_failed(result)) - len(shown)
    if counted:
        yield f"\nAnswers that are missing because of the same faults: {counted}\n"


def _pictures(comparison: Comparison) -> Iterator[str]:
    heading, *lines = [picture_text.plain(parts) for parts in picture_text.worst_pictures(comparison)] or [""]
    if heading:
        yield f"\n{_code(heading)}\n\n"
    for line in lines:
        yield f"- {_code(line)}\n"


def _stages(result: RunResult) -> Iterator[str]:
    yield "\n"
    yield from _table(terminal.COLUMNS, list(terminal.rows(result.measurements)), right=True)
    slowest = terminal.slowest(result.measurements)
    if slowest is not None:
        yield f"\n{_code(slowest)}\n"
    for line in (
        *terminal.figures(result),
        *library_text.lines(result),
        *capacity_text.lines(result),
        *server_counters_text.lines(result),
        *energy_text.lines(result),
        *soak_text.lines(result),
    ):
        yield f"\n{_code(line)}\n"


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


def _failed(result: RunResult) -> list[Measurement]:
    return [measurement for measurement in result.measurements if not measurement.passed]


def _annotated(result: RunResult, said: str) -> Iterator[Measurement]:
    """The failed measurements, of those that one server fault failed only the first.

    A fault that is in ``said``, the annotations so far, is not stated again.
    """
    failed = _failed(result)
    of_images = {(m.image, m.sample): fault_key(m.server_fault) for m in failed if m.server_fault}
    said = fault_key(said)
    stated = [fault for fault in dict.fromkeys(of_images.values()) if fault in said]
    for measurement in failed:
        is_skipped = measurement.failures[0].check == NOT_ASKED_CHECK
        fault = of_images.get((measurement.image, measurement.sample))
        if fault is None or not (is_skipped or measurement.server_fault):
            yield measurement
        elif not any(known in fault for known in stated[:ANNOTATIONS]):
            stated.append(fault)
            yield measurement


def _unexpected(result: RunResult) -> list[tuple[str, str]]:
    """The images whose expectations are not met, each with the reason, if the server answered for them."""
    silent = {measurement.image for measurement in result.measurements if measurement.server_fault}
    evidence = result.collected.expectations.values()
    return [
        (each.image, each.reason or "") for each in evidence if not each.passed and each.image not in silent
    ]


def _reasons(measurement: Measurement) -> str:
    return "; ".join(f"{failure.check}: {failure.reason}" for failure in measurement.failures)


def _code(text: str) -> str:
    """Text that stays text: as references of characters it is no Markdown, and in code no mention or link."""
    shown = _MARKS.sub(lambda match: f"&#{ord(match[0])};", one_line(text, MAX_NOTICE))
    return f"<code>{shown}</code>"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
