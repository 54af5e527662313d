"""The report of a run that has just ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_setups.registry.differences import history_of
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.repository import git_state
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.report.html import ReportError, render_report, write_page
from pytest_setups.report.pages import ReportData, thumbnails, with_comparison

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_setups.report.conclusion import Conclusion
    from pytest_setups.run.collector import Run, Verdict

__all__ = ["ReportError", "write"]


def write(path: Path, conclusion: Conclusion, slug: str | None, root: Path) -> None:
    """Write the page; ``slug`` is the entry that was recorded, None without one.

    Raises:
        ReportError: it cannot be written.
    """
    try:
        data = run_data(conclusion.run, conclusion.verdict, slug, root)
        comparing = conclusion.comparing
        if comparing.compared is not None and comparing.baseline is not None:
            data = with_comparison(data, comparing.baseline, comparing.compared)
    except (RegistryError, EntryError, ValueError) as error:
        raise ReportError(str(error)) from None
    write_page(path, render_report(data))


def run_data(run: Run, verdict: Verdict, slug: str | None, root: Path) -> ReportData:
    """What the run gathered, judged and recorded, as the data of its page."""
    registry = Registry(run.session.settings.registry)
    if slug is None:
        entry = run.entry(git_state(root, apart_from=registry.root), verdict)
    else:
        entry = registry.load(slug)
    measurements = run.public_measurements
    measured = {measurement.image for measurement in run.measurements}
    return ReportData(
        standing=verdict.standing.value,
        reason=entry.verification.failure_reason or "",
        entry=entry,
        slug=slug,
        measurements=measurements,
        thumbnails=thumbnails({n: s.path for n, s in run.session.samples.items() if n in measured}),
        history=history_of(registry, slug) if slug else (),
    )
