"""A process that makes a load: nothing that pytest does meanwhile delays the reading of an answer."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_setups.load.image_load import LoadReport, ThreadedLoad
from pytest_setups.load.picture_spool import SpooledPictures
from pytest_setups.serving.processes.python_child import ChildEndedError, ParentPipe, PythonChild
from pytest_setups.tagging.served_tagger import ServedTagger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_setups.api.access import ServerAccess
    from pytest_setups.load.image_load import ImageTiming
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.keyword_schema import KeywordSchema
    from pytest_setups.tagging.request import Request


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What a process asks, and how.

    Attributes:
        access: how the server is reached.
        request: what the requests have in common.
        pictures: the folder of the prepared pictures.
    """

    access: ServerAccess
    request: Request
    pictures: Path


class ProcessLoad:
    """The process, seen from the one that wants the load.

    ``given_up`` is why the server was not asked any more in the last load, None where it was.
    """

    def __init__(self, job: LoadJob) -> None:
        self.given_up: str | None = None
        self._job = job
        self._child = PythonChild(__name__)
        self._child.send(job)

    def run(self, samples: Sequence[Sample], at_once: int) -> list[ImageTiming]:
        """Tag the images; the timings are in the order in which the images ended.

        Raises:
            ChildEndedError: the process ended, or cannot go on, before all of them were tagged.
        """
        self._child.send((list(samples), at_once))
        report: LoadReport = self._child.receive()
        if report.error is not None:
            raise ChildEndedError(report.error)
        self.given_up = report.given_up
        return [_having_schema(timing, self._job.request.schema) for timing in report.timings]

    def close(self) -> None:
        """End the process, and with it every request that is under way."""
        self._child.kill()


def main() -> None:
    """Make one load after the other, until the parent wants no more."""
    parent = ParentPipe.claim()
    received = parent.receive_each()
    job: LoadJob = next(received)
    for samples, at_once in received:
        try:
            report = _make_load(job, samples, at_once)
        except Exception as error:
            # Anything: the parent has no other way to say what happened.
            report = LoadReport(error=f"{type(error).__name__}: {error}")
        try:
            parent.send(report)
        except BrokenPipeError:
            os._exit(0)  # the parent has ended; at an ordinary exit Python would complain of what is left


def _make_load(job: LoadJob, samples: Sequence[Sample], at_once: int) -> LoadReport:
    # A client of its own: one that gave the server up does not ask it again.
    with closing(job.access.client(at_once)) as client:
        load = ThreadedLoad(ServedTagger(client, job.request, SpooledPictures(job.pictures).read))
        timings = [_having_schema(timing, None) for timing in load.run(samples, at_once)]
        return LoadReport(timings, client.given_up)


def _having_schema(timing: ImageTiming, schema: KeywordSchema | None) -> ImageTiming:
    return replace(timing, outcomes=[outcome.having_schema(schema) for outcome in timing.outcomes])


if __name__ == "__main__":
    main()
