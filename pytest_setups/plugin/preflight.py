"""What is refused before the first request: files that could not be written, options that do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.config.settings import SettingsError
from pytest_setups.registry.store import Registry, RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from pytest_setups.checks.expectations import Expectation
    from pytest_setups.config.settings import Settings
    from pytest_setups.run.connection import Connection

MAX_FAULTS_SHOWN: Final = 3


def check_registry(settings: Settings) -> None:
    """Check that an entry could be recorded, under the requested slug.

    Raises:
        RegistryError: the registry cannot be written to, or holds an entry of that slug.
    """
    if not settings.recording:
        return
    registry = Registry(settings.registry)
    registry.check_writable()
    if settings.slug and registry.entry_path(settings.slug).exists():
        message = (
            f"--setup-slug: {registry.root} already holds an entry {settings.slug!r}; "
            "entries are never edited"
        )
        raise RegistryError(message)


def check_reference(connection: Connection) -> None:
    """Check that there are keywords to compare with, where they are asked for.

    Raises:
        SettingsError: no picture has any.
    """
    reference = connection.reference
    if reference is None or reference.images:
        return
    faults = "".join(f"; {fault}" for fault in reference.faults[:MAX_FAULTS_SHOWN])
    message = (
        f"--setup-reference: none of the {len(reference.keywords)} images has keywords in its metadata "
        f"(IPTC, XMP, or an .xmp file beside it): write some, or leave the option out{faults}"
    )
    raise SettingsError(message)


def check_coverage(settings: Settings, expectations: Mapping[str, Expectation]) -> None:
    """Check that a bound on the coverage can be judged.

    Raises:
        SettingsError: no words are expected of any image.
    """
    if not settings.bounds_coverage:
        return
    if not any(expectation.groups for expectation in expectations.values()):
        message = (
            "--setup-fail-if coverage: no words are expected of these images; "
            "write expectations.toml beside them, or add --setup-expectations FILE"
        )
        raise SettingsError(message)


def check_report(settings: Settings) -> None:
    """Check that a report could be written.

    Raises:
        SettingsError: it could not; the message says why.
    """
    if settings.report is None:
        return
    from pytest_setups.report.html import ReportError, check_target

    try:
        check_target(settings.report)
    except ReportError as error:
        message = f"--setup-report: {error}"
        raise SettingsError(message) from None


def refuse_two_kinds_of_concurrency(config: pytest.Config, settings: Settings, workers: int) -> None:
    """Refuse workers that each measure everything, and workers together with concurrent requests.

    Raises:
        SettingsError: the options ask for one of the two.
    """
    if workers and config.getoption("dist") == "each":
        message = "--dist each runs every test in every worker: measure with --dist load, the default of -n"
        raise SettingsError(message)
    if workers and settings.capacity is not None:
        message = (
            f"--setup-capacity and -n {workers}: several processes would load the server at once, beyond the "
            "number that is measured; leave one of the two out"
        )
        raise SettingsError(message)
    if workers and settings.soak is not None:
        message = (
            f"--setup-soak and -n {workers}: other processes would load the server while one measures; leave "
            "one of the two out"
        )
        raise SettingsError(message)
    if workers and settings.concurrency > 1:
        message = (
            f"--setup-concurrency {settings.concurrency} and -n {workers} both send concurrent requests: "
            "leave one of the two out"
        )
        raise SettingsError(message)
