"""What is refused before anything is asked: what was given does not fit, or could not be kept."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_setups.config import options
from pytest_setups.config.settings import SettingsError
from pytest_setups.registry.store import Registry, RegistryError

if TYPE_CHECKING:
    import pytest

    from pytest_setups.config.settings import Settings


def refuse_misread_paths(config: pytest.Config) -> None:
    """Refuse ``--setup-images /elsewhere``.

    Before it knows our options, pytest takes an existing path after a space for a path of tests, and
    looks for the project's root and ini file there.
    """
    if config.option.rootdir or config.option.inifilename:
        return
    here = config.invocation_params.dir.resolve()
    flags = {option.flag for option in options.OPTIONS if option.paths is not options.Paths.NEVER}
    for flag, value in pairwise(map(str, config.invocation_params.args)):
        path = Path(os.path.expanduser(value))
        if flag in flags and path.exists() and not path.resolve().is_relative_to(here):
            message = (
                f"type {flag}={value} with an equals sign: after a space, pytest looks for the project there"
            )
            raise SettingsError(message)


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
