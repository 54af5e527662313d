"""What is refused before anything is asked: what was given does not fit, or could not be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_setups.config.settings import SettingsError
from pytest_setups.registry.store import Registry, RegistryError

if TYPE_CHECKING:
    import pytest

    from pytest_setups.config.settings import Settings


def check_registry(settings: Settings) -> None:
    """See that an entry could be recorded, under the slug that was asked for."""
    if not settings.recording:
        return
    registry = Registry(settings.registry)
    registry.check_writable()
    if settings.slug and registry.entry_path(settings.slug).exists():
        message = f"--setup-slug: an entry {settings.slug!r} is in {registry.root}; entries are never edited"
        raise RegistryError(message)


def check_report(settings: Settings) -> None:
    """See that a report could be written."""
    if settings.report is None:
        return
    from pytest_setups.report.html import ReportError, check_target

    try:
        check_target(settings.report)
    except ReportError as error:
        message = f"--setup-report: {error}"
        raise SettingsError(message) from None


def refuse_two_kinds_of_concurrency(config: pytest.Config, settings: Settings, workers: int) -> None:
    """Refuse workers that measure everything twice, or beside requests that are concurrent anyway."""
    if workers and config.getoption("dist") == "each":
        message = "--dist each runs every test in every worker: measure with --dist load, the default of -n"
        raise SettingsError(message)
    if workers and settings.concurrency > 1:
        message = (
            f"--setup-concurrency {settings.concurrency} and -n {workers} both ask at once: leave one out"
        )
        raise SettingsError(message)
