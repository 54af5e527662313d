"""A process that only asks the server: nothing that pytest does meanwhile delays the reading of an answer.

In pytest's own process, checks, reports and other plugins hold Python's interpreter lock (GIL). Threads that
wait there for answers get them late, and measure a server that takes 100 ms as one that takes 125.
"""

from __future__ import annotations

import os
import threading
import traceback
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from pytest_setups.serving.processes.python_child import ChildEndedError, ParentPipe, PythonChild
from pytest_setups.tagging.preparation import PreparedPictures
from pytest_setups.tagging.served_tagger import ServedTagger
from pytest_setups.tagging.tagging_threads import Delivery, TaggingThreads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.api.access import ServerAccess
    from pytest_setups.api.client import Client
    from pytest_setups.api.request_log import RequestLog
    from pytest_setups.redaction import Redactor
    from pytest_setups.registry.entry import Stage
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.keyword_schema import KeywordSchema
    from pytest_setups.tagging.request import Request


@dataclass(frozen=True, slots=True)
class AskingJob:
    """What a process asks, and how.

    Attributes:
        access: how the server is reached.
        request: what the requests have in common.
        max_edge: the longest edge of a sent picture, in pixels.
        at_once: how many images are tagged at the same time.
        plan: the images in order, each with its stages in order.
    """

    access: ServerAccess
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
        self._deliveries: SimpleQueue[Delivery | ChildEndedError] = SimpleQueue()
        self._child: PythonChild | None = None
        try:
            self._child = PythonChild(__name__)
        except ChildEndedError as error:
            self._deliveries.put(error)
            return
        threading.Thread(target=self._read, args=(self._child,), name="setup-deliveries", daemon=True).start()

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
        if self._child is not None:
            self._child.kill()

    def _read(self, child: PythonChild) -> None:
        """Read everything as soon as it comes: that the server was given up must not wait for a test."""
        delivery: Delivery
        log: RequestLog
        given_up: str | None
        try:
            child.send(self._job)
            while self.left:
                delivery, log, given_up = child.receive()
                self._client.log.add(log)
                if given_up is not None:
                    self._client.trip(given_up)
                self.left -= 1
                self._deliveries.put(delivery)
        except ChildEndedError as error:
            self._deliveries.put(error)


def main() -> None:
    """Ask what the parent wants asked, and send it the outcomes in the order in which they come."""
    try:
        parent = ParentPipe.claim()
        job: AskingJob = parent.receive()
        parent.end_with_parent()
        _ask(parent, job)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent has ended; at an ordinary exit Python would complain of what is left


def _ask(parent: ParentPipe, job: AskingJob) -> None:
    deliveries: SimpleQueue[Delivery] = SimpleQueue()
    client = job.access.client(job.at_once)
    pictures = PreparedPictures(job.plan, max_edge=job.max_edge, ahead=job.at_once)
    tagger = ServedTagger(client, job.request, pictures.take)
    TaggingThreads(tagger, job.plan, job.at_once, deliveries.put)
    for _ in range(job.outcomes):
        delivery = _having_schema(deliveries.get(), None)
        parent.send((_portable(delivery, client.redactor), client.log.drain(), client.given_up))


def _portable(delivery: Delivery, redactor: Redactor) -> Delivery:
    """The delivery without an exception that another process may not be able to make again."""
    if not isinstance(delivery.result, BaseException):
        return delivery
    text = redactor.text("".join(traceback.format_exception(delivery.result)))
    return replace(delivery, result=RuntimeError(text))


def _having_schema(delivery: Delivery, schema: KeywordSchema | None) -> Delivery:
    outcome = delivery.result
    if isinstance(outcome, BaseException):
        return delivery
    return replace(delivery, result=outcome.having_schema(schema))


if __name__ == "__main__":
    main()
