"""A server process of ours: started under a watchdog, watched, and stopped with all it started."""

from __future__ import annotations

import contextlib
import json
import os
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
from pytest_setups.serving.processes.supervisor import STOP_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOG_LINES: Final = 15
LOG_TAIL_BYTES: Final = 64 * 1024
_GRACE_S: Final = 30.0


class LaunchError(Exception):
    """A server that did not come up or did not stay; the message holds the last lines of its log."""


class StartError(Exception):
    """A command that cannot be started at all; the message says why."""


class ServerProcess:
    """A started server; its output goes to the file ``log``, which stays. ``started`` is a perf_counter."""

    pid: int

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
    ) -> None:
        """Start the command, with more environment variables than ours and in a directory if given.

        Raises:
            StartError: there is no such program or directory, or it cannot be run.
        """
        self.command = tuple(command)
        descriptor, name = tempfile.mkstemp(prefix="pytest-setups-server-", suffix=".log")
        self.log = Path(name)
        told, telling = os.pipe()
        self.started = time.perf_counter()
        try:
            self._supervisor = subprocess.Popen(  # stop() ends it
                [sys.executable, "-P", supervisor.__file__, str(telling), *self.command],
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[telling],
                cwd=directory,
                env=dict(os.environ) | dict(environment or {}),
            )
        except OSError as error:
            os.close(told)
            self._unstarted(f"the directory {directory}: {error.strerror}")
        finally:
            os.close(descriptor)
            os.close(telling)
        self._told: int | None = told
        self._heard = b""
        self._status: int | None = None
        try:
            first = self._next_word()
        except BaseException:
            self.stop()
            raise
        if "pid" not in first:
            self.stop()
            self._unstarted(first.get("error", "its watchdog did not start"))
        self.pid = int(first["pid"])
        os.set_blocking(told, False)  # its only parameter

    def check(self) -> None:
        """Raise LaunchError when the server has ended."""
        status = self.status()
        if status is None and self._supervisor.poll() is None:
            return
        how = "its watchdog was killed" if status is None else _how(status)
        message = f"the server ended by itself ({how}); its log {self.log} ends with:\n{self.log_end()}"
        raise LaunchError(message)

    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the server runs."""
        if self._status is None and self._told is not None:
            self._status = self._next_word().get("status")
        return self._status

    def died_of_illegal_instruction(self) -> bool:
        """Whether the server ended because this processor lacks instructions that it uses."""
        return self.status() in {-signal.SIGILL, 128 + signal.SIGILL}

    def log_end(self, lines: int = LOG_LINES) -> str:
        """The last lines of the log, without secrets."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace").replace("\r", "\n")
        last = deque((line for line in text.split("\n") if line.strip()), lines)
        return redact(printable("\n".join(last))).rstrip() or "(nothing)"

    def last_line(self) -> str:
        """The last line of the log, for a progress line."""
        end = self.log_end(1)
        return "" if end == "(nothing)" else one_line(end, 200)

    def stop(self) -> None:
        """Stop the server and everything it started: SIGTERM, and SIGKILL after ``STOP_AFTER_S`` seconds."""
        assert self._supervisor.stdin is not None  # noqa: S101  # for the type checker: it is a pipe
        self._supervisor.stdin.close()
        try:
            self._supervisor.wait(STOP_AFTER_S + _GRACE_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
        if self._told is not None:
            os.close(self._told)
            self._told = None

    def _next_word(self) -> dict[str, Any]:
        with contextlib.suppress(BlockingIOError):
            self._heard += os.read(self._told or 0, 4096)
        line, end, rest = self._heard.partition(b"\n")
        if not end:
            return {}
        self._heard = rest
        found: dict[str, Any] = json.loads(line)
        return found

    def _unstarted(self, why: str) -> None:
        self.log.unlink(missing_ok=True)
        message = f"{self.command[0]} cannot be started: {why}"
        raise StartError(message) from None


def free_port() -> int:
    """A TCP port on the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _how(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
