"""A run's cost grows with its pictures: work is counted in calls of functions, not in seconds."""

from __future__ import annotations

import cProfile
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from pytest_setups.checks.expectations_file import find_expectations
from pytest_setups.plugin.xdist import ImageScheduling
from pytest_setups.registry.entry import Entry
from pytest_setups.registry.measurement import Measurement
from pytest_setups.regression.bounds import parse_bound
from pytest_setups.regression.comparison import compare
from pytest_setups.report.html import render_report
from pytest_setups.report.pages import ReportData, Thumbnails
from pytest_setups.tagging.images import Sample
from tests.recorders import STAGES, setup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import Run

ALLOWED = 1.05
"""How much more a picture may cost in a run of twice as many."""


def growth(count: int, calls: Callable[[int], int]) -> float:
    """What one of the third and fourth ``count`` pictures costs, over one of the second."""
    few, more, most = (calls(times * count) for times in (1, 2, 4))
    return (most - more) / (more - few) / 2


def calls_in(work: Callable[[], object]) -> int:
    """How many calls of functions this thread makes, those of Python and those of C."""
    profile = cProfile.Profile()
    with profile:
        work()
    return sum(entry.callcount for entry in profile.getstats())


def draw_pictures(folder: Path, count: int) -> Path:
    chance = random.Random(count)
    for number in range(count):
        Image.frombytes("RGB", (8, 8), chance.randbytes(192)).save(folder / f"{number:03}.png")
    return folder


def test_a_run_costs_as_much_as_it_has_pictures(project: pytest.Pytester, run: Run) -> None:
    """Collected, run, recorded, and shown on a page."""

    def calls(count: int) -> int:
        folder = draw_pictures(project.mkdir(f"pictures{count}"), count)
        options = ["--setup-images", folder, "--record", "--setup-report", f"{count}.html"]
        return calls_in(lambda: run(*options).assert_outcomes(passed=3 * count + 2))

    assert growth(6, calls) < ALLOWED


def test_a_comparison_costs_as_much_as_it_has_pictures() -> None:
    """Every second picture got other words."""
    bounds = [
        parse_bound(text) for text in ("p50:10%", "keywords_overlap:0.6", "caption_similarity.each:0.3")
    ]

    def calls(count: int) -> int:
        before, after = (
            [measured(n, stage, run) for n in range(count) for stage in STAGES] for run in (0, 1)
        )
        return calls_in(lambda: compare(before, after, bounds))

    assert growth(20, calls) < ALLOWED


@pytest.mark.parametrize("where", ["", "pictures/"], ids=["by name", "by path"])
def test_expectations_cost_as_much_as_they_have_pictures(tmp_path: Path, where: str) -> None:
    """Each picture is named itself, and has a table."""

    def calls(count: int) -> int:
        folder = tmp_path / str(count) / "pictures"
        folder.mkdir(parents=True)
        paths = [folder / f"{number}.jpg" for number in range(count)]
        file = folder.parent / "expectations.toml"
        file.write_text("".join(f'["{where}{path.name}"]\nmust = ["boat"]\n' for path in paths))
        samples = [Sample(path.name, path) for path in paths]
        return calls_in(lambda: find_expectations(samples, paths, file)) + calls_in(
            lambda: find_expectations(samples, paths, None)
        )

    assert growth(20, calls) < ALLOWED


def test_a_page_is_made_while_it_is_written(tmp_path: Path) -> None:
    """Its pictures are read when they are shown: no page holds all of them."""
    (folder := tmp_path / "pictures").mkdir()
    pictures = {path.name: path for path in draw_pictures(folder, 100).iterdir()}
    answers = [
        measured(n, stage, 0).model_copy(update={"image": name})
        for n, name in enumerate(pictures)
        for stage in STAGES
    ]
    data = ReportData(
        "success", "", Entry.from_document(setup()), measurements=answers, thumbnails=Thumbnails(pictures)
    )
    parts = render_report(data)
    beginning = next(parts)
    for path in pictures.values():
        path.unlink()
    assert (beginning + "".join(parts)).count("no picture available") > 80


def measured(number: int, stage: str, run: int) -> Measurement:
    words = tuple(f"{word}{number}" for word in ("boat", "river", "hills" if run * number % 2 else "moon"))
    return Measurement(
        image=f"{number}.jpg",
        stage=stage,
        passed=True,
        text=" ".join(words),
        keywords=words if stage == "keywords" else None,
        latency_s=1 + number % 7 / 10 + run / 20,
        output_tokens=12,
    )


@dataclass(eq=False)
class Node:
    """A worker of xdist, as its scheduler sees it."""

    collection: Sequence[str]
    gateway: SimpleNamespace
    assigned: list[int] = field(default_factory=list)
    shutting_down: bool = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.assigned += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Nodeid(str):
    """A node id whose comparisons are counted as calls."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)


def test_workers_are_given_images_at_a_cost_that_is_the_same_for_each(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfig("--tx=2*popen")

    def calls(images: int) -> int:
        collection = [Nodeid(f"setup::test_{stage}[{n}.jpg]") for n in range(images) for stage in STAGES]
        scheduling = ImageScheduling(config)
        nodes = [Node(collection, SimpleNamespace(id=name)) for name in ("gw0", "gw1")]
        return calls_in(lambda: schedule_all(scheduling, nodes))

    assert growth(50, calls) < ALLOWED


def schedule_all(scheduling: ImageScheduling, nodes: Sequence[Node]) -> None:
    """Let two workers run everything, in turn."""
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, node.collection)
    scheduling.schedule()
    done = dict.fromkeys(nodes, 0)
    while not all(done[node] == len(node.assigned) for node in nodes):
        for node in nodes:
            for index in node.assigned[done[node] :]:
                done[node] += 1
                scheduling.mark_test_complete(node, index)
        assert scheduling.has_pending or scheduling.tests_finished
    assert sorted(nodes[0].assigned + nodes[1].assigned) == list(range(len(nodes[0].collection)))
