"""Server faults in pytest's reports: the first test that one fails shows it, the others are counted.

Every test keeps its failed report, with the fault on one line: for JUnit XML, pytest-xdist and the counts of
pytest's last line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_setups.api.errors import fault_key
from pytest_setups.redaction import one_line
from pytest_setups.serving.processes.server_process import without_log

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from _pytest.outcomes import Failed
    from _pytest.terminal import TerminalReporter
else:
    Failed = pytest.fail.Exception  # its public name, which type checkers do not know

FAULT_ATTRIBUTE: Final = "setups_fault"
"""Of a report, the server fault because of which the test failed; pytest-xdist carries it."""
_REPEATED: Final = "setups_repeated"
MAX_REASON: Final = 300
MAX_NAMES: Final = 3
MAX_KNOWN: Final = 50
"""Faults that another one is looked for in: each test must not be compared with thousands."""


class ServerFault(Failed):
    """A test failed because of a fault of the server.

    ``fault`` is what the server did, without secrets; it is the same for every test that fails because of it.
    """

    # pytest shows the qualified name of an exception, and for its own ones no module.
    __module__ = "builtins"

    def __init__(self, reason: str, fault: str) -> None:
        super().__init__(reason, pytrace=False)
        self.fault = fault


@dataclass(slots=True)
class _Fault:
    """A fault that was shown, and the other tests that failed because of it."""

    latest: str
    others: list[str] = field(default_factory=list)


class ServerFaultReports:
    """Counts the tests that failed because of a fault that was shown before.

    ``log_end`` returns the last lines of the log of a server that this run started, None without one.
    """

    def __init__(self, log_end: Callable[[], str | None]) -> None:
        self._log_end = log_end
        self._shows_log = True
        self._faults: dict[str, _Fault] = {}
        self._rerun: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a fault that was shown before to one line, before any other plugin reads the report."""
        fault: str | None = getattr(report, FAULT_ATTRIBUTE, None)
        if fault is None:
            return
        key = fault_key(fault)
        if report.outcome == "failed":
            is_new = self._count(report.nodeid, fault, key)
        else:  # "rerun", of pytest-rerunfailures: the test may yet pass
            is_new = key not in self._rerun
            self._rerun.add(key)
        if not is_new:
            setattr(report, _REPEATED, True)
            report.longrepr = one_line(without_log(fault), MAX_REASON)
        elif report.outcome == "failed":
            _shorten_summary(report.longrepr)
            self._add_log(report.longrepr)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> Generator[None]:
        """Leave the counted tests out of everything between pytest's progress and its last line."""
        stats = terminalreporter.stats
        all_reports = {name: reports for name, reports in stats.items() if any(map(_is_repeated, reports))}
        stats.update({name: _not_repeated(reports) for name, reports in all_reports.items()})
        try:
            return (yield)
        finally:
            stats.update(all_reports)

    def lines(self) -> Iterator[str]:
        """A line for each fault because of which more than one test failed."""
        for fault in self._faults.values():
            if fault.others:
                yield _counted(fault)

    def _count(self, nodeid: str, fault: str, key: str) -> bool:
        """Count a failed test; whether its fault is a new one."""
        known = self._faults.get(key)
        if known is None:
            # That the server stopped answering follows from the fault that it names.
            causes = (cause for cause in islice(self._faults, MAX_KNOWN) if cause in key)
            known = next((self._faults[cause] for cause in causes), None)
        if known is None:
            self._faults[key] = _Fault(fault)
            return True
        known.others.append(nodeid)
        known.latest = fault
        return False

    def _add_log(self, longrepr: Any) -> None:
        """Show the end of the server's log below the first fault; only pytest's own text takes sections."""
        if not self._shows_log or not hasattr(longrepr, "addsection"):
            return
        self._shows_log = False
        log_end = self._log_end()
        if log_end is not None:
            heading, _, lines = log_end.partition("\n")
            longrepr.addsection(heading, lines)


def _shorten_summary(longrepr: Any) -> None:
    """Keep a log out of the short summary, which on CI systems has the whole message of a failure."""
    crash = getattr(longrepr, "reprcrash", None)
    if crash is not None:
        crash.message = one_line(without_log(crash.message), MAX_REASON)


def _counted(fault: _Fault) -> str:
    count = len(fault.others)
    names = ", ".join(nodeid.removeprefix("setup::") for nodeid in fault.others[:MAX_NAMES])
    more = f", and {count - MAX_NAMES} more" if count > MAX_NAMES else ""
    tests = "1 more test" if count == 1 else f"{count} more tests"
    reason = one_line(without_log(fault.latest), MAX_REASON)
    return f"{tests} failed because of this: {reason} ({one_line(names, MAX_REASON)}{more})"


def _is_repeated(report: object) -> bool:
    return hasattr(report, _REPEATED)


def _not_repeated(reports: Sequence[Any]) -> list[Any]:
    return [report for report in reports if not _is_repeated(report)]
