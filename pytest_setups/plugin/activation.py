"""Switching a run on, when the user named a server: settings, samples, and the hooks of this process."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_setups.checks.expectations_file import ExpectationsError, find_expectations
from pytest_setups.checks.languages import DetectorMissingError, require_detector
from pytest_setups.config.loading import load_settings
from pytest_setups.config.settings import NO_EXPECTATIONS, SettingsError
from pytest_setups.plugin import option_values, progress
from pytest_setups.plugin.console import host_of
from pytest_setups.plugin.controller import WORKER_INPUT, Controller, usage_error
from pytest_setups.plugin.server_faults import ServerFaultReports
from pytest_setups.plugin.state import CONNECTION, SUITE_NODE
from pytest_setups.plugin.worker import SUITE, Worker
from pytest_setups.redaction import without_paths
from pytest_setups.registry.store import RegistryError
from pytest_setups.run.connection import Connection
from pytest_setups.serving.local.environment import EnvironmentFileError, load_environment
from pytest_setups.tagging.images import ImageError, find_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.checks.expectations import Expectation
    from pytest_setups.config.settings import Settings
    from pytest_setups.run.host import Host
    from pytest_setups.tagging.images import Sample

_MISTAKES: Final = (
    SettingsError,
    ImageError,
    DetectorMissingError,
    ExpectationsError,
    RegistryError,
    EnvironmentFileError,
)


def activate(config: pytest.Config) -> None:
    """Switch a run on.

    Raises:
        pytest.UsageError: the options do not fit together, or name something that is not there.
    """
    try:
        connection = _connection(config)
        config.args = _collected_paths(config)
        config.stash[CONNECTION] = connection
        config.add_cleanup(connection.close)
        _register_hooks(config, connection)
    except _MISTAKES as error:
        raise usage_error(error) from None


def _register_hooks(config: pytest.Config, connection: Connection) -> None:
    plugins = config.pluginmanager
    plugins.register(Worker(connection), "setups-worker")
    worker_input = getattr(config, "workerinput", None)  # set by pytest-xdist in its workers only
    if worker_input is not None:
        connection.from_controller(worker_input[WORKER_INPUT])
        return
    faults = ServerFaultReports(lambda: None if connection.fault else connection.log_end())
    plugins.register(faults, "setups-server-faults")
    plugins.register(Controller(config, connection, faults), "setups-controller")
    # A tagger command tags all pictures at once: there is nothing to count.
    if connection.settings.tagger_command is None and progress.wanted(config, sys.stdout):
        plugins.register(progress.ProgressLine(sys.stdout), "setups-progress")


def _connection(config: pytest.Config) -> Connection:
    settings = load_settings(option_values.given_values(config), config.rootpath)
    if settings.environment is not None:
        load_environment(settings.environment)
    host = host_of(config)
    samples = _samples(settings, host)
    connection = Connection(settings, samples, _expectations(settings, samples), host)
    if connection.judges_languages:
        require_detector("--setup-language" if settings.language else "a language in the expectations file")
    return connection


def _expectations(settings: Settings, samples: Sequence[Sample]) -> dict[str, Expectation]:
    if settings.expectations == NO_EXPECTATIONS:
        return {}
    file = settings.expectations
    return find_expectations(samples, settings.images, Path(os.path.expanduser(file)) if file else None)


def _samples(settings: Settings, host: Host) -> list[Sample]:
    samples = find_samples(settings.images)
    if not settings.redact_paths:
        return samples
    # Names are long enough to hold a private path where that many parent folders tell two files apart.
    return [replace(sample, name=without_paths(sample.name, host.private_places)) for sample in samples]


def _collected_paths(config: pytest.Config) -> list[str]:
    """The suite when no path is given; node ids of the suite, as the terminal prints them, are understood."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return [str(SUITE)]
    prefix = f"{SUITE_NODE}::"
    return [
        f"{SUITE}::{argument.removeprefix(prefix)}" if argument.startswith(prefix) else argument
        for argument in config.args
    ]
