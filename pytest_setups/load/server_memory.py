"""The memory of a server's processes on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from pytest_setups.serving.local.listener import ListenerNotFoundError, find_listener
from pytest_setups.serving.local.server_processes import processes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

LIST_AGAIN_S: Final = 5.0
"""A server may start workers at any time, and listing all processes of a machine takes up to 20 ms."""
_FIELDS: Final = ("RssAnon:", "RssShmem:", "VmSwap:")
_KIB: Final = 1024


class ServerMemory:
    """What the processes of a server hold for themselves: the memory that leaks, in main memory and swap.

    Pages of files, such as weights that llama.cpp maps, are left out: the system loads and drops them as it
    likes. Memory of the GPU is not included either. The kernel's counters are read (``/proc/PID/status``),
    which any user may do and which takes some microseconds; the exact figures of ``smaps`` would hold up
    the server, whose page tables are walked for them. Memory that several processes share counts in each
    that has touched it, and so does its rise.

    Raises:
        ListenerNotFoundError: the server does not run on this machine, or its process cannot be determined.
    """

    def __init__(self, base_url: str) -> None:
        self._listener = find_listener(base_url)
        self._processes: Sequence[psutil.Process] = ()
        self._listed_at = float("-inf")
        self.read()

    def read(self) -> int:
        """Bytes of all processes together.

        Raises:
            ListenerNotFoundError: the server's process has ended, or cannot be read.
        """
        now = time.monotonic()
        if now - self._listed_at >= LIST_AGAIN_S:
            self._processes, self._listed_at = processes_of(self._listener), now
        first, *others = self._processes
        try:
            size = _private_bytes(first)
        except psutil.Error as error:
            message = f"the server's process {first.pid} cannot be read: {type(error).__name__}"
            raise ListenerNotFoundError(message) from None
        return size + sum(map(_private_bytes_or_none, others))


def _private_bytes_or_none(process: psutil.Process) -> int:
    """As below; none of a worker that has ended since it was listed."""
    try:
        return _private_bytes(process)
    except psutil.Error:
        return 0


def _private_bytes(process: psutil.Process) -> int:
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except ProcessLookupError:
        raise psutil.NoSuchProcess(process.pid) from None
    except OSError:  # macOS and Windows have no such file, and there psutil names a process that has ended
        return _unique_bytes(process)
    kib = [int(line.split()[1]) for line in lines if line.startswith(_FIELDS)]
    # A process that has ended and was not waited for has no such lines.
    if not kib:
        raise psutil.NoSuchProcess(process.pid)
    return sum(kib) * _KIB


def _unique_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
