"""The pytest plugin: options, fixtures, and what is switched on when a server is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_setups.config.options import FLAG_PREFIXES
from pytest_setups.plugin import hookspecs, option_values
from pytest_setups.plugin.state import CONNECTION, NO_SERVER, SUITE_NODE

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator
    from pathlib import Path

    from pytest_setups.config.settings import Settings
    from pytest_setups.plugin.steps import SuiteSteps
    from pytest_setups.run.connection import Connection
    from pytest_setups.serving.server import Server
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outputs import Tagging


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    option_values.declare_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks for users."""
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None]:
    """Refuse options that pytest misread; and unknown ones, once conftest files have declared theirs."""
    known = early_config.known_args_namespace
    if known.help or known.version or not any(arg.startswith(FLAG_PREFIXES) for arg in args):
        return (yield)
    from pytest_setups.plugin import argument_checks

    argument_checks.refuse_misread_paths(early_config, args)
    yield
    argument_checks.refuse_unknown_options(early_config, parser, args)


def pytest_configure(config: pytest.Config) -> None:
    """Switch the suite on when a server is named."""
    if config.option.help or config.option.version:
        return
    named = option_values.server_named(config)
    option_values.check_switches(config)
    idle = None if named else option_values.typed_without_a_server(config)
    if idle is not None:
        message = (
            f"{idle} needs a server: add --setup-base-url URL, --setup-launch, --setup-from or --setup-demo"
        )
        raise pytest.UsageError(message)
    if named:
        from pytest_setups.plugin import activation

        activation.activate(config)


@pytest.hookimpl(tryfirst=True)
def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    """Add the key that was probably meant to pytest's warning of an unknown one in the ini file."""
    if not isinstance(warning_message.message, pytest.PytestConfigWarning):
        return
    from pytest_setups.plugin import argument_checks

    better = argument_checks.with_known_key(str(warning_message.message))
    if better is not None:
        warning_message.message = pytest.PytestConfigWarning(better)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Add the same where the ini file is strict, and an unknown key is an error."""
    try:
        return (yield)
    except pytest.UsageError as error:
        from pytest_setups.plugin import argument_checks

        better = argument_checks.with_known_key(str(error))
        if better is None:
            raise
        raise pytest.UsageError(better) from None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the files of a requested registry."""
    if file_path.suffix not in {".json", ".jsonl"}:
        return None
    from pytest_setups.plugin import registry_collection

    return registry_collection.collect_file(file_path, parent)


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a requested registry that has no index."""
    if not (path / "entries").exists():
        return None
    from pytest_setups.plugin import registry_collection

    return registry_collection.collect_folder(path, parent)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each sample image."""
    if "setup_image" not in metafunc.fixturenames:
        return
    connection = metafunc.config.stash.get(CONNECTION, None)
    if connection is None:
        absent = pytest.param(None, marks=pytest.mark.skip(reason=NO_SERVER), id="no-server")
        metafunc.parametrize("setup_image", [absent], indirect=True, scope="session")
    else:
        suite = metafunc.definition.nodeid.startswith(f"{SUITE_NODE}::")
        samples = connection.samples_in_order if suite else list(connection.samples.values())
        names = [sample.name if sample.nth == 1 else f"{sample.name}-{sample.nth}" for sample in samples]
        metafunc.parametrize("setup_image", samples, ids=names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def _setup_connection(pytestconfig: pytest.Config) -> Connection:
    if CONNECTION not in pytestconfig.stash:
        pytest.skip(NO_SERVER)
    return pytestconfig.stash[CONNECTION]


@pytest.fixture
def _steps(_setup_connection: Connection, request: pytest.FixtureRequest) -> SuiteSteps:
    from pytest_setups.plugin.steps import SuiteSteps

    return SuiteSteps(_setup_connection, request.node)


@pytest.fixture(scope="session")
def setup_settings(_setup_connection: Connection) -> Settings:
    """The validated settings of the run (`pytest_setups.Settings`, frozen)."""
    return _setup_connection.settings


@pytest.fixture(scope="session")
def setup_server(_setup_connection: Connection) -> Server:
    """The server that answers: base URL, models, backend and version (`pytest_setups.Server`).

    The test fails with the server's own error when it does not answer, or lists its models and hangs.
    """
    fault = _setup_connection.fault
    if fault is not None:
        from pytest_setups.plugin.server_faults import ServerFault

        raise ServerFault(fault, fault)
    return _setup_connection.connected_server()


@pytest.fixture(scope="session")
def setup_image(request: pytest.FixtureRequest) -> Sample:
    """Each sample image in turn: `name` and `path` (`pytest_setups.Sample`)."""
    sample: Sample = request.param
    return sample


@pytest.fixture(scope="session")
def tagging(_setup_connection: Connection, setup_image: Sample, request: pytest.FixtureRequest) -> Tagging:
    """Caption, keywords and description that the tagger made of each sample image (`pytest_setups.Tagging`).

    The tagger is the built-in one, that of --setup-tagger-command, or that of the hook
    pytest_setups_tagger. The test fails with the reason when an output is not populated.
    """
    from pytest_setups.plugin.steps import tag
    from pytest_setups.plugin.user_hooks import UserChecks

    request.getfixturevalue("setup_server")  # it must have answered
    return tag(_setup_connection, request.session.items, setup_image, UserChecks(request.config))
