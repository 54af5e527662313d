"""How often a soak of 300 images finds what it must, and accuses a steady server.

Run with ``python -m benchmarks.soak [RUNS]`` (steady runs of each kind of noise, 10 without it). Every run
is a new server process, which is asked for captions only, whose memory is read as in a soak: one that leaks
1 MiB an image, one whose answers take 0.1 % longer with each image, and steady ones whose memory has the
steps of an allocator or the teeth of a garbage collector. Beside it stands what is usual: a line through
all readings, whose interval takes them for independent (``scipy.stats.linregress``).
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw

from benchmarks import client, instant_server
from benchmarks.running_server import running_server
from pytest_setups.api.client import Client
from pytest_setups.checks.output_checks import check_outcome
from pytest_setups.config.soak_length import SoakLength
from pytest_setups.load.server_memory import ServerMemory
from pytest_setups.load.soak import SoakExperiment, SoakTurns
from pytest_setups.load.soak_log import SoakLog
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import Sample
from pytest_setups.tagging.picture_variants import prepare_variant
from pytest_setups.tagging.served_tagger import ServedTagger
from pytest_setups.tagging.tagger import ImageOutcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from pytest_setups.registry.load_records import SoakRecord
    from pytest_setups.tagging.outputs import Outcome

IMAGES: Final = 300
PICTURES: Final = 10
EDGE: Final = 64
MIB: Final = 1024**2
ANSWER_S: Final = 0.002
"""Of an answer; those that become slower take ten times as long, so that a loaded machine does not hide
it."""
PROVING_RUNS: Final = 3
Z_99: Final = 2.576


@dataclass(frozen=True, slots=True)
class Habit:
    """How a server changes: MiB kept of each picture, the share by which it becomes slower, and noise."""

    leak_mib: float = 0.0
    slower: float = 0.0
    noise: str = ""


HABITS: Final = {
    "leak": Habit(leak_mib=1.0),
    "leak-steps": Habit(leak_mib=1.0, noise="steps"),
    "slower": Habit(slower=0.001),
    "steps": Habit(noise="steps"),
    "teeth": Habit(noise="teeth"),
}


class AgeingMemory:
    """What a server holds: what leaks, the steps of an allocator, the teeth of a garbage collector."""

    def __init__(self, habit: Habit) -> None:
        self._habit = habit
        self._chance = random.Random()
        self._kept: list[bytes] = []
        self._pool: list[bytes] = []

    def age(self, picture: int) -> None:
        """Take and give back what a new picture makes it."""
        habit, chance = self._habit, self._chance
        if habit.leak_mib:
            self._kept.append(os.urandom(int(habit.leak_mib * MIB)))
        if habit.noise == "steps" and chance.random() < 0.02:
            self._pool.append(b"\1" * (chance.choice((16, 32, 64)) * MIB))
            del self._pool[: chance.choice((0, 0, 1))]
        if habit.noise == "teeth":
            if picture % 23 == 0:
                self._pool.clear()
            self._pool.append(b"\1" * chance.randrange(4 * MIB))


def serve(port: int, habit: Habit) -> None:
    """Serve until killed."""
    answer_seeing, memory, pictures = instant_server.seeing(), AgeingMemory(habit), 0

    def answer(line: bytes, body: bytes) -> bytes | None:
        nonlocal pictures
        if line.startswith(b"POST"):
            pictures += 1
            memory.age(pictures)
            # Asked one at a time: nothing else waits.
            answer_s = ANSWER_S * (10 if habit.slower else 1)
            time.sleep(answer_s * (1 + habit.slower * pictures) * random.uniform(0.9, 1.1))
        return answer_seeing(line, body)

    asyncio.run(instant_server.main(port, 0.0, answer))


def ageing_server(name: str) -> AbstractContextManager[str]:
    """A server with this habit in a process of its own."""
    return running_server("benchmarks.soak", name, before_port=["serve"])


class CaptionTagger:
    """Asks for a caption of each picture, as one that is new to the server."""

    def __init__(self, asking: Client, seed: str) -> None:
        self._tagger = ServedTagger(
            asking,
            client.request(),
            lambda sample: prepare_variant(sample.path, EDGE, f"{seed} {sample.nth}"),
        )

    def tag(self, sample: Sample) -> list[Outcome]:
        """The outcome of the caption."""
        return [ImageOutcomes(self._tagger, sample).get(Stage.CAPTION)]


def soak(name: str, samples: Sequence[Sample]) -> SoakRecord:
    """A soak of a new server with this habit."""
    with (
        ageing_server(name) as url,
        closing(Client(base_url=url, api_key=None, timeout_s=30)) as asking,
    ):
        log = SoakLog(ServerMemory(url))
        seed = f"{time.time_ns()}"
        turns = SoakTurns(samples, SoakLength(images=IMAGES), seed)
        for outcomes in SoakExperiment(CaptionTagger(asking, seed), 1, asking.abort).run(turns):
            log.add([check_outcome(outcome) for outcome in outcomes])
        return log.record()


def usual_alarm(values: Sequence[float | None]) -> bool:
    """Whether the interval of a line through all readings lies above zero."""
    points = [(float(x), value) for x, value in enumerate(values) if value is not None]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    line = statistics.linear_regression(xs, ys)
    noise = sum((y - line.slope * x - line.intercept) ** 2 for x, y in points) / (len(points) - 2)
    return line.slope - Z_99 * math.sqrt(noise / (statistics.pvariance(xs) * len(xs))) > 0


def draw(folder: Path) -> list[Sample]:
    """Tiny pictures."""
    samples = []
    for number in range(PICTURES):
        image = Image.new("RGB", (EDGE, EDGE), f"hsl({36 * number}, 80%, 50%)")
        ImageDraw.Draw(image).ellipse((8, 8, 40, 40 + number), fill="white")
        samples.append(Sample(f"{number}.png", folder / f"{number}.png"))
        image.save(samples[-1].path)
    return samples


def report(name: str, records: Sequence[SoakRecord], found: Callable[[SoakRecord], bool]) -> None:
    """Print how often something was found, beside the usual line, and the first run's slopes."""
    series = [record.series for record in records if record.series]
    usual = f"usual line: memory {sum(usual_alarm(one.memory_mib) for one in series)}, "
    usual += f"latency {sum(usual_alarm(one.latency_s) for one in series)}"
    memory, latency = records[0].memory, records[0].latency
    slopes = (
        f"{memory.mib_per_image:+.3f} ({memory.low:+.3f} to {memory.high:+.3f}) MiB, "
        f"{100 * (latency.share_per_image or 0):+.3f} "
        f"({100 * (latency.low or 0):+.3f} to {100 * (latency.high or 0):+.3f}) %"
        if memory and latency
        else "not measured"
    )
    count = sum(found(record) for record in records)
    print(f"{name:12} {count:3} of {len(records):2}   {usual}; the first: {slopes} an image", flush=True)


def is_leak(record: SoakRecord) -> bool:
    """Whether the soak says that memory leaks."""
    return record.memory is not None and record.memory.is_leak is True


def is_rising(record: SoakRecord) -> bool:
    """Whether the soak says that latency rises."""
    return record.latency is not None and record.latency.is_rising is True


def is_accused(record: SoakRecord) -> bool:
    """Whether the soak fails the server."""
    return is_leak(record) or is_rising(record) or bool(record.failed_images)


def main(runs: int) -> None:
    """Print how often each kind of server is accused."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        samples = draw(Path(folder))
        for name, count, found in (
            ("leak", PROVING_RUNS, is_leak),
            ("leak-steps", PROVING_RUNS, is_leak),
            ("slower", PROVING_RUNS, is_rising),
            ("steps", runs, is_accused),
            ("teeth", runs, is_accused),
        ):
            report(name, [soak(name, samples) for _ in range(count)], found)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), HABITS[sys.argv[3]])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 10)
