"""Running a user's program: without a shell, with a deadline, its words in a log and shown as they come."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, Self

from pytest_setups.redaction import printable, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LAST_LINES: Final = 15
MAX_LINE: Final = 2000
MAX_LOG_BYTES: Final = 16 * 1024 * 1024
STOP_AFTER_S: Final = 1.0
DRAIN_S: Final = 0.5
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended: in good order when ``fault`` is None; ``seconds`` is how long it ran."""

    seconds: float
    fault: str | None = None
    last_lines: tuple[str, ...] = ()


@dataclass(slots=True)
class Transcript:
    """What a program says: lines without secrets, kept in a log of bounded size, shown as they come."""

    log: IO[str]
    show: Callable[[str], None] | None
    secrets: tuple[str | None, ...]
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    _rest: bytes = b""
    _left: int = MAX_LOG_BYTES

    def take(self, data: bytes) -> None:
        """Take bytes; a carriage return, as progress bars write it, ends a line as well."""
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > MAX_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._line(line)

    def finish(self) -> None:
        """Take what has no line end."""
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
    """Run a program to its end; it and all it started are gone afterwards, also when this is interrupted.

    Args:
        command: the program and its arguments.
        log: file that keeps what it says; at most ``MAX_LOG_BYTES`` characters.
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
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(os.environ),
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            return ProgramResult(0.0, f"{command[0]} cannot be started: {why}")
        with process:
            try:
                in_time = _follow(process, transcript, start + timeout_s)
            finally:
                _stop(process)
            transcript.finish()
    return ProgramResult(
        seconds=time.perf_counter() - start,
        fault=_fault(process.returncode) if in_time else f"not done within {timeout_s:g} s",
        last_lines=tuple(transcript.last),
    )


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Ours, and Python programs do not hold back what they say until they end."""
    return {"PYTHONUNBUFFERED": "1", **ours}


def _follow(process: subprocess.Popen[bytes], transcript: Transcript, end: float) -> bool:
    """Listen until the program has ended; False when it is not done at ``end``."""
    with _Listening(process, transcript) as listening:
        while process.poll() is None:
            if time.perf_counter() >= end:
                return False
            listening.once(POLL_S)
        drained = time.perf_counter() + DRAIN_S
        while listening.open and time.perf_counter() < drained:
            listening.once(POLL_S)
    return True


class _Listening:
    """The program's end of the pipe, which what it started may keep open after it ended."""

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

    def once(self, seconds: float) -> None:
        """Take what comes within so many seconds."""
        if not self.open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        elif self._selector.select(seconds):
            data = os.read(self._descriptor, 65536)
            self._transcript.take(data)
            self.open = bool(data)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: SIGTERM, and SIGKILL when that is not enough."""
    try:
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
            process.wait(STOP_AFTER_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _fault(status: int) -> str | None:
    if status == 0:
        return None
    return f"ended by {_signal_name(-status)}" if status < 0 else f"exit status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
