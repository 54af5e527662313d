"""Pictures prepared before their requests are due, in processes of their own.

Decoding and encoding a photo takes some 20 ms of CPU, during which no other thread of the process could take
an answer from its connection: its latency would seem that much longer.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.serving.processes.python_child import ChildEndedError, ParentPipe, PythonChild
from pytest_setups.tagging.images import ImageError, PreparedImage, prepare

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_setups.tagging.images import Sample

MAX_PROCESSES: Final = 8
# A lower priority than that of the process which waits for answers.
NICENESS: Final = 5


@dataclass(frozen=True, slots=True)
class PreparationJob:
    """One picture to prepare."""

    path: Path
    max_edge: int


class PreparedPictures:
    """The pictures of a plan, prepared in its order while requests are under way.

    Args:
        samples: the images in the order in which they will be taken.
        max_edge: the longest edge of a sent picture, in pixels.
        ahead: how many pictures may wait, prepared: memory does not increase with the number of images.
    """

    def __init__(self, samples: Iterable[Sample], *, max_edge: int, ahead: int) -> None:
        self._left = iter(samples)
        self._max_edge = max_edge
        self._free = threading.Semaphore(ahead)
        self._changed = threading.Condition()
        self._ready: dict[Sample, PreparedImage | ImageError] = {}
        for number in range(min(ahead, processors(), MAX_PROCESSES)):
            threading.Thread(target=self._prepare, name=f"setup-preparation-{number}", daemon=True).start()

    def take(self, sample: Sample) -> PreparedImage:
        """The picture of a sample, as soon as it is ready; each can be taken once.

        Raises:
            ImageError: it cannot be prepared.
        """
        with self._changed:
            self._changed.wait_for(lambda: sample in self._ready)
            picture = self._ready.pop(sample)
        self._free.release()
        if isinstance(picture, ImageError):
            raise picture
        return picture

    def _prepare(self) -> None:
        child = None
        while self._free.acquire() and (sample := self._next()) is not None:
            try:
                child = child or PythonChild(__name__)
                child.send(PreparationJob(sample.path, self._max_edge))
                picture = child.receive()
            except ChildEndedError as error:
                message = (
                    f"{sample.path.name} cannot be prepared: the process that decoded it ended ({error})"
                )
                picture, child = ImageError(message), None
            with self._changed:
                self._ready[sample] = picture
                self._changed.notify_all()
        if child is not None:
            child.kill()

    def _next(self) -> Sample | None:
        with self._changed:
            return next(self._left, None)


def processors() -> int:
    """How many processors this process may use."""
    # Only some systems let a process be kept to a part of them.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Prepare the pictures that the parent names, until it ends."""
    try:
        parent = ParentPipe.claim()
        if hasattr(os, "nice"):
            os.nice(NICENESS)
        while True:
            job: PreparationJob = parent.receive()
            parent.send(_prepared(job))
    except (EOFError, BrokenPipeError):
        os._exit(0)  # at an ordinary exit Python would complain of what is left in the pipe


def _prepared(job: PreparationJob) -> PreparedImage | ImageError:
    try:
        return prepare(job.path, job.max_edge)
    except ImageError as error:
        return error


if __name__ == "__main__":
    main()
