"""The soak: the pictures are tagged in turn for a long time, each time as one that is new to the server."""

from __future__ import annotations

import base64
import itertools
import random
import secrets
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pytest_setups.load.host_caches import host_cache
from pytest_setups.load.server_memory import ServerMemory
from pytest_setups.load.soak_log import SoakLog
from pytest_setups.registry.entry import Stage
from pytest_setups.serving.local.listener import ListenerNotFoundError
from pytest_setups.tagging.images import ImageError
from pytest_setups.tagging.outputs import Failure, Outcome
from pytest_setups.tagging.picture_variants import prepare_variant
from pytest_setups.tagging.served_tagger import ServedTagger
from pytest_setups.tagging.tagger import ImageOutcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from pytest_setups.api.client import Client
    from pytest_setups.config.soak_length import SoakLength
    from pytest_setups.run.connection import Connection
    from pytest_setups.tagging.images import PreparedImage, Sample
    from pytest_setups.tagging.request import Request
    from pytest_setups.tagging.tagger import Tagger

UNANSWERED: Final = 10
"""Images in a row without an answer, after which the soak ends: a dead server shows nothing more."""


class SoakTagger(Protocol):
    """Tags a picture as one that the server has not seen."""

    def tag(self, sample: Sample) -> list[Outcome]:
        """The outcomes of all stages, in order; it is called from several threads."""


class ServedSoakTagger:
    """Asks the served model."""

    def __init__(self, client: Client, request: Request, max_edge: int, seed: str) -> None:
        self._seed = seed
        self._max_edge = max_edge
        self._tagger: Tagger = ServedTagger(client, request, self._prepare)

    def tag(self, sample: Sample) -> list[Outcome]:
        """The outcomes of all stages."""
        return _outcomes(self._tagger, sample)

    def _prepare(self, sample: Sample) -> PreparedImage:
        return prepare_variant(sample.path, self._max_edge, f"{self._seed} {sample.nth}")


class FileSoakTagger:
    """Gives a user's own tagger a new file of each picture, which is removed afterwards."""

    def __init__(self, tagger: Tagger, folder: Path, max_edge: int, seed: str) -> None:
        self._tagger = tagger
        self._folder = folder
        self._max_edge = max_edge
        self._seed = seed

    def tag(self, sample: Sample) -> list[Outcome]:
        """The outcomes of all stages."""
        path = self._folder / f"{sample.nth}.jpg"
        try:
            picture = prepare_variant(sample.path, self._max_edge, f"{self._seed} {sample.nth}")
        except ImageError as error:
            failure = Failure("image", str(error))
            return [Outcome(sample, stage, None, (failure,)) for stage in Stage]
        path.write_bytes(base64.b64decode(picture.base64))
        try:
            return _outcomes(self._tagger, replace(sample, path=path))
        finally:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class SoakTurns:
    """Takes pictures in turn, every round in another order, until the soak is long enough.

    Another order, so that a change over time is not one of the pictures.
    """

    samples: Sequence[Sample]
    length: SoakLength
    seed: str

    def __iter__(self) -> Iterator[Sample]:
        chance = random.Random(self.seed)
        started, numbers = time.monotonic(), itertools.count(1)
        while True:
            for sample in chance.sample(self.samples, len(self.samples)):
                number = next(numbers)
                if self.length.images is not None and number > self.length.images:
                    return
                if self.length.seconds is not None and time.monotonic() - started >= self.length.seconds:
                    return
                yield replace(sample, nth=number)


@dataclass(frozen=True, slots=True)
class SoakExperiment:
    """Tags pictures, ``at_once`` at any time; ``abort`` ends the open requests."""

    tagger: SoakTagger
    at_once: int
    abort: Callable[[], None]

    def run(self, turns: SoakTurns) -> Generator[list[Outcome]]:
        """The outcomes of each image, as soon as it is tagged."""
        left = iter(turns)
        pool = ThreadPoolExecutor(self.at_once, thread_name_prefix="setup-soak")
        try:
            under_way: set[Future[list[Outcome]]] = set()
            while True:
                # Asked for one at a time: whether there is another picture depends on the time.
                for sample in itertools.islice(left, self.at_once - len(under_way)):
                    under_way.add(pool.submit(self.tagger.tag, sample))
                if not under_way:
                    return
                done, under_way = wait_for(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:  # Ctrl-C, or the server has died, does not wait for the requests under way
            pool.shutdown(wait=False, cancel_futures=True)
            self.abort()
            raise
        finally:
            pool.shutdown()


def open_log(connection: Connection) -> SoakLog:
    """An empty log of a soak, which begins with the memory of the server as it is now."""
    backend = connection.connected_server().identity.backend or ""
    cache = host_cache(backend, connection.facts.command.flags)
    try:
        return SoakLog(ServerMemory(connection.base_url), cache=cache)
    except ListenerNotFoundError as error:
        return SoakLog(None, memory_reason=str(error), cache=cache)


def soak_images(connection: Connection, log: SoakLog, judge: Callable[[Outcome], Outcome]) -> Generator[None]:
    """Tag pictures for as long as the settings say; returned is after each image, when the log has it.

    Args:
        connection: the server that answered.
        log: takes the images.
        judge: adds the failures of an outcome.
    """
    settings, seed = connection.settings, secrets.token_hex(8)
    if settings.soak is None:
        return
    turns = SoakTurns(list(connection.samples.values()), settings.soak, seed)
    # A client of the soak's own: its requests are not those that are measured, and Ctrl-C ends only them.
    with (
        tempfile.TemporaryDirectory(prefix="pytest-setups-") as folder,
        closing(connection.access.client(settings.concurrency)) as client,
    ):
        tagger = _soak_tagger(connection, client, Path(folder), seed)
        experiment = SoakExperiment(tagger, settings.concurrency, client.abort)
        with closing(experiment.run(turns)) as images:
            for outcomes in images:
                log.add([judge(outcome) for outcome in outcomes])
                yield
                if log.unanswered_in_a_row >= UNANSWERED:
                    log.end_early(f"the last {UNANSWERED} images in a row got no answer")
                    return


def _soak_tagger(connection: Connection, client: Client, folder: Path, seed: str) -> SoakTagger:
    own, max_edge = connection.python_tagger, connection.settings.max_edge
    if own is not None:
        return FileSoakTagger(own, folder, max_edge, seed)
    return ServedSoakTagger(client, connection.request, max_edge, seed)


def _outcomes(tagger: Tagger, sample: Sample) -> list[Outcome]:
    image = ImageOutcomes(tagger, sample)
    return [image.get(stage) for stage in Stage]
