"""Concurrent requests: the same results, as many as wanted, and ended when the run ends."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import psutil
import pytest

from pytest_setups.tagging.images import prepare
from tests.conftest import Run, draw, entries
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing
from tests.sessions import interrupted, start

FIRST_MEASURED = 18
"""Requests before the measured ones: the warm-up and those of the vision proof."""
MEASURED = ("started_utc", "latency_s", "ttft_s", "client_delay_s")


def content(project: pytest.Pytester, slug: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What an entry and its results contain, without what differs between any two runs."""
    entry = entries(project.path)[slug]
    lines = [
        json.loads(line)
        for line in (project.path / f"registry/results/{slug}.jsonl").read_text().splitlines()
    ]
    for key in ("command", "concurrency"):
        entry["tagger"].pop(key)
    entry["verification"].pop("date_utc")
    entry["verification"].pop("results")
    entry["verification"]["vision"].pop("experiments")  # other pictures in each run
    entry.pop("performance")
    return entry, [{key: value for key, value in line.items() if key not in MEASURED} for line in lines]


def many_images(project: pytest.Pytester, count: int) -> None:
    for number in range(count):
        draw(project.path / f"sample_images/{number:03}.png", f"hsl({number * 9}, 80%, 50%)")


@pytest.mark.parametrize("how", [["--setup-concurrency=4"], ["-n", "2"], ["-n", "3", "--dist=worksteal"]])
def test_the_content_is_the_same_as_one_at_a_time(how: list[str], run: Run, project: pytest.Pytester) -> None:
    many_images(project, 9)
    run("--record", "--setup-slug=sequential").assert_outcomes(passed=38)
    result = run("--record", "--setup-slug=concurrent", *how)
    result.assert_outcomes(passed=38)
    assert content(project, "concurrent") == content(project, "sequential")


def test_as_many_requests_are_concurrent_as_wanted_and_no_more(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    many_images(project, 9)
    barrier = threading.Barrier(4)

    def wait_for_four(ask: Ask) -> Reply:
        if ask.stage == "caption" and FIRST_MEASURED <= ask.number < FIRST_MEASURED + 4:
            barrier.wait(20)
        return seeing(ask)

    server.chat = wait_for_four
    run("--setup-concurrency=4", "--record").assert_outcomes(passed=38)
    assert server.most_at_once == 4
    assert entries(project.path)["served_vllm"]["performance"]["concurrency"] == 4


def test_no_more_images_are_begun_than_wanted(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    many_images(project, 12)
    begun: list[bytes] = []
    finished: set[bytes] = set()
    most = 0
    lock = threading.Lock()

    def count(ask: Ask) -> Reply:
        nonlocal most
        with lock:
            if ask.body["temperature"] and ask.number and ask.picture:
                if ask.picture not in begun:
                    begun.append(ask.picture)
                most = max(most, len(begun) - len(finished))
                if ask.stage == "description":
                    finished.add(ask.picture)
        return seeing(ask)

    server.chat = count
    run("--setup-concurrency=3").assert_outcomes(passed=47)
    assert len(begun) == 15
    assert most <= 3


def test_a_slow_image_does_not_hold_up_the_others(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    """The first image is answered last; the tests of the others wait for it, their requests do not."""
    many_images(project, 9)
    first = base64.b64decode(prepare(project.path / "sample_images/000.png", 1024).base64)
    others: set[bytes] = set()
    all_others = threading.Event()

    def delay_the_first(ask: Ask) -> Reply:
        if ask.number < FIRST_MEASURED or ask.picture is None:
            return seeing(ask)
        if ask.picture == first:
            assert all_others.wait(60)
        elif ask.stage == "description":
            others.add(ask.picture)
            if len(others) == 11:
                all_others.set()
        return seeing(ask)

    server.chat = delay_the_first
    run("--setup-concurrency=2").assert_outcomes(passed=38)


def test_a_client_that_is_killed_fails_what_it_has_not_asked(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    def kill_the_client(ask: Ask) -> Reply:
        if ask.number == FIRST_MEASURED + 4:
            for child in psutil.Process().children(recursive=True):
                if "pytest_setups.tagging.asking_process" in child.cmdline():
                    child.kill()
            server.hang()
        return seeing(ask)

    server.chat = kill_the_client
    result = run("--setup-concurrency=2", "--record")
    result.stdout.fnmatch_lines(
        ["*client: the process that sends the requests ended unexpectedly: killed by SIGKILL*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    assert entries(project.path) == {}


def test_a_module_of_a_test_folder_does_not_hide_one_of_the_standard_library(
    project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pytest puts folders of tests first in sys.path, which is harmless where the real one was imported."""
    folder = project.path / "helpers"
    folder.mkdir()
    (folder / "http.py").write_text("MINE = True\n")
    project.makepyfile(
        late=f"import sys\ndef pytest_collection_finish(): sys.path.insert(0, {str(folder)!r})"
    )
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    output, _ = start(project.path, server, "-p", "late", "--setup-concurrency=2", "--record").communicate()
    assert "recorded: registry/entries/served_vllm.json" in output, output


def test_what_an_interpreter_prints_at_its_start_does_not_confuse_the_client(
    project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.path / "sitecustomize.py").write_text("print('hello from the administrator')\n")
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    output, _ = start(project.path, server, "--setup-concurrency=2", "--record").communicate()
    assert "recorded: registry/entries/served_vllm.json" in output, output


def test_a_client_that_runs_late_marks_its_times_and_no_bound_on_them_is_judged(
    run: Run,
) -> None:
    """Every thread of this process, which also asks at concurrency 1, is delayed by one that never pauses."""
    run("--record", "--setup-slug=calm").assert_outcomes(passed=11)
    ended = threading.Event()

    def never_pause() -> None:
        while not ended.is_set():
            sum(range(1000))

    rivals = [threading.Thread(target=never_pause) for _ in range(2)]
    for rival in rivals:
        rival.start()
    try:
        bounds = (
            "--setup-baseline-allow=environment",
            "--setup-fail-if=p50:1000%",
            "--setup-fail-if=keywords_overlap:0.5",
        )
        result = run("--setup-baseline=calm", "--record", "--setup-slug=late", *bounds)
    finally:
        ended.set()
    assert result.ret != 0
    result.stdout.fnmatch_lines(["times are not compared: performance.client_delay (*"])
    result.stdout.fnmatch_lines(["the client was the limit: it ran * ms late on average, *% of *; *"])
    result.stdout.fnmatch_lines(["failed: not comparable with calm: caption.p50, *"])


def test_each_picture_is_prepared_and_sent_once_for_each_stage(run: Run, server: Scripted) -> None:
    run("--setup-concurrency=2", "--setup-warmup=0", "-k", "not vision")
    assert (
        sorted(ask.stage for ask in server.asks) == ["caption"] * 3 + ["description"] * 3 + ["keywords"] * 3
    )


def test_two_kinds_of_concurrency_are_refused(run: Run) -> None:
    result = run("--setup-concurrency=4", "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --setup-concurrency 4 and -n 2 both send concurrent requests: *"])


def test_each_worker_measuring_everything_is_refused(run: Run) -> None:
    result = run("-n", "2", "--dist=each")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --dist each runs every test in every worker: *"])


def test_x_ends_the_requests(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    many_images(project, 30)

    first = base64.b64decode(prepare(project.path / "sample_images/000.png", 1024).base64)

    def fail_the_first(ask: Ask) -> Reply:
        if ask.number < FIRST_MEASURED:
            return seeing(ask)
        if ask.picture != first:
            server.hang()
        return completion("!!!!!!!!")

    server.chat = fail_the_first
    result = run("--setup-concurrency=4", "-x", "-k", "models or vision or caption")
    result.stdout.fnmatch_lines(["*1 failed*"])
    assert len(server.asks) <= FIRST_MEASURED + 5


def test_a_rerun_asks_again(run: Run, server: Scripted) -> None:
    broken = threading.Event()

    def flaky(ask: Ask) -> Reply:
        if ask.stage == "keywords" and not broken.is_set():
            broken.set()
            return completion("")
        return seeing(ask)

    server.chat = flaky
    run("--setup-concurrency=3", "--reruns=1").stdout.fnmatch_lines(["*11 passed, 1 rerun*"])


@pytest.mark.parametrize("hanging_from", [6, 12, FIRST_MEASURED + 3], ids=["first", "second", "measured"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_ctrl_c_ends_without_waiting_for_answers(
    concurrency: int, hanging_from: int, project: pytest.Pytester, server: Scripted
) -> None:
    """In either round of the vision proof, and in what is measured."""

    def hang_later(ask: Ask) -> Reply:
        if ask.number >= hanging_from:
            hanging.set()
            server.hang()
        return seeing(ask)

    hanging = threading.Event()
    server.chat = hang_later
    process = start(
        project.path, server, "--record", "--setup-timeout=3600", f"--setup-concurrency={concurrency}"
    )
    output = interrupted(process, hanging)
    assert "pytest_setups/" not in output.split("KeyboardInterrupt")[0].split("setup .")[0]
    assert entries(project.path) == {}


def test_a_crashed_worker_records_nothing(
    project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(
        crashing="""
        import os
        def pytest_runtest_call(item):
            if item.nodeid == "setup::test_keywords[cat.jpg]":
                os._exit(3)
        """
    )
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    output, _ = start(project.path, server, "-n", "2", "-p", "crashing", "--record-failed").communicate()
    assert "not recorded: 1 of 9 measurements are missing" in output, output
    assert "pytest_setups/" not in output
    assert entries(project.path) == {}
