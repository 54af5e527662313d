"""Signals and exit statuses of the processes that are started here.

It needs only the standard library, because the supervisor, which is a program of its own, imports it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to every process of a group; a group that has ended is left alone."""
    # macOS answers EPERM, not ESRCH, when only zombies are left in the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def stop_group(process: Popen[bytes], grace_s: float) -> None:
    """Stop a process that leads a group, and its group: SIGTERM, and SIGKILL after ``grace_s`` seconds."""
    try:
        if process.poll() is None:
            signal_group(process.pid, signal.SIGTERM)
            process.wait(grace_s)
    except TimeoutExpired:
        pass
    finally:
        # Always: the process may have ended in time and left others of its group behind.
        signal_group(process.pid, signal.SIGKILL)
        process.wait()


def describe_exit(status: int) -> str:
    """An exit status in words: ``exit status 1``, ``killed by SIGKILL`` for -9."""
    return f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names in Python, except the first and the last
        return f"signal {number}"
