"""A process that only asks the server: nothing that pytest does meanwhile delays the reading of an answer.

In pytest's own process, checks, reports and other plugins hold Python's interpreter lock (GIL). Threads that
wait there for answers get them late, and measure a server that takes 100 ms as one that takes 125.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from pytest_setups.api.client import Client
from pytest_setups.registry.entry import Stage
from pytest_setups.serving.processes.python_child import ChildEndedError, ParentPipe, PythonChild
from pytest_setups.tagging.preparation import PreparedPictures
from pytest_setups.tagging.served_tagger import ServedTagger
from pytest_setups.tagging.tagging_threads import Delivery, TaggingThreads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.api.request_log import RequestLog
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.keyword_schema import KeywordSchema
    from pytest_setups.tagging.request import Request


@dataclass(frozen=True, slots=True)
class AskingJob:
    """What a process asks, and how.

    Attributes:
        base_url: where the server answers.
        api_key: the key that it is sent, None without one.
        timeout_s: the deadline of a request, in seconds.
        request: what the requests have in common.
        max_edge: the longest edge of a sent picture, in pixels.
        at_once: how many images are tagged at the same time.
        plan: the images in order, each with its stages in order.
    """

    base_url: str
    api_key: str | None
    timeout_s: float
    request: Request
    max_edge: int
    at_once: int
    plan: Mapping[Sample, Sequence[Stage]]

    @property
    def outcomes(self) -> int:
        """How many there will be."""
        return sum(map(len, self.plan.values()))


class AskingProcess:
    """The process, seen from the one that wants the outcomes.

    The log of ``client`` is given the requests that it has sent. Once it has given the server up, ``client``
    does so too, also in the middle of a request. ``left`` is the number of outcomes to come.
    """

    def __init__(self, job: AskingJob, client: Client) -> None:
        self.left = job.outcomes
        self._job = job
        self._client = client
        self._child = PythonChild(__name__)
        self._child.send(job)
        self._deliveries: SimpleQueue[Delivery | ChildEndedError] = SimpleQueue()
        threading.Thread(target=self._read, name="setup-deliveries", daemon=True).start()

    def receive(self) -> Delivery:
        """What comes next, of whichever image and stage.

        Raises:
            ChildEndedError: the process ended before all outcomes were made.
        """
        delivery = self._deliveries.get()
        if isinstance(delivery, ChildEndedError):
            self._deliveries.put(delivery)  # whoever wants another outcome gets this as well
            raise delivery
        return _having_schema(delivery, self._job.request.schema)

    def close(self) -> None:
        """End the process, and with it every request that is under way."""
        self._child.kill()

    def _read(self) -> None:
        """Read everything as soon as it comes: that the server was given up must not wait for a test."""
        delivery: Delivery
        log: RequestLog
        given_up: str | None
        try:
            while self.left:
                delivery, log, given_up = self._child.receive()
                self._client.log.add(log)
                if given_up is not None:
                    self._client.trip(given_up)
                self.left -= 1
                self._deliveries.put(delivery)
        except (ChildEndedError, ValueError) as error:  # ValueError: it was closed meanwhile
            self._deliveries.put(error if isinstance(error, ChildEndedError) else ChildEndedError("closed"))


def main() -> None:
    """Ask what the parent wants asked, and send it the outcomes in the order in which they come."""
    parent = ParentPipe.claim()
    job: AskingJob = parent.receive()
    parent.end_with_parent()
    deliveries: SimpleQueue[Delivery] = SimpleQueue()
    client = Client(
        base_url=job.base_url, api_key=job.api_key, timeout_s=job.timeout_s, connections=job.at_once
    )
    pictures = PreparedPictures(job.plan, max_edge=job.max_edge, ahead=job.at_once)
    tagger = ServedTagger(client, job.request, pictures.take)
    TaggingThreads(tagger, job.plan, job.at_once, deliveries.put)
    for _ in range(job.outcomes):
        # Both processes have the schema: with a vocabulary it has thousands of terms.
        delivery = _having_schema(deliveries.get(), None)
        parent.send((delivery, client.log.drain(), client.given_up))


def _having_schema(delivery: Delivery, schema: KeywordSchema | None) -> Delivery:
    outcome = delivery.result
    if isinstance(outcome, BaseException) or outcome.output is None or delivery.stage is not Stage.KEYWORDS:
        return delivery
    return replace(delivery, result=replace(outcome, output=replace(outcome.output, schema=schema)))


if __name__ == "__main__":
    main()
