"""The result of a run: built once, redacted once, and the same wherever it is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Run, entries
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, models, words

if TYPE_CHECKING:
    from pathlib import Path

COUNTING = """
class Counted(list):
    passes = 0

    def __iter__(self):
        Counted.passes += 1
        return super().__iter__()


def pytest_collection_finish(session):
    session.items = Counted(session.items)


def pytest_unconfigure():
    print(f"passes over the tests: {Counted.passes}")
"""


@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_the_tests_are_planned_once(run: Run, project: pytest.Pytester, concurrency: str) -> None:
    project.makeconftest(COUNTING)
    result = run("--setup-concurrency", concurrency)
    result.assert_outcomes(passed=11)
    passes = next(line for line in result.outlines if line.startswith("passes over the tests: "))
    # pytest's own, one plan for nine measurements, and what an interrupted test left, at the end.
    assert int(passes.rpartition(" ")[2]) <= 4


HOOK = """
import pathlib


def pytest_setups_modify_entry(config, entry):
    with (config.rootpath / "calls.txt").open("a") as calls:
        calls.write(f"{entry.verification.status}\\n")
    return entry.model_copy(update={"notes": "from the hook"})
"""


def test_the_entry_that_is_judged_is_the_one_recorded_and_shown(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(HOOK)
    run("--record", "--setup-slug=first").assert_outcomes(passed=11)
    calls = project.path / "calls.txt"
    calls.unlink()

    report = ("--setup-report=out.html", "--junitxml=junit.xml")
    result = run("--record", "--setup-slug=second", "--setup-baseline=first", *report)

    result.assert_outcomes(passed=11)
    assert calls.read_text() == "success\n"
    assert entries(project.path)["second"]["notes"] == "from the hook"
    assert entries(project.path)["second"]["verification"]["baseline"] == "first"
    assert "from the hook" in (project.path / "out.html").read_text("utf-8")


def test_a_hook_may_change_what_the_baseline_is_compared_by(run: Run, project: pytest.Pytester) -> None:
    changed = '{"model": entry.model.model_copy(update={"repo_id": "own/repo"})}'
    project.makeconftest(HOOK.replace('{"notes": "from the hook"}', changed))
    run("--record", "--setup-slug=first").assert_outcomes(passed=11)
    for baseline in ("first", "latest"):
        result = run(f"--setup-baseline={baseline}")
        assert result.ret == pytest.ExitCode.OK
        result.stdout.fnmatch_lines(["compared with first *"])


@pytest.mark.parametrize("key", ["m", "vllm", "served", "success", "caption", "keywords"])
def test_an_api_key_that_is_a_word_rewrites_no_entry(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    run("--record", "--setup-api-key-env=MY_KEY").assert_outcomes(passed=11)
    entry = entries(project.path)["served_vllm"]
    assert entry["verification"]["status"] == "success"
    assert "[hidden]" not in json.dumps(entry)


@pytest.mark.parametrize("name", ["gemma-sk-vision-4b", "hf_internal-tiny", "sk-learn-vision-model"])
def test_a_model_with_a_name_like_a_token_is_recorded(
    run: Run, project: pytest.Pytester, server: Scripted, name: str
) -> None:
    server.routes["/v1/models"] = as_json(models(name))
    run("--record", f"--setup-server-command=vllm serve org/{name}").assert_outcomes(passed=11)
    entry = entries(project.path)[f"{name}_vllm"]
    assert entry["model"]["served_model_name"] == name
    assert entry["server"]["command"] == f"vllm serve org/{name}"


def test_a_measurement_is_redacted_before_it_travels(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, server: Scripted
) -> None:
    monkeypatch.setenv("MY_KEY", "opensesame-4711")
    server.chat = _echo
    result = run("--record", "--setup-api-key-env=MY_KEY", "--junitxml=junit.xml", "--setup-report=out.html")
    result.assert_outcomes(passed=11)
    for path in _written(project.path):
        assert "opensesame-4711" not in path.read_text("utf-8"), path


def _echo(ask: Ask) -> Reply:
    """A server that sees, and repeats the key that it was sent."""
    key = "opensesame-4711"
    return completion(f"{words(ask)} {key}", prompt_tokens=300 if ask.picture else 100)


def _written(folder: Path) -> list[Path]:
    return [
        *folder.glob("registry/**/*.json*"),
        folder / "junit.xml",
        folder / "out.html",
    ]


def test_no_field_of_an_entry_holds_a_key_or_a_private_path(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, server: Scripted
) -> None:
    monkeypatch.setenv("MY_KEY", "opensesame-4711")
    server.chat = lambda ask: completion(
        words(ask), prompt_tokens=300 if ask.picture else 100, finish_reason="stop opensesame-4711"
    )
    prompts = project.path / "prompts.toml"
    stages = ("caption", "keywords", "description")
    prompts.write_text("".join(f"{stage} = 'The {stage}, please. opensesame-4711'\n" for stage in stages))
    old = project.path / "old"
    run("--record", f"--setup-registry={old}").assert_outcomes(passed=11)

    arguments = (
        *("--setup-api-key-env=MY_KEY", f"--setup-prompts={prompts}", "--setup-redact-paths"),
        *("--setup-model-repo=https://ann:hunter2-pw@hub.example/r", "--junitxml=junit.xml"),
        "--setup-model-path=https://ann:hunter2-pw@hub.example/m",
        *(f"--setup-baseline={old}/entries/served_vllm.json", "--setup-report=out.html", "--record-failed"),
        *("--setup-baseline-allow=model", "--setup-baseline-allow=tagger"),
    )
    run(*arguments)

    assert entries(project.path)["served_vllm"]["verification"]["baseline"].startswith("{rootdir}/")
    for path in _written(project.path):
        text = path.read_text("utf-8")
        assert "opensesame-4711" not in text, path
        assert "hunter2-pw" not in text, path
        assert str(old) not in text, path


def test_a_hook_that_calls_a_run_failed_is_not_overruled(run: Run, project: pytest.Pytester) -> None:
    run("--record", "--setup-slug=first").assert_outcomes(passed=11)
    project.makeconftest(
        """
        def pytest_setups_modify_entry(entry):
            changes = {"status": "failed", "failure_reason": "Ann says no"}
            verification = entry.verification.model_copy(update=changes)
            return entry.model_copy(update={"verification": verification})
        """
    )
    run("--record", "--setup-slug=second", "--setup-baseline=first")
    verification = entries(project.path)["second"]["verification"]
    assert (verification["status"], verification["failure_reason"]) == ("failed", "Ann says no")
    assert verification["baseline"] == "first"


def test_an_exit_status_of_another_plugin_stays(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import pytest

        @pytest.hookimpl(tryfirst=True, wrapper=True)
        def pytest_sessionfinish(session):
            session.exitstatus = 7
            return (yield)
        """
    )
    assert run().ret == 7


def test_a_hook_that_raises_is_reported_without_recording(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_setups_modify_entry(): raise ValueError('no')")
    result = run("--setup-report=out.html")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the entry is shown without the hooks' changes: *ValueError: no*"])
