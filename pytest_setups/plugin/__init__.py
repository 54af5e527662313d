"""The pytest plugin: options, fixtures, and what is switched on when a server is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from pytest_setups.config import options
from pytest_setups.plugin import hookspecs

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_setups.config.settings import Settings
    from pytest_setups.plugin.steps import Asking
    from pytest_setups.run.connection import Session
    from pytest_setups.serving.server import Server
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outputs import Tagging

SESSION: Final = pytest.StashKey["Session"]()
NO_SERVER: Final = "no server is named: pytest --setup-base-url URL"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks for users."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Switch the suite on when a server is named."""
    if config.option.help or config.option.version:
        return
    try:
        named = options.server_named(config)
        options.check_switches(config)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    idle = None if named else options.typed_without_a_server(config)
    if idle is not None:
        message = (
            f"{idle} needs a server: add --setup-base-url URL, --setup-launch, --setup-from or --setup-demo"
        )
        raise pytest.UsageError(message)
    if named:
        from pytest_setups.plugin import controller

        controller.activate(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the files of a registry that was asked for."""
    if file_path.suffix not in {".json", ".jsonl"}:
        return None
    from pytest_setups.plugin import registry_collection

    return registry_collection.file_of(file_path, parent)


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a registry that was asked for and has no index."""
    if not (path / "entries").exists():
        return None
    from pytest_setups.plugin import registry_collection

    return registry_collection.folder_of(path, parent)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each sample image."""
    if "setup_image" not in metafunc.fixturenames:
        return
    session = metafunc.config.stash.get(SESSION, None)
    if session is None:
        absent = pytest.param(None, marks=pytest.mark.skip(reason=NO_SERVER), id="no-server")
        metafunc.parametrize("setup_image", [absent], indirect=True, scope="session")
    else:
        suite = metafunc.definition.nodeid.startswith("setup::")
        samples = session.asked if suite else list(session.samples.values())
        names = [sample.name if sample.nth == 1 else f"{sample.name}-{sample.nth}" for sample in samples]
        metafunc.parametrize("setup_image", samples, ids=names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def _setup_session(pytestconfig: pytest.Config) -> Session:
    session = pytestconfig.stash.get(SESSION, None)
    if session is None:
        pytest.skip(NO_SERVER)
    return session


@pytest.fixture
def _asking(_setup_session: Session, request: pytest.FixtureRequest) -> Asking:
    from pytest_setups.plugin.steps import Asking

    return Asking(_setup_session, request.node)


@pytest.fixture(scope="session")
def setup_settings(_setup_session: Session) -> Settings:
    """The validated settings of the run (`pytest_setups.Settings`, frozen)."""
    return _setup_session.settings


@pytest.fixture(scope="session")
def setup_server(_setup_session: Session) -> Server:
    """The server that answers: base URL, models and what it says of itself (`pytest_setups.Server`).

    The test fails with the server's words when it does not answer.
    """
    try:
        return _setup_session.met()
    except LookupError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def setup_image(request: pytest.FixtureRequest) -> Sample:
    """Each sample image in turn: `name` and `path` (`pytest_setups.Sample`)."""
    sample: Sample = request.param
    return sample


@pytest.fixture(scope="session")
def tagging(
    _setup_session: Session,
    setup_server: Server,  # noqa: ARG001  # it must have answered
    setup_image: Sample,
    request: pytest.FixtureRequest,
) -> Tagging:
    """Caption, keywords and description that the tagger made of each sample image (`pytest_setups.Tagging`).

    The tagger is the built-in one, that of --setup-tagger-command, or that of the hook
    pytest_setups_tagger. The test fails with the reason when an output is not populated.
    """
    from pytest_setups.plugin.steps import tag
    from pytest_setups.plugin.user_hooks import OwnChecks

    return tag(_setup_session, request.session.items, setup_image, OwnChecks(request.config))
