from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_setups import cli
from tests.conftest import Run, draw, entries, no_traceback_of_ours
from tests.servers.llama import llama_cpp
from tests.servers.proxy import proxy
from tests.servers.scripted import Ask, Reply, Scripted, completion, events, seeing, words
from tests.taggers import SAMPLES, tagger

OLD = "old/entries/served_vllm.json"
Earlier = Callable[..., None]


@pytest.fixture
def earlier(run: Run, project: pytest.Pytester) -> Earlier:
    """Record the setup, and put it into another registry as it might have been some time ago."""

    def make(*arguments: str, latency_s: float = 1000.0, **changes: dict[str, Any]) -> None:
        result = run("--record", *arguments)
        assert result.ret == 0
        shutil.move(project.path / "registry", project.path / "old")
        path, results = project.path / OLD, project.path / "old/results/served_vllm.jsonl"
        lines = [json.loads(line) | {"latency_s": latency_s} for line in results.read_text().splitlines()]
        results.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        document = json.loads(path.read_text())
        document["verification"]["results"]["sha256"] = hashlib.sha256(results.read_bytes()).hexdigest()
        for part, fields in changes.items():
            document[part] |= fields
        path.write_text(json.dumps(document))

    return make


def other_words(ask: Ask) -> Reply:
    """A server that sees, and says it in another language."""
    if not ask.picture:
        return seeing(ask)
    said = [word[::-1] for word in words(ask).replace('"', "").split()]
    text = json.dumps({"keywords": said}) if ask.stage == "keywords" else " ".join(said)
    return completion(text, prompt_tokens=300)


def test_a_run_like_the_latest_entry_passes_and_says_what_it_was_compared_with(
    run: Run, project: pytest.Pytester
) -> None:
    run("--record")
    bounds = ("--setup-fail-if", "keywords_overlap:0.9", "--setup-fail-if", "caption_similarity:0.9")

    result = run("--record", "--setup-baseline", "latest", *bounds)

    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "figure * before * after * change *",
        "caption populated * 3/3 * 3/3 * ok",
        "caption.p50 *",
        "keywords_overlap * 1.000 * 0.9 * ok",
        "compared with served_vllm (*, vllm 0.32.0): 3 images",
        "recorded: *",
    ])  # fmt: skip
    newest = next(entry for slug, entry in entries(project.path).items() if slug != "served_vllm")
    assert newest["verification"]["baseline"] == "served_vllm"
    assert newest["verification"]["status"] == "success"


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one", "workers"])
def test_a_slower_run_fails_and_names_each_stage(
    run: Run, earlier: Earlier, workers: tuple[str, ...]
) -> None:
    earlier(*workers, latency_s=1e-9)

    result = run("--setup-baseline", OLD, "--setup-fail-if", "p50:20%", "--record", *workers)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines([
        *(f"{part}.p50 * +*% * 20% * breach" for part in ("caption", "keywords", "description", "image")),
        "regression: caption.p50 0.000 -> * s (+*%*) breaks p50:20%",
        "regression: keywords.p50 *",
        "regression: description.p50 *",
        "regression: image.p50 *",
        f"failed: worse than {OLD}: caption.p50, keywords.p50, description.p50, image.p50",
        "not recorded: only successful runs are recorded; --record-failed keeps the attempt",
    ])  # fmt: skip
    no_traceback_of_ours(result)


def test_a_worse_run_is_kept_as_a_failed_attempt_when_that_is_wanted(
    run: Run, project: pytest.Pytester, earlier: Earlier
) -> None:
    earlier(latency_s=1e-9)

    within_the_larger = "caption.mean:20%,5s"
    assert run("--setup-baseline", OLD, "--setup-fail-if", within_the_larger, "--record-failed").ret == 0
    result = run("--setup-baseline", OLD, "--setup-fail-if", "caption.mean:20%,0.001ms", "--record-failed")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    kept = [entry["verification"] for entry in entries(project.path).values()]
    assert sorted(entry["status"] for entry in kept) == ["failed", "success"]
    failed = next(entry for entry in kept if entry["status"] == "failed")
    assert failed["failure_reason"] == f"worse than {OLD}: caption.mean"
    assert failed["baseline"] == OLD
    result = run("--setup-baseline", "latest")
    result.stdout.fnmatch_lines(["compared with served_vllm (*"])


def test_a_faster_run_breaks_no_bound(run: Run, earlier: Earlier) -> None:
    earlier()
    bounds = [
        f"--setup-fail-if={bound}" for bound in ("p50:0%", "mean:0s", "min:1ms", "p95:1%", "tokens_per_s:-1%")
    ]
    assert run("--setup-baseline", OLD, *bounds).ret == 0


def test_other_words_break_the_bound_on_texts(run: Run, server: Scripted, project: pytest.Pytester) -> None:
    run("--record")
    server.chat = other_words

    result = run(
        "--setup-baseline", "served_vllm", "--setup-fail-if=keywords_overlap:0.6", "--record",
        "--setup-fail-if=caption_similarity:0.6", "--setup-fail-if=description_similarity:0.6",
    )  # fmt: skip

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "regression: caption_similarity 0.* (0.*) is below caption_similarity:0.6",
        "regression: keywords_overlap 0.000 (0.00..0.00) is below keywords_overlap:0.6",
        "regression: description_similarity *",
    ])  # fmt: skip
    assert len(entries(project.path)) == 1


def test_an_answer_that_is_no_longer_populated_is_named(run: Run, server: Scripted) -> None:
    run("--record")
    gone = words([ask for ask in server.asks if ask.stage == "caption"][-1])
    server.chat = lambda ask: completion("") if ask.picture and words(ask) == gone else seeing(ask)

    result = run("--setup-baseline", "latest")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "caption populated * 3/3 * 2/3 * breach",
        "regression: caption: 2 of 3 answers are populated, 3 were; lost: *.jpg",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "difference", "name"),
    [
        (("--setup-max-new-tokens", "99"), "tagger.max_new_tokens (256 -> 99)", "tagger.max_new_tokens"),
        (
            ("--setup-server-command", "vllm serve m --max-model-len 8192"),
            "server.flags.max-model-len (4096 -> 8192)",
            "server.flags",
        ),
        (("--setup-prompts", "concise"), "tagger.prompts.caption (*", "tagger"),
        (
            ("--setup-images=sample_images/cat.jpg",),
            "verification.images (3 images, with boats.jpg, rocket.jpg -> 1 images)",
            "verification.images",
        ),
    ],
    ids=["setting", "flag", "prompts", "images"],
)
def test_another_setup_is_not_comparable_and_says_by_what(
    run: Run, server: Scripted, arguments: tuple[str, ...], difference: str, name: str
) -> None:
    run("--record", "--setup-server-command", "vllm serve m --max-model-len 4096")
    if "--setup-server-command" not in arguments:
        arguments = (*arguments, "--setup-server-command", "vllm serve m --max-model-len 4096")
    asked = sum(ask.stage == "keywords" for ask in server.asks)

    result = run("--setup-baseline", "served_vllm", *arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = f"ERROR: not comparable with served_vllm: *{difference}*--setup-baseline-allow {name}*"
    result.stderr.fnmatch_lines([message.replace("[", "[[]")])
    assert sum(ask.stage == "keywords" for ask in server.asks) == asked
    latest = run("--setup-baseline", "latest", *arguments)
    assert latest.ret == pytest.ExitCode.USAGE_ERROR
    latest.stderr.fnmatch_lines(["ERROR: no success of this setup *the nearest, served_vllm, differs in *"])
    for baseline in ("served_vllm", "latest"):
        allowed = run("--setup-baseline", baseline, *arguments, "--setup-baseline-allow", name)
        assert allowed.ret == 0
        allowed.stdout.fnmatch_lines(["compared with served_vllm *"])


def test_times_are_judged_only_on_the_same_hardware(run: Run, earlier: Earlier) -> None:
    other = {"client": {}, "server": {"cpu": "another processor", "threads": 2}}
    earlier(latency_s=1e-9, environment=other)
    timed = ("--setup-baseline", OLD, "--setup-fail-if", "p50:20%")

    refused = run(*timed)
    allowed = run(*timed, "--setup-baseline-allow", "environment")
    untimed = run("--setup-baseline", OLD, "--setup-fail-if", "keywords_overlap:0.6")

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(
        ["ERROR: not comparable with *environment.server.cpu (another processor -> *"]
    )
    assert allowed.ret == pytest.ExitCode.TESTS_FAILED
    allowed.stdout.fnmatch_lines(["regression: caption.p50 *"])
    assert untimed.ret == 0
    assert "caption.p50     " in str(untimed.stdout)
    assert "%" not in next(line for line in untimed.outlines if line.startswith("caption.p50"))


def test_times_at_another_concurrency_do_not_compare(run: Run) -> None:
    run("--record")

    result = run("--setup-baseline", "latest", "--setup-concurrency", "2", "--setup-fail-if", "p50:20%")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*performance.concurrency (1 -> 2)*"])


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("served_vlm", "no entry 'served_vlm' in *registry; the nearest: served_vllm"),
        ("gone/entries/x.json", "gone/entries/x.json cannot be read: No such file or directory"),
        ("broken.json", "broken.json cannot be a baseline: not JSON*"),
        ("hand.json", "hand.json cannot be a baseline: it names no results file, *record it again"),
        (
            "old/entries/failed.json",
            "not comparable with old/entries/failed.json: verification.status (failed ->*",
        ),
        ("old/entries/edited.json", "*results/edited.jsonl: checksum mismatch; restore the file"),
        ("old/entries/bare.json", "*old/results/bare.jsonl cannot be read: No such file or directory"),
    ],
)
def test_a_baseline_that_cannot_be_used_is_reported_before_anything_is_measured(
    run: Run, project: pytest.Pytester, server: Scripted, baseline: str, message: str
) -> None:
    run("--record")
    (project.path / "broken.json").write_text("{")
    document = json.loads((project.path / "registry/entries/served_vllm.json").read_text())
    results = (project.path / "registry/results/served_vllm.jsonl").read_text()
    for name in ("failed", "edited", "bare"):
        document["verification"]["results"]["file"] = f"results/{name}.jsonl"
        document["verification"]["status"] = "failed" if name == "failed" else "success"
        write(project.path / f"old/entries/{name}.json", json.dumps(document))
    write(project.path / "old/results/failed.jsonl", results)
    write(project.path / "old/results/edited.jsonl", results.replace("true", "false", 1))
    document["verification"]["results"] = None
    write(project.path / "hand.json", json.dumps(document))
    asked = sum(ask.stage == "keywords" for ask in server.asks)

    result = run("--setup-baseline", baseline)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    no_traceback_of_ours(result)
    assert sum(ask.stage == "keywords" for ask in server.asks) == asked


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_there_must_be_a_latest(run: Run) -> None:
    result = run("--setup-baseline", "latest")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no success of this setup with these images in *: record one first"])


def test_an_entry_from_the_future_is_not_the_latest(run: Run, project: pytest.Pytester) -> None:
    run("--record")
    run("--record", "--setup-slug", "ahead")
    path = project.path / "registry/entries/ahead.json"
    document = json.loads(path.read_text())
    document["verification"]["date_utc"] = "2999-12-31T00:00:00Z"
    path.write_text(json.dumps(document))

    result = run("--setup-baseline", "latest")
    (project.path / "registry/entries/served_vllm.json").unlink()
    without = run("--setup-baseline", "latest")

    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "compared with served_vllm (*",
        "skipped ahead: its date, 2999-12-31, is in the future",
    ])  # fmt: skip
    assert without.ret == pytest.ExitCode.USAGE_ERROR
    without.stderr.fnmatch_lines(["ERROR: no success of this setup *; skipped ahead: *in the future"])


def test_a_part_of_a_run_is_not_compared_and_does_not_pass(run: Run) -> None:
    run("--record")

    result = run("--setup-baseline", "latest", "-k", "caption", "--setup-fail-if", "p50:20%")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["not compared: test_models did not run; *6 of 9 measurements are missing*"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--setup-fail-if", "p50:20%"), "--setup-fail-if p50:20% needs a baseline: *"),
        (("--setup-baseline-allow", "server"), "--setup-baseline-allow needs a baseline: *"),
        (
            ("--setup-baseline=x", "--setup-fail-if", "p51:20%"),
            "*unknown figure 'p51'; the figures are min, mean, *",
        ),
        (("--setup-baseline=x", "--setup-fail-if", "p50"), "*'p50' is not a bound: type FIGURE:LIMIT*"),
        (("--setup-baseline=x", "--setup-fail-if", "p50:fast"), "*'fast' is not a limit*"),
        (("--setup-baseline=x", "--setup-fail-if", "p50:0.5"), "*p50 is in s; type p50:20% or p50:0.5s*"),
        (("--setup-baseline=x", "--setup-fail-if", "p50:-20%"), "*p50 is worse when it rises*"),
        (("--setup-baseline=x", "--setup-fail-if", "p50:20%,30%"), "*at most one relative limit*"),
        (("--setup-baseline=x", "--setup-fail-if", "tokens_per_s:15%"), "*worse when it falls*"),
        (("--setup-baseline=x", "--setup-fail-if", "tokens_per_s:-100%"), "*cannot fall by 100 %*"),
        (("--setup-baseline=x", "--setup-fail-if", "output_tokens:-20%,3"), "*need the same sign*"),
        (("--setup-baseline=x", "--setup-fail-if", "keywords_overlap:1.5"), "*from 0 to 1*"),
        (("--setup-baseline=x", "--setup-baseline-allow", "flags"), "*'flags' is not a field of an entry; *"),
        (
            ("--setup-baseline=x", "--setup-fail-if", "image.min:10%"),
            "*of whole images image.mean, image.p50*",
        ),
        (("--setup-baseline=x", "--setup-fail-if", "ttft:20%"), "*'ttft:20%': *only with --setup-stream*"),
        (
            (*tagger(), "--setup-baseline=x", "--setup-fail-if", "min:20%"),
            "*'min:20%': a tagger command does not measure single stages; type image.mean*",
        ),
        (("--setup-repeat", "0"), "--setup-repeat: *greater than or equal to 1*"),
        (
            ("--setup-repeat", "2", "--setup-tagger-command", f"{sys.executable} {{images}} {{output}}"),
            "--setup-repeat: a tagger command tags every picture once; *",
        ),
    ],
)
def test_a_mistake_says_what_to_type(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_bounds_in_an_ini_file_wait_for_a_baseline(
    run: Run, project: pytest.Pytester, earlier: Earlier
) -> None:
    earlier(latency_s=1e-9)
    project.makeini("[pytest]\nsetup_fail_if =\n    caption.p50:20%\n    keywords.p50:20%\n")

    assert run().ret == 0
    result = run("--setup-baseline", OLD, "--setup-baseline-allow=performance.client_delay")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["failed: worse than *: caption.p50, keywords.p50"])


def test_a_figure_that_was_not_measured_does_not_pass(run: Run, server: Scripted) -> None:
    run("--record")
    server.chat = lambda ask: events(words(ask)) if ask.body["stream"] else seeing(ask)

    result = run(
        *("--setup-baseline", "latest", "--setup-fail-if", "ttft:20%", "--setup-stream"),
        *("--setup-baseline-allow", "tagger.stream"),
    )

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["regression: ttft:20% cannot be judged: its figure was not measured in both runs"]
    )


def test_every_stage_is_sampled_as_often_as_asked(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    result = run("--setup-repeat", "2", "--record", "-v")

    result.assert_outcomes(passed=2 + 18)
    names = [line.split()[0] for line in result.outlines if line.startswith("setup::test_caption")]
    assert [name.partition("[")[2] for name in names] == [
        *("boats.jpg]", "cat.jpg]", "rocket.jpg]"), *("boats.jpg-2]", "cat.jpg-2]", "rocket.jpg-2]"),
    ]  # fmt: skip
    (entry,) = entries(project.path).values()
    assert entry["performance"]["stages"]["caption"]["n"] == 6
    assert entry["performance"]["repeat"] == 2
    assert entry["verification"]["images_processed"] == 3
    lines = (project.path / "registry/results/served_vllm.jsonl").read_text().splitlines()
    assert [(json.loads(line)["image"], json.loads(line)["sample"]) for line in lines[:6]] == [
        *[("boats.jpg", 1)] * 3, *[("boats.jpg", 2)] * 3,
    ]  # fmt: skip
    project.runpytest("registry").assert_outcomes(passed=4, skipped=2)
    again = run("--setup-from", "served_vllm", "--setup-baseline", "latest", "-n", "2")
    again.assert_outcomes(passed=20)
    again.stdout.fnmatch_lines(["compared with served_vllm *: 3 images x 2 samples"])
    assert sum(ask.stage == "keywords" for ask in server.asks) == 12


def test_tests_of_a_user_are_not_repeated(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile("def test_mine(tagging): assert tagging.caption")

    run("--setup-repeat", "3", "test_tests_of_a_user_are_not_repeated.py").assert_outcomes(passed=3)


def test_samples_of_one_picture_may_say_the_same(run: Run) -> None:
    assert run("--setup-repeat", "2", "--setup-concurrency", "3").ret == 0


def test_the_image_is_judged_where_a_tagger_reports_no_stages(run: Run) -> None:
    asked = tagger()
    assert run(*asked, "--record").ret == 0

    result = run(*asked, "--setup-baseline", "latest", "--setup-fail-if", "p50:900%")

    assert result.ret == 0
    (row,) = [line for line in result.outlines if ".p50" in line]
    assert row.split()[0] == "image.p50"
    assert row.split()[-2:] == ["900%", "ok"]


def test_another_tagger_command_is_not_comparable(run: Run, server: Scripted) -> None:
    run(*tagger(), "--record")
    asked = len(server.asks)

    result = run(*tagger(fault="slow"), "--setup-baseline", "latest")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no success of this setup *differs in tagger.program (*"])
    assert len(server.asks) == asked + 1  # the warm-up


def test_other_models_of_a_tagger_are_found_at_the_end(run: Run, project: pytest.Pytester) -> None:
    program = project.makepyfile(
        telling="""
        import json, os, pathlib, sys
        images, output = map(pathlib.Path, sys.argv[1:])
        with output.open("w") as file:
            for path in sorted(images.iterdir()):
                name = path.stem
                record = {"image": path.name, "caption": f"A {name} rests.", "keywords": [name, "sea", "sky"],
                          "description": f"The {name} lies in the evening light.", "duration_seconds": 1.0,
                          "models": {stage: os.environ["MODEL"] for stage in ("caption", "keywords")}}
                file.write(json.dumps(record) + "\\n")
    """
    )
    asked = ("--setup-tagger-command", f"{sys.executable} {program} {{images}} {{output}}")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MODEL", "one")
        run(*asked, "--record")
        same = run(*asked, "--setup-baseline", "latest")
        environment.setenv("MODEL", "another")
        other = run(*asked, "--setup-baseline", "latest", "--record")

    assert same.ret == 0
    assert other.ret == pytest.ExitCode.USAGE_ERROR
    other.stdout.fnmatch_lines(
        ["not compared: not comparable with *: tagger.models.caption (one -> another)*"]
    )
    assert len(entries(project.path)) == 1


def test_the_last_word_on_the_entry_counts(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("""
        def pytest_setups_modify_entry(config, entry):
            model = entry.model.model_copy(update={"repo_id": "ann/boats"})
            return entry.model_copy(update={"model": model})
    """)
    run("--record")

    result = run("--setup-baseline", "latest")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["compared with served_vllm *"])


def test_github_and_junit_show_the_comparison(
    run: Run, project: pytest.Pytester, earlier: Earlier, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier(latency_s=1e-9)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))

    result = run("--setup-baseline", OLD, "--setup-fail-if", "caption.p50:20%", "--junitxml", "j.xml")

    result.stdout.fnmatch_lines(["::error title=pytest-setups::regression: caption.p50 *"])
    summary = (project.path / "summary.md").read_text()
    assert "Setup: failed" in summary
    assert "### Against the baseline" in summary
    junit = (project.path / "j.xml").read_text()
    assert 'name="setup.baseline" value="old/entries/served_vllm.json"' in junit
    assert 'name="setup.caption.p50.change"' in junit
    assert 'name="setup.verdict" value="failed"' in junit


def test_the_report_has_the_comparison(run: Run, project: pytest.Pytester, earlier: Earlier) -> None:
    earlier(latency_s=1e-9, server={"version": "0.31.0"})

    run("--setup-baseline", OLD, "--setup-fail-if", "caption.p50:20%", "--setup-report", "r.html")

    page = (project.path / "r.html").read_text()
    assert "Against the baseline" in page
    assert "worse than old/entries/served_vllm.json: caption.p50" in page
    assert "caption, baseline: median 0.000 s" in page
    assert "server.version: 0.31.0 -&gt; 0.32.0" in page


def test_a_report_from_the_registry_stands_beside_its_baseline(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    run("--record")
    run("--record", "--setup-slug", "newer", "--setup-baseline", "latest")

    with pytest.raises(SystemExit) as stop:
        cli.main(["report", "newer"])

    assert not stop.value.code
    page = (project.path / "newer.html").read_text()
    assert "Against the baseline" in page
    assert "compared with served_vllm" in page


def test_noise_cannot_be_estimated_from_one_picture(run: Run, server: Scripted) -> None:
    single = ("--setup-images=sample_images/cat.jpg",)
    run("--record", *single)
    server.chat = other_words

    result = run(*single, "--setup-baseline", "latest", "--setup-fail-if", "keywords_overlap:0.6")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    bound = "regression: keywords_overlap 0.000 is below keywords_overlap:0.6"
    result.stdout.fnmatch_lines([f"{bound}, but noise cannot be estimated from one image: *"])


def test_pictures_of_one_name_are_not_paired(run: Run, project: pytest.Pytester) -> None:
    run("--record")
    draw(project.path / "sample_images/cat.jpg", "black")
    allowed = ("--setup-baseline-allow", "verification.images")

    some = run("--setup-baseline", "served_vllm", *allowed)
    for name, colour in (("boats", "grey"), ("rocket", "teal")):
        draw(project.path / f"sample_images/{name}.jpg", colour)
    none = run("--setup-baseline", "served_vllm", *allowed)

    some.stdout.fnmatch_lines(["compared with served_vllm *: 2 images"])
    assert none.ret == pytest.ExitCode.USAGE_ERROR
    none.stdout.fnmatch_lines(["not compared: *: the two have no picture in common"])


def test_a_baseline_in_the_ini_file_can_be_left_out(run: Run, project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nsetup_baseline = unknown\nsetup_fail_if = p50:20%\n")

    assert run().ret == pytest.ExitCode.USAGE_ERROR
    assert run("--setup-baseline=").ret == 0


@pytest.mark.parametrize("option", ["--record", "--setup-baseline=latest", "--setup-fail-if=p50:20%"])
def test_an_option_of_a_run_needs_a_server(pytester: pytest.Pytester, option: str) -> None:
    pytester.makepyfile("def test_mine(): pass")

    result = pytester.runpytest(option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option.partition('=')[0]} needs a server: add --setup-base-url *"])


def test_github_sees_what_was_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    result = run("--setup-baseline", "unknown")

    result.stdout.fnmatch_lines(["::error title=pytest-setups::no entry 'unknown' in *"])


def test_more_pictures_are_compared_on_those_that_both_have(run: Run, project: pytest.Pytester) -> None:
    run("--record")
    draw(project.path / "sample_images/moon.jpg", "grey")

    result = run("--setup-baseline", "served_vllm", "--setup-baseline-allow", "verification.images")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["compared with served_vllm *: 3 images"])


def test_a_real_server_that_became_slower_is_detected(project: pytest.Pytester) -> None:
    for path in (project.path / "sample_images").iterdir():
        path.unlink()
    for path in sorted(SAMPLES.glob("*.jpg"))[:7]:
        shutil.copy(path, project.path / "sample_images")
    texts = ("--setup-fail-if", "keywords_overlap:0.9")
    with llama_cpp() as upstream, proxy(upstream) as before:
        common = (
            *("--setup-base-url", before.url, "--setup-repeat", "2", "--setup-temperature", "0"),
            *("--setup-server-command", "llama-server"),
        )
        recorded = project.runpytest(*common, "--record")
        compared = (*common, "--setup-baseline", "latest", *texts, "--setup-fail-if")
        same = project.runpytest(*compared, "min:1000%")
        before.slowdown = 9.0
        slower = project.runpytest(*compared, "min:20%")

    assert (recorded.ret, same.ret, slower.ret) == (0, 0, 1)
    same.stdout.fnmatch_lines(["compared with toy-vlm_llama.cpp (*): 7 images x 2 samples"])
    slower.stdout.fnmatch_lines([
        f"regression: {stage}.min * breaks min:20%" for stage in ("caption", "keywords", "description")
    ])  # fmt: skip
