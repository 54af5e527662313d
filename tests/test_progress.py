"""The progress line, seen in a real pseudo-terminal through an emulator of one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

import pyte
import pytest

from pytest_setups.plugin.progress import wanted
from pytest_setups.report.formatting import duration
from tests.servers.scripted import Ask, Reply, Scripted, seeing

LINE = re.compile(r"setups: (\d+) of 3 images(?:, [\d.e+]+ images/s, \d+ s left)?")


@dataclass
class Terminal:
    """A terminal with pytest running in it."""

    screen: pyte.HistoryScreen
    stream: pyte.ByteStream
    process: subprocess.Popen[bytes]
    file: int
    raw: bytes = b""

    def read(self) -> bool:
        """Show what comes next; False at the end."""
        try:
            data = os.read(self.file, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.raw += data
        self.stream.feed(data)
        return bool(data)

    def read_all(self) -> int:
        while self.read():
            pass
        return self.process.wait(60)

    def read_until(self, shown: Callable[[list[str]], bool]) -> None:
        while not shown(self.lines):
            assert self.read(), self.lines

    @property
    def lines(self) -> list[str]:
        """Everything on the screen and scrolled out of it."""
        top = ["".join(row[x].data for x in range(self.screen.columns)) for row in self.screen.history.top]
        return [line.rstrip() for line in (*top, *self.screen.display)]

    @property
    def told(self) -> list[str]:
        """The progress lines that stand there."""
        return [line for line in self.lines if LINE.fullmatch(line)]


@contextmanager
def terminal(
    project: pytest.Pytester,
    server: Scripted,
    *arguments: str,
    size: tuple[int, int] = (80, 24),
    env: dict[str, str] | None = None,
) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    columns, rows = size
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in {"CI", "BUILD_NUMBER"}}
    names = {"COLUMNS", "LINES", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"}
    clean = {key: value for key, value in inherited.items() if key not in names}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "--setup-base-url",
            server.url,
            *arguments,
        ],
        cwd=project.path,
        env=clean | {"TERM": "xterm"} | (env or {}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = pyte.HistoryScreen(columns, rows, history=2000)
    shown = Terminal(screen, pyte.ByteStream(screen), process, ours)
    try:
        yield shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@dataclass
class Gate:
    """Holds the request of one picture and stage until the test has looked."""

    at: tuple[str, int]
    opened: threading.Event
    lock: threading.Lock
    seen: int = 0

    def __call__(self, ask: Ask) -> Reply:
        with self.lock:
            self.seen += ask.stage == self.at[0]
            held = self.seen == self.at[1]
        if held:
            self.opened.wait(60)
        return seeing(ask)


@pytest.fixture
def gate(server: Scripted) -> Iterator[Gate]:
    """The server holds the second image's description."""
    held = Gate(("description", 2), threading.Event(), threading.Lock())
    server.chat = held
    yield held
    held.opened.set()


def steady(lines: list[str]) -> list[str]:
    """Lines up to the table of figures, without what differs from run to run: seconds, versions, ports."""
    before = lines[: next(number for number, line in enumerate(lines) if line.startswith("stage "))]
    return [re.sub(r"\d+", "0", line) for line in before if line]


def test_images_done_rate_and_time_left_stand_below_what_pytest_writes(
    project: pytest.Pytester, server: Scripted, gate: Gate
) -> None:
    with terminal(project, server) as shown:
        shown.read_until(lambda _: any(line.startswith("setups: 1 of 3") for line in shown.told))
        (line,) = shown.told
        assert re.fullmatch(r"setups: 1 of 3 images, [\d.e+]+ images/s, \d+ s left", line)
        above = shown.lines[shown.lines.index(line) - 1]
        assert re.fullmatch(r"setup \.{5,8} *(?:\[ *\d+%\])?", above)
        gate.opened.set()
        assert shown.read_all() == 0
        assert not shown.told


@pytest.mark.parametrize(("more", "size"), [((), (80, 24)), (("-v",), (40, 6))])
def test_it_leaves_pytests_own_output_as_it_is(
    project: pytest.Pytester, server: Scripted, size: tuple[int, int], more: tuple[str, ...]
) -> None:
    with terminal(project, server, *more, size=size, env={"CI": "true"}) as quiet:
        assert quiet.read_all() == 0
    with terminal(project, server, *more, size=size) as shown:
        assert shown.read_all() == 0
    assert b"of 3 images" not in quiet.raw
    assert b"setups: 1 of 3 images" in shown.raw
    assert steady(shown.lines) == steady(quiet.lines)


@pytest.mark.parametrize("more", [("-n2",), ("--setup-concurrency=3",)])
def test_it_stands_there_in_every_way_to_run(
    project: pytest.Pytester, server: Scripted, gate: Gate, more: tuple[str, ...]
) -> None:
    gate.at = ("description", 3)
    with terminal(project, server, *more) as shown:
        shown.read_until(lambda _: bool(shown.told))
        gate.opened.set()
        assert shown.read_all() == 0
        assert not shown.told
        assert any(re.match(r"(setup )?\.+ +\[100%\]$", line) for line in shown.lines)


def test_what_is_said_before_the_tests_begins_at_the_left(project: pytest.Pytester, server: Scripted) -> None:
    with terminal(project, server, "--setup-wait=5", "-k", "models") as shown:
        assert shown.read_all() == 0
        assert f"setups: waiting up to 5 s for {server.url}" in shown.lines


def test_an_interruption_leaves_nothing_behind(
    project: pytest.Pytester, server: Scripted, gate: Gate
) -> None:
    with terminal(project, server) as shown:
        shown.read_until(lambda _: any(line.startswith("setups: 1 of 3") for line in shown.told))
        shown.process.send_signal(signal.SIGINT)
        assert shown.read_all() == pytest.ExitCode.INTERRUPTED
        assert not shown.told
        assert any("KeyboardInterrupt" in line for line in shown.lines)
    assert not gate.opened.is_set()


def test_it_is_silent_under_q(project: pytest.Pytester, server: Scripted) -> None:
    with terminal(project, server, "-q") as shown:
        assert shown.read_all() == 0
    assert b"[100%]" in shown.raw
    assert b"of 3 images" not in shown.raw


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """A terminal that nobody looks at, with the environment of a person at work."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    ours, theirs = pty.openpty()
    with open(theirs, "w") as file:  # noqa: PTH123  # a file descriptor
        yield file
    os.close(ours)


QUIET = ["-q", "-s", "--pdb", "-pno:terminal", "-oconsole_output_style=classic"]


@pytest.mark.parametrize("argument", QUIET)
def test_arguments_that_silence_it(project: pytest.Pytester, tty: TextIO, argument: str) -> None:
    assert not wanted(project.parseconfig(argument), tty)


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("BUILD_NUMBER", "7"), ("TERM", "dumb")])
def test_surroundings_that_silence_it(
    project: pytest.Pytester, tty: TextIO, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    config = project.parseconfig("--no-header")
    assert wanted(config, tty)
    monkeypatch.setenv(name, value)
    assert not wanted(config, tty)


def test_it_is_silent_without_a_terminal(project: pytest.Pytester, server: Scripted) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--setup-base-url", server.url],
        cwd=project.path,
        env={key: value for key, value in os.environ.items() if key != "CI"} | {"TERM": "xterm"},
        capture_output=True,
        check=True,
    )
    assert b"11 passed" in done.stdout
    assert b"of 3 images" not in done.stdout
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (59.4, "59 s"), (60, "1 min 00 s"), (606, "10 min 06 s"), (7261, "2 h 01 min")],
)
def test_time_left_is_said_in_two_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
