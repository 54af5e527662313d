"""Recording: what is written, when, and when not."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from pytest_setups import Registry
from tests.conftest import Run, entries, index_slugs, no_traceback_of_ours
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, events, models, seeing, words


def git(folder: Path, *arguments: str) -> str:
    command = [
        "git",
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@b.c",
        "-c",
        "init.defaultBranch=main",
        *arguments,
    ]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_success_is_recorded_whole(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    command = "nohup uv run vllm serve ~/weights/Qwen --api-key secret123 --port 24001 > log 2>&1 &"
    result = run(
        "--record",
        f"--setup-server-command={command}",
        "--setup-notes=first light",
        "--setup-model-repo=Qwen/Qwen2.5-VL-7B-Instruct",
        "--setup-model-path=~/weights/Qwen",
        "--setup-seed=7",
    )
    result.stdout.fnmatch_lines(["recorded: registry/entries/served_vllm.json", "*11 passed*"])
    entry = entries(project.path)["served_vllm"]
    assert entry["schema_version"] == "1.1"
    assert entry["model"]["repo_id"] == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert entry["model"]["local_path"] == "~/weights/Qwen"
    assert entry["model"]["vision"] is True
    assert entry["server"]["backend"] == "vllm"
    assert entry["server"]["version"] == "0.32.0"
    assert entry["server"]["command"] == command.replace("secret123", "[hidden]")
    assert entry["server"]["command_source"] == "given"
    assert entry["server"]["port"] == server.port
    tagger = entry["tagger"]
    assert tagger["base_url"] == server.url
    assert tagger["command"].startswith("pytest -p no:cacheprovider --setup-base-url http://127.0.0.1:")
    assert tagger["models"] == dict.fromkeys(("caption", "keywords", "description"), "served")
    assert (tagger["max_new_tokens"], tagger["temperature"], tagger["top_p"], tagger["seed"]) == (
        256,
        0.2,
        0.9,
        7,
    )
    assert tagger["prompts"]["profile"] == "default"
    assert tagger["image"] == {"max_edge": 1024, "format": "JPEG", "quality": 90}
    verification = entry["verification"]
    assert verification["status"] == "success"
    assert verification["failure_reason"] is None
    assert verification["date_utc"].endswith("Z")
    assert verification["images_processed"] == 3
    picture = project.path / "sample_images/boats.jpg"
    described = {"name": "boats.jpg", "sha256": hashlib.sha256(picture.read_bytes()).hexdigest()}
    assert verification["images"][0] == described
    assert entry["notes"] == "first light"
    assert entry["environment"]["client"]["packages"]["pytest-setups"]


def test_no_secret_is_kept_wherever_it_was_typed(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_KEY", "opensesame99")
    result = run(
        "--record",
        "--setup-api-key-env=SERVER_KEY",
        "--setup-server-command=VLLM_API_KEY='topsecret1' serve --api-key 'top secret2' --auth opensesame99",
        '--setup-extra-body={"api_key": "topsecret4", "top_k": 5, "user": {"token": "topsecret5"}}',
        "--setup-notes=HF_TOKEN=topsecret6 TOKEN=topsecret7 curl -H 'X-Api-Key: topsecret8'",
    )
    result.stdout.fnmatch_lines(["recorded: *"])
    kept = "".join(path.read_text() for path in (project.path / "registry").rglob("*.json*"))
    assert "secret" not in kept.replace("SECRET", "")
    assert "opensesame" not in kept
    entry = entries(project.path)["served_vllm"]
    assert entry["server"]["command"] == "VLLM_API_KEY=[hidden] serve --api-key [hidden] --auth [hidden]"
    assert entry["tagger"]["extra_body"] == {"api_key": "[hidden]", "top_k": 5, "user": {"token": "[hidden]"}}


@pytest.mark.parametrize(
    "name", ["private_key", "auth", "pwd", "passphrase", "cookie", "bearer", "key", "api_keys"]
)
def test_a_secret_field_of_the_request_is_kept_nowhere(name: str, run: Run, project: pytest.Pytester) -> None:
    body = {"extra_headers": {"X-Mine": "topsecret1"}, name: ["topsecret2"], "nested": {name: "topsecret3"}}
    run("--record", f"--setup-extra-body={json.dumps(body)}").stdout.fnmatch_lines(["recorded: *"])
    kept = "".join(path.read_text() for path in (project.path / "registry").rglob("*.json*"))
    assert "topsecret" not in kept
    hidden = {"extra_headers": {"X-Mine": "[hidden]"}, name: "[hidden]", "nested": {name: "[hidden]"}}
    assert entries(project.path)["served_vllm"]["tagger"]["extra_body"] == hidden


def test_a_secret_of_the_environment_that_the_model_repeats_is_not_kept(
    run: Run, project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "opensesame-of-mine")

    def repeat(ask: Ask) -> Reply:
        said = f"{words(ask)} The sign says opensesame-of-mine."
        return completion(said, prompt_tokens=300) if ask.stage == "description" else seeing(ask)

    server.chat = repeat
    run("--record").stdout.fnmatch_lines(["recorded: *"])
    kept = "".join(path.read_text() for path in (project.path / "registry").rglob("*.json*"))
    assert "The sign says [hidden]." in kept
    assert "opensesame" not in kept


@pytest.mark.parametrize("key", ["success", "caption", "keywords", "m", "served", "vllm", "description"])
def test_a_key_that_is_a_common_word_spoils_no_entry(
    key: str, run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--record", "--setup-slug=plain")
    monkeypatch.setenv("MY_KEY", key)
    run("--record", "--setup-slug=keyed", "--setup-api-key-env=MY_KEY")
    plain, keyed = (entries(project.path)[slug] for slug in ("plain", "keyed"))
    assert keyed["tagger"]["prompts"] == plain["tagger"]["prompts"]
    assert keyed["model"]["served_model_name"] == "served"
    assert keyed["verification"]["status"] == "success"


@pytest.mark.parametrize("name", ["gemma-sk-vision-4b", "hf_internal-tiny", "sk-learn-vision-model"])
def test_a_model_whose_name_begins_like_a_token_keeps_it(
    name: str, run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.routes["/v1/models"] = as_json(models(name))
    run("--record").stdout.fnmatch_lines(["recorded: *"])
    assert entries(project.path)[f"{name}_vllm"]["model"]["served_model_name"] == name


def test_the_command_of_the_tests_can_be_copied(run: Run, project: pytest.Pytester) -> None:
    run(
        "--record",
        "--setup-notes=it's mine",
        "--setup-server-command=vllm serve 'a b' --api-key S3cret -tp 2",
    )
    command = entries(project.path)["served_vllm"]["tagger"]["command"]
    given = {"--setup-notes=it's mine", "--setup-server-command=vllm serve 'a b' --api-key [hidden] -tp 2"}
    assert given <= set(shlex.split(command))


def test_a_session_that_fails_elsewhere_is_no_success(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(
        breaking="""
        import pytest
        @pytest.fixture(autouse=True)
        def _breaks():
            yield
            raise RuntimeError("in a teardown")
        """
    )
    project.syspathinsert()
    result = run("--record-failed", "-p", "breaking")
    result.assert_outcomes(passed=11, errors=11)
    verification = entries(project.path)["served_vllm"]["verification"]
    assert verification["status"] == "failed"
    assert verification["failure_reason"] == "another test failed"


def test_notes_that_cannot_be_decoded_lose_no_run(run: Run, project: pytest.Pytester) -> None:
    run("--record", "--setup-notes=caf\udce9").stdout.fnmatch_lines(["recorded: *"])
    assert entries(project.path)["served_vllm"]["notes"] == "caf?"


def test_half_a_character_in_a_keyword(run: Run, server: Scripted) -> None:
    cut = '{"keywords": ["boat", "sea", "sky", "\\ud83d", "\\u001b[31mred"]}'
    server.chat = lambda ask: completion(cut) if ask.stage == "keywords" else seeing(ask)
    run("-k", "cat").assert_outcomes(passed=3, deselected=8)


def test_listing_asks_and_records_nothing(run: Run, server: Scripted) -> None:
    result = run("--fixtures", "--record")
    result.stdout.no_fnmatch_line("not recorded*")
    assert server.asks == []


def test_the_figures_are_those_of_the_results_file(run: Run, project: pytest.Pytester) -> None:
    run("--record")
    entry = entries(project.path)["served_vllm"]
    results = entry["verification"]["results"]
    data = (project.path / "registry" / results["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == results["sha256"]
    lines = [json.loads(line) for line in data.splitlines()]
    assert len(lines) == results["lines"] == 9
    assert [(line["image"], line["stage"]) for line in lines[:4]] == [
        ("boats.jpg", "caption"),
        ("boats.jpg", "keywords"),
        ("boats.jpg", "description"),
        ("cat.jpg", "caption"),
    ]
    captions = [line["latency_s"] for line in lines if line["stage"] == "caption"]
    stage = entry["performance"]["stages"]["caption"]
    assert stage["n"] == 3
    assert stage["mean_s"] == pytest.approx(sum(captions) / 3, abs=1e-6)
    assert stage["p50_s"] == pytest.approx(sorted(captions)[1], abs=1e-6)
    assert stage["max_s"] == pytest.approx(max(captions), abs=1e-6)
    assert stage["p95_s"] == pytest.approx(sorted(captions)[1] * 0.1 + sorted(captions)[2] * 0.9, abs=1e-6)
    assert stage["output_tokens_per_s"] == pytest.approx(36 / sum(captions), rel=1e-4)
    assert stage["ttft_p50_s"] is None
    total = sum(line["latency_s"] for line in lines)
    assert entry["performance"]["avg_latency_s"] == pytest.approx(total / 3, abs=1e-5)


def test_streaming_measures_the_time_to_first_token(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = lambda ask: events(words(ask)) if ask.picture else events("nothing", usage=False)
    run("--record", "--setup-stream").assert_outcomes(passed=11)
    assert all(ask.body["stream_options"] == {"include_usage": True} for ask in server.asks)
    stage = entries(project.path)["served_vllm"]["performance"]["stages"]["caption"]
    assert 0 < stage["ttft_p50_s"] <= stage["p50_s"]
    assert stage["output_tokens_per_s"] > 0


def test_streams_that_break_off_are_failed_tests(run: Run, server: Scripted) -> None:
    server.chat = lambda _: [b'data: {"choices":[{"delta":{"content":"A boat"}}]}\n\n']
    result = run("--setup-stream", "-k", "caption and cat")
    result.stdout.fnmatch_lines(["server: the stream ended without a finish reason after 6 characters"])
    server.chat = lambda _: [b'data: {"error": {"message": "CUDA out of memory"}}\n\n']
    run("--setup-stream", "-k", "caption and cat").stdout.fnmatch_lines(
        ["server: the server answered with an error: CUDA out of memory"]
    )


def test_a_second_entry_gets_a_name_of_its_own(run: Run, project: pytest.Pytester) -> None:
    run("--record")
    first = (project.path / "registry/entries/served_vllm.json").read_bytes()
    run("--record")
    slugs = list(entries(project.path))
    assert len(slugs) == 2
    assert slugs[0] == "served_vllm"
    assert slugs[1].startswith("served_vllm_20")
    assert index_slugs(project.path) == slugs
    assert (project.path / "registry/entries/served_vllm.json").read_bytes() == first
    loaded = [Registry(project.path / "registry").load(slug) for slug in slugs]
    assert loaded[0].fingerprint() == loaded[1].fingerprint()


def test_an_own_slug(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    run("--record", "--setup-slug=qwen-upgrade").stdout.fnmatch_lines(
        ["recorded: registry/entries/qwen-upgrade.json"]
    )
    before = (project.path / "registry/entries/qwen-upgrade.json").read_bytes()
    server.asks.clear()
    result = run("--record", "--setup-slug=qwen-upgrade")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --setup-slug: * already holds an entry 'qwen-upgrade'; entries are never edited"]
    )
    assert server.asks == []
    assert (project.path / "registry/entries/qwen-upgrade.json").read_bytes() == before


def test_a_failure_is_not_recorded(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    server.chat = lambda ask: completion("!!!!!!!!") if ask.stage == "description" else seeing(ask)
    result = run("--record")
    result.assert_outcomes(passed=8, failed=3)
    result.stdout.fnmatch_lines(
        [
            "failed: 3 of 9 answers are not populated; description of boats.jpg: one-token: one token *",
            "not recorded: only successful runs are recorded; --record-failed keeps the attempt",
        ]
    )
    assert entries(project.path) == {}


def test_a_failed_attempt_may_be_kept(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    server.chat = lambda ask: completion("!!!!!!!!") if ask.stage == "description" else seeing(ask)
    result = run("--record-failed")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["recorded: registry/entries/served_vllm.json"])
    verification = entries(project.path)["served_vllm"]["verification"]
    assert verification["status"] == "failed"
    assert verification["failure_reason"].startswith(
        "3 of 9 answers are not populated; description of boats.jpg"
    )


def test_record_failed_keeps_a_success_as_one(run: Run, project: pytest.Pytester) -> None:
    run("--record-failed")
    assert entries(project.path)["served_vllm"]["verification"]["status"] == "success"


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        (
            ["-k", "caption"],
            "test_models did not run; test_vision did not run; 6 of 9 measurements are missing *",
        ),
        (["--deselect", "setup::test_keywords[cat.jpg]"], "1 of 9 measurements are missing (1 keywords)"),
        (["-k", "not vision"], "test_vision did not run"),
        (["-k", "nothing"], "test_models did not run; test_vision did not run; 9 of 9 measurements *"),
    ],
)
def test_what_is_deselected_records_nothing_and_says_so(
    selection: list[str], reason: str, run: Run, project: pytest.Pytester
) -> None:
    result = run("--record-failed", *selection)
    result.stdout.fnmatch_lines([f"not recorded: {reason}"])
    assert entries(project.path) == {}


def test_a_run_that_stops_early_records_nothing(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    server.chat = lambda ask: completion("") if ask.stage == "keywords" else seeing(ask)
    result = run("--record-failed", "-x")
    result.stdout.fnmatch_lines(["not recorded: 7 of 9 measurements are missing *"])
    assert entries(project.path) == {}


def test_paths_given_record_nothing_and_say_so(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(test_own="def test_own(tagging): pass")
    result = run("--record", "test_own.py")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["not recorded: test_models did not run; *"])


@pytest.mark.skipif(
    os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs a folder nobody can write"
)
def test_a_registry_that_is_not_writable_is_told_before_anything_is_asked(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    (project.path / "registry").write_text("a file, not a folder")
    result = run("--record")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the registry *registry/entries cannot be used: Not a directory"])
    assert server.asks == []
    assert (project.path / "registry").read_text() == "a file, not a folder"
    result = run("--record", "--setup-registry=/proc/setups")
    result.stderr.fnmatch_lines(["ERROR: the registry /proc/setups* cannot be used: *"])


def test_the_git_commit_is_recorded(run: Run, project: pytest.Pytester) -> None:
    git(project.path, "init", "-q")
    git(project.path, "add", ".")
    git(project.path, "commit", "-qm", "photos")
    run("--record")
    git(project.path, "add", "registry")
    run("--record")
    (project.path / "tox.ini").write_text("[pytest]\n# changed\n")
    run("--record")
    found = [entry["verification"] for entry in entries(project.path).values()]
    assert {verification["git_commit"] for verification in found} == {git(project.path, "rev-parse", "HEAD")}
    assert sorted(verification["git_dirty"] for verification in found) == [False, False, True]


@pytest.mark.parametrize("state", ["none", "unborn", "detached", "shallow", "bare HEAD"])
def test_whatever_git_is_like_recording_goes_on(state: str, run: Run, project: pytest.Pytester) -> None:
    reasons = {"none": "not in a git repository", "unborn": "no commit yet"}
    if state != "none":
        git(project.path, "init", "-q")
    if state in {"detached", "shallow"}:
        git(project.path, "commit", "-qm", "one", "--allow-empty")
        git(project.path, "checkout", "-q", "--detach")
    if state == "shallow":
        (project.path / ".git/shallow").write_text(git(project.path, "rev-parse", "HEAD") + "\n")
    if state == "bare HEAD":
        (project.path / ".git/HEAD").write_text("nonsense\n")
    result = run("--record")
    no_traceback_of_ours(result)
    verification = entries(project.path)["served_vllm"]["verification"]
    if state in {"detached", "shallow"}:
        assert verification["git_commit"] == git(project.path, "rev-parse", "HEAD")
    else:
        assert verification["git_commit"] is None
        assert verification["git_reason"].startswith(reasons.get(state, ""))
        assert verification["git_reason"]


def test_a_repository_of_a_foreign_owner(run: Run, project: pytest.Pytester) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to somebody else")
    git(project.path, "init", "-q")
    git(project.path, "add", ".")
    git(project.path, "commit", "-qm", "photos")
    commit = git(project.path, "rev-parse", "HEAD")
    os.chown(project.path / ".git", 1234, 1234)
    os.chown(project.path, 1234, 1234)
    result = run("--record")
    no_traceback_of_ours(result)
    verification = entries(project.path)["served_vllm"]["verification"]
    assert verification["git_commit"] in {commit, None}
    assert verification["git_reason"]


def test_without_a_git_program(run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    git(project.path, "init", "-q")
    monkeypatch.setenv("PATH", str(project.path))
    result = run("--record")
    no_traceback_of_ours(result)
    assert entries(project.path)["served_vllm"]["verification"]["git_commit"] is None


def test_the_summary_shows_each_stage_and_the_slowest_image(run: Run) -> None:
    result = run()
    result.stdout.fnmatch_lines(
        [
            "setups: http://127.0.0.1:* (vllm 0.32.0), model served, 3 images, concurrency 1",
            "stage               n   failed   mean s    p50 s    p95 s    max s   TTFT s tokens/s",
            "caption             3        0 *",
            "keywords            3        0 *",
            "description         3        0 *",
            "slowest image: *.jpg (*s)",
        ]
    )
    result.stdout.no_fnmatch_line("*recorded*")
