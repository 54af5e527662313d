"""Where a test gets an image's outcome from: asked when the test runs, or prefetched, several images at once.

Tests run one after another, as pytest runs them. Requests are concurrent only because the images of the
tests to come are tagged in threads meanwhile.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from pytest_setups.tagging.outputs import Outcome
from pytest_setups.tagging.tagger import ImageOutcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_setups.registry.entry import Stage
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.tagger import Tagger


class OutcomeSource(Protocol):
    """Gives the tests the outcomes of their images and stages."""

    def take(self, sample: Sample, stage: Stage) -> Outcome:
        """The outcome; one that is taken a second time, as a rerun does, is made anew."""

    def latest(self, sample: Sample, stage: Stage) -> Outcome:
        """The outcome that was made last, which is made now where there is none."""

    def close(self) -> None:
        """Make no more outcomes."""


class SequentialOutcomes:
    """One request at a time, each when its test runs."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self._current: tuple[Sample, ImageOutcomes] | None = None

    def take(self, sample: Sample, stage: Stage) -> Outcome:
        """The outcome, made now."""
        return self._outcomes_of(sample).take(stage)

    def latest(self, sample: Sample, stage: Stage) -> Outcome:
        """The outcome that was made last."""
        return self._outcomes_of(sample).get(stage)

    def _outcomes_of(self, sample: Sample) -> ImageOutcomes:
        if self._current is None or self._current[0] != sample:
            self._current = sample, ImageOutcomes(self._tagger, sample)
        return self._current[1]

    def close(self) -> None:
        """Nothing to do: no request is open between two tests."""


class PrefetchedOutcomes:
    """Outcomes that threads make in the order of a plan, up to ``at_once`` images at the same time.

    Only these images are held, so memory does not increase with the length of the plan.

    Args:
        tagger: makes the outputs; it is called from several threads.
        plan: the images in the order in which tests take them, each with its stages in order.
        at_once: the number of threads, and of images that are tagged at the same time.
        abort: ends the open requests of all threads.
    """

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
        self._images: dict[Sample, ImageOutcomes] = {}
        self._futures: dict[tuple[Sample, Stage], Future[Outcome]] = {}

    def take(self, sample: Sample, stage: Stage) -> Outcome:
        """The prefetched outcome; a new one where it was taken before or is not in the plan."""
        # A rerun, and the fixture `tagging` of a user's own test, take an outcome a second time.
        return self._outcomes_of(sample, stage).take(stage)

    def latest(self, sample: Sample, stage: Stage) -> Outcome:
        """The outcome that was made last."""
        return self._outcomes_of(sample, stage).get(stage)

    def close(self) -> None:
        """Drop the images that are not begun, and end the requests of the others."""
        self._stopped.set()
        # First the images that wait are dropped, then the open requests are cut: the other way round, a
        # thread whose request was cut would begin the next image. The last line waits for the threads.
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._abort()
        self._pool.shutdown()

    def _outcomes_of(self, sample: Sample, stage: Stage) -> ImageOutcomes:
        """The outcomes of an image; that of this stage is made if it is in the plan."""
        if sample in self._position:
            self._advance_to(sample)
        future = self._futures.pop((sample, stage), None)
        if future is not None:
            future.result()
        if sample not in self._images:
            self._images[sample] = ImageOutcomes(self._tagger, sample)
        return self._images[sample]

    def _advance_to(self, sample: Sample) -> None:
        """Forget the images before this one, and submit images until ``at_once`` are under way."""
        position = self._position[sample]
        for done in [other for other in self._images if self._position.get(other, -1) < position]:
            del self._images[done]
        while self._submitted < min(position + self._at_once, len(self._samples)):
            self._submit(self._samples[self._submitted])
            self._submitted += 1

    def _submit(self, sample: Sample) -> None:
        image = self._images[sample] = ImageOutcomes(self._tagger, sample)
        futures = {stage: Future[Outcome]() for stage in self._plan[sample]}
        self._futures.update({(sample, stage): future for stage, future in futures.items()})
        self._pool.submit(self._make_outcomes, image, futures)

    def _make_outcomes(self, image: ImageOutcomes, futures: Mapping[Stage, Future[Outcome]]) -> None:
        for stage, future in futures.items():
            if self._stopped.is_set():
                return
            try:
                future.set_result(image.get(stage))
            except BaseException as error:
                # Whatever ended the thread is raised in the test, which would otherwise wait forever.
                future.set_exception(error)
