"""Figures of one run, such as the share of answers that needed another attempt, and bounds on them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_setups.registry.measurement import Measurement
from pytest_setups.regression.bounds import parse_bound
from pytest_setups.regression.findings import Finding
from pytest_setups.regression.levels import judge_levels
from tests.conftest import Command, Run, entries, no_traceback_of_ours, only_entry
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing


@pytest.fixture
def flaky(server: Scripted) -> Scripted:
    """A server whose first answers to two of three pictures are empty, at the caption."""
    failed_once = set[bytes]()

    def chat(ask: Ask) -> Reply:
        picture = ask.picture or b""
        proves_vision = ask.body["temperature"] == 0
        is_new = picture not in failed_once and len(failed_once) < 2
        if ask.stage == "caption" and not proves_vision and is_new:
            failed_once.add(picture)
            return completion("")
        return seeing(ask)

    server.chat = chat
    return server


RERUNS = ("--setup-warmup=0", "--reruns=3", "-p", "no:xdist")
SHOWN = "retries: 2 of 9 answers needed another attempt (0.222)"


@pytest.mark.usefixtures("flaky")
def test_answers_that_needed_another_attempt_are_counted_and_kept(run: Run, project: pytest.Pytester) -> None:
    result = run(*RERUNS, "--record", "--junitxml", "j.xml", "--setup-report", "r.html")

    assert result.ret == 0
    result.stdout.fnmatch_lines([SHOWN, "recorded: *", "*11 passed, 2 rerun*"])
    assert only_entry(project.path)["verification"]["figures"] == {"retries": 0.222222, "waits": 0.0}
    assert '<property name="setup.retries" value="0.222222"' in (project.path / "j.xml").read_text()
    page = (project.path / "r.html").read_text()
    assert re.search(r'<th scope="row">retries</th><td class="number">0.222</td>', page)
    assert "2 of 9 answers needed another attempt" in page


def test_a_run_without_another_attempt_says_nothing_of_it(run: Run, project: pytest.Pytester) -> None:
    result = run("--record", "--setup-report", "r.html")

    result.stdout.no_fnmatch_line("retries*")
    assert "retries</th>" not in (project.path / "r.html").read_text()
    assert only_entry(project.path)["verification"]["figures"] == {"retries": 0.0, "waits": 0.0}


@pytest.mark.usefixtures("flaky")
def test_a_bound_on_a_figure_of_the_run_needs_no_baseline(run: Run, project: pytest.Pytester) -> None:
    reports = ("--junitxml=j.xml", "--setup-report=r.html")

    result = run(*RERUNS, "--record", "--setup-fail-if=retries:2%", *reports)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    fault = "retries is above retries:2%: 2 of 9 answers needed another attempt (0.222)"
    result.stdout.fnmatch_lines([
        SHOWN,
        f"failed: {fault}",
        "not recorded: only successful runs are recorded; --record-failed keeps the attempt",
    ])  # fmt: skip
    assert entries(project.path) == {}
    report = (project.path / "j.xml").read_text()
    assert '<property name="setup.verdict" value="failed"' in report
    assert f"failed: {fault}" in report
    page = (project.path / "r.html").read_text()
    assert '<td>retries:2%</td><td class="bad">breach</td>' in page
    no_traceback_of_ours(result)


@pytest.mark.usefixtures("flaky")
def test_a_run_that_breaks_such_a_bound_may_be_kept_as_failed(run: Run, project: pytest.Pytester) -> None:
    result = run(*RERUNS, "--record-failed", "--setup-fail-if=retries:0.02")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    verification = only_entry(project.path)["verification"]
    assert verification["status"] == "failed"
    assert verification["failure_reason"].startswith("retries is above retries:0.02: 2 of 9 answers")
    assert verification["figures"] == {"retries": 0.222222, "waits": 0.0}


@pytest.mark.usefixtures("flaky")
def test_a_bound_that_holds_is_no_obstacle(run: Run, project: pytest.Pytester) -> None:
    result = run(*RERUNS, "--record", "--setup-fail-if=retries:0.3")

    assert result.ret == 0
    assert only_entry(project.path)["verification"]["status"] == "success"


@pytest.mark.usefixtures("flaky")
def test_github_shows_the_figure_and_the_broken_bound(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    result = run(*RERUNS, "--setup-fail-if=retries:0.02")

    text = summary.read_text()
    assert "❌ Setup: failed" in text
    assert "<code>retries&#58; 2 of 9 answers needed another attempt (0&#46;222)</code>" in text
    result.stdout.fnmatch_lines(["::error title=pytest-setups::failed: retries is above retries:0.02:*"])


@pytest.mark.usefixtures("flaky")
def test_bounds_on_the_run_in_an_ini_file_hold_without_a_baseline(run: Run, project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nsetup_fail_if =\n    caption.p50:20%\n    retries:0.02\n")

    result = run(*RERUNS)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["failed: retries is above retries:0.02: *"])


def test_a_part_of_a_run_is_not_judged_and_does_not_pass(run: Run) -> None:
    result = run("-k", "caption", "--setup-fail-if", "retries:0.02")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["not judged: retries:0.02: test_models did not run; *are missing*"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--setup-fail-if=retries:0.1", "--setup-fail-if=p50:20%"),
            "--setup-fail-if p50:20% needs a baseline: *",
        ),
        (
            ("--setup-fail-if=retries:2",),
            "*'retries:2': type the highest value that is acceptable, from 0 to 1, *",
        ),
        (("--setup-fail-if=retries:1s",), "*'retries:1s': type the highest value that is acceptable*"),
        (("--setup-fail-if=retries:-1%",), "*'retries:-1%': type the highest value that is acceptable*"),
        (
            ("--setup-fail-if=retrys:0.1",),
            "*unknown figure 'retrys'; did you mean retries?; the figures are *retries*; got 'retrys:0.1'",
        ),
        (("--setup-fail-if=covrage:0.9",), "*unknown figure 'covrage'; did you mean coverage?; *"),
        (
            ("--setup-fail-if=coverage.each:0.9",),
            "*'coverage.each:0.9': .each exists only for caption_similarity, *",
        ),
    ],
)
def test_a_mistake_says_what_to_type(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_a_comparison_has_the_figure_before_and_after(
    run: Run, project: pytest.Pytester, request: pytest.FixtureRequest, setups: Command
) -> None:
    run(*RERUNS, "--record")
    request.getfixturevalue("flaky")

    result = run(*RERUNS, "--record-failed", "--setup-baseline=latest", "--setup-fail-if=retries:0.1")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "retries * 0.000 * 0.222 * +0.222 * 0.1 * breach",
        "compared with served_vllm *",
        "failed: retries is above retries:0.1: 2 of 9 answers needed another attempt (0.222)",
    ])  # fmt: skip
    (later,) = entries(project.path).keys() - {"served_vllm"}
    arguments = ("--allow", "verification.status", "--fail-if", "retries:0.1", "--registry", "registry")
    done = setups("compare", "served_vllm", later, *arguments)
    as_json = setups("compare", "served_vllm", later, *arguments, "--json").json
    assert done.code == 1
    assert "regression: retries is above retries:0.1: 2 of 9 answers" in done.out
    assert "retries" in as_json["broken"]
    (level,) = as_json["levels"]
    assert level["before"] == {"part": 0, "whole": 9}
    assert level["after"] == {"part": 2, "whole": 9}
    assert "retries" in setups("diff", "served_vllm", later, "--registry", "registry").out


def test_a_figure_that_was_not_measured_does_not_pass() -> None:
    bound = parse_bound("retries:50%")

    (level,) = judge_levels([], [bound])

    assert level.finding is Finding.NOT_MEASURED
    assert list(level.faults) == ["retries:50% cannot be judged: retries was not measured in this run"]


def test_old_results_without_attempts_have_no_retries() -> None:
    line = json.dumps({"image": "a.jpg", "stage": "caption", "passed": True})

    assert judge_levels([Measurement.model_validate_json(line)], ()) == []
