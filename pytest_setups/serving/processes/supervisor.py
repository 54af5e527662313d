"""The watchdog of a launched server: starts it, and stops it with all it started when nobody holds the pipe.

It is run as a program of its own, in a session of its own, with a pipe for its standard input. Closing
that pipe stops the server, whether the tests close it or the kernel does because they were killed. On
Linux it adopts every process whose parent has gone, so that a server that forks away stays within reach.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

STOP_AFTER_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.1
_LOOK_FOR_CHILDREN_EVERY_S: Final = 1.0
_ROUNDS: Final = 20
_PR_SET_CHILD_SUBREAPER: Final = 36


class Supervisor:
    """A server that was started, and whatever it started itself."""

    def __init__(self, command: list[str]) -> None:
        self._adopts = _adopt_orphans()
        self._main = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        self._known: dict[int, psutil.Process] = {}
        self.pid = self._main.pid
        self.status: int | None = None

    def watch(self) -> None:
        """Return when the pipe is closed, or when the server has ended and nothing of it lives on."""
        interval = _LOOK_EVERY_S if self._adopts else _LOOK_FOR_CHILDREN_EVERY_S
        while select.select([sys.stdin], [], [], interval)[0] == []:
            self._reap()
            if not self._adopts:
                self._descendants()
            if self.status is not None and (self.status != 0 or not self._alive()):
                return

    def stop(self) -> None:
        """Stop every process: SIGTERM, and SIGKILL for those that are left after five seconds."""
        processes = self._alive()
        self._signal(processes, signal.SIGTERM)
        psutil.wait_procs(processes, STOP_AFTER_S)
        for _ in range(_ROUNDS):
            self._reap()
            processes = self._alive()
            if not processes:
                return
            self._signal(processes, signal.SIGKILL)
            psutil.wait_procs(processes, 1.0)

    def _signal(self, processes: Iterable[psutil.Process], number: signal.Signals) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def _alive(self) -> list[psutil.Process]:
        return [process for process in self._descendants() if _runs(process)]

    def _descendants(self) -> list[psutil.Process]:
        me = psutil.Process()
        roots = [me, *(process for process in self._known.values() if _runs(process))]
        for root in roots:
            with contextlib.suppress(psutil.Error):
                self._known |= {child.pid: child for child in root.children(recursive=True)}
        return list(self._known.values())

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    self.status = self._main.returncode = os.waitstatus_to_exitcode(status)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _adopt_orphans() -> bool:
    """Let orphans among the descendants become children of this process (prctl(2), Linux)."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def _tell(**what: object) -> None:
    with contextlib.suppress(OSError):
        os.write(int(sys.argv[1]), f"{json.dumps(what)}\n".encode())


def _stop_asked(*_: object) -> None:
    raise SystemExit


def main() -> None:
    """Run ``supervisor DESCRIPTOR COMMAND...``; which hears pid, error and status as JSON lines."""
    try:
        supervisor = Supervisor(sys.argv[2:])
    except OSError as error:
        _tell(error=error.strerror)
        return
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop_asked)
    _tell(pid=supervisor.pid)
    try:
        supervisor.watch()
        _tell(status=supervisor.status)
    finally:
        supervisor.stop()


if __name__ == "__main__":
    main()
