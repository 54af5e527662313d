"""The hooks of each process that runs tests: a worker of pytest-xdist, or pytest itself without one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_setups.config.settings import SettingsError
from pytest_setups.plugin.state import SUITE_NODE
from pytest_setups.plugin.steps import EVIDENCE
from pytest_setups.tagging.python_tagger import TaggerObjectError

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_setups.run.connection import Connection

SUITE: Final = Path(__file__).parents[1] / "suite" / "test_setup.py"
REPORT_ATTRIBUTE: Final = "setups_evidence"
"""pytest-xdist carries the attributes of a report to the controller as long as they are plain text."""


class Suite(pytest.Module):
    """The suite's module, whose tests are collected whatever the user's ``python_functions`` is."""

    def funcnamefilter(self, name: str) -> bool:
        """Whether a function of that name is a test."""
        return name.startswith("test_")


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

    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> pytest.Module | None:
        """Collect the suite under a node id of its own, wherever it is installed."""
        if module_path != SUITE:
            return None
        return Suite.from_parent(parent, path=module_path, nodeid=SUITE_NODE)

    def pytest_pycollect_makeitem(self, collector: pytest.Collector, name: str) -> list[pytest.Item] | None:
        """Leave the test of a tagger command out where there is none."""
        left_out = name == "test_tagger" and collector.nodeid == SUITE_NODE
        return [] if left_out and self._connection.settings.tagger_command is None else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put a test's evidence on its report, which carries it to the controller."""
        report = yield
        if call.when == "call" and EVIDENCE in item.stash:
            # Not user_properties: those would put every answer into JUnit XML.
            setattr(report, REPORT_ATTRIBUTE, item.stash[EVIDENCE])
            del item.stash[EVIDENCE]
        return report
