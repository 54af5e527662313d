"""What one picture costs in runs of 100, 1,000 and more: CPU by phase, and memory.

Run ``python -m benchmarks.linear [--whole] [--only NAME]`` on an otherwise idle machine. Real sessions of
pytest run against a server of another process that answers at once, with distinct pictures of a few pixels,
so that what is measured is the work around the requests. ``--whole`` adds 10,000 pictures, which takes half
an hour. The CPU is user and system time of pytest and its children, without that of the server.

The fixed cost of a run (imports, the vision proof) is that of a run with one picture: "net" is what each
further picture adds, of which the phases are parts, and "times" is that net cost over that of ``FEWEST``. The
memory is the largest of the process. "pytest" is a session of as many tests, parametrised likewise, that do
nothing and record nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from benchmarks.running_server import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

FEWEST: Final = 100
COUNTS: Final = (FEWEST, 1_000)
WHOLE: Final = (*COUNTS, 10_000)
EDGE: Final = 8
GOAL: Final = 1.2
ROUNDS: Final = 3
PHASES: Final = ("starting", "collecting", "running", "reporting")
HEAD: Final = (
    f"{'pictures':>8}{'CPU s':>8}"
    + "".join(f"{column:>12}" for column in ("ms each", "net ms", *PHASES))
    + f"{'times':>8}{'MiB':>7}{'KiB each':>10}"
)
BARE: Final = """
import pytest


@pytest.fixture(scope="session")
def picture(request):
    return request.param


def pytest_generate_tests(metafunc):
    names = [f"picture-{number:05}.png" for number in range(%d)]
    metafunc.parametrize("picture", names, ids=names, indirect=True, scope="session")


def test_caption(picture): pass
def test_keywords(picture): pass
def test_description(picture): pass
"""


@dataclass(frozen=True)
class Session:
    """What a session cost: seconds of CPU by phase and in all, and the largest memory in MiB."""

    phases: Mapping[str, float]
    cpu_s: float
    mib: float


def seeing_server() -> AbstractContextManager[str]:
    """A server in another process whose answers differ from picture to picture."""
    return running_server("benchmarks.instant_server", 0, "seeing")


def draw_pictures(folder: Path, count: int) -> Path:
    """A folder of so many distinct pictures."""
    folder.mkdir()
    chance = random.Random(count)
    for number in range(count):
        pixels = chance.randbytes(EDGE * EDGE * 3)
        Image.frombytes("RGB", (EDGE, EDGE), pixels).save(folder / f"picture-{number:05}.png")
    return folder


def session(folder: Path, arguments: Sequence[str]) -> Session:
    """Run pytest in a folder, and see what it cost.

    Raises:
        RuntimeError: it did not pass.
    """
    phases = folder / "phases.jsonl"
    phases.unlink(missing_ok=True)
    root = Path(__file__).parents[1]
    environment = os.environ | {"PHASES": str(phases), "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.phases", *arguments]
    with (folder / "pytest.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)  # of this process and what it waited for, not of others
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError((folder / "pytest.log").read_text(encoding="utf-8")[-3000:])
    notes = [json.loads(line) for line in phases.read_text(encoding="utf-8").splitlines()]
    known = {note["phase"]: note["cpu_s"] for note in notes}
    starts = dict(zip(known, [0.0, *known.values()], strict=False))
    return Session(
        {phase: known[phase] - starts[phase] for phase in known},
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
    )


def suite_runs(url: str, folder: Path, *options: str) -> Callable[[int], Session]:
    """A function that runs the suite with so many pictures, recorded and with a page."""

    def run(count: int) -> Session:
        place = folder / str(count)
        if not place.exists():
            place.mkdir()
            (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
            draw_pictures(place / "pictures", count)
        pictures = str(place / "pictures")
        recorded = [f"--setup-base-url={url}", "--setup-images", pictures, "--record"]
        return session(place, [*recorded, "--setup-report", "page.html", *options])

    return run


def bare_runs(folder: Path, *options: str) -> Callable[[int], Session]:
    """A function that runs so many tests that do nothing."""

    def run(count: int) -> Session:
        place = folder / f"bare-{count}"
        place.mkdir(exist_ok=True)
        (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (place / "test_bare.py").write_text(BARE % count, encoding="utf-8")
        return session(place, ["-p", "no:setups", *options])

    return run


def measure(count: int, run: Callable[[int], Session]) -> Session:
    """The cheapest of some runs: of a short one, noise is a large part."""
    return min((run(count) for _ in range(ROUNDS if count <= FEWEST else 1)), key=lambda cost: cost.cpu_s)


def report(name: str, counts: Sequence[int], run: Callable[[int], Session]) -> float:
    """Print what a picture costs in runs of these sizes; returned is the most over that of the fewest."""
    fixed = measure(1, run)
    print(f"\n{name}: {fixed.cpu_s:.2f} s of CPU and {fixed.mib:.0f} MiB with one picture")
    print(HEAD)
    each: dict[int, float] = {}
    for count in counts:
        cost, more = measure(count, run), count - 1
        each[count] = (cost.cpu_s - fixed.cpu_s) / more
        memory = (cost.mib - fixed.mib) * 1024 / more
        phases = [1000 * (cost.phases.get(phase, 0) - fixed.phases.get(phase, 0)) / more for phase in PHASES]
        figures = [1000 * cost.cpu_s / count, 1000 * each[count], *phases]
        shown = "".join(f"{figure:>12.2f}" for figure in figures)
        times = each[count] / each[counts[0]]
        print(f"{count:>8}{cost.cpu_s:>8.1f}{shown}{times:>8.2f}{cost.mib:>7.0f}{memory:>10.1f}", flush=True)
    return max(each.values()) / each[counts[0]]


def main() -> int:
    """Measure and print; returns 1 when the goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--whole", action="store_true", help="10,000 pictures as well")
    parser.add_argument("--counts", type=int, nargs="+", help="other numbers of pictures")
    parser.add_argument("--only", nargs="*", help="names of what is measured")
    arguments = parser.parse_args()
    counts = arguments.counts or (WHOLE if arguments.whole else COUNTS)
    with tempfile.TemporaryDirectory() as name, seeing_server() as url:
        folder = Path(name)
        runs = {
            "pytest": bare_runs(folder),
            "run": suite_runs(url, folder),
            "baseline": suite_runs(url, folder, "--setup-baseline=latest"),
            "concurrency": suite_runs(url, folder, "--setup-concurrency=8"),
            "xdist": suite_runs(url, folder, "-n2"),
        }
        wanted = arguments.only or list(runs)
        times = {case: report(case, counts, run) for case, run in runs.items() if case in wanted}
    missed = ", ".join(case for case, value in times.items() if value > GOAL)
    verdict = f"missed by {missed}" if missed else "met"
    print(f"\nnet CPU of a picture within {GOAL} times that of {counts[0]} pictures: {verdict}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
