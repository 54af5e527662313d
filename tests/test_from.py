"""Again: an entry is verified once more, from a server that runs or one that is started for it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_setups import Registry
from pytest_setups.serving.processes.server_process import free_port
from tests.conftest import entries, no_traceback_of_ours
from tests.servers import standalone

if TYPE_CHECKING:
    from tests.conftest import Run
    from tests.servers.scripted import Scripted

PROGRAM = shlex.join([sys.executable, str(standalone.__file__)])
SETTINGS = (
    *("--setup-prompts", "concise", "--setup-temperature", "0.5", "--setup-seed", "7"),
    *("--setup-max-edge", "32", "--setup-max-new-tokens", "99", "--setup-extra-body", '{"top_k": 3}'),
)


@pytest.fixture(autouse=True)
def _logs_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def fingerprints(folder: Path) -> dict[str, str]:
    registry = Registry(folder / "registry")
    return {slug: registry.load(slug).fingerprint() for slug in registry.slugs()}


def write_by_hand(folder: Path, base_url: str) -> None:
    """An entry of schema 1.0, as people wrote them."""
    entry = {
        "schema_version": "1.0",
        "model": {"repo_id": "org/m-AWQ", "served_model_name": "served", "format": "awq", "vision": True},
        "server": {"backend": "vllm", "command": None, "port": 24001, "flags": {}, "chat_template": None},
        "tagger": {
            "base_url": base_url,
            "models": dict.fromkeys(("caption", "keywords", "description"), "served"),
            "max_new_tokens": 77,
            "temperature": 0.3,
            "top_p": 0.8,
        },
        "verification": {"date_utc": "2025-10-01T00:00:00Z", "git_commit": None, "status": "success"},
        "performance": {"avg_latency_s": None},
    }
    path = folder / "registry/entries/first.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(entry), "utf-8")


def rewrite(folder: Path, slug: str, change: dict[str, dict[str, Any]]) -> None:
    """An entry as somebody else's registry might hold it."""
    path = folder / "registry/entries" / f"{slug}.json"
    entry = json.loads(path.read_bytes())
    for part, fields in change.items():
        entry[part] |= fields
    path.write_text(json.dumps(entry), "utf-8")


def test_an_entry_is_started_and_verified_again(project: pytest.Pytester) -> None:
    typed = f"nohup {PROGRAM} serve org/m --port {free_port()} --max-model-len 4096 > log 2>&1 &"
    first = project.runpytest("--setup-launch", typed, "--record", "--setup-slug", "first")
    first.assert_outcomes(passed=11)

    result = project.runpytest(
        "--setup-from", "first", "--setup-launch", "--record", "--setup-slug", "second"
    )

    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines([f"setups: starting the command of entry first: {typed}"])
    second = entries(project.path)["second"]
    assert second["server"]["command"] == typed
    assert second["server"]["command_source"] == "entry"
    assert second["verification"]["from_entry"] == "first"
    assert len(set(fingerprints(project.path).values())) == 1


def test_settings_and_prompts_come_from_the_entry(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    run("--record", "--setup-slug", "first", *SETTINGS).assert_outcomes(passed=11)
    before = len(server.asks)

    project.runpytest("--setup-from", "first", "--record", "--setup-slug", "second").assert_outcomes(
        passed=11
    )

    first, second = (entries(project.path)[slug] for slug in ("first", "second"))
    for name in (
        "prompts",
        "image",
        "temperature",
        "seed",
        "stream",
        "max_new_tokens",
        "extra_body",
        "base_url",
    ):
        assert first["tagger"][name] == second["tagger"][name], name
    assert server.asks[before].body["temperature"] == 0.5
    assert server.asks[before].body["top_k"] == 3
    assert len(set(fingerprints(project.path).values())) == 1


@pytest.mark.parametrize("place", ["key", "password"])
def test_a_secret_that_was_sent_is_asked_for_again(
    project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("MY_KEY", "opaqueOpaque42")
    url = server.url if place == "key" else server.url.replace("//", "//ann:opaqueOpaque42@")
    key = ["--setup-api-key-env", "MY_KEY"] if place == "key" else []
    first = project.runpytest("--setup-base-url", url, *key, "--record", "--setup-slug", "first")
    first.assert_outcomes(passed=11)
    before = len(server.asks)

    refused = project.runpytest("--setup-from", "first")

    to_type = "--setup-api-key-env MY_KEY, or *" if place == "key" else "--setup-base-url URL"
    refused.stderr.fnmatch_lines([f"ERROR: --setup-from: *: add {to_type}"])
    assert len(server.asks) == before
    secret = key or ["--setup-base-url", url]
    again = project.runpytest("--setup-from", "first", *secret, "--record", "--setup-slug", "second")
    again.assert_outcomes(passed=11)
    assert server.asks[-1].headers["authorization"] == server.asks[0].headers["authorization"]
    assert len(set(fingerprints(project.path).values())) == 1


def test_an_entry_of_schema_1_0_is_verified_again(project: pytest.Pytester, server: Scripted) -> None:
    write_by_hand(project.path, server.url)

    project.runpytest("--setup-from", "first", "--record", "--setup-slug", "second").assert_outcomes(
        passed=11
    )

    second = entries(project.path)["second"]
    assert (second["tagger"]["max_new_tokens"], second["tagger"]["top_p"]) == (77, 0.8)
    assert second["tagger"]["prompts"]["profile"] == "default"
    assert second["model"]["repo_id"] == "org/m-AWQ"
    assert second["model"]["format"] is None


def test_what_is_given_wins_over_the_entry(run: Run, project: pytest.Pytester) -> None:
    run("--record", "--setup-slug", "first", *SETTINGS).assert_outcomes(passed=11)

    result = run("--setup-from", "first", "--setup-temperature", "0.1", "--record", "--setup-slug", "second")

    result.assert_outcomes(passed=11)
    second = entries(project.path)["second"]
    assert (second["tagger"]["temperature"], second["tagger"]["seed"]) == (0.1, 7)
    assert len(set(fingerprints(project.path).values())) == 2


def test_nothing_is_started_unless_that_was_asked_for(
    run: Run, project: pytest.Pytester, tmp_path: Path
) -> None:
    run("--record", "--setup-slug", "first", "--setup-server-command", f"touch {tmp_path}/started")

    project.runpytest("--setup-from", "first", "--record", "--setup-slug", "second").assert_outcomes(
        passed=11
    )

    assert not (tmp_path / "started").exists()
    second = entries(project.path)["second"]["server"]
    assert (second["command"], second["command_source"]) == (f"touch {tmp_path}/started", "entry")


def test_the_environment_and_directory_of_the_entry_are_used(
    run: Run, project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--record", "--setup-slug", "first").assert_outcomes(passed=11)
    there = tmp_path / "there"
    there.mkdir()
    port = free_port()
    kept = {"VLLM_OURS": "entry", "VLLM_MINE": "entry"}
    others = {"LD_PRELOAD": "/no/such.so", "VLLM_API_KEY": "x"}
    server = {
        "command": f"{PROGRAM} --port {port}",
        "variables": kept | others,
        "working_directory": str(there),
    }
    rewrite(project.path, "first", {"server": server})
    monkeypatch.setenv("VLLM_MINE", "mine")

    result = project.runpytest(
        "--setup-from", "first", "--setup-launch", "--record", "--setup-slug", "second"
    )

    result.assert_outcomes(passed=11)
    server = entries(project.path)["second"]["server"]
    result.stdout.fnmatch_lines([f"setups: starting the command of entry first: VLLM_OURS=entry {PROGRAM} *"])
    assert {name: server["variables"][name] for name in kept} == {"VLLM_OURS": "entry", "VLLM_MINE": "mine"}
    assert server["working_directory"] == str(there)


def test_what_the_entry_was_judged_by_and_this_run_is_not_is_named(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    write_by_hand(project.path, server.url)
    sha256 = "0" * 64
    used = {
        "vocabulary": {"file": "v.txt", "sha256": sha256, "terms": 5},
        "reference": {
            "source": "metadata",
            "sha256": sha256,
            "images": 3,
            "images_without": 0,
            "keywords": 9,
            "known_to_tagger": "never",
        },
        "expectations": {"sha256": sha256, "images": 3, "groups": 3, "met": 3},
    }
    rewrite(project.path, "first", {"verification": used})
    (project.path / "v.txt").write_text("boat", "utf-8")

    plain = run("--setup-from", "first")
    given = run("--setup-from", "first", "--setup-vocabulary=v.txt", "--setup-expectations=none")

    vocabulary = "the entry used the vocabulary v.txt (5 terms), which is not given: --setup-vocabulary FILE"
    reference = "the entry used the keywords in the metadata of its images, *: --setup-reference metadata"
    expectations = "the entry used expectations of 3 images, which are not given: --setup-expectations FILE"
    plain.assert_outcomes(passed=11)
    plain.stdout.fnmatch_lines([vocabulary, reference, expectations])
    given.stdout.fnmatch_lines([reference])
    given.stdout.no_fnmatch_line("the entry used the vocabulary*")
    given.stdout.no_fnmatch_line("the entry used expectations*")


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        (
            {},
            ["--setup-from", "other"],
            "--setup-from: no entry 'other' in *; `pytest-setups list` shows all",
        ),
        ({}, ["--setup-from", "../first"], "--setup-from: no entry *"),
        ({}, ["--setup-from", "first", "--setup-launch"], "--setup-launch needs a command, or *"),
        (
            {"server": {"command": "vllm serve m --api-key [hidden]"}},
            ["--setup-from", "first", "--setup-launch"],
            (
                "the command was recorded without the secret in --api-key: fill it in and type "
                "--setup-launch 'vllm serve m --api-key SECRET'"
            ),
        ),
        (
            {"tagger": {"max_new_tokens": -1}},
            ["--setup-from", "first"],
            "--setup-from first: max_new_tokens: *greater than or equal to 1*",
        ),
        (
            {"verification": {"status": "fine"}},
            ["--setup-from", "first"],
            "--setup-from: *first.json: $.*status*",
        ),
    ],
)
def test_an_entry_that_cannot_be_repeated_is_a_usage_error(
    project: pytest.Pytester, change: dict[str, Any], arguments: list[str], said: str
) -> None:
    write_by_hand(project.path, "http://127.0.0.1:9/v1")
    rewrite(project.path, "first", change)

    result = project.runpytest(*arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
    no_traceback_of_ours(result)


def test_the_real_server_is_known_by_itself_and_started_again(project: pytest.Pytester) -> None:
    project.runpytest("--setup-demo", "--record", "--setup-slug", "first").assert_outcomes(passed=11)

    again = project.runpytest("--setup-from", "first", "--setup-launch", "--record", "--setup-slug", "second")

    again.assert_outcomes(passed=11)
    first, second = (entries(project.path)[slug] for slug in ("first", "second"))
    assert first["model"]["format"] == "gguf"
    assert first["model"]["quantization"] == "F16"
    assert first["model"]["vision"] is True
    assert Path(first["model"]["local_path"]).name == "toy-vlm.gguf"
    assert first["server"]["version"]
    assert first["server"]["flags"]["ctx-size"] == 2048
    assert first["server"]["context_length"] == 2048
    assert "<|im_start|>" in first["server"]["chat_template"]
    assert first["server"]["ready_s"] > 0
    assert first["environment"]["server"]["packages"]["xllamacpp"]
    assert second["server"]["command"] == first["server"]["command"]
    assert len(set(fingerprints(project.path).values())) == 1
