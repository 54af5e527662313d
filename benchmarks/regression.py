"""How often the regression gate is wrong, with the noise of the real llama.cpp server.

Run ``python -m benchmarks.regression [FILE]`` on an otherwise idle machine. Runs against the demo's server,
each with a new server process, are measured one after the other; they are kept in FILE, and read from it
where it exists. Then pairs of runs are compared: as they are, which must not raise an alarm, and with the
later run 20 % slower, which must raise one. The column "plain" is for a comparison of the two figures with
the same bound, without regard to noise.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups import demo
from pytest_setups.api.client import Client
from pytest_setups.checks.output_checks import check_outcome
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.measurement import Measurement
from pytest_setups.regression.bounds import parse_bound
from pytest_setups.regression.comparison import judge
from pytest_setups.regression.figures import FIGURES
from pytest_setups.regression.findings import Finding
from pytest_setups.run.evidence import measurement_of
from pytest_setups.serving.processes.server_process import free_port
from pytest_setups.serving.server import wait_until_ready
from pytest_setups.tagging.images import Sample, find_samples, prepare
from pytest_setups.tagging.outcome_sources import SequentialOutcomes
from pytest_setups.tagging.prompts import load_prompts
from pytest_setups.tagging.request import Request, readiness_request
from pytest_setups.tagging.served_tagger import ServedTagger

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS: Final = 16
SAMPLES: Final = 30
PAIRS: Final = 200
SLOWER: Final = 1.2
BOUNDS: Final = ("min:5%", "min:10%", "mean:10%", "p50:10%")
TAKEN: Final = (1, 5, 12, 30)
READY_S: Final = 60.0
Run = list[Measurement]


def measured_run() -> Run:
    """The measurements of one run against a new server, ``SAMPLES`` of each image and stage."""
    port = free_port()
    with subprocess.Popen(
        demo.command(port, None), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        client = Client(base_url=f"http://127.0.0.1:{port}/v1", api_key=None, timeout_s=READY_S)
        try:
            wait_until_ready(client, readiness_request, READY_S)
            parameters = {"max_tokens": 256, "temperature": 0.2, "top_p": 0.9}
            request = Request(
                dict.fromkeys(Stage, demo.SERVED_MODEL_NAME), load_prompts("default"), parameters
            )
            source = SequentialOutcomes(
                ServedTagger(client, request, lambda sample: prepare(sample.path, 1024))
            )
            images = find_samples([demo.sample_images()])
            return [
                measurement_of(check_outcome(source.take(Sample(image.name, image.path, nth), stage)))
                for nth in range(1, SAMPLES + 1)
                for image in images
                for stage in Stage
            ]
        finally:
            client.close()
            process.terminate()


def measured_runs(file: Path | None) -> list[Run]:
    """The runs: read from the file if it exists, otherwise measured now and written to it."""
    if file is not None and file.exists():
        return [[Measurement.model_validate(line) for line in run] for run in json.loads(file.read_bytes())]
    runs = [measured_run() for _ in range(RUNS)]
    if file is not None:
        file.write_text(json.dumps([[measured.model_dump(mode="json") for measured in run] for run in runs]))
    return runs


def slower(run: Run) -> Run:
    """The run as it would have been with every answer slower by the same factor."""
    return [
        measured.model_copy(update={"latency_s": (measured.latency_s or 0.0) * SLOWER}) for measured in run
    ]


def alarms(before: Run, after: Run, text: str) -> tuple[bool, bool]:
    """Whether any stage breaks the bound: as the gate judges, and in a plain comparison of figures."""
    bound = parse_bound(text)
    gate = plain = False
    for name in bound.names:
        if not name.startswith(tuple(Stage)):
            continue
        figure = FIGURES[name]
        pairs = figure.pairs(before, after)
        values = list(pairs.values())
        exceeds = figure.after(values) > bound.limit(figure.before(values))
        plain = plain or exceeds
        gate = gate or (exceeds and judge(figure, pairs, bound) is Finding.BREACH)
    return gate, plain


def rates(pairs: Sequence[tuple[Run, Run]], text: str) -> list[float]:
    """The shares of pairs with an alarm: gate and plain comparison, first unchanged, then slower."""
    unchanged = [alarms(before, after, text) for before, after in pairs]
    changed = [alarms(before, slower(after), text) for before, after in pairs]
    return [
        sum(alarm[judge_number] for alarm in alarms_of_pairs) / len(pairs)
        for alarms_of_pairs in (unchanged, changed)
        for judge_number in (0, 1)
    ]


def main() -> None:
    """Print the rates of false alarms and of detected slowdowns."""
    runs = measured_runs(Path(sys.argv[1]) if sys.argv[1:] else None)
    chosen = list(itertools.permutations(runs, 2))
    random.Random(1).shuffle(chosen)
    print(f"{len(runs)} runs, {min(PAIRS, len(chosen))} pairs of them; a run alarms when any stage does")
    print(f"{'bound':<10}{'samples':>8}{'false alarms':>14}{'plain':>8}{'detected':>12}{'plain':>8}")
    for samples, text in itertools.product(TAKEN, BOUNDS):
        pairs = [
            tuple([measured for measured in run if measured.sample <= samples] for run in pair)
            for pair in chosen[:PAIRS]
        ]
        shares = rates([(before, after) for before, after in pairs], text)
        cells = "".join(f"{rate:>{width}.1%}" for rate, width in zip(shares, (14, 8, 12, 8), strict=True))
        print(f"{text:<10}{samples:>8}{cells}", flush=True)


if __name__ == "__main__":
    main()
