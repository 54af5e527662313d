"""The capacity that is measured of servers whose capacity is known, beside another load generator.

Run with ``python -m benchmarks.capacity [GUIDELLM]``, where GUIDELLM is the program of guidellm 0.8.1, which
is installed apart: ``python -m venv v && v/bin/pip install 'guidellm[vision]==0.8.1'``. Each server is a
process of its own: it takes 0.1 s for an answer and has a number of places; an image takes three answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.running_server import running_server
from pytest_setups.api.access import ServerAccess
from pytest_setups.load.capacity import CapacityExperiment
from pytest_setups.load.level_search import LevelSearch, knee_of
from pytest_setups.load.load_process import LoadJob, ProcessLoad
from pytest_setups.load.picture_spool import PictureSpool, SpooledPictures
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import find_samples, prepare
from pytest_setups.tagging.prompts import load_prompts
from pytest_setups.tagging.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from pytest_setups.registry.load_records import CapacityLevel
    from pytest_setups.tagging.images import Sample

SAMPLES: Final = Path(__file__).parent.parent / "sample_images"
ANSWER_S: Final = 0.1
PLACES: Final = 8
LEVELS: Final = (1, 4, 8, 16)
MAX_EDGE: Final = 512
PEER_SECONDS: Final = 6
PREDICTED: Final = 500


def known_server(places: int, *, uneven: bool = False) -> AbstractContextManager[str]:
    """The base URL of a server in another process; times of ``uneven`` answers are exponential."""
    return running_server("benchmarks.known_capacity_server", ANSWER_S, places, *["uneven"] * uneven)


@contextmanager
def experiment(url: str, samples: Sequence[Sample]) -> Iterator[CapacityExperiment]:
    """What measures levels of this server, with the requests of a run with default settings."""
    parameters = {"max_tokens": 256, "temperature": 0.2, "top_p": 0.9}
    request = Request(dict.fromkeys(Stage, "served"), load_prompts("default"), parameters)
    with tempfile.TemporaryDirectory() as folder:
        pictures = SpooledPictures(Path(folder))
        load = ProcessLoad(LoadJob(ServerAccess(url, None, 60.0), request, pictures.folder))
        try:
            yield CapacityExperiment(samples, PictureSpool(pictures, MAX_EDGE).fill, load)
        finally:
            load.close()


def peer_rates(guidellm: str, url: str, samples: Sequence[Sample]) -> dict[int, float]:
    """Requests per second that guidellm reports at each level."""
    pictures = [prepare(sample.path, MAX_EDGE).base64.decode() for sample in samples]
    most = int(PEER_SECONDS * PLACES / ANSWER_S * 1.2)
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data.jsonl", Path(folder) / "out.json"
        with data.open("w") as file:
            for number in range(most):
                image = f"data:image/jpeg;base64,{pictures[number % len(pictures)]}"
                row = {"prompt": f"Describe {number}.", "image": {"type": "image_url", "image": image}}
                file.write(f"{json.dumps(row)}\n")
        command = [
            *(guidellm, "run", "--disable-console"),
            *("--backend", f"kind=openai_http,target={url.removesuffix('/v1')},model=served,stream=false"),
            *("--profile", "kind=concurrent,streams=1,warmup=0.15,cooldown=0.15"),
            *("--override", "profile.streams", ",".join(map(str, LEVELS))),
            *("--constraint", f"kind=max_duration,seconds={PEER_SECONDS}"),
            *("--data", f"kind=json_file,path={data}"),
            *("--output", f"kind=json,path={out}"),
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        document = json.loads(out.read_bytes())
    rates = [each["metrics"]["requests_per_second"]["successful"]["mean"] for each in document["benchmarks"]]
    return dict(zip(LEVELS, rates, strict=True))


def throughput(guidellm: str | None, samples: Sequence[Sample]) -> None:
    """Print images per second at fixed levels: ours, the peer's, and what the server can do."""
    with known_server(PLACES) as url:
        with experiment(url, samples) as measured:
            ours = {at_once: measured.measure(at_once) for at_once in LEVELS}
        peers = peer_rates(guidellm, url, samples) if guidellm else {}
    for at_once, level in ours.items():
        true = min(at_once, PLACES) / ANSWER_S / len(Stage)
        rate = level.images_per_s or 0.0
        line = f"{at_once} at once: {rate:.2f} images/s, {rate / true - 1:+.1%} of the {true:.2f} possible"
        if at_once in peers:
            peer = peers[at_once] / len(Stage)
            line += f"; guidellm {peer:.2f}, ours {rate / peer - 1:+.1%} (goal: within 10 %)"
        print(line, flush=True)


def knees(samples: Sequence[Sample]) -> None:
    """Print the knee of servers whose knee is known, one of them between two doublings."""
    for places in (PLACES, 12):
        with known_server(places) as url, experiment(url, samples) as measured:
            levels = list(LevelSearch(measured.measure).run())
        knee = knee_of(levels)
        tried = ", ".join(str(level.at_once) for level in levels)
        print(
            f"{places} places: knee at {knee.at_once if knee else '-'} at once (measured: {tried})",
            flush=True,
        )


def prediction(samples: Sequence[Sample]) -> None:
    """Print the seconds predicted and taken for 500 images, with answers of even and uneven length."""
    for uneven in (False, True):
        with known_server(PLACES, uneven=uneven) as url, experiment(url, samples) as measured:
            level = measured.measure(PLACES)
            taken = _seconds(measured, PREDICTED)
        predicted = PREDICTED / (level.images_per_s or 1.0)
        print(
            f"{PREDICTED} images, {'uneven' if uneven else 'even'} answers: predicted {predicted:.1f} s "
            f"(margin {_percent(level)}), took {taken:.1f} s, "
            f"{predicted / taken - 1:+.1%} (goal: within 15 %)",
            flush=True,
        )


def _seconds(measured: CapacityExperiment, count: int) -> float:
    ready = measured.prepare([measured.samples[number % len(measured.samples)] for number in range(count)])
    start = time.perf_counter()
    measured.load.run(ready, PLACES)
    return time.perf_counter() - start


def _percent(level: CapacityLevel) -> str:
    return "-" if level.margin is None else f"{level.margin:.1%}"


if __name__ == "__main__":
    images = find_samples([SAMPLES])
    throughput(sys.argv[1] if len(sys.argv) > 1 else None, images)
    knees(images)
    prediction(images)
