"""Many requests at once: whether the latencies are the server's, and whether N are under way all the time.

Run ``python -m benchmarks.load [--images N]`` on an otherwise idle machine. Whole sessions of pytest ask a
server of another process, on the same machine, for photos of 1024 x 768 pixels. Its answers take exactly
100 ms, or times of an exponential distribution, whose mean lets two processors keep up. Beside them: N
threads with one httpx client and ready-made bodies, which is how a short script does it. The server's own
times begin when the kernel has received the first byte of a request, so that "own" is what the client adds
to them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
from PIL import Image, ImageDraw

from benchmarks.client import request
from benchmarks.running_server import running_server
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

IMAGES: Final = 1000
SIZE: Final = (1024, 768)
CONSTANT_S: Final = 0.1
REQUESTS_PER_S: Final = 64
"""Of the server with uneven answers, whatever N: the mean answer takes N / 64 s."""
LEVELS: Final = (1, 8, 32, 64)
BUSY_LEVELS: Final = (8, 32)


@dataclass(frozen=True)
class Load:
    """What a run of requests reported and what the server saw.

    Attributes:
        reported_s: the latency of each request, as the client reports it.
        log: when each request arrived at the server and was answered there, in seconds.
        limited: what the client says of its own part in the latencies, None where it says nothing.
    """

    reported_s: Sequence[float]
    log: Sequence[tuple[float, float]]
    limited: str | None = None

    @property
    def served_s(self) -> float:
        """The mean seconds from the arrival of a request at the server to its answer."""
        return statistics.fmean(end - start for start, end in self.log)

    def busy(self, at_once: int) -> float:
        """The share of ``at_once`` that was under way while work was left."""
        begin = min(start for start, _ in self.log)
        # The last image is begun three requests before the end of its thread: then no work is left.
        last = sorted(start for start, _ in self.log)[-3 * at_once]
        under_way = sum(max(0.0, min(end, last) - start) for start, end in self.log)
        return under_way / ((last - begin) * at_once)


def timed_server(mean_s: float, times: str) -> AbstractContextManager[str]:
    """A server in another process whose answers take so long."""
    return running_server("benchmarks.timed_server", mean_s, times)


def draw_photos(folder: Path, count: int) -> list[Path]:
    """Distinct pictures that compress as photos do, to some 150 KiB."""
    chance = random.Random(7)
    noise = Image.effect_noise(SIZE, 9).convert("RGB")
    paths = [folder / f"photo-{number:04}.jpg" for number in range(count)]
    for path in paths:
        image = noise.copy()
        draw = ImageDraw.Draw(image)
        for _ in range(4):
            corner = (chance.randrange(SIZE[0]), chance.randrange(SIZE[1]))
            color = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
            draw.ellipse((*corner, corner[0] + 300, corner[1] + 200), fill=color)
        image.save(path, quality=90)
    return paths


def pytest_load(url: str, folder: Path, at_once: int) -> Load:
    """A session of pytest, recorded, with its checks and reports.

    Raises:
        RuntimeError: it did not pass.
    """
    registry = folder / f"registry-{time.time_ns()}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--setup-base-url", url]
    options = ["--setup-images=photos", f"--setup-concurrency={at_once}", "--record"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [*command, *options, f"--setup-registry={registry}"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:])
    (results,) = (registry / "results").glob("*.jsonl")
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    delays = [line["client_delay_s"] for line in lines if line.get("client_delay_s")]
    notices = [line for line in done.stdout.splitlines() if "client" in line]
    delay = f"delay {statistics.fmean(delays) * 1000:.2f} ms"
    return Load([line["latency_s"] for line in lines], server_log(url), "; ".join([delay, *notices]))


def threads_load(url: str, photos: Sequence[Path], at_once: int) -> Load:
    """As many threads, one httpx client, bodies made before the first request."""
    asked = request()
    bodies = [asked.body(Stage.CAPTION, asked.prompts.caption, prepare(path, 1024)) for path in photos[:50]]
    latencies: list[float] = []
    lock = threading.Lock()
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    with httpx.Client(timeout=60, limits=limits) as client, ThreadPoolExecutor(at_once) as pool:

        def ask(number: int) -> None:
            start = time.perf_counter()
            headers = {"content-type": "application/json"}
            client.post(f"{url}/chat/completions", content=bodies[number % 50], headers=headers).json()
            with lock:
                latencies.append(time.perf_counter() - start)

        list(pool.map(ask, range(3 * len(photos))))
    return Load(latencies, server_log(url))


def server_log(url: str) -> list[tuple[float, float]]:
    """When each request arrived at the server and was answered."""
    return [(start, end) for start, end in httpx.get(f"{url}/log").json()]


def faithful(folder: Path, photos: Sequence[Path], levels: Sequence[int]) -> None:
    """Print what is reported for a server of 100 ms."""
    print(f"\n{'N':>4}  {'by':<14}{'reported ms':>12}{'server ms':>11}{'own ms':>8}{'error':>8}")
    for at_once in levels:
        for name in ("pytest-setups", "httpx threads"):
            with timed_server(CONSTANT_S, "constant") as url:
                ours = name == "pytest-setups"
                load = pytest_load(url, folder, at_once) if ours else threads_load(url, photos, at_once)
            reported = statistics.fmean(load.reported_s)
            error = reported / CONSTANT_S - 1
            figures = f"{reported * 1000:>12.1f}{load.served_s * 1000:>11.1f}"
            figures += f"{(reported - load.served_s) * 1000:>8.1f}{error:>8.1%}"
            print(f"{at_once:>4}  {name:<14}{figures}  {load.limited or ''}", flush=True)


def busy(folder: Path, photos: Sequence[Path], levels: Sequence[int]) -> None:
    """Print how much of N is under way with answers of uneven length."""
    print(f"\n{'N':>4}  {'by':<14}{'busy':>7}{'reported ms':>12}{'server ms':>11}")
    for at_once in levels:
        for name in ("pytest-setups", "httpx threads"):
            with timed_server(at_once / REQUESTS_PER_S, "exponential") as url:
                ours = name == "pytest-setups"
                load = pytest_load(url, folder, at_once) if ours else threads_load(url, photos, at_once)
            reported = statistics.fmean(load.reported_s)
            figures = f"{load.busy(at_once):>7.1%}{reported * 1000:>12.1f}{load.served_s * 1000:>11.1f}"
            print(f"{at_once:>4}  {name:<14}{figures}  {load.limited or ''}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--levels", type=int, nargs="*", default=LEVELS)
    parser.add_argument("--busy-levels", type=int, nargs="*", default=BUSY_LEVELS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        photos = draw_photos(folder / "photos", arguments.images)
        faithful(folder, photos, arguments.levels)
        busy(folder, photos, arguments.busy_levels)


if __name__ == "__main__":
    main()
