"""A server that dies or hangs: its fault is shown once, the run ends soon, and every test is counted."""

from __future__ import annotations

import shlex
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import count

import pytest

from pytest_setups.serving.processes.server_process import free_port
from tests.conftest import Run, draw, no_traceback_of_ours, only_entry
from tests.servers import standalone
from tests.servers.scripted import Answer, Ask, Scripted, as_json, seeing

DEADLINE_S = 0.4
DEADLINE = f"--setup-timeout={DEADLINE_S}"
FIRST_MEASURED = 18
"""Requests before the measured ones: the warm-up and those of the vision proof."""
MAX_LINES = 40


@pytest.fixture
def pictures(project: pytest.Pytester) -> Callable[[int], None]:
    """Makes the sample images of the project so many."""

    def make(number_of_images: int) -> None:
        for number in range(number_of_images - 3):
            draw(project.path / f"sample_images/{number:02}.png", f"hsl({number * 6}, 80%, 50%)")

    return make


@pytest.mark.parametrize(
    ("images", "how"),
    [
        (22, ()),
        (22, ("--setup-concurrency=8", "--reruns=1", "-q", "--tb=short")),
        (16, ("--reruns=2", "-rA")),
        (16, ("-n2",)),
    ],
    ids=["one at a time", "8 at once", "reruns", "workers"],
)
def test_a_server_that_hangs_costs_less_than_five_deadlines_and_fills_one_screen(
    images: int, how: tuple[str, ...], run: Run, server: Scripted, pictures: Callable[[int], None]
) -> None:
    pictures(images)
    hanging_since: list[float] = []

    def chat(ask: Ask) -> Answer:
        if ask.number > FIRST_MEASURED + 9:
            hanging_since.append(time.perf_counter())
            server.hang()
        return seeing(ask)

    server.chat = chat
    result = run(DEADLINE, *how)

    # The last one is given up one deadline later at most.
    assert max(hanging_since) - min(hanging_since) < 4 * DEADLINE_S
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] + outcomes["failed"] == 2 + 3 * images
    result.stdout.fnmatch_lines(["* more tests failed because of this: the server stopped answering: *"])
    shown = [line for line in result.outlines if not line.startswith("PASSED")]  # -rA asks for those
    assert len(shown) <= MAX_LINES
    assert sum(line.startswith("FAILED") for line in shown) == 1
    no_traceback_of_ours(result)


def test_a_server_that_was_never_there_fills_one_screen(
    project: pytest.Pytester, pictures: Callable[[int], None]
) -> None:
    pictures(22)
    url = f"http://127.0.0.1:{free_port()}/v1"
    result = project.runpytest("--setup-base-url", url, "--record")

    result.assert_outcomes(failed=68)
    assert len(result.outlines) <= MAX_LINES
    result.stdout.fnmatch_lines(
        ["*= FAILURES =*", f"cannot connect to {url}/models: *refused*", "*= setup =*",
         "67 more tests failed because of this: cannot connect to * (test_vision, *, and 64 more)",
         "*= short test summary info =*", "FAILED setup::test_models - *", "*= 68 failed in *"]
    )  # fmt: skip


@pytest.mark.parametrize("ends", ["--die", "--exit-after 27"], ids=["at its start", "in between"])
def test_a_launched_server_that_ends_shows_the_end_of_its_log_once(
    ends: str, project: pytest.Pytester, pictures: Callable[[int], None]
) -> None:
    pictures(22)
    program = shlex.join([sys.executable, str(standalone.__file__)])
    command = f"{program} serve org/m --port {free_port()} {ends}"
    result = project.runpytest("--setup-launch", command, "--record-failed", "--junitxml=junit.xml")

    assert result.parseoutcomes()["failed"] >= 58
    result.stdout.fnmatch_lines(["*the server exited (*); its log * ends with:*", "loading the weights"])
    assert sum("CUDA" in line for line in result.outlines) == 1
    assert len(result.outlines) <= MAX_LINES
    text = (project.path / "junit.xml").read_text("utf-8")
    assert text.count("CUDA") <= 2  # in the first failure: as its message, and as its text
    assert "CUDA" not in ET.fromstring(text).findall("*//failure")[-1].attrib["message"]  # noqa: S314


def test_every_test_has_its_reason_in_junit_xml(
    run: Run, project: pytest.Pytester, server: Scripted, pictures: Callable[[int], None]
) -> None:
    pictures(22)
    server.stop_answering(from_request=FIRST_MEASURED + 9)
    run(DEADLINE, "--junitxml=junit.xml")

    (suite,) = ET.parse(project.path / "junit.xml").getroot()  # noqa: S314  # pytest wrote it
    failures = suite.findall("testcase/failure")
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("68", str(len(failures)))
    first, *others = [failure.attrib["message"] for failure in failures]
    assert first.endswith("within 0.4 s")
    assert all("within 0.4 s" in message and "\n" not in message for message in others)
    assert others[-1].startswith("the server stopped answering: ")


@pytest.mark.parametrize("experiment", ["--setup-capacity=2", "--setup-soak=20images"])
def test_a_server_that_was_given_up_is_not_loaded(experiment: str, run: Run, server: Scripted) -> None:
    server.stop_answering(from_request=FIRST_MEASURED)
    result = run(DEADLINE, experiment)

    result.assert_outcomes(passed=2, failed=10)
    assert len(server.asks) == FIRST_MEASURED + 4
    assert sum(line.startswith("FAILED") for line in result.outlines) == 1


def test_a_server_that_hangs_in_the_vision_proof_is_given_up_once(run: Run, server: Scripted) -> None:
    server.stop_answering(from_request=5)
    result = run(DEADLINE, "--reruns=2", "--setup-concurrency=2")

    result.stdout.fnmatch_lines(["*= 10 failed, 1 passed, 20 rerun in *"])
    assert len(server.asks) == 5 + 4


def test_x_stops_at_the_fault(run: Run, server: Scripted) -> None:
    server.stop_answering(from_request=FIRST_MEASURED + 3)
    result = run(DEADLINE, "-x")

    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        ["server: no complete answer from */chat/completions*", "*stopping after 1 failures*"]
    )
    result.stdout.no_fnmatch_line("*because of this*")


def test_a_fault_that_passes_is_not_counted(run: Run, server: Scripted) -> None:
    faults = iter([as_json({"error": "out of memory"}, 500)] * 2)

    def chat(ask: Ask) -> Answer:
        return (ask.stage == "keywords" and next(faults, None)) or seeing(ask)

    server.chat = chat
    result = run("--reruns=2")

    result.stdout.fnmatch_lines(["*= 11 passed, 2 rerun in *"])
    result.stdout.no_fnmatch_line("*because of this*")


def test_two_faults_are_shown_and_failures_of_answers_all_are(run: Run, server: Scripted) -> None:
    def chat(ask: Ask) -> Answer:
        if ask.stage == "keywords":
            return as_json({"error": {"message": f"request {ask.number}f0-7 has too many tokens"}}, 400)
        if ask.number > 1 and ask.stage == "caption":
            return as_json({"error": {"message": "out of memory"}}, 500)
        return seeing(ask)

    server.chat = chat
    result = run("-k", "caption or keywords")

    result.assert_outcomes(passed=1, failed=5, deselected=5)
    shown = [line.split(" - ")[0] for line in result.outlines if line.startswith("FAILED")]
    assert shown == ["FAILED setup::test_keywords[boats.jpg]", "FAILED setup::test_caption[cat.jpg]"]
    result.stdout.fnmatch_lines([
        "2 more tests failed because of this: HTTP 400 from * (test_keywords[[]cat.jpg], test_keywords*)",
        "1 more test failed because of this: HTTP 500 from *: out of memory (test_caption[[]rocket.jpg])",
    ])  # fmt: skip


def test_tests_of_the_user_are_counted_too(project: pytest.Pytester, pictures: Callable[[int], None]) -> None:
    pictures(22)
    project.makepyfile("def test_words(tagging): assert tagging.caption")
    url = f"http://127.0.0.1:{free_port()}/v1"
    result = project.runpytest("--setup-base-url", url, "test_tests_of_the_user_are_counted_too.py")

    result.assert_outcomes(errors=22)
    assert len(result.outlines) <= MAX_LINES
    result.stdout.fnmatch_lines(["21 more tests failed because of this: cannot connect to *"])


@pytest.mark.parametrize("how", [(), ("--reruns=1",)], ids=["once", "reruns"])
def test_the_first_fault_in_time_is_the_reason_that_is_recorded(
    how: tuple[str, ...], run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    project.makeconftest("def pytest_collection_modifyitems(items): items[2:] = items[-3:] + items[2:-3]")
    numbers = count(1)

    def chat(ask: Ask) -> Answer:
        if ask.number >= FIRST_MEASURED and ask.stage == "keywords":
            return as_json({"error": {"message": f"fault {next(numbers)}"}}, 500)
        return seeing(ask)

    server.chat = chat
    run("--record-failed", *how)

    reason = only_entry(project.path)["verification"]["failure_reason"]
    assert reason.startswith(
        "6 of 9 answers are not populated; keywords of rocket.jpg: server: HTTP 500 from "
    )
    assert reason.endswith(": fault 1")
