"""A Python process of this run's own, which exchanges pickled values with it through two pipes.

Not multiprocessing: its children import the caller's main module again, whatever that does, and those of a
pool outlive a parent that is killed. A child of this kind ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self, cast

from pytest_setups.serving.processes.signals import describe_exit

if TYPE_CHECKING:
    from typing import IO


class ChildEndedError(Exception):
    """The child ended before it sent what was expected; the message says how it ended."""


class PythonChild:
    """A running child; ``module`` is run as a program and begins with ``ParentPipe.claim()``."""

    def __init__(self, module: str) -> None:
        # -P: no module of the current directory is imported by mistake; all that is importable here is there.
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C in a terminal signals the whole group; only this process decides when the child ends.
            start_new_session=True,
        )
        # Popen's are optional: both were asked for.
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)

    def send(self, value: object) -> None:
        """Send a value.

        Raises:
            ChildEndedError: the child has ended.
        """
        try:
            pickle.dump(value, self._stdin)
            self._stdin.flush()
        except OSError:
            raise self._ended() from None

    def receive(self) -> Any:
        """The next value that the child sends.

        Raises:
            ChildEndedError: the child ended without sending one.
        """
        try:
            return pickle.load(self._stdout)
        except (EOFError, pickle.UnpicklingError):
            raise self._ended() from None

    def kill(self) -> None:
        """End the child at once; it may have ended before."""
        self._process.kill()
        self._process.wait()
        self._stdout.close()
        with contextlib.suppress(BrokenPipeError):  # something may be left that the child has not read
            self._stdin.close()

    def _ended(self) -> ChildEndedError:
        return ChildEndedError(describe_exit(self._process.wait()))


class ParentPipe:
    """The child's end of the pipes."""

    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self._source = source
        self._target = target

    @classmethod
    def claim(cls) -> Self:
        """Take the standard input and output of this process; what it prints goes to standard error."""
        source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        return cls(source, target)

    def receive(self) -> Any:
        """The next value of the parent.

        Raises:
            EOFError: the parent has ended, or wants nothing more.
        """
        return pickle.load(self._source)

    def send(self, value: object) -> None:
        """Send a value to the parent.

        Raises:
            BrokenPipeError: the parent has ended.
        """
        pickle.dump(value, self._target)
        self._target.flush()

    def end_with_parent(self) -> None:
        """End this process as soon as the parent ends, which sends nothing more."""
        threading.Thread(target=self._wait_for_end, daemon=True).start()

    def _wait_for_end(self) -> None:
        self._source.read()
        # Not sys.exit: threads that wait for a server's answer would keep the process.
        os._exit(1)
