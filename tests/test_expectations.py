"""Expectations: what a person knows of a picture, and its outputs must say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import (
    Command,
    Run,
    draw,
    entries,
    no_traceback_of_ours,
    only_entry,
    recorded_measurements,
)
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing
from tests.taggers import tagger

ROOT: Final = Path(__file__).parent.parent
SAID = {
    "caption": "Two wooden boats rest on a calm river.",
    "keywords": '{"keywords": ["boats", "river", "red car", "frame %s"]}',
    "description": "The boats are moored at frame %s. A man's hat lies on a life-jacket.",
}
Say = Callable[..., None]
Expect = Callable[[str], None]


@pytest.fixture
def say(server: Scripted) -> Say:
    """Let the model give these outputs for every picture, made different by a number where ``%s`` is."""

    def script(**texts: str) -> None:
        numbers: dict[bytes, int] = {}

        def chat(ask: Ask) -> Reply:
            if ask.stage not in texts or ask.body["temperature"] == 0:
                return seeing(ask)
            number = numbers.setdefault(ask.picture or b"", len(numbers))
            return completion(texts[ask.stage].replace("%s", str(number)), prompt_tokens=300)

        server.chat = chat

    script(**SAID)
    return script


@pytest.fixture
def expect(project: pytest.Pytester) -> Expect:
    """Write ``expectations.toml`` beside the sample images."""

    def write(text: str) -> None:
        (project.path / "sample_images/expectations.toml").write_text(text, "utf-8")

    return write


MET = '["boats.jpg"]\nmust = [["boat", "ship"], ["river", "harbour"]]\nmust_not = ["cat"]\n'
MISSED = '["boats.jpg"]\nmust = [["boat", "ship"], ["lake", "sea"]]\nmust_not = ["car"]\n'


@pytest.mark.usefixtures("say")
def test_a_picture_with_expectations_has_a_test_of_its_own(
    run: Run, expect: Expect, project: pytest.Pytester
) -> None:
    expect(MET)
    result = run("-v", "--record")
    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines([
        "setup::test_expectations[[]boats.jpg] PASSED*",
        "coverage: 2 of 2 groups of expected words are met (1.000)",
        "recorded: *",
    ])  # fmt: skip
    verification = only_entry(project.path)["verification"]
    assert verification["figures"]["coverage"] == 1.0
    recorded = verification["expectations"]
    assert len(recorded.pop("sha256")) == 64
    assert recorded == {"images": 1, "groups": 2, "met": 2}
    assert "expectations" in verification["checks"]
    (judged,) = [m for m in recorded_measurements(project.path) if m["expectations"]]
    assert (judged["image"], judged["stage"]) == ("boats.jpg", "description")
    assert judged["expectations"]["met"] == 2


@pytest.mark.usefixtures("say")
def test_what_is_missing_and_what_must_not_be_said_fails_the_run(
    run: Run, expect: Expect, project: pytest.Pytester
) -> None:
    expect(MISSED)
    result = run("--record", "--record-failed")
    result.assert_outcomes(passed=11, failed=1)
    reason = (
        'boats.jpg: none of "lake", "sea" in caption, keywords or description; '
        '"car" must not be said, keywords have it'
    )
    result.stdout.fnmatch_lines([
        reason,
        "caption: 'Two wooden boats rest on a calm river.'",
        "keywords: 'boats, river, red car, frame *'",
        "description: *The boats are moored at frame *",
        "coverage: 1 of 2 groups of expected words are met (0.500)",
        f"failed: expectations: 1 of 1 are not met; {reason}",
        "recorded: *",
    ])  # fmt: skip
    entry = only_entry(project.path)
    assert entry["verification"]["status"] == "failed"
    assert reason in entry["verification"]["failure_reason"]


def test_nothing_is_asked_for_it(run: Run, expect: Expect, server: Scripted) -> None:
    run("--setup-warmup=0")
    before = len(server.asks)
    expect("[defaults]\nmust = ['frame']")
    server.asks.clear()
    run("--setup-warmup=0").assert_outcomes(passed=14)
    assert len(server.asks) == before


@pytest.mark.parametrize("how", [("-n", "2"), ("--setup-concurrency=2",)], ids=["workers", "threads"])
def test_it_judges_what_was_measured_when_images_are_tagged_at_the_same_time(
    how: tuple[str, ...], run: Run, expect: Expect, server: Scripted, project: pytest.Pytester
) -> None:
    expect("[defaults]\nmust = ['frame', 'falls']")
    run("--setup-warmup=0", "--record", *how).assert_outcomes(passed=14)
    assert len([ask for ask in server.asks if ask.body["temperature"] != 0]) == 9
    assert only_entry(project.path)["verification"]["figures"]["coverage"] == 1.0


def test_every_sample_is_judged(run: Run, expect: Expect, project: pytest.Pytester) -> None:
    expect("['cat.jpg']\nmust = ['frame']")
    result = run("-v", "--setup-repeat=2", "--record")
    result.assert_outcomes(passed=22)
    result.stdout.fnmatch_lines(["setup::test_expectations[[]cat.jpg] P*", "*_expectations[[]cat.jpg-2] P*"])
    assert only_entry(project.path)["verification"]["expectations"]["groups"] == 2


def test_selected_by_itself_it_asks_for_what_it_judges(run: Run, expect: Expect, server: Scripted) -> None:
    expect("[defaults]\nmust = ['frame']")
    run("-k", "test_expectations and cat", "--setup-warmup=0").assert_outcomes(passed=1, deselected=13)
    assert [ask.stage for ask in server.asks] == ["caption", "keywords", "description"]
    server.asks.clear()
    result = run("-k", "test_expectations and cat", "--setup-concurrency=2", "--setup-warmup=0", "--record")
    result.assert_outcomes(passed=1, deselected=13)
    assert [ask.stage for ask in server.asks] == ["caption", "keywords", "description"]
    result.stdout.fnmatch_lines(["not recorded: *; test_expectations did not run for 2 of 3 images"])


def test_before_the_stages_it_judges_what_they_then_record(
    run: Run, expect: Expect, server: Scripted, project: pytest.Pytester
) -> None:
    expect("[defaults]\nmust = ['frame']")
    project.makeconftest(
        "import pytest\n"
        "@pytest.hookimpl(trylast=True)\n"
        "def pytest_collection_modifyitems(items): items.sort(key=lambda item: (\n"
        "    item.nodeid.partition('[')[2], 'expect' not in item.nodeid))"
    )
    run("--setup-warmup=0", "--record").assert_outcomes(passed=14)
    assert len([ask for ask in server.asks if ask.body["temperature"] != 0]) == 9


@pytest.mark.usefixtures("say")
def test_a_rerun_judges_the_outputs_that_are_recorded(run: Run, expect: Expect, server: Scripted) -> None:
    expect(MISSED)
    result = run("--reruns=1", "--setup-warmup=0", "-p", "no:xdist")
    result.assert_outcomes(passed=11, failed=1)
    assert len([ask for ask in server.asks if ask.body["temperature"] != 0]) == 9


def test_without_a_server_it_fails_like_the_others(run: Run, expect: Expect, server: Scripted) -> None:
    expect(MET)
    server.routes["/v1/models"] = Reply(b"{}", 500)
    result = run()
    result.assert_outcomes(failed=12)
    no_traceback_of_ours(result)


def test_an_image_without_a_caption_is_judged_by_the_rest(run: Run, expect: Expect, say: Say) -> None:
    expect("['boats.jpg']\nmust = ['river']\n['boats.jpg'.caption]\nmust = ['boat']")
    say(**SAID | {"caption": ""})
    result = run("-k", "boats")
    result.stdout.fnmatch_lines(['boats.jpg: no "boat" in caption', "caption: none", "keywords: 'boats, *"])


def test_expectations_of_one_stage_and_of_all_pictures(run: Run, expect: Expect, say: Say) -> None:
    say(**SAID)
    expect("""
        [defaults]
        max_keywords = 3
        must = ["river"]
        must_not = ["car", "watermark"]
        [defaults.description]
        must_not = ["calm"]

        ["cat.jpg"]
        max_keywords = 4
        must = [["red car"]]
        ["cat.jpg".description]
        must = [["life jacket"]]
        ["rocket.jpg".keywords]
        must = [["life jacket"]]
    """)
    result = run("-v")
    result.stdout.fnmatch_lines([
        "setup::test_expectations[[]boats.jpg] FAILED*",
        "setup::test_expectations[[]cat.jpg] PASSED*",  # its own "red car" is more than the defaults' "car"
        "setup::test_expectations[[]rocket.jpg] FAILED*",
        'boats.jpg: "car" must not be said, keywords have it; 4 keywords, at most 3 are expected',
        'rocket.jpg: no "life jacket" in keywords; "car" must not be said, keywords have it; 4 keywords, *',
    ])  # fmt: skip


DOTLESS_I = "\u0131"
MATCHING = [  # expected, said, language
    ("boat", "Two BOATS rest", "en"),
    ("child", "children playing", "en"),
    ("leaf", "spiny leaves", "en"),
    ("run", "a cat running", "en"),
    ("life jacket", "an orange life-jacket", "en"),
    ("life jacket", "two lifejackets", "en"),
    ("red-cup", "a red cup", "en"),
    ("red cup", "#red_cup", "en"),
    ("boat", "the boat\u2019s mast", "en"),
    ("piñata", "a pinata", "en"),
    ("pinata", "A PIÑATA", "en"),
    ("Haus", "zwei alte Häuser", "de"),
    ("bateau", "les bateaux sur l'eau", "fr"),
    ("eau", "les bateaux sur l'eau", "fr"),
    ("лодка", "две лодки на реке", "ru"),
    (f"{DOTLESS_I}ş{DOTLESS_I}k", "IŞIKLAR", "tr"),
    ("नाव", "नदी में नावें", "hi"),
    ("船", "川に船が浮かぶ", "ja"),
    ("เรือ", "มีเรือในแม่น้ำ", "th"),
    ("배", "배가 강에 있다", "ko"),
    ("סירה", "סירה בנהר", "he"),
]
DIFFERENT = [
    ("photographer", "an old photograph", "en"),
    ("farmer", "a farm", "en"),
    ("car", "a cart, a scar and a carpet", "en"),
    ("life jacket", "a jacket for life", "en"),
    ("año", "un ano", "es"),
    ("Katze", "eine Hauskatze", "de"),
    ("船", "猫が眠る", "ja"),
    ("배", "배경이 흐리다", "ko"),
]


def expect_in_caption(expect: Expect, say: Say, word: str, said: str, language: str) -> None:
    say(**SAID | {"caption": said})
    expect(f"['boats.jpg'.caption]\nlanguage = '{language}'\nmust = ['{word}']")


@pytest.mark.parametrize("case", MATCHING, ids="-".join)
def test_words_are_matched_with_their_inflections(
    case: tuple[str, str, str], run: Run, expect: Expect, say: Say
) -> None:
    expect_in_caption(expect, say, *case)
    run("-k", "test_expectations").assert_outcomes(passed=1, deselected=11)


@pytest.mark.parametrize("case", DIFFERENT, ids="-".join)
def test_words_are_never_matched_inside_others(
    case: tuple[str, str, str], run: Run, expect: Expect, say: Say
) -> None:
    expect_in_caption(expect, say, *case)
    run("-k", "test_expectations").assert_outcomes(failed=1, deselected=11)


MISTAKES = [
    ('["boats.jpg"]\nmustt = ["boat"]', '["boats.jpg"] mustt: unknown key; did you mean must?'),
    ('["boat.jpg"]\nmust = ["boat"]', '["boat.jpg"]: no picture has this name; did you mean ["boats.jpg"]?'),
    ('[boats.jpg]\nmust = ["boat"]', '[boats.jpg] needs quotation marks: type ["boats.jpg"]'),
    (
        'must = ["boat"]',
        'must is outside a table: put it below [defaults] or a picture such as ["boats.jpg"]',
    ),
    (
        '["boats.jpg"]\nmust = "boat"',
        '["boats.jpg"] must: got \'boat\'; type must = [["boat", "ship"], ["river"]]',
    ),
    (
        '["boats.jpg"]\nmust = [["boat", 3]]',
        '["boats.jpg"] must: got 3; type must = [["boat", "ship"], ["river"]]',
    ),
    ('["boats.jpg"]\nmust = [[]]', '["boats.jpg"] must: an empty group; type must = *'),
    ('["boats.jpg"]\nmust = ["!"]', "[\"boats.jpg\"] must: '!' has no letter and no digit; type must = *"),
    ('["boats.jpg"]\nmust_not = [["car"]]', '["boats.jpg"] must_not: got [\'car\']; type must_not = ["car"]'),
    ('["boats.jpg"]\nmax_keywords = 0', '["boats.jpg"] max_keywords: got 0; type max_keywords = 20'),
    (
        '["boats.jpg"]\nlanguage = "english"',
        "[\"boats.jpg\"] language: 'english' is not the ISO 639-1 code of a known language; English is en; *",
    ),
    (
        '["boats.jpg"]\nmust = ["car"]\nmust_not = ["car"]',
        "[\"boats.jpg\"] 'car' is in must and in must_not: remove it from one of them",
    ),
    ('["boats.jpg".captoin]\nmust = ["a"]', '["boats.jpg"] captoin: unknown key; did you mean caption?'),
    (
        '["boats.jpg".caption]\nmax_keywords = 3',
        '["boats.jpg"] caption.max_keywords: unknown key; the keys are must, must_not, language',
    ),
    ("[default]\nlanguage = 'en'", '["default"]: no picture has this name; did you mean [defaults]?'),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[str(n) for n in range(len(MISTAKES))])
def test_a_mistake_names_the_file_the_picture_the_key_and_what_to_type(
    text: str, message: str, run: Run, expect: Expect, project: pytest.Pytester
) -> None:
    expect(text)
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    file = project.path / "sample_images/expectations.toml"
    result.stderr.fnmatch_lines([f"ERROR: {file}: {message.replace('[', '[[]')}"])
    no_traceback_of_ours(result)


def test_all_mistakes_are_named_at_once(run: Run, expect: Expect, project: pytest.Pytester) -> None:
    expect('["boats.jpg"]\nmustt = ["boat"]\nmax_keywords = 0\n["cat.jpg"]\nmust = [[]]')
    result = run()
    file = project.path / "sample_images/expectations.toml"
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.errlines if line] == [
        f'ERROR: {file}: ["boats.jpg"] max_keywords: got 0; type max_keywords = 20',
        f'{file}: ["boats.jpg"] mustt: unknown key; did you mean must?',
        f'{file}: ["cat.jpg"] must: an empty group; type must = [["boat", "ship"], ["river"]]',
    ]
    expect('["boat.jpg"]\nmust = ["boat"]\n["cats.jpg"]\nmust = ["cat"]')
    assert [line.rpartition("; ")[2] for line in run().errlines if line] == [
        'did you mean ["boats.jpg"]?',
        'did you mean ["cat.jpg"]?',
    ]


@pytest.mark.parametrize(
    "text", [b"must", b"\xff\xfe", b"a = " + b"[" * 100_000], ids=["cut", "bytes", "deep"]
)
def test_a_file_that_is_not_toml(text: bytes, run: Run, project: pytest.Pytester) -> None:
    (project.path / "sample_images/expectations.toml").write_bytes(text)
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *expectations.toml is not TOML: *"])
    no_traceback_of_ours(result)


def test_a_file_that_is_named_wins(run: Run, expect: Expect, project: pytest.Pytester) -> None:
    expect("nonsense")
    (project.path / "mine.toml").write_text("['cat.jpg']\nmust = ['frame']")
    result = run("-v", "--setup-expectations=mine.toml")
    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines(["setup::test_expectations[[]cat.jpg] PASSED*"])
    run("--setup-expectations=none").assert_outcomes(passed=11)
    result = run("--setup-expectations=mien.toml")
    result.stderr.fnmatch_lines(["ERROR: *mien.toml cannot be read: No such file or directory"])


def test_the_environment_and_the_ini_file_name_it_too(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.path / "mine.toml").write_text("['cat.jpg']\nmust = ['frame']")
    project.makeini("[pytest]\nsetup_expectations = mine.toml")
    run().assert_outcomes(passed=12)
    monkeypatch.setenv("SETUP_EXPECTATIONS", "none")
    run().assert_outcomes(passed=11)


def test_each_picture_belongs_to_the_nearest_file(run: Run, expect: Expect, project: pytest.Pytester) -> None:
    draw(project.path / "sample_images/2024/dog.jpg", "gold")
    draw(project.path / "more/cat.jpg", "teal")
    expect("[defaults]\nmust = ['frame']\n['cat.jpg']\nmust = ['cucumber']")
    (project.path / "sample_images/2024/expectations.toml").write_text("['dog.jpg']\nmust = ['giraffe']")
    (project.path / "more/expectations.toml").write_text("['cat.jpg']\nmust_not = ['frame']")
    result = run("-k", "test_expectations", "--setup-images=sample_images", "--setup-images=more")
    result.assert_outcomes(passed=2, failed=3, deselected=17)
    result.stdout.fnmatch_lines_random([
        'sample_images/cat.jpg: no "cucumber" in *',
        'dog.jpg: no "giraffe" in *',
        'more/cat.jpg: "frame" must not be said, *',
    ])  # fmt: skip


def test_a_table_in_a_file_that_is_not_the_nearest_is_a_mistake(
    run: Run, expect: Expect, project: pytest.Pytester
) -> None:
    draw(project.path / "sample_images/2024/dog.jpg", "gold")
    expect("['2024/dog.jpg']\nmust = ['dog']")
    run("--co").assert_outcomes()
    (project.path / "sample_images/2024/expectations.toml").write_text("['dog.jpg']\nmust = ['giraffe']")
    result = run("--co")
    result.stderr.fnmatch_lines(
        ['ERROR: *: [[]"2024/dog.jpg"]: */2024/expectations.toml is nearer to this *']
    )


def test_two_pictures_of_one_name_need_their_folders(run: Run, project: pytest.Pytester) -> None:
    for folder in ("a", "b"):
        draw(project.path / folder / "cat.jpg", "gold")
    (project.path / "mine.toml").write_text("['cat.jpg']\nmust = ['x']")
    result = run("--setup-images=a", "--setup-images=b", "--setup-expectations=mine.toml")
    message = 'several pictures have this name: type ["a/cat.jpg"] or ["b/cat.jpg"]'
    result.stderr.fnmatch_lines([f'ERROR: *: [[]"cat.jpg"]: {message.replace("[", "[[]")}'])


def test_a_run_of_one_picture_does_not_mind_the_others(run: Run, expect: Expect) -> None:
    expect(MET + "['cat.jpg']\nmust = ['frame']")
    run("--setup-images=sample_images/cat.jpg").assert_outcomes(passed=6)


@pytest.mark.usefixtures("say")
def test_a_bound_accepts_some_misses_and_no_forbidden_word(
    run: Run, expect: Expect, project: pytest.Pytester
) -> None:
    expect(MISSED.replace('"car"', '"cat"'))
    result = run("--setup-fail-if=coverage:0.5", "--record")
    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines([
        "coverage: 1 of 2 groups of expected words are met (0.500)",
        'not said: boats.jpg: none of "lake", "sea" in caption, keywords or description',
        "recorded: *",
    ])  # fmt: skip
    result = run("--setup-fail-if=coverage:0.9", "--record")
    result.assert_outcomes(passed=12)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["failed: coverage is below coverage:0.9: 1 of 2 groups * are met (0.500)"])
    expect(MISSED)
    result = run("--setup-fail-if=coverage:0.5")
    result.assert_outcomes(passed=11, failed=1)
    result.stdout.fnmatch_lines(['boats.jpg: "car" must not be said, keywords have it'])
    assert len(entries(project.path)) == 1


@pytest.mark.usefixtures("say")
def test_a_comparison_has_it_before_and_after(run: Run, expect: Expect, say: Say) -> None:
    expect(MET)
    run("--record").assert_outcomes(passed=12)
    say(
        **SAID
        | {"caption": "Two carts at %s.", "keywords": '["river", "cart", "%s"]', "description": "Carts %s!"}
    )
    result = run("--setup-baseline=latest", "--setup-fail-if=coverage:0.9")
    result.stdout.fnmatch_lines(["coverage *1.000 *0.500 *-0.500 *0.9 *breach"])
    expect(MET.replace("ship", "vessel"))
    result = run("--setup-baseline=latest", "--setup-fail-if=coverage:0.5")
    result.stdout.fnmatch_lines(["coverage * - *0.500 *other expectations *0.5 *ok"])


def test_a_python_tagger_is_judged(run: Run, expect: Expect, project: pytest.Pytester) -> None:
    expect("[defaults]\nmust = ['light']\nmust_not = ['boats']")
    project.makeconftest("""
        from pytest_setups import Tagging
        class Mine:
            def tag(self, image):
                name = image.path.stem
                return Tagging(image, f"A {name}.", (name, "light", "photo"), f"{name} in the light")
        def pytest_setups_tagger(config, settings): return Mine()
    """)
    result = run()
    result.assert_outcomes(passed=13, failed=1)
    result.stdout.fnmatch_lines(['boats.jpg: "boats" must not be said, caption, keywords and description *'])


def test_a_tagger_command_is_judged(run: Run, expect: Expect, project: pytest.Pytester) -> None:
    expect("[defaults]\nmust = ['frame']\n['cat.jpg']\nmust = ['giraffe']")
    result = run(*tagger(), "--record", "--setup-fail-if=coverage:0.7")
    result.assert_outcomes(passed=3 + 9 + 3)
    result.stdout.fnmatch_lines([
        "coverage: 3 of 4 groups of expected words are met (0.750)",
        'not said: cat.jpg: no "giraffe" in caption, keywords or description',
    ])  # fmt: skip
    assert only_entry(project.path)["verification"]["expectations"]["met"] == 3


def test_entries_that_expected_other_words_are_not_rated(
    run: Run, expect: Expect, project: pytest.Pytester, setups: Command
) -> None:
    for words, slug in (("['frame']", "a"), ("['frame', 'falls']", "b")):
        expect(f"[defaults]\nmust = {words}")
        run("--record", f"--setup-slug={slug}")
    registry = f"--registry={project.path / 'registry'}"
    done = setups("diff", "a", "b", "--json", registry)
    outcomes = json.loads(done.out[done.out.index("{\n") :])["outcomes"]
    (coverage,) = [row for row in outcomes if row["name"] == "coverage"]
    assert coverage["change"] is None
    done = setups("compare", "a", "b", registry)
    assert "other expectations" in done.out


def test_a_caption_in_reasoning_was_not_said(run: Run, expect: Expect, say: Say) -> None:
    say(**SAID | {"caption": "<think>A car? No.</think>Two boats."})
    expect("['boats.jpg'.caption]\nmust = ['boat']\nmust_not = ['car']")
    run("-k", "test_expectations").assert_outcomes(passed=1, deselected=11)


def test_github_and_the_report_show_what_is_missing(
    run: Run, expect: Expect, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    expect("['boats.jpg']\nmust = ['giraffe']")
    result = run("--setup-report=r.html")
    result.stdout.fnmatch_lines(["::error title=*expectations of boats.jpg::boats.jpg: no *giraffe*"])
    assert "giraffe" in (project.path / "summary.md").read_text()
    assert "giraffe" in (project.path / "r.html").read_text()


def test_a_draft_from_an_entry_is_met_by_what_the_entry_recorded(
    run: Run, say: Say, project: pytest.Pytester, setups: Command
) -> None:
    say(
        caption="Two boats on a river, \x1b[31m\n#%s.", keywords='["boats", "a \\"red\\" car", "river", "%s"]'
    )
    run("--record").assert_outcomes(passed=11)
    images, file = project.path / "sample_images", project.path / "sample_images/expectations.toml"
    arguments = ["expect", str(images), "--from=served_vllm", f"--registry={project.path / 'registry'}"]
    printed = setups(*arguments)
    assert printed.code == 0
    assert '["boats.jpg"]\nmust = [["boats"], ["river"], ["a \\"red\\" car"]]' in printed.out
    assert "# Two boats on a river, #" in printed.out
    written = setups(*arguments, "-o", str(file))
    assert written.code == 0
    text = file.read_text()
    assert printed.out.endswith(text)
    assert "3 pictures; look at each" in written.out
    run("-k", "test_expectations").assert_outcomes(passed=3, deselected=11)
    again = setups(*arguments, "-o", str(file))
    assert again.code == 2
    assert "exists and is not overwritten: name another file with -o" in again.err
    assert file.read_text() == text


def test_a_draft_leaves_out_keywords_of_most_pictures_and_says_which_it_does_not_know(
    run: Run, say: Say, project: pytest.Pytester, setups: Command
) -> None:
    draw(project.path / "sample_images/dog.jpg", "gold")
    say(keywords='["Sepia", "nature", "subject %s"]')
    run("--record").assert_outcomes(passed=14)
    draw(project.path / "sample_images/new.jpg", "teal")
    registry = f"--registry={project.path / 'registry'}"
    done = setups("expect", str(project.path / "sample_images"), "--from=served_vllm", registry)
    assert "# Left out, because most pictures have them: nature, sepia\n" in done.out
    assert 'must = [["subject 1"]]' in done.out
    assert '# ["new.jpg"]: the entry has no picture of this name' in done.out
    assert "new.jpg: served_vllm has no such picture" in done.err
    (project.path / "other").mkdir()
    draw(project.path / "other/x.jpg", "plum")
    done = setups("expect", str(project.path / "other"), "--from=served_vllm", registry)
    assert (done.code, "served_vllm has none of these pictures" in done.err) == (2, True)
    done = setups("expect", str(project.path / "nowhere"), "--from=served_vllm", registry)
    assert (done.code, "no such file or folder" in done.err) == (2, True)


def test_words_are_matched_in_the_language_that_is_asked_for(run: Run, expect: Expect, say: Say) -> None:
    say(**SAID | {"caption": "Zwei alte Häuser stehen am ruhigen Fluss hinter den Booten."})
    expect("['boats.jpg'.caption]\nmust = ['Haus']")
    arguments = ("-k", "test_expectations")
    run(*arguments, "--setup-language=caption=de").assert_outcomes(passed=1, deselected=11)
    run(*arguments).assert_outcomes(failed=1, deselected=11)


def test_the_sample_pictures_are_told_from_each_other() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/expectations.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"(\d+) of (\d+) +(\d+) of (\d+)  ", done.stdout)
    flagged, right, found, wrong = (sum(map(int, column)) for column in zip(*rows, strict=True))
    assert right > 100
    assert flagged == 0
    assert found / wrong > 0.95


def test_secrets_in_outputs_are_hidden_in_messages(
    run: Run, expect: Expect, say: Say, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "hunter22hunter22")
    say(**SAID | {"caption": "A hunter22hunter22 boat."})
    expect("['boats.jpg'.caption]\nmust = ['river']")
    result = run("--setup-api-key-env=MY_KEY", "--record-failed", "-v")
    assert "hunter22" not in result.stdout.str()
    document: Any = json.dumps(only_entry(project.path))
    assert "hunter22" not in document


@pytest.mark.parametrize(
    "expected", [None, '["boats.jpg"]\nmust_not = ["car"]\n'], ids=["no file", "no groups"]
)
def test_a_bound_on_the_coverage_needs_expected_words(
    run: Run, server: Scripted, expect: Expect, expected: str | None
) -> None:
    if expected is not None:
        expect(expected)

    result = run("--setup-fail-if=coverage:0.9")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --setup-fail-if coverage: no words are expected of these images; *"])
    assert server.asks == []
