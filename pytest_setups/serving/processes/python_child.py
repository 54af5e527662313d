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
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Self, cast

from pytest_setups.serving.processes.signals import describe_exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO


_GREETING: Final = b"pytest-setups: what follows is pickled\n"
# What is importable here is importable there, after the standard library: pytest puts folders of tests first,
# and one of them may have an http.py.
_RUN: Final = (
    "import runpy, sys; sys.path += [path for path in sys.argv[2:] if path not in sys.path]; "
    "runpy.run_module(sys.argv[1], run_name='__main__', alter_sys=True)"
)


class ChildEndedError(Exception):
    """The child ended before it sent what was expected; the message says how it ended."""


class PythonChild:
    """A running child; ``module`` is run as a program and begins with ``ParentPipe.claim()``.

    Raises:
        ChildEndedError: no process can be started.
    """

    def __init__(self, module: str) -> None:
        try:
            self._process = subprocess.Popen(
                # -P: no module of the current directory is imported by mistake.
                [sys.executable, "-P", "-c", _RUN, module, *filter(None, sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Ctrl-C in a terminal signals the whole group; only this process decides when the child ends.
                start_new_session=True,
            )
        except OSError as error:
            message = f"it cannot be started: {error.strerror or error}"
            raise ChildEndedError(message) from None
        # Popen's are optional: both were asked for.
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)
        self._is_heard = False

    def send(self, value: object) -> None:
        """Send a value.

        Raises:
            ChildEndedError: the child has ended.
        """
        try:
            pickle.dump(value, self._stdin)
            self._stdin.flush()
        except (OSError, ValueError):  # ValueError: it was killed meanwhile
            raise self._ended() from None

    def receive(self) -> Any:
        """The next value that the child sends.

        Raises:
            ChildEndedError: the child ended without sending one.
        """
        try:
            self._skip_noise()
            return pickle.load(self._stdout)
        except EOFError:
            raise self._ended() from None
        except Exception as error:  # what is no pickle, or of a class whose objects cannot be made again
            self._process.kill()
            message = f"it sent what cannot be read: {type(error).__name__}"
            raise ChildEndedError(message) from None

    def kill(self) -> None:
        """End the child at once; it may have ended before."""
        self._process.kill()
        self._process.wait()
        self._stdout.close()
        with contextlib.suppress(BrokenPipeError):  # something may be left that the child has not read
            self._stdin.close()

    def _skip_noise(self) -> None:
        """Skip what a ``sitecustomize`` or another import printed before the child claimed its pipes."""
        while not self._is_heard:
            line = self._stdout.readline()
            if not line:
                raise EOFError
            self._is_heard = line == _GREETING

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
        target.write(b"\n" + _GREETING)
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

    def receive_each(self) -> Iterator[Any]:
        """The values that the parent sends; this process ends when the parent does, whatever it is doing."""
        values: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._read_each, args=(values,), daemon=True).start()
        while True:
            yield values.get()

    def end_with_parent(self) -> None:
        """End this process as soon as the parent ends, which sends nothing more."""
        threading.Thread(target=self._wait_for_end, daemon=True).start()

    def _read_each(self, values: SimpleQueue[Any]) -> None:
        try:
            while True:
                values.put(self.receive())
        finally:
            _exit_at_once()

    def _wait_for_end(self) -> None:
        self._source.read()
        _exit_at_once()


def _exit_at_once() -> None:
    # Not sys.exit: threads that wait for a server's answer would keep the process.
    os._exit(1)
