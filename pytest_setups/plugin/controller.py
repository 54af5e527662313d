"""The hooks of the process that reports: connects, collects, builds the result, records and reports it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_setups import demo
from pytest_setups.config.settings import SettingsError
from pytest_setups.load.run_meters import RunMeters
from pytest_setups.plugin import user_hooks
from pytest_setups.plugin.console import TerminalAnnouncer
from pytest_setups.plugin.exit_status import exit_status
from pytest_setups.plugin.preflight import (
    check_coverage,
    check_reference,
    check_registry,
    check_report,
    refuse_two_kinds_of_concurrency,
)
from pytest_setups.plugin.steps import EVIDENCE, begins_measuring, ends_measuring
from pytest_setups.plugin.worker import REPORT_ATTRIBUTE, REQUESTS_OUTPUT
from pytest_setups.redaction import one_line, redact
from pytest_setups.registry.git_repository import git_state
from pytest_setups.registry.store import RegistryError
from pytest_setups.regression.baseline import BaselineError
from pytest_setups.report import github, terminal
from pytest_setups.report.github import GithubReporter
from pytest_setups.report.junit import JunitReporter
from pytest_setups.report.reporter import MAX_NOTICE, Level, Notice
from pytest_setups.report.run_notices import run_notices
from pytest_setups.run.baseline_gate import BaselineGate
from pytest_setups.run.collector import Collector
from pytest_setups.run.entry_builder import EntryBuilder
from pytest_setups.run.recording import record
from pytest_setups.run.result import PytestOutcome, ResultBuilder, RunHeader, will_record
from pytest_setups.serving.processes.server_process import StartError
from pytest_setups.serving.server import ModelChoiceError
from pytest_setups.tagging.python_tagger import TaggerObjectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

    from pytest_setups.plugin.server_faults import ServerFaultReports
    from pytest_setups.registry.git_repository import GitState
    from pytest_setups.report.reporter import Reporter
    from pytest_setups.run.connection import Connection
    from pytest_setups.run.result import RunResult

WORKER_INPUT: Final = "setups"
_REFUSALS: Final = (
    BaselineError,
    RegistryError,
    ModelChoiceError,
    demo.DemoError,
    StartError,
    SettingsError,
    TaggerObjectError,
)


class Controller:
    """The run, from the first contact with the server to the exit status."""

    def __init__(
        self, config: pytest.Config, connection: Connection, server_faults: ServerFaultReports
    ) -> None:
        self._config = config
        self._server_faults = server_faults
        self._connection = connection
        self._settings = connection.settings
        workers = _worker_count(config)
        refuse_two_kinds_of_concurrency(config, self._settings, workers)
        self._concurrency = workers or self._settings.concurrency
        self._collector = Collector()
        self._meters = RunMeters(connection)
        self._gate = BaselineGate(self._settings, connection.redactor)
        self._entries = EntryBuilder(
            connection,
            invocation=[str(argument) for argument in config.invocation_params.args],
            concurrency=self._concurrency,
            user_checks=user_hooks.UserChecks(config).names,
        )
        self._github = GithubReporter()
        self._result: RunResult | None = None
        self._notices: list[Notice] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Connect to the server, before workers start and the header is printed."""
        if not _runs_tests(self._config):
            return
        try:
            # In this order: what needs no server first, what costs an hour last.
            check_registry(self._settings)
            check_report(self._settings)
            check_reference(self._connection)
            check_coverage(self._settings, self._connection.expectations)
            self._gate.load()
            self._connection.connect(TerminalAnnouncer(self._config))
            _ = self._connection.program  # a user's tagger that cannot be made is refused before the tests
            if self._settings.recording or self._settings.report or self._settings.baseline:
                _ = self._connection.facts  # while the server is there: it may die during the run
            self._check_baseline()
        except _REFUSALS as error:
            raise usage_error(error) from None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Pass what was learned on to a worker of xdist."""
        if self._settings.tagger_command is not None:
            self._meters.start()  # the command runs now, before its outputs are shared out
        node.workerinput[WORKER_INPUT] = self._connection.to_worker()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the count of requests from a worker of xdist, which a crashed one has not left."""
        self._meters.add_worker(getattr(node, "workeroutput", {}).get(REQUESTS_OUTPUT))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> object:
        """Keep the stages of one image in one worker."""
        if config.getoption("dist") != "load":
            return None
        from pytest_setups.plugin.xdist import ImageScheduling

        return ImageScheduling(config, log)

    def pytest_report_header(self) -> str:
        """The header line."""
        return terminal.header(RunHeader.of(self._connection, self._concurrency))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Start the meters with the first test that measures, and stop them before any other experiment."""
        if begins_measuring(nodeid):
            self._meters.start()
        elif ends_measuring(nodeid):
            self._meters.stop()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what a test's report carries."""
        line = getattr(report, REPORT_ATTRIBUTE, None)
        if line is not None:
            self._collector.add(line)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Build the result, record and report it, and set the exit status."""
        # After a usage error nothing was measured, and pytest has said why.
        if not _runs_tests(self._config) or exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        self._meters.stop()
        self._collect_unreported(session)
        result = self._build_result(exitstatus)
        self._notices = [self._public(notice) for notice in run_notices(result, self._settings)]
        if will_record(self._settings, result.verdict):
            result = self._record(result)
        for reporter in self._reporters():
            self._notices += map(self._public, reporter.report(result, self._notices))
        self._result = result
        status = exit_status(result, self._notices, exitstatus)
        if status != exitstatus:  # another plugin may have set one
            session.exitstatus = status

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """What is counted, the table of stages, the slowest image, the comparison, and the notices."""
        counted = list(self._server_faults.lines())
        if self._result is None or not (has_figures(self._result) or self._notices or counted):
            return
        terminalreporter.ensure_newline()  # section does not end the line of dots, write_line would
        terminalreporter.section("setup", sep="=")
        for line in counted:
            terminalreporter.write_line(line, red=True)
        terminal.TerminalSummary(terminalreporter.write).report(self._result, self._notices)

    def pytest_unconfigure(self) -> None:
        """Print annotations where GitHub sees them: each on a line of its own, after the terminal's last."""
        if self._github.annotations:
            lines = "".join(f"\n{annotation}" for annotation in self._github.annotations)
            sys.stdout.write(f"{lines}\n")
            sys.stdout.flush()

    def _collect_unreported(self, session: pytest.Session) -> None:
        """Take what a test left that has no report, since Ctrl-C ended it."""
        for item in getattr(session, "items", ()):  # absent where collecting failed
            if EVIDENCE in item.stash:
                self._collector.add(item.stash[EVIDENCE])

    def _check_baseline(self) -> None:
        """Refuse a baseline that does not compare, unless a user's hook may yet change the entry."""
        named = self._settings.baseline is not None and self._connection.server is not None
        if named and not user_hooks.has_entry_hooks(self._config):
            self._gate.check(self._entries.draft)

    def _build_result(self, exitstatus: int) -> RunResult:
        cut_short = {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}
        builder = ResultBuilder(
            connection=self._connection,
            header=RunHeader.of(self._connection, self._concurrency),
            entries=self._entries,
            gate=self._gate,
            modify=lambda entry: user_hooks.modified(self._config, entry),
        )
        outcome = PytestOutcome(interrupted=exitstatus in cut_short, failed=exitstatus != pytest.ExitCode.OK)
        collected = self._collector.collected()
        return builder.build(collected, outcome, self._git_state, self._meters.records(collected))

    def _git_state(self) -> GitState:
        return git_state(self._config.rootpath, apart_from=self._settings.registry)

    def _record(self, result: RunResult) -> RunResult:
        try:
            recorded = record(result, self._settings)
        except (RegistryError, ValueError) as error:
            text = one_line(f"not recorded: {error}", MAX_NOTICE)
            self._notices.append(self._public(Notice(text, Level.FAILURE)))
            return result
        path = os.path.relpath(recorded.entry_path, self._config.invocation_params.dir)
        self._notices.append(Notice(f"recorded: {path}"))
        if recorded.index_fault:
            self._notices.append(Notice(recorded.index_fault, Level.WARNING))
        return replace(result, recorded=recorded)

    def _public(self, notice: Notice) -> Notice:
        return replace(notice, text=self._connection.redactor.text(notice.text))

    def _reporters(self) -> Iterator[Reporter]:
        """The reporters in their order: later ones also show the notices of earlier ones."""
        if self._settings.report is not None:
            from pytest_setups.report.html_reporter import HtmlReporter

            yield HtmlReporter(
                self._settings.report,
                pictures={name: sample.path for name, sample in self._connection.samples.items()},
                registry=self._settings.registry,
                directory=self._config.invocation_params.dir,
            )
        yield JunitReporter(self._config.pluginmanager.get_plugins())
        yield self._github


def has_figures(result: RunResult) -> bool:
    """Whether anything was measured that a summary shows."""
    performance = result.performance
    return bool(result.measurements or performance.capacity or performance.soak)


def usage_error(error: Exception) -> pytest.UsageError:
    """The error as pytest shows it; GitHub gets an annotation, since nothing follows."""
    if github.in_actions():
        annotation = github.Annotation(github.TITLE, one_line(redact(str(error)), MAX_NOTICE))
        sys.stdout.write(f"{annotation}\n")
        sys.stdout.flush()
    return pytest.UsageError(str(error))


def _runs_tests(config: pytest.Config) -> bool:
    """Whether tests are run, not only listed."""
    listing = ("collectonly", "showfixtures", "show_fixtures_per_test")
    return not any(getattr(config.option, name, False) for name in listing)


def _worker_count(config: pytest.Config) -> int:
    distributed = config.getoption("dist", "no") != "no"
    return len(config.getoption("tx", None) or ()) if distributed else 0
