"""A progress line on a terminal: images done, images per second, and time left; removed at the end.

The line is drawn below what pytest writes, only between pytest's own writes, and the cursor is put back to
where pytest left it. So it does not disturb pytest's own progress, and nothing of it remains.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TextIO

import pytest

from pytest_setups.report.formatting import duration

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

STAGE_TEST: Final = re.compile(
    r"setup::test_(?:caption|keywords|description|expectations)\[(?P<image>.*)\]", re.DOTALL
)
# Control sequences that every terminal emulator knows: ECMA-48, and DEC's ESC 7 and ESC 8 (VT100), which
# save and restore the cursor.
_BELOW: Final = "\x1bD\x1b[A\x1b7\x1b[B\r"
_BACK: Final = "\x1b8"
_ERASE: Final = "\x1b[J"


@dataclass(slots=True)
class Progress:
    """How much of a run is done; ``started`` is a reading of ``time.perf_counter`` in seconds."""

    total: int = 0
    started: float | None = None
    _left: Counter[str] = field(default_factory=Counter)
    _finished: set[str] = field(default_factory=set)

    def plan(self, nodeids: Iterable[str]) -> None:
        """Take the tests that will run; every worker of xdist announces the same ones."""
        self._left = Counter(match["image"] for match in map(STAGE_TEST.fullmatch, nodeids) if match)
        self.total = len(self._left)

    def start(self, nodeid: str) -> None:
        """A test starts; the clock starts with the first test of an image."""
        if self.started is None and STAGE_TEST.fullmatch(nodeid):
            self.started = time.perf_counter()

    def finish(self, nodeid: str) -> None:
        """A test is over; a rerun counts once."""
        match = STAGE_TEST.fullmatch(nodeid)
        if match is None or nodeid in self._finished:
            return
        self._finished.add(nodeid)
        image = match["image"]
        self._left[image] -= 1
        if self._left[image] <= 0:
            del self._left[image]

    def line(self, now: float) -> str | None:
        """The line at this time, None before the first image and after the last."""
        total, done = self.total, self.total - len(self._left)
        if self.started is None or done == total:
            return None
        seconds = now - self.started
        if not done or seconds <= 0:
            return f"setups: 0 of {total} images"
        rate = done / seconds
        return (
            f"setups: {done} of {total} images, {rate:.3g} images/s, {duration((total - done) / rate)} left"
        )


class ProgressLine:
    """The hooks that draw the line around what pytest writes."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._progress = Progress()
        self._shown = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn which tests will run here."""
        self._progress.plan(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Learn which tests will run in workers."""
        self._progress.plan(ids)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logstart(self, nodeid: str) -> Generator[None]:
        """A test starts."""
        self._erase()
        yield
        self._progress.start(nodeid)
        self._draw()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self) -> Generator[None]:
        """A test reports."""
        self._erase()
        yield
        self._draw()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> Generator[None]:
        """A test is over."""
        self._erase()
        yield
        self._progress.finish(nodeid)
        self._draw()

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_testnodedown(self) -> None:
        """Erase the line before xdist writes about a worker."""
        self._erase()

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Erase the line before pytest reports the interruption."""
        self._erase()

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self) -> None:
        """Erase the line before pytest reports the error."""
        self._erase()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Erase the line for good."""
        self._erase()
        return (yield)

    def _erase(self) -> None:
        if self._shown:
            self._write(_ERASE)
            self._shown = False

    def _draw(self) -> None:
        line = self._progress.line(time.perf_counter())
        if line is not None:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"{_BELOW}{line[:width]}{_BACK}")
            self._shown = True

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


def wanted(config: pytest.Config, file: TextIO) -> bool:
    """Whether the line can be drawn there, and the user did not ask for quiet.

    With ``-s`` and ``--pdb`` other code writes at any time; ``console_output_style = classic`` switches off
    pytest's own progress.
    """
    return (
        file.isatty()
        and os.environ.get("TERM", "dumb") != "dumb"
        and not (os.environ.get("CI") or os.environ.get("BUILD_NUMBER"))
        and config.pluginmanager.hasplugin("terminal")
        and config.get_verbosity() >= 0
        and config.getoption("capture") != "no"
        and not config.getoption("usepdb")
        and config.getini("console_output_style") != "classic"
    )
