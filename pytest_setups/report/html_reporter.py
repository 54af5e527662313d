"""The report of a run that has just ended, as one self-contained HTML file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_setups.redaction import one_line
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.registry.timeline import setup_history
from pytest_setups.report.html import ReportError, render_report, write_page
from pytest_setups.report.pages import ReportData, Thumbnails, with_comparison
from pytest_setups.report.reporter import MAX_NOTICE, Level, Notice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_setups.registry.entry import Entry
    from pytest_setups.run.result import RunResult


class HtmlReporter:
    """Writes the page of a run, also of a failed one."""

    def __init__(self, path: Path, *, pictures: Mapping[str, Path], registry: Path, directory: Path) -> None:
        """Prepare the report.

        Args:
            path: the file to write.
            pictures: the sample image files by name.
            registry: where earlier entries of the same setup are.
            directory: the current directory, to which the notice's path is relative.
        """
        self._path = path
        self._pictures = pictures
        self._registry = Registry(registry)
        self._directory = directory

    def report(self, result: RunResult, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Write the page; one that cannot be written is a failure."""
        entry = result.recorded.entry if result.recorded else result.entry
        if entry is None:
            return ()
        try:
            write_page(self._path, render_report(self._data(result, entry)))
        except (ReportError, RegistryError, EntryError, ValueError) as error:
            return [Notice(f"no report: {one_line(str(error), MAX_NOTICE)}", Level.FAILURE)]
        return [Notice(f"report: {os.path.relpath(self._path, self._directory)}")]

    def _data(self, result: RunResult, entry: Entry) -> ReportData:
        slug = result.recorded.slug if result.recorded else None
        measured = {measurement.image for measurement in result.measurements}
        data = ReportData(
            standing=result.verdict.standing.value,
            reason=entry.verification.failure_reason or "",
            entry=entry,
            slug=slug,
            measurements=result.measurements,
            thumbnails=Thumbnails({n: path for n, path in self._pictures.items() if n in measured}),
            history=setup_history(self._registry, slug) if slug else (),
            levels=result.levels,
        )
        if result.comparison is None:
            return data
        return with_comparison(data, result.comparison.baseline, result.comparison.comparison)
