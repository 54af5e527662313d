"""The supervisor of a launched server: starts it, and stops it with all it started when the tests end.

It is run as a program of its own, in a session of its own, with a pipe for its standard input. Closing
that pipe stops the server, whether the tests close it or the kernel does because they were killed: no
handler of the tests' own process survives SIGKILL, hence this program. Process managers (supervisord,
circus) watch servers that are to live; none of them ties a server's life to its starter's.

On Linux it adopts every process whose parent has ended, so that a server that forks away stays within
reach. Elsewhere it remembers the descendants that it saw.
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

from pytest_setups.serving.processes.signals import signal_group

if TYPE_CHECKING:
    from collections.abc import Iterable

STOP_AFTER_S: Final = 5.0
MAX_LOG_BYTES: Final = 16 * 1024 * 1024
# While the server writes, a cut may lose a few lines, perhaps those that name a fault: it is a last resort.
MAX_LIVE_LOG_BYTES: Final = 256 * 1024 * 1024
KEPT_LOG_BYTES: Final = 4 * 1024 * 1024
_POLL_S: Final = 0.1
# Listing descendants reads every process of the machine, so that this happens less often.
_POLL_CHILDREN_S: Final = 1.0
# A process may fork between being listed and being killed; so many rounds catch up with its children.
_KILL_ROUNDS: Final = 20
_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


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
        interval = _POLL_S if self._adopts else _POLL_CHILDREN_S
        while select.select([sys.stdin], [], [], interval)[0] == []:
            self._reap()
            shorten_log(sys.stdout.fileno(), MAX_LIVE_LOG_BYTES)
            if not self._adopts:
                self._descendants()
            # Status 0 with children alive is a server that forks away; any other status is its end.
            if self.status is not None and (self.status != 0 or not self._alive()):
                return

    def stop(self) -> None:
        """Stop every process: SIGTERM, and SIGKILL for those that are left after five seconds."""
        processes = self._alive()
        self._signal(processes, signal.SIGTERM)
        psutil.wait_procs(processes, STOP_AFTER_S)
        for _ in range(_KILL_ROUNDS):
            self._reap()
            processes = self._alive()
            if not processes:
                return
            self._signal(processes, signal.SIGKILL)
            psutil.wait_procs(processes, 1.0)

    def _signal(self, processes: Iterable[psutil.Process], number: signal.Signals) -> None:
        # The group first: it includes what was started since the processes were listed. After the
        # leader was reaped its number may belong to another group.
        if self.status is None:
            signal_group(self.pid, number)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def _alive(self) -> list[psutil.Process]:
        return [process for process in self._descendants() if _runs(process)]

    def _descendants(self) -> list[psutil.Process]:
        this = psutil.Process()
        roots = [this, *(process for process in self._known.values() if _runs(process))]
        for root in roots:
            with contextlib.suppress(psutil.Error):
                self._known |= {child.pid: child for child in root.children(recursive=True)}
        return list(self._known.values())

    def _reap(self) -> None:
        """Take the exit status of every child that has ended, adopted ones included."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    # Popen would wait for it again, in vain, unless it knows the status.
                    self.status = self._main.returncode = os.waitstatus_to_exitcode(status)


def shorten_log(descriptor: int, limit: int) -> None:
    """Cut the middle out of a log above ``limit`` bytes: its first and last ``KEPT_LOG_BYTES`` stay.

    The file must be open for reading and appending, and the server must append to it too. What it
    writes during the cut, some milliseconds, is lost.
    """
    size = os.fstat(descriptor).st_size
    if size <= limit:
        return
    end = os.pread(descriptor, KEPT_LOG_BYTES, size - KEPT_LOG_BYTES)
    os.ftruncate(descriptor, KEPT_LOG_BYTES)
    os.write(descriptor, f"\n[pytest-setups cut {size - 2 * KEPT_LOG_BYTES} bytes here]\n".encode())
    os.write(descriptor, end)


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


def _report(**fields: object) -> None:
    """Write one JSON line to the pipe of the tests, which may have ended."""
    with contextlib.suppress(OSError):
        os.write(int(sys.argv[1]), f"{json.dumps(fields)}\n".encode())


def _exit(*_: object) -> None:
    raise SystemExit


def main() -> None:
    """Run ``supervisor.py DESCRIPTOR COMMAND...`` until the server or the tests have ended.

    DESCRIPTOR is the write end of a pipe. It receives JSON lines: ``{"pid": N}`` when the server was
    started or ``{"error": TEXT}`` when it could not be, and ``{"status": N}`` when it has ended.
    """
    try:
        supervisor = Supervisor(sys.argv[2:])
    except OSError as error:
        _report(error=error.strerror)
        return
    # Ctrl-C and a closed terminal reach the tests, which then close the pipe in their own time.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit)
    _report(pid=supervisor.pid)
    try:
        supervisor.watch()
        # Before the tests learn of the end: then they read the log.
        shorten_log(sys.stdout.fileno(), MAX_LOG_BYTES)
        _report(status=supervisor.status)
    finally:
        supervisor.stop()
        shorten_log(sys.stdout.fileno(), MAX_LOG_BYTES)


if __name__ == "__main__":
    main()
