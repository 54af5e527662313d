"""A run that is on: its hooks in the process that reports, and in each process that tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_setups import demo
from pytest_setups.config import options
from pytest_setups.config.settings import Settings, SettingsError
from pytest_setups.plugin import SESSION, progress, user_hooks
from pytest_setups.plugin.console import Voice, host_of
from pytest_setups.plugin.preflight import (
    check_registry,
    check_report,
    refuse_misread_paths,
    refuse_two_kinds_of_concurrency,
)
from pytest_setups.plugin.steps import EVIDENCE
from pytest_setups.redaction import one_line, redact
from pytest_setups.registry.repository import git_state
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.regression.baseline import BaselineError
from pytest_setups.report import comparison_text, github, junit, terminal
from pytest_setups.report.conclusion import Conclusion
from pytest_setups.run.baseline_gate import Comparing
from pytest_setups.run.collector import Run, Standing, Verdict
from pytest_setups.run.connection import Session
from pytest_setups.serving.local.environment import EnvironmentFileError, load_environment
from pytest_setups.serving.processes.server_process import StartError
from pytest_setups.serving.server import ModelChoiceError
from pytest_setups.tagging.images import ImageError, find_samples
from pytest_setups.tagging.python_tagger import TaggerObjectError

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter


SUITE: Final = Path(__file__).parents[1] / "suite" / "test_setup.py"
SUITE_NODE: Final = "setup"
WORKER_INPUT: Final = "setups"
REPORT_ATTRIBUTE: Final = "setups_evidence"


def activate(config: pytest.Config) -> None:
    """Switch a run on.

    Raises:
        pytest.UsageError: what the user gave does not fit.
    """
    try:
        refuse_misread_paths(config)
        session = _load(config)
        config.args = _collected(config)
        config.stash[SESSION] = session
        config.add_cleanup(session.close)
        config.pluginmanager.register(Testing(session), "setups-testing")
        worker = getattr(config, "workerinput", None)
        if worker is None:
            config.pluginmanager.register(Controller(config, session), "setups-controller")
            if session.settings.tagger_command is None and progress.wanted(config, sys.stdout):
                config.pluginmanager.register(progress.ProgressLine(sys.stdout), "setups-progress")
        else:
            session.from_controller(worker[WORKER_INPUT])
    except (SettingsError, ImageError, RegistryError, EnvironmentFileError) as error:
        raise _refusal(error) from None


class Suite(pytest.Module):
    """The suite's module, whose tests are named as they are whatever ``python_functions`` says."""

    def funcnamefilter(self, name: str) -> bool:
        """Whether a function of that name is a test."""
        return name.startswith("test_")


class Testing:
    """The hooks of each process that runs tests."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Make a user's own tagger in a worker, where a fault is what its tests fail with."""
        if not hasattr(session.config, "workerinput"):
            return
        try:
            self._session.find_program()
        except (SettingsError, TaggerObjectError) as error:
            self._session.server, self._session.fault = None, str(error)

    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> pytest.Module | None:
        """Collect the suite under a node id of its own, wherever it is installed."""
        if module_path != SUITE:
            return None
        return Suite.from_parent(parent, path=module_path, nodeid=SUITE_NODE)

    def pytest_pycollect_makeitem(self, collector: pytest.Collector, name: str) -> list[pytest.Item] | None:
        """Leave the test of an external tagger out where there is none."""
        left_out = name == "test_tagger" and collector.nodeid == SUITE_NODE
        return [] if left_out and self._session.settings.tagger_command is None else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put a test's evidence on its report, which carries it to the process that reports."""
        report = yield
        if call.when == "call" and EVIDENCE in item.stash:
            setattr(report, REPORT_ATTRIBUTE, item.stash[EVIDENCE])
            del item.stash[EVIDENCE]
        return report


class Controller:
    """The hooks of the process that reports: meets the server, gathers, records and tells."""

    def __init__(self, config: pytest.Config, session: Session) -> None:
        self._config = config
        self._session = session
        self._workers = _workers(config)
        refuse_two_kinds_of_concurrency(config, session.settings, self._workers)
        self._run = Run(
            session=session,
            invocation=[str(argument) for argument in config.invocation_params.args],
            concurrency=self._workers or session.settings.concurrency,
            finish=user_hooks.finish(config),
        )
        self._comparing = Comparing(self._run)
        self._outcome: list[tuple[str, bool]] = []
        self._annotations: list[github.Annotation] = []
        self._recorded: str | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Meet the server, before workers start and the header is printed."""
        if not _runs(self._config):
            return
        try:
            check_registry(self._session.settings)
            check_report(self._session.settings)
            self._comparing.find()
            self._session.meet(Voice(self._config))
            self._session.find_program()
            self._comparing.check()
        except (
            BaselineError,
            RegistryError,
            ModelChoiceError,
            demo.DemoError,
            StartError,
            SettingsError,
            TaggerObjectError,
        ) as error:
            raise _refusal(error) from None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker what was learned."""
        node.workerinput[WORKER_INPUT] = self._session.to_worker()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> object:
        """Keep the stages of one image in one worker."""
        if config.getoption("dist") != "load":
            return None
        from pytest_setups.plugin.xdist import ImageScheduling

        return ImageScheduling(config, log)

    def pytest_report_header(self) -> str:
        """The header line."""
        return terminal.header(self._session, self._run.concurrency)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what a test's report carries."""
        evidence = getattr(report, REPORT_ATTRIBUTE, None)
        if evidence is not None:
            self._run.add(evidence)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge the run, record it if wanted, and let the exit status say what the tests could not."""
        if not _runs(self._config) or exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        verdict = self._comparing.judge(self._verdict(exitstatus))
        good = self._tell_comparison()
        good = self._conclude(verdict) and good
        conclusion = Conclusion(self._run, verdict, self._outcome, self._comparing)
        good = self._write_report(conclusion) and good
        if not good and exitstatus == pytest.ExitCode.OK:
            misfit = self._comparing.misfit
            session.exitstatus = pytest.ExitCode.USAGE_ERROR if misfit else pytest.ExitCode.TESTS_FAILED
        self._publish(conclusion)

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """The table of stages, the slowest image, and what was recorded."""
        measurements = self._run.measurements
        if not measurements and not self._outcome:
            return
        terminalreporter.section("setup", sep="=")
        if measurements:
            for line in terminal.table(measurements):
                terminalreporter.write_line(line)
            terminalreporter.write_line(terminal.slowest(measurements) or "no answer was measured")
        if self._comparing.compared is not None:
            for line in comparison_text.table(self._comparing.compared):
                terminalreporter.write_line(line)
        if self._run.tagger is not None:
            terminalreporter.write_line(terminal.tagger(self._run.tagger))
        for line, good in self._outcome:
            terminalreporter.write_line(line, green=good, red=not good)

    def pytest_unconfigure(self) -> None:
        """Print annotations where GitHub sees them: each on a line of its own, after the terminal's last."""
        if self._annotations:
            sys.stdout.write("".join(f"\n{annotation}" for annotation in self._annotations) + "\n")
            sys.stdout.flush()

    def _tell_comparison(self) -> bool:
        """Tell what came of the comparison; False when something got worse or could not be compared."""
        comparing = self._comparing
        if comparing.fault is not None:
            self._tell(f"not compared: {comparing.fault}", good=False)
            return False
        if comparing.compared is None or comparing.baseline is None or comparing.entry is None:
            return True
        for line in comparison_text.good_lines(comparing.baseline, comparing.entry, comparing.compared):
            self._tell(line, good=True)
        for line in comparison_text.breaches(comparing.compared):
            self._tell(line, good=False)
        return not comparing.compared.broken

    def _conclude(self, verdict: Verdict) -> bool:
        settings = self._session.settings
        wanted = settings.recording
        if verdict.standing is Standing.INCOMPLETE:
            if wanted:
                self._tell(f"not recorded: {verdict.reason}", good=False)
            return True
        if verdict.standing is Standing.FAILED:
            self._tell(f"failed: {verdict.reason}", good=False)
        if verdict.standing is Standing.FAILED and not settings.record_failed:
            if wanted:
                self._tell("not recorded: only a success is; --record-failed keeps the attempt", good=False)
            return False
        return (self._record(verdict) if wanted else True) and verdict.standing is Standing.SUCCESS

    def _verdict(self, exitstatus: int) -> Verdict:
        if exitstatus in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}:
            return Verdict(Standing.INCOMPLETE, "the run was interrupted")
        verdict = self._run.verdict()
        if verdict.standing is Standing.SUCCESS and exitstatus != pytest.ExitCode.OK:
            return Verdict(Standing.FAILED, "a test besides the measurements failed")
        return verdict

    def _write_report(self, conclusion: Conclusion) -> bool:
        path = self._session.settings.report
        if path is None or self._session.facts is None:
            return True
        from pytest_setups.report import run_report

        try:
            run_report.write(path, conclusion, self._recorded, self._config.rootpath)
        except run_report.ReportError as error:
            self._tell(f"no report: {one_line(str(error), 1000)}", good=False)
            return False
        self._tell(f"report: {os.path.relpath(path, self._config.invocation_params.dir)}", good=True)
        return True

    def _record(self, verdict: Verdict) -> bool:
        registry, root = Registry(self._session.settings.registry), self._config.rootpath
        try:
            recorded = self._run.record(registry, git_state(root, apart_from=registry.root), verdict)
        except (RegistryError, ValueError) as error:
            self._tell(f"not recorded: {one_line(str(error), 1000)}", good=False)
            return False
        self._recorded = recorded.slug
        path = os.path.relpath(recorded.entry, self._config.invocation_params.dir)
        self._tell(f"recorded: {path}", good=True)
        if recorded.index_fault:
            self._tell(recorded.index_fault, good=False)
        return True

    def _publish(self, conclusion: Conclusion) -> None:
        """Tell what the run came to where somebody else reads it."""
        record = junit.recorder(self._config.pluginmanager.get_plugins())
        if record is not None:
            for name, value in junit.properties(conclusion):
                record(name, value)
        summary = github.summary_file()
        if summary is not None:
            try:
                github.append_summary(summary, conclusion)
            except OSError as error:
                self._tell(f"GITHUB_STEP_SUMMARY cannot be written: {error.strerror or error}", good=False)
        if github.in_actions():
            self._annotations = github.errors(conclusion)

    def _tell(self, line: str, *, good: bool) -> None:
        self._outcome.append((line, good))


def _refusal(error: Exception) -> pytest.UsageError:
    """The error as pytest tells it; GitHub is told by an annotation, since nothing follows."""
    if github.in_actions():
        sys.stdout.write(f"{github.Annotation(github.TITLE, one_line(redact(str(error)), 1000))}\n")
        sys.stdout.flush()
    return pytest.UsageError(str(error))


def _load(config: pytest.Config) -> Session:
    given = {option.field: options.given(config, option) for option in options.OPTIONS}
    found = {name: value for name, value in given.items() if value is not None}
    settings = Settings.load(found, config.rootpath)
    if settings.environment is not None:
        load_environment(settings.environment)
    return Session(settings, find_samples(settings.images), host_of(config))


def _collected(config: pytest.Config) -> list[str]:
    """The suite when no path is given; node ids of the suite, as the terminal prints them, are understood."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return [str(SUITE)]
    prefix = f"{SUITE_NODE}::"
    return [
        f"{SUITE}::{argument.removeprefix(prefix)}" if argument.startswith(prefix) else argument
        for argument in config.args
    ]


def _runs(config: pytest.Config) -> bool:
    """Whether tests are run, not only listed."""
    listing = ("collectonly", "showfixtures", "show_fixtures_per_test")
    return not any(getattr(config.option, name, False) for name in listing)


def _workers(config: pytest.Config) -> int:
    distributed = config.getoption("dist", "no") != "no"
    return len(config.getoption("tx", None) or ()) if distributed else 0
