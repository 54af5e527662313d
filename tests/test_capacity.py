"""The capacity of a server: images per second at numbers of images at once, and what a library takes."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_setups.api.access import ServerAccess
from pytest_setups.config.load_values import ServiceLevel
from pytest_setups.load.capacity import CapacityExperiment
from pytest_setups.load.image_load import ImageTiming
from pytest_setups.load.level_search import LevelSearch, knee_of
from pytest_setups.load.load_process import LoadJob, ProcessLoad
from pytest_setups.load.picture_spool import PictureSpool, SpooledPictures
from pytest_setups.load.steady_window import images_per_s, margin, steady_window
from pytest_setups.registry.entry import Performance, Stage
from pytest_setups.registry.load_records import CapacityLevel, CapacityRecord
from pytest_setups.regression.bounds import parse_bound
from pytest_setups.regression.performance_comparison import performance_rows
from pytest_setups.report import capacity_text
from pytest_setups.report.plots.capacity_plot import capacity_plots
from pytest_setups.serving.processes.python_child import ChildEndedError
from pytest_setups.tagging.images import Sample, prepare
from pytest_setups.tagging.outputs import Failure, Outcome, Output
from pytest_setups.tagging.picture_variants import prepare_variant
from pytest_setups.tagging.prompts import load_prompts
from pytest_setups.tagging.request import Request
from tests.conftest import Run, draw, entries, no_traceback_of_ours, only_entry
from tests.servers.scripted import Ask, Reply, Scripted, as_json, seeing
from tests.sessions import interrupted, start

SHORT_S = 0.01
"""Long enough that the answers to two requests overlap."""

TAGGER = """
import collections, os, threading, time
counts = collections.Counter()
one_by_one = threading.Lock()
class Tagger:
    def tag(self, image):
        if "ONE_BY_ONE" in os.environ:
            with one_by_one:
                time.sleep(0.02)
        time.sleep(0.005)
        counts[image.path.suffix] += 1
        name = image.name.removesuffix(".jpg")
        return {
            "caption": f"A {name} stands near the old harbour wall.",
            "keywords": [name, "harbour", "stone wall", "quiet morning", "sky"],
            "description": f"A {name} stands near the old harbour wall. The light is soft and warm.",
        }
def pytest_setups_tagger(config, settings):
    return Tagger()
def pytest_unconfigure(config):
    print("calls:", dict(counts))
"""


@pytest.fixture
def steady(server: Scripted) -> Scripted:
    """A server that takes a moment for each answer, however many it is asked for."""

    def chat(ask: Ask) -> Reply:
        time.sleep(SHORT_S)
        return seeing(ask)

    server.chat = chat
    return server


@pytest.fixture
def own_tagger(project: pytest.Pytester) -> None:
    """A Python tagger, which needs no process that asks."""
    project.makeconftest(TAGGER)


@pytest.mark.usefixtures("steady")
def test_given_levels_are_measured_recorded_and_shown(run: Run, project: pytest.Pytester) -> None:
    reports = ("--junitxml=j.xml", "--setup-report=r.html")

    result = run(
        "--setup-capacity=1,2", "--setup-library=80000", "--setup-slo=image.p95:60s", "--record", *reports
    )

    assert result.ret == 0
    result.assert_outcomes(passed=12)
    result.stdout.re_match_lines([
        r"capacity: whole images, at each number of them at once",
        r" +at once +images +failed +unpopulated +images/s +p50 s +p95 s",
        r" +1 +\d+ +0 +0 +\d+\.\d{3} +0\.\d{3} +0\.\d{3}",
        r" +2 +\d+ +0 ",
        r"knee: \d+\.\d+ images/s at [12] at once.*",
        r"slo: image.p95:60s is kept at least up to 2 at once",
        r"80,000 photographs: \d+\.\d (?:h|min) at [12] at once \(\d.*\)",
        r"recorded: .*",
    ])  # fmt: skip
    record = only_entry(project.path)["performance"]["capacity"]
    assert [level["at_once"] for level in record["levels"]] == record["given"] == [1, 2]
    rates = {level["at_once"]: level["images_per_s"] for level in record["levels"]}
    assert record["images_per_s"] == rates[record["knee"]] >= 0.95 * max(rates.values())
    assert record["hours"] == pytest.approx(80000 / 3600 / record["images_per_s"], rel=1e-3)
    xml = (project.path / "j.xml").read_text()
    assert f'name="setup.capacity.knee" value="{record["knee"]}"' in xml
    page = (project.path / "r.html").read_text()
    assert re.search(r'<td class="number">2</td><td class="number">\d+</td>', page)
    assert "80,000 photographs: " in page
    assert 'aria-label="Images per second' in page
    no_traceback_of_ours(result)


def test_every_picture_that_is_sent_for_it_is_a_new_one(run: Run, steady: Scripted) -> None:
    run("--setup-capacity=2,3", "--setup-repeat=2").assert_outcomes(passed=21)

    pictures = [ask.picture for ask in steady.asks if ask.stage == "keywords" and ask.picture]
    assert len(pictures) >= 3 + 8 + 12
    # The run itself sends each of its pictures twice.
    assert len(set(pictures)) == len(pictures) - 3
    assert steady.most_at_once == 3


def test_a_variant_has_other_pixels_and_hardly_another_look(tmp_path: Path) -> None:
    path = draw(tmp_path / "boat.png", "navy", (640, 480))
    plain, one, other = prepare(path, 320), prepare_variant(path, 320, "1"), prepare_variant(path, 320, "2")

    assert len({plain.base64, one.base64, other.base64}) == 3
    assert (one.width, one.height) == (plain.width, plain.height)
    tiny = prepare_variant(draw(tmp_path / "dot.png", "red", (3, 2)), 320, "1")
    assert (tiny.width, tiny.height) == (3, 2)


def test_a_server_that_breaks_down_at_a_level_is_measured_no_further(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    def overloaded(ask: Ask) -> Reply:
        time.sleep(SHORT_S)
        return Reply(b"..", die_after=0) if server.most_at_once > 4 else seeing(ask)

    server.chat = overloaded
    # The service level is kept at 4, so 8 is measured, whether or not the throughput increases here.
    result = run("--setup-capacity", "--setup-slo=image.p95:60s", "--record")

    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "capacity: * of * images failed at 8 at once: *",
        "knee: *",
        "slo: image.p95:60s is kept up to 4 at once",
    ])  # fmt: skip
    record = only_entry(project.path)["performance"]["capacity"]
    levels = {level["at_once"]: level for level in record["levels"]}
    assert set(levels) == {1, 2, 4, 8}
    assert levels[8]["failures"] >= 8
    assert levels[4]["failures"] == 0
    assert record["slo_at_least"] is False


def test_a_server_that_fails_at_every_level_fails_the_test(run: Run, server: Scripted) -> None:
    def later(ask: Ask) -> Reply:
        done = sum(1 for each in server.asks if each.stage == "description") > 3
        return as_json({"error": "out of memory"}, 500) if done else seeing(ask)

    server.chat = later
    result = run("--setup-capacity=1,2", "--record")

    result.assert_outcomes(passed=11, failed=1)
    result.stdout.fnmatch_lines(["failed: capacity: HTTP 500 from *out of memory", "*1 failed, 11 passed*"])
    no_traceback_of_ours(result)


@pytest.mark.usefixtures("own_tagger")
def test_a_service_level_that_no_level_keeps_fails_the_test(run: Run, project: pytest.Pytester) -> None:
    result = run(
        "--setup-capacity=2", "--setup-slo=image.p95:1ms", "--record-failed", "--setup-report=r.html"
    )

    result.assert_outcomes(passed=11, failed=1)
    lines = result.outlines
    assert sum("is not kept at any level" in line for line in lines if line.startswith("capacity: ")) == 1
    assert "image.p95:1ms is not kept at any level" in (project.path / "r.html").read_text()
    entry = only_entry(project.path)
    assert entry["verification"]["status"] == "failed"
    assert entry["verification"]["failure_reason"].startswith(
        "capacity: image.p95:1ms is not kept at any level: it takes 0.0"
    )
    assert entry["performance"]["capacity"]["slo_level"] is None
    assert entry["performance"]["capacity"]["knee"] is not None


def test_a_hanging_server_is_waited_for_once(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    hanging: list[Ask] = []

    def hang_under_load(ask: Ask) -> Reply:
        time.sleep(SHORT_S)
        if server.most_at_once >= 2:
            hanging.append(ask)
            server.hang()
        return seeing(ask)

    server.chat = hang_under_load
    result = run("--setup-capacity=1,2,4", "--setup-timeout=1", "--record")

    assert len(hanging) == 2
    result.stdout.fnmatch_lines(
        ["capacity: * images failed at 2 at once: no complete answer *", "knee: * images/s at 1 at once"]
    )
    assert only_entry(project.path)["performance"]["capacity"]["knee"] == 1


def test_a_load_process_that_is_killed_is_a_failure_with_a_reason(run: Run, server: Scripted) -> None:
    def kill_the_load(ask: Ask) -> Reply:
        for child in psutil.Process().children():
            if any("load_process" in word for word in child.cmdline()):
                child.kill()
        return seeing(ask)

    server.chat = kill_the_load
    result = run("--setup-capacity=1,2")

    result.assert_outcomes(passed=11, failed=1)
    result.stdout.fnmatch_lines(["the capacity cannot be measured any further: *SIGKILL*"])
    no_traceback_of_ours(result)


def load_job(server: Scripted, pictures: Path) -> LoadJob:
    request = Request(dict.fromkeys(Stage, "served"), load_prompts("default"), {})
    return LoadJob(ServerAccess(server.url, None, 60.0), request, pictures)


@pytest.fixture
def spooled(tmp_path: Path) -> tuple[Path, list[Sample]]:
    """A folder of pictures that are ready, and their samples."""
    path, folder = draw(tmp_path / "boat.png", "navy"), tmp_path / "spool"
    folder.mkdir()
    return folder, PictureSpool(SpooledPictures(folder), 64).fill([Sample("boat.png", path)] * 4)


def test_a_load_does_not_suffer_from_the_one_before(
    server: Scripted, spooled: tuple[Path, list[Sample]], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, samples = spooled
    with closing(ProcessLoad(load_job(server, folder))) as load:
        server.chat = lambda _: Reply(b"..", die_after=0)
        broken, reasons = load.run(samples, 4), [load.given_up]
        server.chat = seeing
        answered, reasons = load.run(samples, 4), [*reasons, load.given_up]
        for path in folder.iterdir():
            path.unlink()
        with pytest.raises(ChildEndedError, match="FileNotFoundError: "):
            load.run(samples, 4)
    assert len(broken) == len(answered) == 4
    assert all(timing.fault for timing in broken)
    assert not any(timing.fault for timing in answered)
    assert [bool(reason) for reason in reasons] == [True, False]
    assert "Traceback" not in capfd.readouterr().err


PARENT = """
import pickle, sys
from pytest_setups.load.load_process import ProcessLoad
job, samples = pickle.load(sys.stdin.buffer)
ProcessLoad(job).run(samples, 2)
"""


def test_a_load_ends_with_the_process_that_wants_it(
    server: Scripted, spooled: tuple[Path, list[Sample]]
) -> None:
    folder, samples = spooled
    server.stop_answering(from_request=1)
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE) as parent:
        assert parent.stdin
        pickle.dump((load_job(server, folder), samples), parent.stdin)
        parent.stdin.flush()
        assert server.asked.wait(30)
        children = psutil.Process(parent.pid).children()
        parent.kill()
    assert children
    gone, alive = psutil.wait_procs(children, timeout=10)
    for child in alive:
        child.kill()
    assert gone == children


def test_ctrl_c_keeps_what_was_measured(project: pytest.Pytester, server: Scripted) -> None:
    hanging = threading.Event()

    def hang_under_load(ask: Ask) -> Reply:
        time.sleep(SHORT_S)
        if server.most_at_once >= 2:
            hanging.set()
            server.hang()
        return seeing(ask)

    server.chat = hang_under_load
    process = start(project.path, server, "--setup-capacity=1,2", "--setup-timeout=3600", "--record")
    output = interrupted(process, hanging)
    assert re.search(r"^ +1 +\d+ +0 +0 ", output, re.MULTILINE), output
    assert entries(project.path) == {}


def test_a_run_without_it_is_incomplete(run: Run, project: pytest.Pytester) -> None:
    result = run("--setup-capacity=1", "-k", "not test_capacity", "--record")

    result.stdout.fnmatch_lines(["not recorded: test_capacity did not run"])
    assert entries(project.path) == {}


@pytest.mark.usefixtures("own_tagger")
def test_it_may_be_the_only_test_of_the_suite_and_own_tests_come_before_it(
    run: Run, project: pytest.Pytester
) -> None:
    project.makepyfile(test_mine="def test_own(setup_server): pass")

    result = run("--setup-capacity=1", "-v", "--record", "setup::test_capacity", "test_mine.py")

    nodes = re.findall(r"^(\S+::test_\S+) PASSED", result.stdout.str(), re.MULTILINE)
    assert nodes == ["test_mine.py::test_own", "setup::test_capacity"]
    result.stdout.fnmatch_lines(["knee: * at 1 at once", "not recorded: test_models did not run; *"])
    assert entries(project.path) == {}


@pytest.mark.usefixtures("own_tagger")
def test_a_python_tagger_is_measured_with_the_files(run: Run) -> None:
    result = run("--setup-capacity=4", "--record")

    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines(["        4 * 0            0 *", "calls: {'.jpg': *}"])


LEVELS = "type numbers of images at once from 1 to 256, such as 1,4,16; without a value, they are chosen"
MISTAKES = {
    ("--setup-capacity=0",): f"--setup-capacity: {LEVELS}; got '0'",
    ("--setup-capacity=1,x",): f"--setup-capacity: {LEVELS}; got '1,x'",
    ("--setup-capacity=300",): f"--setup-capacity: {LEVELS}; got '300'",
    ("--setup-slo=image.p95:1s",): "--setup-slo needs --setup-capacity",
    ("--setup-library=5",): "--setup-library needs --setup-capacity",
    ("--setup-capacity", "--setup-library=0"): "--setup-library: *greater than or equal to 1*",
    ("--setup-capacity", "--setup-slo=p95:1s"): "--setup-slo: type how long an image may take, *'p95:1s'",
    ("--setup-capacity", "--setup-slo=image.p95:10"): "--setup-slo: type how long an image may take, *",
    ("--setup-capacity", "-n2"): "--setup-capacity and -n 2: several processes would load the server *",
    ("--setup-capacity", "--setup-tagger-command=true {images} {output}"): "--setup-capacity: a tagger *",
    ("--setup-fail-if=capacity.images_per_s:-10%",): "--setup-fail-if capacity.images_per_s:-10% needs *",
    ("--setup-capacity", "--setup-fail-if=capacity.knee:9%"): "*capacity.knee is worse when it falls; type *",
    ("--setup-fail-if=capacity.images:1%",): "*did you mean capacity.images_per_s?*",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_a_usage_error(arguments: tuple[str, ...], run: Run) -> None:
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {MISTAKES[arguments]}"])


def test_values_of_an_ini_file_wait_for_a_run_with_it(run: Run, project: pytest.Pytester) -> None:
    project.makeini(
        "[pytest]\nsetup_slo = image.p95:10s\nsetup_library = 500\n"
        "setup_fail_if =\n    capacity.images_per_s:-10%\n    retries:2%\n"
    )
    run().assert_outcomes(passed=11)


@pytest.mark.usefixtures("own_tagger")
def test_less_capacity_is_a_regression(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--setup-capacity=2", "--record", "--setup-slug=before").assert_outcomes(passed=12)
    monkeypatch.setenv("ONE_BY_ONE", "1")
    bound = "--setup-fail-if=capacity.images_per_s:-20%"
    result = run("--setup-capacity=2", "--setup-baseline=before", bound)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "capacity.images_per_s * -20% * breach",
        "regression: capacity.images_per_s * -> * images/s (-*%*) is below capacity.images_per_s:-20%",
        "failed: worse than before: capacity.images_per_s",
    ])  # fmt: skip


@pytest.mark.usefixtures("own_tagger")
def test_a_bound_on_what_the_baseline_lacks_cannot_be_judged(run: Run) -> None:
    run("--record", "--setup-slug=before")
    bound = "capacity.images_per_s:-20%"
    result = run("--setup-capacity=1", "--setup-baseline=before", f"--setup-fail-if={bound}")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"regression: {bound} cannot be judged: its figure was not measured *"])


def performance(rate: float, **level: Any) -> Performance:
    levels = [CapacityLevel(at_once=4, images=16, failures=0, images_per_s=rate, **level)]
    return Performance(capacity=CapacityRecord(levels=levels, knee=4, images_per_s=rate))


@pytest.mark.parametrize(
    ("after", "level", "finding"),
    [
        (9.5, {}, "ok"),
        (8.0, {}, "breach"),
        (8.5, {"margin": 0.2}, "not proved"),
        (5.0, {"margin": 0.2}, "breach"),
        (5.0, {"client_limited": True}, "not comparable"),
    ],
)
def test_a_bound_on_the_throughput_counts_its_margin_and_the_limit_of_the_client(
    after: float, level: dict[str, Any], finding: str
) -> None:
    bound = parse_bound("capacity.images_per_s:-10%")
    rows = performance_rows(performance(10.0, **level), performance(after, **level), [bound], timed=True)
    assert next(iter(rows)).finding == finding


@pytest.mark.parametrize(
    ("figure", "before", "after", "finding"),
    [
        ("slo_level", {"slo": "image.p95:10s"}, {"slo": "image.p95:2s"}, "not comparable"),
        ("slo_level", {"slo": "image.p95:10s"}, {"slo": "Image.p95: 10s"}, "breach"),
        (
            "slo_level",
            {"slo": "image.p95:10s", "slo_at_least": True},
            {"slo": "image.p95:10s"},
            "not comparable",
        ),
        ("knee", {}, {}, "breach"),
        ("knee", {}, {"given": [1, 2]}, "not comparable"),
        ("knee", {"given": [1, 2]}, {"given": [1, 2, 4]}, "not comparable"),
        ("images_per_s", {"given": [1, 2]}, {}, "not comparable"),
        ("images_per_s", {"given": [1, 2]}, {"given": [1, 2]}, "breach"),
    ],
)
def test_only_capacities_that_were_measured_alike_are_compared(
    figure: str, before: dict[str, Any], after: dict[str, Any], finding: str
) -> None:
    records = [
        Performance(capacity=CapacityRecord(knee=number, slo_level=number, images_per_s=number, **measured))
        for number, measured in ((8, before), (2, after))
    ]
    bound = parse_bound(f"capacity.{figure}:-10%")
    rows = {row.name: row for row in performance_rows(records[0], records[1], [bound], timed=True)}
    assert rows[f"capacity.{figure}"].finding == finding
    assert (rows[f"capacity.{figure}"].incomparable is not None) == (finding == "not comparable")


def level_of(at_once: int, rate: float, failures: int = 0, p95: float | None = None) -> CapacityLevel:
    return CapacityLevel(at_once=at_once, images=9, failures=failures, images_per_s=rate, p95_s=p95)


def levels_of(measure: Callable[[int], CapacityLevel], **search: Any) -> dict[int, CapacityLevel]:
    return {level.at_once: level for level in LevelSearch(measure, **search).run()}


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 12, 40, 256])
def test_the_knee_is_refined_between_doublings(capacity: int) -> None:
    levels = levels_of(lambda at_once: level_of(at_once, min(at_once, capacity) / 0.3))
    knee = knee_of(list(levels.values()))
    assert knee
    assert capacity - max(1, capacity // 8) <= knee.at_once <= capacity + capacity // 8
    assert len(levels) <= 14


def test_no_more_levels_are_measured_after_failures() -> None:
    levels = levels_of(lambda at_once: level_of(at_once, at_once, failures=int(at_once > 6)))
    assert sorted(levels) == [1, 2, 3, 4, 8]
    given = levels_of(lambda at_once: level_of(at_once, at_once, failures=int(at_once > 6)), given=(16, 2, 8))
    assert sorted(given) == [2, 8]


def test_the_largest_level_that_keeps_a_service_level_is_refined_too() -> None:
    def measure(at_once: int) -> CapacityLevel:
        return level_of(at_once, min(at_once, 12), p95=max(1.0, at_once / 12))

    slo = ServiceLevel("image.p95:1.1s", 95, 1.1)
    levels = levels_of(measure, slo=slo)
    assert max(at_once for at_once, level in levels.items() if slo.is_kept(level)) == 13


def test_the_search_goes_on_while_the_service_level_is_kept() -> None:
    def measure(at_once: int) -> CapacityLevel:
        return level_of(at_once, min(at_once, 12), p95=max(1.0, at_once / 12))

    slo = ServiceLevel("image.p95:5s", 95, 5.0)
    levels = levels_of(measure, slo=slo)
    assert 52 <= max(at_once for at_once, level in levels.items() if slo.is_kept(level)) <= 60
    assert max(levels) == 64


def timings(*spans: tuple[float, float], fails: bool = False) -> list[ImageTiming]:
    sample = Sample("a.jpg", Path("a.jpg"))
    failed = Outcome(sample, Stage.CAPTION, None, (Failure("server", "it died"),))
    good = Outcome(sample, Stage.CAPTION, Output(Stage.CAPTION, "A boat."))
    return [ImageTiming(begun, ended, [failed if fails else good]) for begun, ended in spans]


def test_ramp_up_and_drain_are_left_out() -> None:
    # Two at once, two seconds each; the first two take longer, and the last one is alone for a while.
    spans = [(0, 4), (0, 4), (4, 6), (4, 6), (6, 8), (6, 8), (8, 10), (8, 14)]
    window = steady_window(timings(*spans), 2)
    assert window
    assert (window.seconds, window.image_seconds) == (6, [2] * 5)
    assert images_per_s([window]) == pytest.approx((5 + 1 / 3) / 6)
    assert steady_window(timings(*spans[:2]), 2) is None
    assert margin([window]) == 0


def test_images_that_failed_are_no_throughput() -> None:
    spans = [(0, 1), (1, 2), (2, 3), (3, 4)]
    window = steady_window([*timings(*spans[:2]), *timings(spans[2], fails=True), *timings(spans[3])], 1)
    assert window
    assert images_per_s([window]) == pytest.approx(2 / 3)


class UnevenLoad:
    """Images whose times differ much, without a server."""

    def __init__(self) -> None:
        self.given_up: str | None = None
        self.clock, self.rounds = 0.0, list[int]()

    def run(self, samples: Sequence[Sample], at_once: int) -> list[ImageTiming]:
        assert at_once == 1
        self.rounds.append(len(samples))
        begun = self.clock
        ends = [begun := begun + (1.0 if number % 2 else 3.0) for number, _ in enumerate(samples)]
        spans = list(zip([self.clock, *ends], ends, strict=False))
        self.clock = ends[-1]
        return timings(*spans)


def test_a_level_that_scatters_is_measured_longer_and_pictures_are_taken_in_turn() -> None:
    load = UnevenLoad()
    asked: list[str] = []

    def prepare_all(samples: Any) -> Any:
        asked.extend(sample.name for sample in samples)
        return samples

    samples = [Sample(f"{number}.jpg", Path(f"{number}.jpg")) for number in range(3)]
    level = CapacityExperiment(samples, prepare_all, load).measure(1)

    assert load.rounds == [8, 8, 16, 32]
    assert level.images == 64
    assert level.images_per_s == pytest.approx(0.5, rel=0.05)
    assert asked[:4] == ["0.jpg", "1.jpg", "2.jpg", "0.jpg"]


@pytest.mark.parametrize(
    "record",
    [
        CapacityRecord(),
        CapacityRecord(reason="no level was measured"),
        CapacityRecord(knee=4, images_per_s=1.0, library=5, hours=1.0, slo="image.p50:1s", slo_level=4),
        CapacityRecord(levels=[CapacityLevel(at_once=1, images=8, failures=8)], knee=1, images_per_s=1.0),
        CapacityRecord(
            levels=[CapacityLevel(at_once=n, images=8, failures=0, images_per_s=n) for n in (1, 2)],
            reason="no time in which the load was steady",
        ),
        CapacityRecord(levels=[CapacityLevel(at_once=n, images=8, failures=0, p95_s=n) for n in (1, 2)]),
    ],
)
def test_a_record_that_lacks_figures_is_shown_with_those_it_has(record: CapacityRecord) -> None:
    words = " ".join(
        [*capacity_text.sentences(record), *map(" ".join, map(capacity_text.cells, record.levels or ()))]
    )
    assert "None" not in words
    assert (record.reason or "") in words
    plots = capacity_plots(record)
    assert [len(plot.labels) for plot in plots] == [2] * len(plots)
    assert (
        len(plots) == len({level.images_per_s or level.p95_s for level in record.levels or ()} - {None}) // 2
    )


def test_an_entry_with_a_capacity_is_loaded_again() -> None:
    record = performance(10.0, margin=0.1).model_dump(mode="json")
    assert json.loads(json.dumps(record))["capacity"]["levels"][0]["margin"] == 0.1
    assert Performance.model_validate(record) == performance(10.0, margin=0.1)
