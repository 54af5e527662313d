"""A user's program, run to its end: without a shell, with a deadline, its output logged and shown."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, Self

from pytest_setups.redaction import printable, redact
from pytest_setups.serving.processes.signals import describe_exit, stop_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LAST_LINES: Final = 15
MAX_LINE: Final = 2000
# A program with a progress bar for each picture writes gigabytes in a night.
MAX_LOG_BYTES: Final = 16 * 1024 * 1024
STOP_AFTER_S: Final = 1.0
POLL_S: Final = 0.1
# How long to read on after the program has ended: what it started may keep the pipe open for hours.
DRAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended: ``fault`` is None after exit status 0; ``seconds`` is how long it ran."""

    seconds: float
    fault: str | None = None
    last_lines: tuple[str, ...] = ()


@dataclass(slots=True)
class Transcript:
    """A program's output: lines without secrets, kept in a log of bounded size, shown as they come."""

    log: IO[str]
    show: Callable[[str], None] | None
    secrets: tuple[str | None, ...]
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    _rest: bytes = b""
    _left: int = MAX_LOG_BYTES

    def take(self, data: bytes) -> None:
        """Take bytes; a carriage return, which progress bars write, also ends a line."""
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > MAX_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._line(line)

    def finish(self) -> None:
        """Take the last line, which may have no line end."""
        self._line(self._rest)
        self._rest = b""

    def _line(self, data: bytes) -> None:
        line = printable(redact(data.decode("utf-8", "replace"), *self.secrets), MAX_LINE)
        if not line.strip():
            return
        self.last.append(line)
        self._left -= len(line) + 1
        if self._left > 0:
            self.log.write(f"{line}\n")
            self.log.flush()
        if self.show is not None:
            self.show(line)


def run_program(
    command: Sequence[str],
    *,
    log: Path,
    timeout_s: float,
    show: Callable[[str], None] | None = None,
    secrets: tuple[str | None, ...] = (),
) -> ProgramResult:
    """Run a program to its end; afterwards nothing of its process group runs, even after an interrupt.

    Args:
        command: the program and its arguments.
        log: file that keeps its output; at most ``MAX_LOG_BYTES`` characters.
        timeout_s: seconds that it may take.
        show: called with each line as it comes.
        secrets: values that are replaced by ``[hidden]``.
    """
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        transcript = Transcript(file, show, secrets)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,  # a question to the user ends the program; it would hang
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own, which can be stopped as a whole
                env=_environment(os.environ),
            )
        except (OSError, ValueError) as error:
            # ValueError: a NUL character in an argument.
            reason = getattr(error, "strerror", None) or error
            return ProgramResult(0.0, f"{command[0]} cannot be started: {reason}")
        with process:
            try:
                in_time = _follow(process, transcript, start + timeout_s)
            finally:  # after Ctrl-C too, and when the log's disk is full
                stop_group(process, STOP_AFTER_S)
            transcript.finish()
    exit_fault = describe_exit(process.returncode) if process.returncode else None
    return ProgramResult(
        seconds=time.perf_counter() - start,
        fault=exit_fault if in_time else f"not done within {timeout_s:g} s",
        last_lines=tuple(transcript.last),
    )


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Our variables, and one for Python, which otherwise holds back its output until the program ends."""
    # The user's own value of it is kept.
    return {"PYTHONUNBUFFERED": "1", **ours}


def _follow(process: subprocess.Popen[bytes], transcript: Transcript, end: float) -> bool:
    """Read until the program has ended; False when it has not at ``end``."""
    with _OutputReader(process, transcript) as reader:
        while process.poll() is None:
            if time.perf_counter() >= end:
                return False
            reader.read(POLL_S)
        drained = time.perf_counter() + DRAIN_S
        while reader.open and time.perf_counter() < drained:
            reader.read(POLL_S)
    return True


class _OutputReader:
    """The output pipe of a program; other processes that it started may keep it open after its end.

    A selector, not a thread: a thread that waits in read cannot be stopped when the time is over.
    """

    def __init__(self, process: subprocess.Popen[bytes], transcript: Transcript) -> None:
        self._descriptor = process.stdout.fileno() if process.stdout else -1
        self._process = process
        self._transcript = transcript
        self._selector = selectors.DefaultSelector()
        self.open = True

    def __enter__(self) -> Self:
        self._selector.register(self._descriptor, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    def read(self, seconds: float) -> None:
        """Take the output that comes within so many seconds, or wait that long when there is no more."""
        if not self.open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        elif self._selector.select(seconds):
            data = os.read(self._descriptor, 65536)
            self._transcript.take(data)
            self.open = bool(data)
