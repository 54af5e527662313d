"""A load of images: as many are tagged at once as wanted, each of its stages after the other."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.tagger import ImageOutcomes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outputs import Outcome
    from pytest_setups.tagging.tagger import Tagger


@dataclass(frozen=True, slots=True)
class ImageTiming:
    """One image: readings of ``time.perf_counter`` when it was begun and ended, and what was made of it.

    After a stage without an output no more stages of the image are asked for.
    """

    begun: float
    ended: float
    outcomes: Sequence[Outcome]

    @property
    def seconds(self) -> float:
        """How long the image took."""
        return self.ended - self.begun

    @property
    def fault(self) -> str | None:
        """Why the image has no output of a stage, None where it has all."""
        lacking = [outcome for outcome in self.outcomes if outcome.output is None]
        return lacking[0].failures[0].reason if lacking else None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a process sends of a load that it made.

    Attributes:
        timings: of the images.
        given_up: why the server was not asked any more, None where it was.
        error: why there are no timings: what the process did not expect.
    """

    timings: Sequence[ImageTiming] = ()
    given_up: str | None = None
    error: str | None = None


class ImageLoad(Protocol):
    """Tags images, several at once.

    ``given_up`` is why the server was not asked any more in the last load, None where it was.
    """

    given_up: str | None

    def run(self, samples: Sequence[Sample], at_once: int) -> list[ImageTiming]:
        """Tag the images in their order, ``at_once`` at any time; one fewer after each without an answer."""


class ThreadedLoad:
    """A load that threads of this process make; ``tagger`` is called from as many as images are tagged."""

    def __init__(self, tagger: Tagger) -> None:
        self.given_up: str | None = None
        self._tagger = tagger

    def run(self, samples: Sequence[Sample], at_once: int) -> list[ImageTiming]:
        """Tag the images; the timings are in the order in which the images ended."""
        work = _Work(iter(samples))
        with ThreadPoolExecutor(at_once, thread_name_prefix="setup-load") as pool:
            futures = [pool.submit(self._tag_until_done, work) for _ in range(at_once)]
            try:
                wait_for(futures)
            except BaseException:  # Ctrl-C waits for the images under way: user's code cannot be ended
                work.stop()
                raise
        for future in futures:
            future.result()
        return sorted(work.timings, key=lambda timing: timing.ended)

    def _tag_until_done(self, work: _Work) -> None:
        while (sample := work.take()) is not None:
            timing = self._tag(sample)
            work.add(timing)
            if timing.fault is not None:
                return  # as many faults as threads end the load, and none waits for a hanging server twice

    def _tag(self, sample: Sample) -> ImageTiming:
        image, outcomes = ImageOutcomes(self._tagger, sample), []
        begun = time.perf_counter()
        for stage in Stage:
            outcomes.append(image.get(stage))
            if outcomes[-1].output is None:
                break
        return ImageTiming(begun, time.perf_counter(), outcomes)


class _Work:
    """What the threads of a load share: the images that are left, and the timings so far."""

    def __init__(self, samples: Iterator[Sample]) -> None:
        self._samples = samples
        self._lock = threading.Lock()
        self.timings: list[ImageTiming] = []

    def take(self) -> Sample | None:
        """The next image, None where there is no more to do."""
        with self._lock:
            return next(self._samples, None)

    def add(self, timing: ImageTiming) -> None:
        """Keep a timing."""
        with self._lock:
            self.timings.append(timing)

    def stop(self) -> None:
        """Let no more images be begun."""
        with self._lock:
            self._samples = iter(())
