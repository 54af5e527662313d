"""A server process of ours: started under a supervisor, watched, and stopped with all it started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.redaction import one_line, printable, redact
from pytest_setups.serving.processes import supervisor
from pytest_setups.serving.processes.signals import describe_exit
from pytest_setups.serving.processes.supervisor import STOP_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOG_LINES: Final = 8
"""Of 40, which all the output of a run may have that a server's fault ended."""
LOG_TAIL_BYTES: Final = 64 * 1024
MAX_LINE: Final = 500
_LOG_FOLLOWS: Final = " ends with:\n"
# What the supervisor may take beyond STOP_AFTER_S: after SIGKILL, the kernel frees the memory of a GPU.
_GRACE_S: Final = 30.0


class LaunchError(Exception):
    """A server that did not become ready or did not stay; the message holds the last lines of its log."""


class StartError(Exception):
    """A command that cannot be started at all; the message says why."""


class ServerProcess:
    """A started server, its output in the file ``log``, which is kept.

    ``pid`` is the process started, ``started`` the moment of ``time.perf_counter()`` when that was.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        secrets: tuple[str, ...] = (),
    ) -> None:
        """Start the command.

        Args:
            command: the program and its arguments.
            environment: variables beside those of this process.
            directory: where to start it, if not here.
            secrets: values that must not be shown with its log.

        Raises:
            StartError: there is no such program or directory, or it cannot be run.
        """
        self.command = tuple(command)
        self.log = _new_log()
        self._secrets = secrets
        self.started = time.perf_counter()
        self._status: int | None = None
        try:
            self._supervisor, self._reports = _start_supervisor(command, self.log, environment, directory)
        except OSError as error:
            raise self._start_error(f"the directory {directory}: {error.strerror}") from None
        self.pid = self._reported_pid()

    def check(self) -> None:
        """Raise LaunchError when the server has ended."""
        status = self.status()
        if status is None and self._supervisor.poll() is None:
            return
        reason = "its supervisor was killed" if status is None else describe_exit(status)
        message = f"the server exited ({reason}); {self.log_text()}"
        raise LaunchError(message)

    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the server runs."""
        if self._status is None:
            self._status = self._reports.read().get("status")
        return self._status

    def ends_within(self, seconds: float) -> bool:
        """Whether the server has ended or ends now; it takes a moment until its end is known here."""
        if self.status() is None:
            self._reports.wait(seconds)
        return self.status() is not None

    def died_of_illegal_instruction(self) -> bool:
        """Whether the server ended because this processor lacks instructions that it uses."""
        return self.status() in {-signal.SIGILL, 128 + signal.SIGILL}  # 128 + n: a shell's status for it

    def log_text(self) -> str:
        """Where the log is, and its last lines, for the end of a message (``without_log``)."""
        return f"its log {self.log}{_LOG_FOLLOWS}{self.log_end()}"

    def log_end(self, lines: int = LOG_LINES) -> str:
        """The last lines of the log, without secrets."""
        with self.log.open("rb") as file:
            # Only the end is read: this happens several times a second while a server loads.
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace").replace("\r", "\n")
        last = deque((line for line in text.split("\n") if line.strip()), lines)
        shown = redact("\n".join(last), *self._secrets).split("\n")
        return "\n".join(printable(line, MAX_LINE).rstrip() for line in shown) or "(nothing)"

    def last_line(self) -> str:
        """The last line of the log, for a progress line."""
        end = self.log_end(1)
        return "" if end == "(nothing)" else one_line(end, 200)

    def stop(self) -> None:
        """Stop the server and all it started: SIGTERM, and SIGKILL after ``STOP_AFTER_S`` seconds."""
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()  # this is what the supervisor waits for
        try:
            self._supervisor.wait(STOP_AFTER_S + _GRACE_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
        self._reports.close()

    def _reported_pid(self) -> int:
        """The process id, when the supervisor reports it; everything is stopped when it does not."""
        try:
            report = self._reports.read(wait=True)
        except BaseException:  # Ctrl-C during the start leaves no server behind
            self.stop()
            raise
        if "pid" not in report:
            self.stop()
            raise self._start_error(report.get("error", "its supervisor did not start"))
        return int(report["pid"])

    def _start_error(self, reason: str) -> StartError:
        self.log.unlink(missing_ok=True)
        return StartError(f"{self.command[0]} cannot be started: {reason}")


class _Reports:
    """The pipe on which a supervisor reports: one JSON object a line, each written at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = b""
        self._closed = False

    def read(self, *, wait: bool = False) -> dict[str, Any]:
        """The next report, empty when there is none yet (``wait``: none before the supervisor ended)."""
        if self._closed:
            return {}
        os.set_blocking(self._descriptor, wait)
        with contextlib.suppress(BlockingIOError):
            self._unread += os.read(self._descriptor, 4096)
        line, end, rest = self._unread.partition(b"\n")
        if not end:
            return {}
        self._unread = rest
        report: dict[str, Any] = json.loads(line)
        return report

    def wait(self, seconds: float) -> None:
        """Wait for the next report."""
        if not self._closed:
            select.select([self._descriptor], [], [], seconds)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


def without_log(message: str) -> str:
    """A message without the lines of the log at its end; where the log is stays in it."""
    return message.partition(_LOG_FOLLOWS)[0]


def free_port() -> int:
    """A TCP port on the loopback interface that is free now."""
    # Another process may take it before it is used; the launch then says so.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _new_log() -> Path:
    """A file for the log, readable only by this user; it stays, so that it can be read after the run."""
    descriptor, name = tempfile.mkstemp(prefix="pytest-setups-server-", suffix=".log")
    os.close(descriptor)
    return Path(name)


def _start_supervisor(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None, directory: str | None
) -> tuple[subprocess.Popen[bytes], _Reports]:
    read_end, write_end = os.pipe()
    reports = _Reports(read_end)
    try:
        # Appending, and readable: the supervisor shortens the log while the server writes to it.
        with log.open("a+b") as output:
            process = subprocess.Popen(  # ServerProcess.stop ends it
                # -P: a file of the server's directory that has a module's name must not be imported.
                [sys.executable, "-P", supervisor.__file__, str(write_end), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[write_end],
                cwd=directory,
                env=dict(os.environ) | dict(environment or {}),
            )
    except OSError:
        reports.close()
        raise
    finally:
        os.close(write_end)
    return process, reports
