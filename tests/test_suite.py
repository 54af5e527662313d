"""Collecting and selecting the packaged suite, as a pytest user expects."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from tests.conftest import Run
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, seeing

NODE_IDS = [
    "setup::test_models",
    "setup::test_vision",
    *(
        f"setup::test_{stage}[{image}.jpg]"
        for image in ("boats", "cat", "rocket")
        for stage in ("caption", "keywords", "description")
    ),
]


def test_a_server_named_and_no_path_runs_the_suite_and_nothing_else(
    run: Run, project: pytest.Pytester
) -> None:
    project.makepyfile(test_own="def test_own(): raise SystemExit")
    result = run("-v")
    result.assert_outcomes(passed=11)
    ran = [line.split(" ")[0] for line in result.outlines if " PASSED" in line]
    assert ran == NODE_IDS


def test_collecting_asks_nothing(run: Run, server: Scripted) -> None:
    result = run("--collect-only", "-q")
    assert result.outlines[:11] == NODE_IDS
    assert result.ret == 0
    assert server.asks == []


def test_paths_that_are_given_win(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_own="def test_own(setup_server): assert setup_server.model == 'served'")
    result = run("-v", "test_own.py")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_own.py::test_own PASSED*"])


def test_testpaths_of_the_project_do_not_count_as_paths_given(run: Run, project: pytest.Pytester) -> None:
    project.makeini("[pytest]\ntestpaths = checks")
    project.makepyfile(**{"checks/test_own": "def test_own(): raise SystemExit"})
    run().assert_outcomes(passed=11)


def test_a_node_id_can_be_copied_from_the_terminal(run: Run) -> None:
    result = run("-v", "setup::test_keywords[cat.jpg]")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["setup::test_keywords[[]cat.jpg] PASSED*"])


def test_k_selects(run: Run, server: Scripted) -> None:
    run("-k", "caption and boats", "--setup-warmup=0").assert_outcomes(passed=1, deselected=10)
    assert [ask.stage for ask in server.asks] == ["caption"]


def test_a_description_alone_first_asks_for_what_it_is_given(run: Run, server: Scripted) -> None:
    run("-k", "description and boats", "--setup-warmup=0").assert_outcomes(passed=1, deselected=10)
    assert [ask.stage for ask in server.asks] == ["caption", "keywords", "description"]


def test_x_stops_at_the_first_failure(run: Run, server: Scripted) -> None:
    server.chat = lambda ask: completion("!!!!!!!!") if ask.stage == "keywords" else seeing(ask)
    result = run("-x")
    result.assert_outcomes(passed=3, failed=1)
    assert {ask.stage for ask in server.asks} == {"caption", "keywords"}


def test_lf_runs_what_failed(project: pytest.Pytester, server: Scripted) -> None:
    server.chat = lambda ask: completion("") if ask.stage == "description" else seeing(ask)
    project.runpytest("--setup-base-url", server.url).assert_outcomes(passed=8, failed=3)
    server.chat = seeing
    project.runpytest("--setup-base-url", server.url, "--lf").assert_outcomes(passed=3, deselected=8)


def test_quiet_says_little(run: Run) -> None:
    result = run("-q")
    assert result.outlines[0].startswith(".")


def test_junit_xml_names_the_tests_and_holds_no_evidence(run: Run, project: pytest.Pytester) -> None:
    run("--junitxml=report.xml")
    text = (project.path / "report.xml").read_text()
    cases = ET.fromstring(text).iter("testcase")  # noqa: S314  # our own file
    assert [case.get("name") for case in cases][:3] == [
        "test_models",
        "test_vision",
        "test_caption[boats.jpg]",
    ]
    assert "latency_s" not in text


def test_it_runs_from_another_directory(project: pytest.Pytester, server: Scripted) -> None:
    (project.path / "elsewhere").mkdir()
    command = [sys.executable, "-m", "pytest", "--rootdir", str(project.path), "--setup-base-url", server.url]
    result = subprocess.run(
        [*command, "--record", "-p", "no:cacheprovider"],
        cwd=project.path / "elsewhere",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "11 passed" in result.stdout, result.stdout
    assert "recorded: ../registry/entries/served_vllm.json" in result.stdout


def test_names_that_the_project_gives_its_tests_do_not_matter(run: Run, project: pytest.Pytester) -> None:
    project.makeini("[pytest]\npython_functions = check_*\npython_files = check_*.py")
    run().assert_outcomes(passed=11)


def test_own_tests_may_tag_before_and_beside_the_suite(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_own="def test_tagging(tagging): assert tagging.caption")
    suite = ["setup::test_models", "setup::test_caption[cat.jpg]"]
    run("--setup-concurrency=2", "test_own.py", *suite).assert_outcomes(passed=5)


def test_fixtures_for_own_tests(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        test_own="""
        def test_image(setup_image, setup_settings):
            assert setup_image.path.is_file()
            assert setup_settings.temperature == 0.2

        def test_tagging(tagging, setup_server):
            assert tagging.image.name.endswith(".jpg")
            assert "frame" in tagging.caption
            assert len(tagging.keywords) == 5
            assert "falls" in tagging.description
            assert setup_server.identity.version == "0.32.0"
        """
    )
    run("test_own.py").assert_outcomes(passed=6)


def test_the_tagging_fixture_fails_with_the_reason(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = lambda ask: completion("") if ask.stage == "caption" else seeing(ask)
    project.makepyfile(test_own="def test_tagging(tagging): pass")
    result = run("test_own.py", "-k", "cat")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*empty: the answer is empty"])


def test_fixtures_without_a_server_skip(project: pytest.Pytester) -> None:
    project.makepyfile(test_own="def test_a(tagging): pass\ndef test_b(setup_server): pass")
    result = project.runpytest("-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*no server is named: pytest --setup-base-url URL"])


def test_fixtures_are_documented(project: pytest.Pytester) -> None:
    text = project.runpytest("--fixtures").stdout.str()
    for name in ("setup_server", "setup_image", "setup_settings", "tagging"):
        assert name in text
    assert "_setup_session" not in text


def test_reruns_count_the_last_attempt_and_keep_all(
    run: Run, server: Scripted, project: pytest.Pytester
) -> None:
    failed_once = set[bytes]()

    def flaky(ask: Ask) -> Reply:
        picture = ask.picture or b""
        if ask.stage == "keywords" and picture not in failed_once:
            failed_once.add(picture)
            return as_json({"error": {"message": "out of memory"}}, 500)
        return seeing(ask)

    server.chat = flaky
    result = run("--reruns=1", "--record")
    result.stdout.fnmatch_lines(["recorded: registry/entries/served_vllm.json", "*11 passed, 3 rerun*"])
    lines = (project.path / "registry/results/served_vllm.jsonl").read_text().splitlines()
    assert len(lines) == 12
    assert sum('"attempt":2' in line for line in lines) == 3


def test_own_tests_of_a_project_are_not_touched(project: pytest.Pytester) -> None:
    project.makepyfile("def test_own(): pass")
    result = project.runpytest()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("setups:*")
    assert not (project.path / "registry").exists()
