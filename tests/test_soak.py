"""The soak: pictures are tagged in turn for long, and a server that leaks, slows down or sickens fails."""

from __future__ import annotations

import math
import os
import random
import re
import shlex
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_setups.config.soak_length import SoakLength
from pytest_setups.load.host_caches import GIB, host_cache
from pytest_setups.load.trend import HeldMemory, ImageLatency, latency_trend, memory_trend
from pytest_setups.registry.load_records import SoakLatencyRecord, SoakMemoryRecord, SoakRecord
from pytest_setups.report import soak_text
from pytest_setups.serving.processes.server_process import free_port
from tests.conftest import Run, entries, no_traceback_of_ours, only_entry
from tests.servers import standalone
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing
from tests.sessions import interrupted, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

MIB = 1024**2


@pytest.fixture
def launch(
    project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """``pytest --setup-launch <the standalone server with these habits> ...``."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run_pytest(habits: str, *arguments: str) -> pytest.RunResult:
        program = shlex.join([sys.executable, str(standalone.__file__)])
        command = f"{program} serve org/m --port {free_port()} {habits}"
        return project.runpytest("-p", "no:cacheprovider", "--setup-launch", command, *arguments)

    return run_pytest


def test_a_leak_is_proved_and_fails_the_run(
    launch: Callable[..., pytest.RunResult], project: pytest.Pytester
) -> None:
    result = launch(
        "--owned-by acme --leak-mib 1",
        "--setup-soak=60images", "--record-failed", "--setup-report=r.html", "--junitxml=j.xml",
    )  # fmt: skip

    result.assert_outcomes(passed=11, failed=1)
    slope = r"(?:0\.9|1\.0)\d MiB an image \(99 % interval 0\.\d\d to 1\.\d\d\)"
    sentence = rf"memory rises by {slope}: 60 images took [67]\d MiB"
    result.stdout.re_match_lines([
        f".*{sentence}",
        r"soak: 60 images in \d+ s, 0 failed; the first 15 are left out of the slopes",
        r"soak: memory \d+ MiB to \d+ MiB, \+(?:0\.9|1\.0)\d MiB an image \(99 % interval .*\)",
        r"soak: latency 0\.\d{3} s to 0\.\d{3} s, [+-]\d.* % an image \(99 % interval .*\)",
    ])  # fmt: skip
    entry = only_entry(project.path)
    assert re.search(sentence, entry["verification"]["failure_reason"])
    soak = entry["performance"]["soak"]
    assert soak["memory"]["is_leak"]
    assert 0.7 < soak["memory"]["low"] < soak["memory"]["mib_per_image"] < soak["memory"]["high"] < 1.3
    assert soak["series"]["image"] == list(range(1, 61))
    assert soak["series"]["memory_mib"][-1] - soak["series"]["memory_mib"][0] == pytest.approx(59, abs=5)
    assert 'name="setup.soak.memory_mib_per_image" value="' in (project.path / "j.xml").read_text()
    page = (project.path / "r.html").read_text()
    assert re.search(rf'<p class="reason">the server&#39;s {sentence}', page)
    assert re.search(r'aria-label="Memory of the server above \d+ MiB, over the number of images"', page)
    no_traceback_of_ours(result)


def test_a_rise_that_a_known_cache_may_be_is_named_and_fails_nothing(
    launch: Callable[..., pytest.RunResult],
) -> None:
    result = launch("--leak-mib 1", "--setup-soak=40images", "-k", "test_soak")

    # Of the memory only: on a machine that is busy with other tests, a server may become slower.
    result.stdout.no_fnmatch_line("*the server's memory rises*")
    assert re.search(
        r"soak: memory .* \+1\.0\d MiB an image \(.*\); this may be vLLM's cache of prepared pictures, "
        r"which may take 8192 MiB: start the server with --mm-processor-cache-gb 0 for a soak, or soak until",
        result.stdout.str(),
    )


def test_a_server_that_becomes_slower_fails(launch: Callable[..., pytest.RunResult]) -> None:
    result = launch("--owned-by acme --slow 0.003 --slower 0.1", "--setup-soak=40images", "-k", "test_soak")

    result.assert_outcomes(failed=1, deselected=11)
    assert re.search(
        r"the server becomes slower by \d.* % an image \(99 % interval .*\): "
        r"one took 0\.\d{3} s at first and 0\.\d{3} s in the end",
        result.stdout.str(),
    )


def test_a_soak_in_good_order_is_recorded(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    result = run("--setup-soak=12images", "--record")

    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines([
        "soak: 12 images in * s, 0 failed",
        "soak: memory not measured: the server runs inside the process of the tests",
        "soak: latency * s to * s; no slope: a slope needs 40 images, and there are 12",
    ])  # fmt: skip
    soak = only_entry(project.path)["performance"]["soak"]
    assert soak["images"] == 12
    assert soak["failed_images"] == 0
    assert soak.get("memory") is None
    assert soak["memory_reason"] == "the server runs inside the process of the tests"
    asked = [ask.picture for ask in server.asks if ask.stage == "keywords" and ask.picture]
    assert len(set(asked)) == 3 + 12  # every time another picture


def test_a_server_that_sickens_is_caught_with_its_first_degraded_answer(run: Run, server: Scripted) -> None:
    def chat(ask: Ask) -> Reply:
        return completion("!!!!!!!!!!!!!!!!!!!!!!") if ask.number > 60 else seeing(ask)

    server.chat = chat
    result = run("--setup-soak=20images", "--record")

    assert result.parseoutcomes()["failed"] == 1
    assert re.search(
        r"\d+ of 20 images failed \(one-token \d+\); the first: image \d+, after \d+ s: "
        r"\w+ of \w+\.jpg: one-token: .*; the answer was '!!!.*'",
        result.stdout.str(),
    )


def test_a_server_that_dies_ends_the_soak(run: Run, server: Scripted) -> None:
    def chat(ask: Ask) -> Reply:
        return Reply(b"gone", 500) if ask.number > 60 else seeing(ask)

    server.chat = chat
    result = run("--setup-soak=2h", "--record", "--record-failed")

    assert result.parseoutcomes()["failed"] == 1
    assert re.search(
        r"the soak ended early: the last 10 images in a row got no answer; "
        r"1\d of \d+ images failed \(server \d+\); the first: .*500.*",
        result.stdout.str(),
    )


def test_ctrl_c_shows_what_was_measured_and_records_nothing(
    project: pytest.Pytester, server: Scripted
) -> None:
    hanging = threading.Event()

    def hang_later(ask: Ask) -> Reply:
        if ask.number > 60:
            hanging.set()
            server.hang()
        return seeing(ask)

    server.chat = hang_later
    process = start(project.path, server, "--setup-soak=30m", "--setup-timeout=3600", "--record")
    output = interrupted(process, hanging)
    assert re.search(r"^soak: 1\d images in \d+ s, 0 failed", output, re.MULTILINE), output
    assert re.search(r"^soak: memory not measured", output, re.MULTILINE) or "soak: memory " in output
    assert entries(project.path) == {}


def test_a_disk_without_room_ends_the_soak_and_keeps_what_was_measured(
    run: Run, project: pytest.Pytester
) -> None:
    project.makeconftest(
        """
        import shutil
        class Tagger:
            def tag(self, image):
                if image.path.name == "5.jpg":
                    shutil.rmtree(image.path.parent)
                return {
                    "caption": f"A {image.name} in the harbour.",
                    "keywords": [image.name, "harbour", "evening"],
                    "description": f"The {image.name} lies in the evening light. It is calm.",
                }
        def pytest_setups_tagger(config, settings):
            return Tagger()
        """
    )

    result = run("--setup-soak=9images", "--record-failed")

    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*the soak ended early: a picture cannot be written: *6.jpg'*"])
    assert only_entry(project.path)["performance"]["soak"]["images"] == 5
    no_traceback_of_ours(result)


def test_figures_that_an_entry_lacks_are_left_out_of_its_texts() -> None:
    record = SoakRecord(
        images=60,
        failed_images=2,
        memory=SoakMemoryRecord(start_mib=400, end_mib=460, mib_per_image=1.0, low=0.9, cache="a cache"),
        latency=SoakLatencyRecord(start_s=1, end_s=2, is_rising=True),
    )

    assert list(soak_text.record_lines(record)) == [
        "60 images in 1 s, 2 failed",
        "memory 400 MiB to 460 MiB, +1.00 MiB an image; this may be a cache: soak until it is full",
        "latency 1.000 s to 2.000 s; no slope: unknown",
    ]
    assert soak_text.faults(record) == [
        "2 of 60 images failed",
        "the server becomes slower: one took 1.000 s at first and 2.000 s in the end",
    ]


def test_a_run_without_its_soak_is_incomplete(run: Run, project: pytest.Pytester) -> None:
    result = run("--setup-soak=3images", "--deselect", "setup::test_soak", "--record")

    result.stdout.fnmatch_lines(["not recorded: test_soak did not run*"])
    assert entries(project.path) == {}


def test_a_python_tagger_gets_a_new_file_each_time(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import hashlib, pathlib
        class Tagger:
            def tag(self, image):
                with open("seen.txt", "a") as file:
                    print(hashlib.sha256(image.path.read_bytes()).hexdigest(), image.path, file=file)
                stem = image.path.stem
                return {
                    "caption": f"A {image.name} in the harbour at {stem}.",
                    "keywords": [image.name, stem, "harbour", "evening"],
                    "description": f"The {image.name} lies in the evening light, at pier {stem}. It is calm.",
                }
        def pytest_setups_tagger(config, settings):
            return Tagger()
        """
    )

    run("--setup-soak=9images").assert_outcomes(passed=12)

    seen = [line.split(" ", 1) for line in (project.path / "seen.txt").read_text().splitlines()]
    soaked = [(digest, path) for digest, path in seen if "sample_images" not in path]
    assert len({digest for digest, _ in soaked}) == 9
    assert not any(os.path.exists(path) for _, path in soaked)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--setup-soak=soon"], "*--setup-soak*type a duration such as 90s, 30m or 2h*300images*"),
        (["--setup-soak=0images"], "*type a duration*"),
        (["--setup-soak=3m", "-n", "2"], "*--setup-soak and -n 2: *leave one of the two out"),
        (
            ["--setup-soak=3m", "--setup-tagger-command", "true {images} {output}"],
            "*--setup-soak: a tagger command tags all pictures in one go*leave one of the two out",
        ),
    ],
)
def test_what_cannot_be_soaked_is_refused(run: Run, arguments: list[str], said: str) -> None:
    result = run(*arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", SoakLength(seconds=90)),
        ("30m", SoakLength(seconds=1800)),
        (" 1h30m ", SoakLength(seconds=5400)),
        ("0.5h", SoakLength(seconds=1800)),
        ("300images", SoakLength(images=300)),
        ("1 image", SoakLength(images=1)),
    ],
)
def test_lengths(text: str, length: SoakLength) -> None:
    assert SoakLength.parse(text) == length


@pytest.mark.parametrize("text", ["", "300", "h", "1s1h", "200h", "-3m", "3 pictures"])
def test_lengths_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="type a duration"):
        SoakLength.parse(text)


def memory(changes: Iterable[float]) -> list[HeldMemory]:
    """Readings in MiB, the first above 400, each with its noise."""
    chance = random.Random(1)
    return [
        HeldMemory(image, int((400 + change + chance.gauss(0, 3)) * MIB))
        for image, change in enumerate(changes, 1)
    ]


def test_steps_of_an_allocator_and_a_cache_that_fills_are_no_leak() -> None:
    images = range(300)
    step = memory(200.0 if image > 180 else 0.0 for image in images)
    saw = memory(6.0 * (image % 37) for image in images)
    filling = memory(1000 * (1 - math.exp(-image / 100)) for image in images)
    leak = memory(1.0 * image + 6.0 * (image % 37) for image in images)

    for readings in (step, saw, filling):
        trend = memory_trend(readings, 300)
        assert trend is not None
        assert trend.proved_rise == 0.0
    trend = memory_trend(leak, 300)
    assert trend is not None
    assert trend.low < MIB < trend.high
    assert trend.proved_rise > 100 * MIB


def latencies(level: Callable[[int], float]) -> list[ImageLatency]:
    """Seconds of five pictures in turn that take different times, with noise that lasts some images."""
    chance, noise, result = random.Random(2), 0.0, []
    for image in range(1, 301):
        noise = 0.5 * noise + chance.gauss(0, 0.02)
        seconds = (1 + 0.3 * (image % 5)) * math.exp(noise) * level(image)
        result.append(ImageLatency(image, image % 5, seconds * (20 if image % 97 == 0 else 1)))
    return result


def test_a_rise_of_latency_is_proved_and_a_step_is_none() -> None:
    rising = latency_trend(latencies(lambda image: 1 + 0.001 * image), 300)
    steady = latency_trend(latencies(lambda _: 1.0), 300)
    step = latency_trend(latencies(lambda image: 1.4 if image > 190 else 1.0), 300)

    assert rising is not None
    assert steady is not None
    assert step is not None
    assert rising.low < 0.00085 < rising.high
    assert rising.proved_rise > 0.1
    assert steady.proved_rise == 0.0
    assert step.proved_rise == 0.0


def test_caches_that_fill_meanwhile_are_known_by_their_size() -> None:
    sizes = [
        cache.size / GIB if (cache := host_cache(backend, flags)) else 0
        for backend, flags in (
            ("vllm", {}),
            ("vllm", {"mm-processor-cache-gb": 1, "api-server-count": 2}),
            ("vllm", {"mm-processor-cache-gb": 0}),
            ("llama.cpp", {"cache-ram": "1024"}),
            ("llama.cpp", {"cache-ram": -1}),
            ("sglang", {}),
        )
    ]

    assert sizes == [8, 3, 0, 1, math.inf, 0]
