"""The hooks of each process that runs tests: a worker of pytest-xdist, or pytest itself without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_setups.config.settings import SettingsError
from pytest_setups.plugin.server_faults import FAULT_ATTRIBUTE, ServerFault
from pytest_setups.plugin.state import CONNECTION, SUITE_NODE
from pytest_setups.plugin.steps import CAPACITY_TEST, EVIDENCE, EXPECTATIONS_TEST, SOAK_TEST, ends_measuring
from pytest_setups.tagging.python_tagger import TaggerObjectError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from pytest_setups.run.connection import Connection

TAGGER_TEST: Final = "test_tagger"
SUITE: Final = Path(__file__).parents[1] / "suite" / "test_setup.py"
REPORT_ATTRIBUTE: Final = "setups_evidence"
"""pytest-xdist carries the attributes of a report to the controller as long as they are plain text."""

REQUESTS_OUTPUT: Final = "setups_requests"
"""The key of a worker's output under which it sends the log of its requests."""


class Suite(pytest.Module):
    """The suite's module, whose tests are collected whatever the user's ``python_functions`` is."""

    def funcnamefilter(self, name: str) -> bool:
        """Whether a function of that name is a test."""
        return name.startswith("test_")

    def istestfunction(self, obj: object, name: str) -> bool:
        """Whether a function is a test of this run; one that is dropped later costs as much as any other."""
        return super().istestfunction(obj, name) and name not in self._idle

    @property
    def _idle(self) -> Iterator[str]:
        """The tests for which this run has nothing to do, whatever the image."""
        connection = self.config.stash[CONNECTION]
        if connection.settings.tagger_command is None:
            yield TAGGER_TEST
        if not any(map(connection.judges_words_of, connection.samples.values())):
            yield EXPECTATIONS_TEST
        if connection.settings.capacity is None:
            yield CAPACITY_TEST
        if connection.settings.soak is None:
            yield SOAK_TEST

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """The tests, without those for images of which nothing is expected."""
        # All images are parametrised first: pytest groups tests by the position of their image among them.
        return [item for item in super().collect() if not self._is_idle(item)]

    def _is_idle(self, item: pytest.Item | pytest.Collector) -> bool:
        if not isinstance(item, pytest.Function) or item.originalname != EXPECTATIONS_TEST:
            return False
        sample: Any = item.callspec.params["setup_image"]
        return not self.config.stash[CONNECTION].judges_words_of(sample)


class Worker:
    """Collects the suite, and puts the evidence of each test on its report."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Make a user's own tagger in a worker of xdist, where a fault is what its tests fail with."""
        if not hasattr(session.config, "workerinput"):
            return
        try:
            _ = self._connection.program
        except (SettingsError, TaggerObjectError) as error:
            self._connection.fail(str(error))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Send the log of requests from a worker of xdist to the controller."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[REQUESTS_OUTPUT] = self._connection.request_log.to_json()

    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> pytest.Module | None:
        """Collect the suite under a node id of its own, wherever it is installed."""
        if module_path != SUITE:
            return None
        return Suite.from_parent(parent, path=module_path, nodeid=SUITE_NODE)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the tests last that load the server: what is measured before is undisturbed."""
        items.sort(key=lambda item: ends_measuring(item.nodeid))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put a test's evidence on its report, which carries it to the controller."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, ServerFault):
            setattr(report, FAULT_ATTRIBUTE, call.excinfo.value.fault)
        if call.when == "call" and EVIDENCE in item.stash:
            # Not user_properties: those would put every answer into JUnit XML.
            setattr(report, REPORT_ATTRIBUTE, item.stash[EVIDENCE])
            del item.stash[EVIDENCE]
        return report
