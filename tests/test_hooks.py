"""A user's own checks, and the last word on the entry."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Run, entries, no_traceback_of_ours, only_entry
from tests.servers.scripted import Scripted, completion


def test_an_own_check_fails_the_output_it_refuses(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        def pytest_setups_check(stage, output, image):
            if stage == "keywords" and image.name == "cat.jpg" and "photograph" in output.keywords.words:
                return "every picture is a photograph"
        """
    )
    result = run("--record-failed")
    result.assert_outcomes(passed=10, failed=1)
    result.stdout.fnmatch_lines(["*test_keywords[[]cat.jpg]*", "own:conftest: every picture is a photograph"])
    verification = only_entry(project.path)["verification"]
    assert verification["failure_reason"].endswith(
        "keywords of cat.jpg: own:conftest: every picture is a photograph"
    )
    assert verification["checks"][-1] == "own:conftest"


def test_checks_of_several_plugins_are_told_apart(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_setups_check(stage, output, image): return f'{stage} of {image.name}'")
    project.makepyfile(house_rules="def pytest_setups_check(image): return 'never'")
    project.syspathinsert()
    result = run("-p", "house_rules", "-k", "caption and cat")
    result.stdout.fnmatch_lines_random(["own:conftest: caption of cat.jpg", "own:house_rules: never"])


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            "return 1 / 0",
            "own:conftest: ZeroDivisionError: division by zero (conftest.py:1 in pytest_setups_check)",
        ),
        ("return False", "own:conftest: the check returned bool: expected a reason or None"),
        ("return 'a' * 10 + '\\x1b[31m' + 'b\\nc'", "own:conftest: aaaaaaaaaab c"),
    ],
)
def test_a_check_that_breaks_has_not_passed(
    run: Run, project: pytest.Pytester, check: str, said: str
) -> None:
    project.makeconftest(f"def pytest_setups_check(stage, output, image): {check}")
    result = run("-k", "caption and cat")
    result.assert_outcomes(failed=1, deselected=10)
    result.stdout.fnmatch_lines([said])
    no_traceback_of_ours(result)


def test_own_checks_hold_for_the_tagging_fixture(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_setups_check(stage, image): return 'no' if stage == 'caption' else None")
    project.makepyfile(test_mine="def test_mine(tagging): pass")
    result = run("test_mine.py")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["own:conftest: no"])


def test_own_tagger_and_checks_in_a_worker(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        class Mine:
            def tag(self, image):
                caption = f"A {image.path.stem}."
                return {"caption": caption, "keywords": "ant, bee, cow", "description": "An ant."}
        def pytest_setups_tagger(config, settings): return Mine()
        def pytest_setups_check(stage, image): return "no" if stage == "caption" else None
        """
    )
    result = run("-n", "1", "--record-failed")
    result.assert_outcomes(passed=8, failed=3)
    entry = only_entry(project.path)
    assert entry["tagger"]["program"] == "Mine"
    assert entry["verification"]["checks"][-1] == "own:conftest"


def test_the_last_word_on_the_entry(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        def pytest_setups_modify_entry(config, entry):
            tagger = entry.tagger.model_copy(update={"owner": "archive team"})
            return entry.model_copy(update={"notes": "checked by Ann", "tagger": tagger})
        """
    )
    run("--record").assert_outcomes(passed=11)
    entry = only_entry(project.path)
    assert entry["notes"] == "checked by Ann"
    assert entry["tagger"]["owner"] == "archive team"


def test_each_plugin_is_given_what_the_one_before_made(run: Run, project: pytest.Pytester) -> None:
    word = "def pytest_setups_modify_entry(entry):\n    notes = entry.notes + ' {}'\n    return entry"
    word += ".model_copy(update={{'notes': notes}})"
    project.makeconftest(word.format("conftest"))
    project.makepyfile(first=word.format("first"))
    project.syspathinsert()
    run("--record", "-p", "first", "--setup-notes", "by")
    assert only_entry(project.path)["notes"] == "by first conftest"


def test_none_leaves_the_entry_even_when_its_parts_were_changed(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        def pytest_setups_modify_entry(entry):
            entry.verification.vision["seen"] = entry.server.flags["x"] = "x"
        """
    )
    run("--record")
    entry = only_entry(project.path)
    assert entry["verification"]["vision"]["seen"] is True
    assert entry["server"]["flags"] == {}


def changing(part: str) -> str:
    return (
        "def pytest_setups_modify_entry(entry):\n"
        f"    verification = entry.verification.model_copy(update={part})\n"
        "    return entry.model_copy(update={'verification': verification})"
    )


@pytest.mark.parametrize(
    ("conftest", "said"),
    [
        (
            changing("{'status': 'success', 'failure_reason': None}"),
            "changed verification.status or its fail*",
        ),
        (
            changing("{'failure_reason': ''}"),
            "changed verification.status or its failure_reason, which the run*",
        ),
        (changing("{'images': []}"), "changed verification.images, which the run has proved"),
        (
            changing("{'results': {'file': 'results/x.jsonl', 'sha256': '0' * 64, 'lines': 1}}"),
            "changed verification.results, which the run has proved",
        ),
        (changing("{'status': 'perfect'}"), "returned an invalid entry: *verification.status*"),
        ("def pytest_setups_modify_entry(): return {}", "returned dict: expected an Entry or None"),
        (
            "def pytest_setups_modify_entry(): return 1 / 0",
            "ZeroDivisionError: division by zero (conftest.py:1 in *",
        ),
    ],
)
def test_what_was_proved_cannot_be_changed(
    run: Run, project: pytest.Pytester, server: Scripted, conftest: str, said: str
) -> None:
    server.chat = lambda _: completion("")
    project.makeconftest(conftest)
    result = run("--record-failed")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.re_match_lines([r"not recorded: pytest_setups_modify_entry of conftest:? .*"])
    result.stdout.fnmatch_lines([f"not recorded: pytest_setups_modify_entry of conftest*{said}"])
    assert entries(project.path) == {}
    assert not list((project.path / "registry/results").iterdir())
    no_traceback_of_ours(result)


def test_a_success_may_be_called_a_failure(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(changing("{'status': 'failed', 'failure_reason': 'not good enough for us'}"))
    run("--record")
    assert only_entry(project.path)["verification"]["failure_reason"] == "not good enough for us"
    (row,) = json.loads((project.path / "registry/index.json").read_text())["entries"]
    assert row["status"] == "failed"


def test_a_misspelt_argument_is_told_by_pytest(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_setups_check(picture): return None")
    result = run()
    assert result.ret != pytest.ExitCode.OK
    assert "picture" in result.stdout.str() + result.stderr.str()
