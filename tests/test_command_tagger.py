"""A tagger command: the program that people run every day, verified and recorded."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_setups import Entry
from tests.conftest import (
    Run,
    draw,
    entries,
    index_slugs,
    no_traceback_of_ours,
    only_entry,
    recorded_measurements,
)
from tests.servers.scripted import Scripted, completion
from tests.taggers import SAMPLES, STANDIN, tagger

HERE = Path(__file__).parent
PICTURES = f"{sys.executable} {HERE}/taggers/pictures.py {{images}} {{output}}"
TAGGER_REQUESTS = 9  # three stages of three images


def tagger_requests(server: Scripted) -> int:
    """How many requests the tagger sent; those of the plugin itself carry every sampling parameter."""
    return sum("top_p" not in ask.body for ask in server.asks)


def tagger_folder(result: pytest.RunResult) -> Path:
    """The folder of the command's output and log, as the terminal names it."""
    (line,) = [line for line in result.outlines if line.startswith("tagger: the command took")]
    return Path(line.partition("; log: ")[2]).parent


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_command_that_people_run_is_verified_and_recorded(run: Run, project: pytest.Pytester) -> None:
    result = run(*tagger(), "--record", "--setup-max-new-tokens", "64", "--setup-temperature", "0.7")
    result.assert_outcomes(passed=3 + 9)
    entry = only_entry(project.path)
    assert entry["verification"]["status"] == "success"
    assert "tagger" in entry["verification"]["checks"]
    assert index_slugs(project.path) == ["served_vllm"]
    command = entry["tagger"]["command"]
    folder = command.partition("--input-dir ")[2].partition("/images ")[0]
    base_url = entry["tagger"]["base_url"]
    assert command == (
        f"{sys.executable} {HERE}/taggers/standin.py --input-dir {folder}/images --base-url {base_url} "
        "--caption-model served --keyword-model served --description-model served "
        f"--output-jsonl {folder}/output.jsonl --summary {folder}/summary.md --max-new-tokens 64"
    )
    assert entry["tagger"]["program"] == STANDIN
    assert (Path(folder) / "summary.md").read_text() == "# done\n"
    assert not (Path(folder) / "images").exists()


def test_settings_that_the_command_does_not_use_are_not_recorded(run: Run, project: pytest.Pytester) -> None:
    run(*tagger(f"{PICTURES} paths"), "--record", "--setup-temperature", "0.7").assert_outcomes(passed=12)
    tagged = only_entry(project.path)["tagger"]
    assert tagged.pop("command").startswith(sys.executable)
    assert tagged.pop("program") == f"{PICTURES} paths"
    assert tagged.pop("models") == {}
    assert set(tagged.values()) == {None}


def test_an_entry_that_names_no_base_url_needs_it_again(run: Run, project: pytest.Pytester) -> None:
    command = tagger(f"{PICTURES} paths")
    run(*command, "--record", "--setup-slug=own").assert_outcomes(passed=12)

    for arguments in ((), command):
        result = project.runpytest("--setup-from=own", *arguments)

        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["ERROR: the entry own names no base URL: add --setup-base-url http://HOST:PORT/v1"]
        )
        no_traceback_of_ours(result)
    run("--setup-from=own", *command).assert_outcomes(passed=12)


def test_a_model_that_the_tagger_names_itself_is_recorded(run: Run, project: pytest.Pytester) -> None:
    hard_coded = STANDIN.replace("{keywords_model}", "another")
    run(*tagger(hard_coded), "--record").assert_outcomes(passed=12)
    models = only_entry(project.path)["tagger"]["models"]
    assert models == {"caption": "served", "keywords": "another", "description": "served"}


def test_images_have_times_and_stages_have_none(run: Run, project: pytest.Pytester) -> None:
    result = run(*tagger(), "--record")
    result.stdout.re_match_lines(
        [
            r"caption +3 +0( +-){6}$",
            r"image +3 +0( +\d\.\d{3}){4}( +-){2}$",
            "slowest image: .*",
            "tagger: .*",
        ]
    )
    lines = recorded_measurements(project.path)
    seconds = {line["image"]: line["image_s"] for line in lines}
    assert len(lines) == 9
    assert {line["latency_s"] for line in lines} == {None}
    performance = only_entry(project.path)["performance"]
    assert performance["avg_latency_s"] == pytest.approx(sum(seconds.values()) / 3, abs=1e-5)
    assert performance["image"]["n"] == 3
    assert performance["image"]["max_s"] == max(seconds.values())
    assert performance["stages"]["caption"]["n"] == 0
    assert performance["stages"]["caption"]["mean_s"] is None
    assert performance["images_per_s"] is performance["concurrency"] is None


def test_a_tagger_that_writes_no_duration_has_no_latency(run: Run, project: pytest.Pytester) -> None:
    run(*tagger(f"{PICTURES} paths"), "--record").stdout.fnmatch_lines(["no answer was measured"])
    assert only_entry(project.path)["performance"]["avg_latency_s"] is None


def test_the_fingerprint_is_of_the_command_and_not_of_its_folders(run: Run, project: pytest.Pytester) -> None:
    for folder, form in (("a", "paths"), ("b", "paths"), ("c", "names")):
        result = run(*tagger(f"{PICTURES} {form}"), "--record", f"--basetemp={folder}")
        result.assert_outcomes(passed=12)
    recorded = [Entry.model_validate(entry) for entry in entries(project.path).values()]
    assert len({entry.tagger.command for entry in recorded}) == 3
    assert len({entry.fingerprint() for entry in recorded}) == 2


def test_other_fields_of_a_record_are_kept(run: Run, project: pytest.Pytester) -> None:
    run(*tagger(), "--record")
    extra = recorded_measurements(project.path)[0]["extra"]
    assert extra["notes"] == "no-meta: metadata skipped"
    assert extra["metadata_written"] is False
    assert extra["models"] == {"caption": "served", "keywords": "served"}


@pytest.mark.parametrize("form", ["names", "paths"])
def test_the_folder_holds_copies_of_the_chosen_pictures(
    run: Run, project: pytest.Pytester, form: str
) -> None:
    draw(project.path / "other/boats.jpg", "green")
    chosen = [
        project.path / name
        for name in ("sample_images/boats.jpg", "sample_images/cat.jpg", "other/boats.jpg")
    ]
    before = {hashlib.sha256(path.read_bytes()).hexdigest() for path in chosen}
    arguments = [part for path in chosen for part in ("--setup-images", str(path))]
    run(*tagger(f"{PICTURES} {form}"), "--record", *arguments).assert_outcomes(passed=12)
    seen = {line["image"]: line["extra"]["sha256"] for line in recorded_measurements(project.path)}
    assert set(seen) == {"cat.jpg", "other/boats.jpg", "sample_images/boats.jpg"}
    assert set(seen.values()) == before
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in chosen} == before


def test_a_real_server_and_its_pictures(project: pytest.Pytester) -> None:
    shutil.rmtree(project.path / "sample_images")
    for name in ("nagasaki-boats.jpg", "rocket-launch-exif-rotated.jpg", "house-cat-in-motion.jpg"):
        (project.path / "sample_images").mkdir(exist_ok=True)
        shutil.copy(SAMPLES / name, project.path / "sample_images")
    result = project.runpytest("--setup-demo", "--record", *tagger())
    result.assert_outcomes(passed=12)
    entry = only_entry(project.path)
    assert entry["server"]["backend"] == "llama.cpp"
    assert entry["verification"]["vision"]["seen"] is True
    assert entry["performance"]["avg_latency_s"] > 0


def test_a_server_that_does_not_see_fails_whatever_the_tagger_writes(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = lambda _: completion("A boat on a river.", prompt_tokens=50)
    result = run(*tagger(f"{PICTURES} paths"), "--record")
    result.assert_outcomes(passed=11, failed=1)
    assert entries(project.path) == {}


FAULTS = {
    "stage": (1, "tagger: caption_error: HTTP 500 from the server; no-meta: metadata skipped"),
    "exit": (
        10,
        "the tagger's command: exit status 1\nthe tagger's output: {output} was not written\nits last lines:",
    ),
    "die": (
        4,
        "no record of rocket.jpg in the tagger's output; the command: exit status 1; its last line: Runtime",
    ),
    "nothing": (10, "the tagger's output: {output} was not written"),
    "garbage": (10, "the tagger's output: line 1 is not JSON: '<html>502 Bad Gateway</html>'"),
    "twice": (3, "the tagger's output: 2 records of this image: lines 1 and 4"),
    "stranger": (
        1,
        "the tagger's output: line 4 names an image that is not in {images}: 'somebody-else.jpg'",
    ),
    "huge": (1, "the tagger's output: line 4 is longer than 1 MiB"),
    "late-exit": (1, "the tagger's command: exit status 3"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_tagger_that_goes_wrong_fails_tests(run: Run, project: pytest.Pytester, fault: str) -> None:
    failed, reason = FAULTS[fault]
    result = run(*tagger(fault=fault), "--record-failed")
    result.assert_outcomes(passed=12 - failed, failed=failed)
    assert reason in result.stdout.str()
    no_traceback_of_ours(result)
    entry = only_entry(project.path)
    assert entry["verification"]["status"] == "failed"
    assert reason.partition("\n")[0].removeprefix("no record of rocket") in entry["verification"][
        "failure_reason"
    ] or (fault in {"die", "twice"})


def test_a_tagger_that_hangs_is_stopped_with_its_children(run: Run) -> None:
    result = run(*tagger(fault="sleep"), "--setup-tagger-timeout", "1", "-k", "tagger or boats")
    result.assert_outcomes(failed=4, deselected=8)
    result.stdout.fnmatch_lines(["the tagger's command: not done within 1 s", "hanging"])
    assert not alive(int((tagger_folder(result) / "pids").read_text()))


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_ctrl_c_stops_the_tagger_and_its_children(
    project: pytest.Pytester, server: Scripted, workers: tuple[str, ...]
) -> None:
    process = subprocess.Popen(
        (
            *(sys.executable, "-m", "pytest", "-s", "--basetemp", "temporary", *workers),
            *("--setup-base-url", server.url, *tagger(fault="sleep")),
        ),
        cwd=project.path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "hanging\n" in iter(process.stdout.readline, "")
    child = int((project.path / "temporary/setup-tagger0/pids").read_text())
    child_ended = os.pidfd_open(child)
    process.send_signal(signal.SIGINT)
    assert select.select([child_ended], [], [], 2)[0]
    os.close(child_ended)
    process.communicate()
    assert process.returncode == pytest.ExitCode.INTERRUPTED


def test_a_slow_tagger_has_a_deadline_of_its_own(run: Run, server: Scripted) -> None:
    run(*tagger(fault="slow"), "--setup-timeout", "2").assert_outcomes(passed=12)
    assert tagger_requests(server) == TAGGER_REQUESTS


def test_workers_share_one_run_of_the_command(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    run(*tagger(), "--record").assert_outcomes(passed=12)
    single = only_entry(project.path)
    shutil.rmtree(project.path / "registry")
    server.asks.clear()
    run(*tagger(), "--record", "-n", "2").assert_outcomes(passed=12)
    shared = only_entry(project.path)
    assert tagger_requests(server) == TAGGER_REQUESTS
    for entry in (single, shared):
        del entry["performance"], entry["verification"]["date_utc"], entry["verification"]["results"]
        del entry["tagger"]["command"], entry["verification"]["vision"]["experiments"]
    assert shared == single


def test_the_command_is_run_when_a_test_needs_it(run: Run, server: Scripted) -> None:
    run(*tagger(), "-k", "models or vision").assert_outcomes(passed=2, deselected=10)
    assert tagger_requests(server) == 0
    run(*tagger(), "-k", "description and cat").assert_outcomes(passed=1, deselected=11)
    assert tagger_requests(server) == TAGGER_REQUESTS


def test_reruns_read_the_records_again(run: Run, server: Scripted) -> None:
    result = run(*tagger(fault="stage"), "--reruns", "2", "-p", "no:xdist")
    assert result.parseoutcomes() == {"failed": 1, "passed": 11, "rerun": 2}
    assert tagger_requests(server) == TAGGER_REQUESTS


def test_dash_x_stops_at_the_tagger(run: Run) -> None:
    run(*tagger(fault="exit"), "-x").assert_outcomes(passed=2, failed=1)


def test_a_partial_run_is_not_recorded(run: Run, project: pytest.Pytester) -> None:
    result = run(*tagger(), "--record", "--deselect", "setup::test_tagger")
    result.stdout.fnmatch_lines(["not recorded: test_tagger did not run"])
    assert entries(project.path) == {}


def test_output_is_shown_live_and_kept_without_secrets(run: Run, project: pytest.Pytester) -> None:
    shown = run(*tagger(fault="exit"), "-s", "--record-failed")
    shown.stdout.fnmatch_lines(["3 pictures, api_key=[[]hidden]", "model 'x' is not there", "*= FAILURES =*"])
    log = tagger_folder(shown) / "log.txt"
    assert log.read_text() == "3 pictures, api_key=[hidden]\nmodel 'x' is not there\n"
    written = [path.read_text() for path in (project.path / "registry").rglob("*.json*")]
    assert written
    assert not any("sk-very-secret-value" in text for text in [*written, shown.stdout.str()])


def test_without_dash_s_output_is_not_shown(run: Run) -> None:
    run(*tagger()).stdout.no_fnmatch_line("*3 pictures*")


def test_a_key_in_the_command_is_hidden(run: Run, project: pytest.Pytester) -> None:
    run(*tagger(f"{PICTURES} paths --api-key abc123"), "--record").stdout.no_fnmatch_line("*abc123*")
    tagged = only_entry(project.path)["tagger"]
    assert "abc123" not in json.dumps(tagged)
    assert tagged["command"].endswith("paths --api-key [hidden]")


def test_the_api_key_is_never_shown_or_recorded(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "plainly-a-key")
    result = run(*tagger(f"{PICTURES} leak"), "--record-failed", "-s", "--setup-api-key-env", "MY_KEY")
    result.stdout.fnmatch_lines(["tagger: caption_error: the key [[]hidden] was refused"])
    written = [*(project.path / "registry").rglob("*.json*"), *tagger_folder(result).glob("log.txt")]
    texts = [path.read_text() for path in written]
    assert len(texts) == 4
    assert not any("plainly-a-key" in text for text in [*texts, result.stdout.str()])


def test_private_paths_become_placeholders_when_asked(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(project.path.parent / "ann"))
    shutil.copy(HERE / "taggers/pictures.py", project.path / "mine.py")
    command = f"{sys.executable} {project.path}/mine.py {{images}} {{output}} paths"
    home = os.environ["HOME"]
    private = (
        "--setup-model-path",
        f"{home}/models/qwen",
        "--setup-server-command",
        f"vllm serve {home}/models/qwen",
    )
    run(*tagger(command), "--record", *private, "--setup-redact-paths").assert_outcomes(passed=12)
    entry = only_entry(project.path)
    assert entry["tagger"]["command"] == f"{sys.executable} {{rootdir}}/mine.py {{images}} {{output}} paths"
    assert entry["model"]["local_path"] == "~/models/qwen"
    assert entry["server"]["command"] == "vllm serve ~/models/qwen"
    assert str(project.path.parent) not in json.dumps(entry)


def test_paths_are_exact_unless_asked(run: Run, project: pytest.Pytester) -> None:
    run(*tagger(f"{PICTURES} paths"), "--record", f"--setup-model-path={Path.home()}/models/qwen")
    assert only_entry(project.path)["model"]["local_path"] == f"{Path.home()}/models/qwen"


WRONG = {
    f"{STANDIN} --x {{modell}}": "*unknown placeholder {modell}; known are {images}, {base_url}, {model}, *",
    "true {images}": "*the command is missing {output}, the file that it writes its JSON lines to*",
    "true {output}": "*the command is missing {images}, the folder of the images to tag*",
    f"{STANDIN} > log.txt": "*'>' needs a shell, and the command is run without one: write a script*",
    f"{STANDIN} 2>&1 | tee log": "*'2>&1' needs a shell*",
    "no-such-program {images} {output}": "*'no-such-program' is not a program that can be run*",
    "X=1 true {images} {output}": "*'X=1' is not a program that can be run: set variables before pytest, *",
    "true '{images} {output}": "*not a command: no closing quotation*",
    " ": "*--setup-tagger-command: the command is empty*",
}


@pytest.mark.parametrize("command", WRONG)
def test_a_command_that_cannot_be_run_is_a_usage_error(run: Run, server: Scripted, command: str) -> None:
    result = run(*tagger(command))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([WRONG[command]])
    assert server.asks == []


def test_a_timeout_without_a_command_is_a_usage_error(run: Run) -> None:
    result = run("--setup-tagger-timeout", "5")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--setup-tagger-timeout needs --setup-tagger-command*"])


def test_the_command_may_span_several_lines_of_the_ini_file(
    project: pytest.Pytester, server: Scripted
) -> None:
    project.makeini(f"[pytest]\nsetup_tagger_command = {PICTURES}\n    paths '{{{{images}}}}'")
    project.runpytest("--setup-base-url", server.url, "--record").assert_outcomes(passed=12)
    assert only_entry(project.path)["tagger"]["command"].endswith("/output.jsonl paths '{images}'")


def test_the_tagger_is_not_run_without_a_server(project: pytest.Pytester) -> None:
    result = project.runpytest("--setup-base-url", "http://127.0.0.1:9/v1", *tagger(f"{PICTURES} paths"))
    result.assert_outcomes(failed=12)
    result.stdout.fnmatch_lines(["cannot connect to *", "tagger: the command was not run*"])


def test_what_the_personal_tagger_of_imageworks_wrote(project: pytest.Pytester, server: Scripted) -> None:
    copy = f"{sys.executable} -c 'import shutil, sys; shutil.copy(sys.argv[1], sys.argv[3])'"
    command = f"{copy} {HERE}/answers/personal-tagger.jsonl {{images}} {{output}}"
    images = (f"--setup-images={SAMPLES}",)
    result = project.runpytest("--setup-base-url", server.url, *images, *tagger(command), "--record-failed")
    result.assert_outcomes(passed=3 + 4 * 11, failed=4 * 2)
    result.stdout.fnmatch_lines(["*no record of astronaut.webp in the tagger's output*"])
    assert only_entry(project.path)["performance"]["image"]["n"] == 11
