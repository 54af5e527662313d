"""Working ahead: up to N images at once in the order of the tests, which stay plain functions."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from pytest_setups.tagging.outputs import Outcome
from pytest_setups.tagging.tagger import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_setups.registry.entry import Stage
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.tagger import Tagger


class Asker(Protocol):
    """Gives the outcome of each test's image and stage."""

    def take(self, sample: Sample, stage: Stage) -> Outcome:
        """The outcome; taking it again asks again."""

    def close(self) -> None:
        """Stop asking."""


class InOrder:
    """One request at a time, each when its test runs."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self._current: tuple[Sample, Work] | None = None

    def take(self, sample: Sample, stage: Stage) -> Outcome:
        """Ask now."""
        if self._current is None or self._current[0] != sample:
            self._current = sample, Work(self._tagger, sample)
        return self._current[1].ask(stage)

    def close(self) -> None:
        """Nothing is under way between two tests."""


class Ahead:
    """``at_once`` images in work, in the order of ``plan``; never more, so memory is bounded by it."""

    def __init__(
        self,
        tagger: Tagger,
        plan: Mapping[Sample, Sequence[Stage]],
        at_once: int,
        abort: Callable[[], None],
    ) -> None:
        self._tagger = tagger
        self._plan = plan
        self._samples = list(plan)
        self._position = {sample: position for position, sample in enumerate(self._samples)}
        self._at_once = at_once
        self._abort = abort
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="setup-tagger")
        self._stopped = threading.Event()
        self._submitted = 0
        self._works: dict[Sample, Work] = {}
        self._ready: dict[tuple[Sample, Stage], Future[Outcome]] = {}

    def take(self, sample: Sample, stage: Stage) -> Outcome:
        """What was worked ahead or, when it was taken before or not planned, a new answer."""
        if sample in self._position:
            self._advance(sample)
        ready = self._ready.pop((sample, stage), None)
        if ready is not None:
            return ready.result()
        if sample not in self._works:
            self._works[sample] = Work(self._tagger, sample)
        return self._works[sample].ask(stage)

    def close(self) -> None:
        """Stop asking: drop what has not begun and cut what has."""
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._abort()
        self._pool.shutdown()

    def _advance(self, sample: Sample) -> None:
        position = self._position[sample]
        for done in [other for other in self._works if self._position.get(other, -1) < position]:
            del self._works[done]
        while self._submitted < min(position + self._at_once, len(self._samples)):
            self._submit(self._samples[self._submitted])
            self._submitted += 1

    def _submit(self, sample: Sample) -> None:
        work = self._works[sample] = Work(self._tagger, sample)
        futures = {stage: Future[Outcome]() for stage in self._plan[sample]}
        self._ready.update({(sample, stage): future for stage, future in futures.items()})
        self._pool.submit(self._run, work, futures)

    def _run(self, work: Work, futures: Mapping[Stage, Future[Outcome]]) -> None:
        for stage, future in futures.items():
            if self._stopped.is_set():
                return
            try:
                future.set_result(work.have(stage))
            except BaseException as error:
                future.set_exception(error)
