"""A process that makes a load: nothing that pytest does meanwhile delays the reading of an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_setups.api.client import Client
from pytest_setups.load.image_load import ThreadedLoad
from pytest_setups.load.picture_spool import SpooledPictures
from pytest_setups.serving.processes.python_child import ParentPipe, PythonChild
from pytest_setups.tagging.served_tagger import ServedTagger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_setups.load.image_load import ImageTiming
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.keyword_schema import KeywordSchema
    from pytest_setups.tagging.outputs import Outcome
    from pytest_setups.tagging.request import Request


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What a process asks, and how.

    Attributes:
        base_url: where the server answers.
        api_key: the key that it is sent, None without one.
        timeout_s: the deadline of a request, in seconds.
        request: what the requests have in common.
        pictures: the folder of the prepared pictures.
        connections: how many images are tagged at the same time at most.
    """

    base_url: str
    api_key: str | None
    timeout_s: float
    request: Request
    pictures: Path
    connections: int


class ProcessLoad:
    """The process, seen from the one that wants the load."""

    def __init__(self, job: LoadJob) -> None:
        self._job = job
        self._child = PythonChild(__name__)
        self._child.send(job)

    def run(self, samples: Sequence[Sample], at_once: int) -> list[ImageTiming]:
        """Tag the images; the timings are in the order in which the images ended.

        Raises:
            ChildEndedError: the process ended before all of them were tagged.
        """
        self._child.send((list(samples), at_once))
        timings: list[ImageTiming] = self._child.receive()
        return [_having_schema(timing, self._job.request.schema) for timing in timings]

    def close(self) -> None:
        """End the process, and with it every request that is under way."""
        self._child.kill()


def main() -> None:
    """Make one load after the other, until the parent wants no more."""
    parent = ParentPipe.claim()
    job: LoadJob = parent.receive()
    client = Client(
        base_url=job.base_url, api_key=job.api_key, timeout_s=job.timeout_s, connections=job.connections
    )
    load = ThreadedLoad(ServedTagger(client, job.request, SpooledPictures(job.pictures).read))
    while True:
        try:
            samples, at_once = parent.receive()
            # Both processes have the schema: with a vocabulary it has thousands of terms.
            parent.send([_having_schema(timing, None) for timing in load.run(samples, at_once)])
        except (EOFError, BrokenPipeError):
            return


def _having_schema(timing: ImageTiming, schema: KeywordSchema | None) -> ImageTiming:
    return replace(timing, outcomes=[_outcome_having(outcome, schema) for outcome in timing.outcomes])


def _outcome_having(outcome: Outcome, schema: KeywordSchema | None) -> Outcome:
    output = outcome.output
    if output is None or output.keywords is None:
        return outcome
    return replace(outcome, output=replace(output, schema=schema))


if __name__ == "__main__":
    main()
