"""The language that outputs must be in: asked for in the prompts, and judged in the answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from benchmarks.language_detection import CORPORA, DETECTORS, load_corpus, wrong_verdicts
from pytest_setups import Registry
from tests.conftest import Run, entries, no_traceback_of_ours, only_entry, recorded_measurements
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing
from tests.taggers import tagger

WITH_ALPHABETS: Final = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "ru", "uk", "ja", "zh")
ROOT: Final = Path(__file__).parents[1]
OUTPUTS: Final = load_corpus(CORPORA["outputs"])
Chat = Callable[[Ask], Reply]


def texts(stage: str, language: str) -> list[str]:
    """Three texts of the corpus in that language, the longest first."""
    rows = [row.text for row in OUTPUTS if (row.stage, row.language) == (stage, language)]
    return sorted(rows, key=len, reverse=True)[:3]


def answering(caption: str, keywords: str | None = None, description: str | None = None) -> Chat:
    """A model that answers each stage in the language of this code, whatever it is asked for."""
    languages = {
        "caption": caption,
        "keywords": keywords or caption,
        "description": description or caption,
    }
    pictures: dict[bytes | None, int] = {}

    def chat(ask: Ask) -> Reply:
        if ask.body["temperature"] == 0:  # the vision proof
            return seeing(ask)
        nth = pictures.setdefault(ask.picture, len(pictures)) % 3
        text = texts(ask.stage, languages[ask.stage])[nth]
        if ask.stage == "keywords":
            text = json.dumps({"keywords": text.split(", ")}, ensure_ascii=False)
        return completion(text, prompt_tokens=300 if ask.picture else 100)

    return chat


def failed_checks(project: pytest.Pytester) -> Counter[tuple[str, str]]:
    """How many outputs failed, by stage and check."""
    return Counter(
        (line["stage"], failure["check"])
        for line in recorded_measurements(project.path)
        for failure in line["failures"]
    )


def test_captions_obey_and_keywords_do_not(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    server.chat = answering("de", keywords="en")
    result = run("--setup-language", "de", "--setup-warmup=0", "--record-failed")
    result.assert_outcomes(passed=8, failed=3)
    assert failed_checks(project) == {("keywords", "language"): 3}
    result.stdout.fnmatch_lines(
        ["language: German expected, but this is English: 'tulips, garden, spring, *'"]
    )
    assert "language" in only_entry(project.path)["verification"]["checks"]


def test_a_model_that_answers_in_english_all_the_same(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = answering("en")
    run("--setup-language", "fr", "--record-failed").assert_outcomes(passed=2, failed=9)
    assert failed_checks(project) == {
        (stage, "language"): 3 for stage in ("caption", "keywords", "description")
    }
    assert (
        "French expected, but this is English" in only_entry(project.path)["verification"]["failure_reason"]
    )


@pytest.mark.parametrize("language", WITH_ALPHABETS)
def test_outputs_in_the_right_language_pass(run: Run, server: Scripted, language: str) -> None:
    server.chat = answering(language)
    run("--setup-language", language).assert_outcomes(passed=11)


def test_each_stage_may_have_a_language_of_its_own(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = answering("en", keywords="de")
    options = ("--setup-language", "en", "--setup-language", "keywords=de")
    run(*options, "--record").assert_outcomes(passed=11)
    prompts = {ask.stage: ask.prompt for ask in server.asks if ask.body["temperature"]}
    assert "every keyword in German" in prompts["keywords"]
    assert "the caption in English" in prompts["caption"]
    assert only_entry(project.path)["tagger"]["language"] == {
        "caption": "en",
        "keywords": "de",
        "description": "en",
    }


def test_an_expectation_of_a_picture_wins(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    expected = '["cat.jpg"]\nlanguage = "fr"\n["boats.jpg".caption]\nlanguage = "en"'
    (project.path / "sample_images/expectations.toml").write_text(expected)
    server.chat = answering("de")
    run("--record-failed").assert_outcomes(passed=7, failed=4)
    assert failed_checks(project) == {
        ("caption", "language"): 2,
        ("keywords", "language"): 1,
        ("description", "language"): 1,
    }
    result = run("--setup-language", "de")
    result.assert_outcomes(passed=7, failed=4)
    result.stdout.fnmatch_lines(["language: French expected, but this is German: *"])


def test_only_the_keywords_have_a_language(run: Run, server: Scripted) -> None:
    server.chat = answering("fr", keywords="de")
    run("--setup-language", "keywords=de").assert_outcomes(passed=11)
    assert not [ask for ask in server.asks if ask.stage != "keywords" and "German" in ask.prompt]


@pytest.mark.parametrize("place", ["ini", "environment"])
def test_the_language_of_a_project(
    run: Run, project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == "ini":
        project.makepyprojecttoml('[tool.pytest.ini_options]\nsetup_language = ["de", "keywords=en"]')
        (project.path / "tox.ini").unlink()
    else:
        monkeypatch.setenv("SETUP_LANGUAGE", os.pathsep.join(["de", "keywords=en"]))
    server.chat = answering("de", keywords="en")
    run().assert_outcomes(passed=11)
    assert any("the caption in German" in ask.prompt for ask in server.asks)
    before = len(server.asks)
    run("--setup-language", "").assert_outcomes(passed=11)
    assert not any("German" in ask.prompt for ask in server.asks[before:])


def test_without_a_language_the_prompts_and_the_entry_are_as_before(
    run: Run, project: pytest.Pytester
) -> None:
    run("--record").assert_outcomes(passed=11)
    run("--record", "--setup-language", "en").assert_outcomes(passed=11)
    first, second = entries(project.path).values()
    assert first["tagger"]["language"] is None
    assert "language" not in first["verification"]["checks"]
    assert "English" not in json.dumps(first["tagger"]["prompts"])
    assert second["tagger"]["prompts"]["caption"].endswith("commentary. Write the caption in English.")
    registry = Registry(project.path / "registry")
    deciding = [registry.load(slug).deciding()["tagger"] for slug in sorted(registry.slugs())]
    assert "language" not in deciding[0]
    assert deciding[1]["language"] == dict.fromkeys(("caption", "keywords", "description"), "en")


PROFILE = """
caption = "Beschreibe {language}."
keywords = "An array named keywords[, in {language}|, in any language]. Not [this]."
description = "More of it. Caption: {caption}"
"""


def test_a_users_own_prompts_name_the_language(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    (project.path / "mine.toml").write_text(PROFILE)
    server.chat = answering("it")
    run("--setup-prompts", "mine.toml", "--setup-language", "it").assert_outcomes(passed=11)
    prompts = {ask.stage: ask.prompt for ask in server.asks if ask.body["temperature"]}
    assert prompts["caption"] == "Beschreibe Italian."
    assert prompts["keywords"] == "An array named keywords, in Italian. Not [this]."
    refused = run("--setup-prompts", "mine.toml")
    refused.stderr.fnmatch_lines(
        ["ERROR: --setup-prompts: *mine.toml: 'caption' contains {language}, and no language is *CODE, or *"]
    )
    run("--setup-prompts", "mine.toml", "--setup-language", "caption=it").assert_outcomes(passed=11)
    assert "An array named keywords, in any language. Not [this]." in {ask.prompt for ask in server.asks}


def test_a_system_message_has_one_language(run: Run, server: Scripted) -> None:
    server.chat = answering("de")
    run("--setup-prompts", "archive", "--setup-language", "de").assert_outcomes(passed=11)
    systems = {json.dumps(ask.body["messages"][0]) for ask in server.asks}
    assert all("plain German" in system for system in systems)
    refused = run("--setup-prompts", "archive", "--setup-language", "keywords=de")
    refused.stderr.fnmatch_lines(["ERROR: --setup-prompts: archive: the system message names one language*"])
    no_traceback_of_ours(refused)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            ["german"],
            "'german' is not the ISO 639-1 code of a known language; German is de; known are af, ar,*",
        ),
        (["pt-BR"], "'pt-BR' is not*; Portuguese is pt; *"),
        (["deu"], "'deu' is not*known are*"),
        (
            ["keywords=xx"],
            "'xx' is not the ISO 639-1 code of a known language; known are *; got 'keywords=xx'",
        ),
        (
            ["title=de"],
            "'title' is not a stage: type caption=CODE, keywords=CODE, description=CODE, or only CODE*",
        ),
        (["de", "en"], "de and en are both for all stages: type de and, for one stage, such as keywords=en*"),
        (["keywords=de", "keywords=en"], "keywords is given two languages: leave one of them out*"),
    ],
)
def test_a_mistake_says_what_to_type(run: Run, typed: list[str], said: str) -> None:
    result = run(*(f"--setup-language={item}" for item in typed))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --setup-language: {said}"])
    no_traceback_of_ours(result)


def test_an_entry_is_verified_again_in_its_language(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat = answering("es")
    run("--setup-language", "es", "--record", "--setup-slug", "first").assert_outcomes(passed=11)
    again = ("--setup-from", "first", "--record", "--setup-slug")
    project.runpytest(*again, "second").assert_outcomes(passed=11)
    registry = Registry(project.path / "registry")
    assert registry.load("first").fingerprint() == registry.load("second").fingerprint()
    server.chat = answering("en")
    project.runpytest("--setup-from", "first").assert_outcomes(passed=2, failed=9)

    refused = project.runpytest(*again, "third", "--setup-language", "fr")

    refused.stderr.fnmatch_lines(["ERROR: --setup-from: its prompts were sent as they are in the entry, *"])
    server.chat = answering("fr")
    project.runpytest(
        *again, "third", "--setup-language", "fr", "--setup-prompts", "default"
    ).assert_outcomes(passed=11)
    assert "in French" in entries(project.path)["third"]["tagger"]["prompts"]["caption"]


def test_workers_judge_alike(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    server.chat = answering("de", keywords="en")
    run("--setup-language", "de", "-n", "2", "--record-failed").assert_outcomes(passed=8, failed=3)
    assert failed_checks(project) == {("keywords", "language"): 3}


TAGGER = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
for name in ("images", "output", "language", "keywords"):
    parser.add_argument(f"--{name}")
options = parser.parse_args()
assert (options.language, options.keywords) == ("fr", "fr")
records = [
    {"image": str(path), "caption": f"Un bateau près de la rivière, numéro {number}.",
     "keywords": ["boat", "river", "morning light", "harbour", f"picture {number}"],
     "description": f"Le bateau est amarré à la rive depuis {number} jours. La lumière est douce."}
    for number, path in enumerate(sorted(pathlib.Path(options.images).iterdir()))
]
pathlib.Path(options.output).write_text("\\n".join(map(json.dumps, records)))
"""


def test_a_tagger_command_is_given_the_language(run: Run, project: pytest.Pytester) -> None:
    program = project.makepyfile(my_tagger=TAGGER)
    command = (
        f"{sys.executable} {program} --images {{images}} --output {{output}} --language {{language}} "
        "--keywords {keywords_language}"
    )
    result = run("--setup-tagger-command", command, "--setup-language", "fr", "--record-failed")
    result.assert_outcomes(passed=9, failed=3)
    result.stdout.fnmatch_lines(["language: French expected, but this is English: 'boat, river*"])
    assert only_entry(project.path)["tagger"]["language"]["keywords"] == "fr"

    run("--setup-tagger-command", command).stderr.fnmatch_lines(
        ["ERROR: --setup-tagger-command contains {keywords_language}: add --setup-language CODE"]
    )
    mixed = run("--setup-tagger-command", command, "--setup-language=fr", "--setup-language=keywords=de")
    mixed.stderr.fnmatch_lines(["ERROR: --setup-tagger-command contains {language}, and its stages have *"])
    run(*tagger()).assert_outcomes(passed=12)


def test_a_python_tagger_and_own_checks_know_the_language(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        class Mine:
            def __init__(self, language): self.language = language
            def caption(self, image): return f"Das Bild {image.name} zeigt ein Boot im Hafen."
            def keywords(self, image): return ["Boot", "Hafen", "Abendlicht", self.language["keywords"]]
            def description(self, image, caption, words): return f"Hier liegt ein Boot, auf {image.name}."
        def pytest_setups_tagger(config, settings): return Mine(settings.language)
        def pytest_setups_check(stage, output, image): return f"seen {output.language} in {stage}"
        """
    )
    result = run("--setup-language", "de", "-k", "keywords and cat")
    result.stdout.fnmatch_lines(["own:conftest: seen de in keywords", "*'Boot, Hafen, Abendlicht, de'"])


@pytest.fixture
def without_detector(tmp_path: Path) -> dict[str, str]:
    """The environment of an interpreter that has every installed package but the detector."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("lingua") and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}


def test_without_the_extra_a_message_says_what_to_install(
    project: pytest.Pytester, server: Scripted, without_detector: dict[str, str]
) -> None:
    def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
        # -S: no other packages than those on the path of this environment.
        command = [sys.executable, "-S", "-m", "pytest", "--setup-base-url", server.url, *arguments]
        return subprocess.run(
            command, env=without_detector, cwd=project.path, capture_output=True, text=True, check=False
        )

    done = run_pytest("--setup-language", "de")

    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    needed = "--setup-language needs a language detector, which is not installed"
    assert done.stderr.strip() == f"ERROR: {needed}: pip install 'pytest-setups[language]'"
    assert server.asks == []
    assert "11 passed" in run_pytest().stdout


@pytest.mark.parametrize("corpora", [("outputs", "held-out"), ("honest",)])
def test_at_most_one_verdict_in_a_hundred_is_wrong(corpora: tuple[str, ...]) -> None:
    rows = [row for corpus in corpora for row in load_corpus(CORPORA[corpus])]
    assert len(rows) >= 500
    wrong = wrong_verdicts(rows, DETECTORS["lingua"].load())
    assert wrong.right_failed <= 0.01
    assert wrong.other_passed <= 0.01


def test_names_are_of_no_language() -> None:
    assert wrong_verdicts(load_corpus(CORPORA["names"]), DETECTORS["lingua"].load()).right_failed <= 0.3
