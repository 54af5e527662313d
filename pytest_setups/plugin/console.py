"""What this process lends to a run: the terminal, a folder, and the user's hooks."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_setups.plugin import user_hooks
from pytest_setups.run.host import Host

if TYPE_CHECKING:
    import pytest
    from _pytest.capture import CaptureManager
    from _pytest.terminal import TerminalReporter


class TerminalAnnouncer:
    """Speaks to the user on pytest's terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reporter: TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")

    def announce(self, line: str) -> None:
        """Show one line."""
        if self._reporter is not None and self._reporter.isatty:
            self._reporter.rewrite("", erase=True)
            self._reporter.rewrite("")
        show(self._config, line)

    def progress(self, seconds: float, line: str) -> None:
        """Show how long a launch has taken, on one line that is written over; only on a terminal."""
        if self._reporter is not None and self._reporter.isatty:
            text = f"setups: {seconds:.0f} s: {line}"
            width = shutil.get_terminal_size().columns - 1
            self._reporter.rewrite(text[:width], erase=True)


def show(config: pytest.Config, line: str) -> None:
    """Write a line to the terminal now."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(line)
        reporter.flush()


def show_progress(config: pytest.Config, line: str) -> None:
    """Write a line to the terminal while a test is running; only where a user looks at it."""
    reporter: TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or not reporter.isatty:
        return
    capture: CaptureManager | None = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        reporter.ensure_newline()
        show(config, line)


def host_of(config: pytest.Config) -> Host:
    """What the process of this configuration lends to a run."""
    shows_output = config.getoption("capture") == "no"
    return Host(
        make_folder=lambda: _make_folder(config),
        show=(lambda line: show(config, line)) if shows_output else None,
        find_tagger=lambda settings: user_hooks.find_tagger(config, settings),
        private_places={"{rootdir}": str(config.rootpath), "~": os.path.expanduser("~")},
    )


def _make_folder(config: pytest.Config) -> Path:
    """A folder among pytest's temporary ones, which it keeps for three sessions."""
    factory: pytest.TempPathFactory | None = getattr(config, "_tmp_path_factory", None)
    if factory is None:  # with `-p no:tmpdir`
        return Path(tempfile.mkdtemp(prefix="pytest-setups-"))
    return factory.mktemp("setup-tagger")
