"""Threads that tag the images of a plan, as many at a time as wanted, whatever each of them takes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_setups.tagging.tagger import ImageOutcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_setups.registry.entry import Stage
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outputs import Outcome
    from pytest_setups.tagging.tagger import Tagger

    Plan = Mapping[Sample, Sequence[Stage]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one stage of one image: its outcome, or an unexpected error."""

    sample: Sample
    stage: Stage
    result: Outcome | BaseException


class TaggingThreads:
    """Tags images in the order of a plan; each thread begins the next image when it has finished one.

    Nothing waits for a slow image, and nothing waits for the tests that judge the outcomes: outcomes are
    small, and wait in their stead.

    Args:
        tagger: makes the outputs; it is called from several threads.
        plan: the images in order, each with its stages in order.
        at_once: the number of threads.
        deliver: takes what became of each stage of each image; it is called from several threads.
    """

    def __init__(
        self,
        tagger: Tagger,
        plan: Plan,
        at_once: int,
        deliver: Callable[[Delivery], None],
    ) -> None:
        self._tagger = tagger
        self._left = iter(plan.items())
        self._deliver = deliver
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._tag_images, name=f"setup-tagger-{number}", daemon=True)
            for number in range(min(at_once, len(plan)))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin no more outputs, and wait for those that are begun."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _tag_images(self) -> None:
        while (image := self._next()) is not None:
            self._tag_image(*image)

    def _next(self) -> tuple[Sample, Sequence[Stage]] | None:
        with self._lock:
            return None if self._stopped.is_set() else next(self._left, None)

    def _tag_image(self, sample: Sample, stages: Sequence[Stage]) -> None:
        outcomes = ImageOutcomes(self._tagger, sample)
        for stage in stages:
            if self._stopped.is_set():
                return
            try:
                result: Outcome | BaseException = outcomes.get(stage)
            except BaseException as error:
                # The test raises it, which would otherwise wait forever.
                result = error
            self._deliver(Delivery(sample, stage, result))
