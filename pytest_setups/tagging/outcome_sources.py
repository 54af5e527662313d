"""Where a test gets an image's outcome from: asked when the test runs, or made before, many at once.

Tests run one after another, as pytest runs them. Requests are concurrent only because the images of the
tests to come are tagged meanwhile, in another process or, by a user's own tagger, in threads.
"""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from pytest_setups.serving.processes.python_child import ChildEndedError
from pytest_setups.tagging.outputs import CLIENT_CHECK, Failure, Outcome
from pytest_setups.tagging.tagger import ImageOutcomes
from pytest_setups.tagging.tagging_threads import Delivery, TaggingThreads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


class DeliverySource(Protocol):
    """Makes the outcomes of a plan."""

    def receive(self) -> Delivery:
        """What comes next, of whichever image and stage.

        Raises:
            ChildEndedError: nothing more will come.
        """

    def close(self) -> None:
        """Make no more."""


class ThreadedDeliveries:
    """Outcomes made in threads of this process, as a user's own tagger needs it."""

    def __init__(self, tagger: Tagger, plan: Mapping[Sample, Sequence[Stage]], at_once: int) -> None:
        self._deliveries: SimpleQueue[Delivery] = SimpleQueue()
        self._threads = TaggingThreads(tagger, plan, at_once, self._deliveries.put)

    def receive(self) -> Delivery:
        """What comes next, of whichever image and stage."""
        return self._deliveries.get()

    def close(self) -> None:
        """Begin no more outcomes, and wait for those that are begun: the user's code cannot be ended."""
        self._threads.stop()


class PlannedOutcomes:
    """Outcomes that are made in the order of a plan while tests run, several images at the same time.

    Those that have not been taken yet wait here: they are small. Pictures do not.

    Args:
        tagger: makes an outcome that is taken a second time.
        plan: the images in the order in which tests take them, each with its stages in order.
        source: makes all the others.
    """

    def __init__(
        self, tagger: Tagger, plan: Mapping[Sample, Sequence[Stage]], source: DeliverySource
    ) -> None:
        self._tagger = tagger
        self._source = source
        self._expected = {(sample, stage) for sample, stages in plan.items() for stage in stages}
        self._errors: dict[tuple[Sample, Stage], BaseException] = {}
        self._images: dict[Sample, ImageOutcomes] = {}
        self._current: Sample | None = None

    def take(self, sample: Sample, stage: Stage) -> Outcome:
        """The outcome that was made; a new one where it was taken before or is not in the plan."""
        # A rerun, and the fixture `tagging` of a user's own test, take an outcome a second time.
        return self._outcomes_of(sample, stage).take(stage)

    def latest(self, sample: Sample, stage: Stage) -> Outcome:
        """The outcome that was made last."""
        return self._outcomes_of(sample, stage).get(stage)

    def close(self) -> None:
        """Make no more outcomes, and end the requests that are under way."""
        self._source.close()

    def _outcomes_of(self, sample: Sample, stage: Stage) -> ImageOutcomes:
        """The outcomes of an image; that of this stage is there if it is in the plan."""
        self._forget_before(sample)
        while (sample, stage) in self._expected:
            self._receive()
        error = self._errors.pop((sample, stage), None)
        if error is not None:
            raise error
        return self._image(sample)

    def _forget_before(self, sample: Sample) -> None:
        """Forget the image that was taken before this one, unless not all of its outcomes were taken."""
        before, self._current = self._current, sample
        if before is not None and before != sample and not self._image(before).untaken:
            del self._images[before]

    def _receive(self) -> None:
        try:
            delivery = self._source.receive()
        except ChildEndedError as error:
            self._fail_expected(f"the process that sends the requests ended unexpectedly: {error}")
            return
        self._expected.discard((delivery.sample, delivery.stage))
        if isinstance(delivery.result, BaseException):
            self._errors[delivery.sample, delivery.stage] = delivery.result
        else:
            self._image(delivery.sample).put(delivery.result)

    def _fail_expected(self, reason: str) -> None:
        """Let everything that is yet to come fail; what is taken a second time is made anew."""
        for sample, stage in self._expected:
            self._image(sample).put(Outcome(sample, stage, None, (Failure(CLIENT_CHECK, reason),)))
        self._expected.clear()

    def _image(self, sample: Sample) -> ImageOutcomes:
        if sample not in self._images:
            self._images[sample] = ImageOutcomes(self._tagger, sample)
        return self._images[sample]
