"""The gate sees pictures: which ones changed most, by which words, and bounds on each of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import unescape

import pytest

from pytest_setups.registry.entry import Stage
from pytest_setups.registry.measurement import Measurement
from pytest_setups.regression.bounds import parse_bound
from pytest_setups.regression.comparison import compare
from pytest_setups.regression.pictures import MAX_SHOWN
from pytest_setups.regression.word_difference import WordChange, keywords_difference, text_difference
from pytest_setups.report import comparison_text, picture_text
from tests.conftest import Command, Run, entries, no_traceback_of_ours
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing

Texts = dict[str, str | list[str]]
Answers = Callable[[Texts], None]

ASTRONAUT: Texts = {
    "caption": "An astronaut in an orange suit.",
    "keywords": ["astronaut", "orange suit", "helmet", "portrait", "flag"],
    "description": "An astronaut in an orange suit smiles. A flag stands behind her.",
}
DIVER: Texts = {
    "caption": "A diver in a yellow dress.",
    "keywords": ["diver", "yellow dress", "helmet", "portrait", "flag"],
    "description": "A diver in a yellow dress smiles. A flag stands behind her.",
}


@pytest.fixture
def subject(server: Scripted) -> Answers:
    """Make the server answer like this for one picture of three, and as before for the others."""
    pictures: list[bytes] = []

    def answer(texts: Texts) -> None:
        def chat(ask: Ask) -> Reply:
            proves_vision = ask.body["temperature"] == 0
            if ask.picture and not proves_vision and not pictures:
                pictures.append(ask.picture)
            if proves_vision or ask.picture not in pictures:
                return seeing(ask)
            text = texts[ask.stage]
            return completion(json.dumps({"keywords": text}) if ask.stage == "keywords" else str(text))

        server.chat = chat

    return answer


LOOSE = ("--setup-fail-if=keywords_overlap:0.95", "--setup-fail-if=caption_similarity:0.95")
WORST = [
    "1 of 3 pictures changed:",
    "  boats.jpg: similarity 0.*",
    "    caption 0.17: [[]-An astronaut-]{+A diver+} in [[]-an orange suit.-]{+a yellow dress.+}",
    "    keywords 0.43: helmet, portrait, flag, [[]-astronaut-], [[]-orange suit-], {+diver+}, *",
    "    description 0.*: [[]-An astronaut-]{+A diver+} in [[]-an orange suit-]{+a yellow dress+} smiles.*",
]


def test_one_picture_of_another_subject_passes_a_bound_on_the_mean_and_is_shown(
    run: Run, subject: Answers
) -> None:
    subject(ASTRONAUT)
    run("--setup-warmup=0", "--record")
    subject(DIVER)

    unbound = run("--setup-warmup=0", "--setup-baseline=latest")
    result = run("--setup-warmup=0", "--setup-baseline=latest", *LOOSE)

    assert unbound.ret == 0
    unbound.stdout.fnmatch_lines(WORST)
    assert result.ret == 0
    result.stdout.fnmatch_lines([
        *WORST,
        "not proved: caption_similarity 0.722 (*) is below caption_similarity:0.95 within the noise",
        "not proved: keywords_overlap 0.810 (*) is below keywords_overlap:0.95 within the noise",
    ])  # fmt: skip


def test_a_bound_on_each_picture_catches_it_and_quotes_both_texts(
    run: Run, project: pytest.Pytester, subject: Answers
) -> None:
    subject(ASTRONAUT)
    run("--setup-warmup=0", "--record")
    subject(DIVER)
    bounds = [
        f"--setup-fail-if={name}.each:{level}"
        for name, level in (
            ("caption_similarity", 0.5),
            ("keywords_overlap", 0.5),
            ("description_similarity", 0.2),
        )
    ]

    result = run(
        "--setup-warmup=0", "--setup-baseline=latest", *bounds, "--record-failed", "--junitxml=j.xml"
    )

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    captions = '"An astronaut in an orange suit." -> "A diver in a yellow dress."'
    keywords = (
        '"astronaut, orange suit, helmet, portrait, flag" -> "diver, yellow dress, helmet, portrait, flag"'
    )
    result.stdout.fnmatch_lines([
        "caption_similarity.each * 0.167 * 0.5 * breach",
        "keywords_overlap.each * 0.429 * 0.5 * breach",
        "description_similarity.each * 0.2 * ok",
        f"regression: caption_similarity of boats.jpg 0.167 is below caption_similarity.each:0.5: {captions}",
        f"regression: keywords_overlap of boats.jpg 0.429 is below keywords_overlap.each:0.5: {keywords}",
        "failed: worse than served_vllm: caption_similarity.each, keywords_overlap.each",
    ])  # fmt: skip
    failed = [
        entry for entry in entries(project.path).values() if entry["verification"]["status"] == "failed"
    ]
    assert len(failed) == 1
    assert "keywords_overlap of boats.jpg 0.429 is below" in unescape((project.path / "j.xml").read_text())
    no_traceback_of_ours(result)


def test_nothing_is_shown_of_pictures_that_did_not_change(run: Run) -> None:
    run("--record")

    result = run("--setup-baseline=latest", "--setup-fail-if=caption_similarity.each:1")

    assert result.ret == 0
    result.stdout.no_fnmatch_line("*changed*")
    result.stdout.fnmatch_lines(["caption_similarity.each * 1.000 * 1 * ok"])


def test_a_picture_without_an_answer_is_the_worst(run: Run, subject: Answers) -> None:
    subject(ASTRONAUT)
    run("--setup-warmup=0", "--record")
    subject(ASTRONAUT | {"keywords": []})

    result = run("--setup-warmup=0", "--setup-baseline=latest", "--setup-fail-if=keywords_overlap.each:0.1")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "    keywords 0.00: [[]-astronaut-], [[]-orange suit-], *, [[]-flag-] (no answer)",
        'regression: keywords_overlap of boats.jpg 0.000 is below *.each:0.1: "astronaut, *" -> no answer',
    ])  # fmt: skip


def test_the_page_and_github_have_the_differences(
    run: Run, project: pytest.Pytester, subject: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    subject(ASTRONAUT)
    run("--setup-warmup=0", "--record")
    subject(DIVER | {"caption": "A <script>alert(1)</script> \u202ediver\u202c in an orange suit."})

    run("--setup-warmup=0", "--setup-baseline=latest", "--setup-report=r.html")

    page = (project.path / "r.html").read_text()
    assert "Pictures that changed" in page
    assert "<del>An astronaut</del> in an orange suit." in page
    assert "<ins>A &lt;script&gt;alert(1)&lt;/script&gt; diver</ins> in an orange suit." in page
    assert "<li><del>astronaut</del></li>" in page
    assert "<li><ins>yellow dress</ins></li>" in page
    summary = unescape((project.path / "summary.md").read_text())
    assert "1 of 3 pictures changed:" in summary
    assert "[-An astronaut-]{+A <script>alert(1)</script> diver+} in an orange suit." in summary


def test_two_entries_are_compared_by_their_pictures(
    run: Run, project: pytest.Pytester, subject: Answers, setups: Command
) -> None:
    subject(ASTRONAUT)
    run("--setup-warmup=0", "--record", "--setup-slug=old")
    subject(DIVER)
    run("--setup-warmup=0", "--record", "--setup-slug=new")
    where = ("--registry", str(project.path / "registry"))

    done = setups("compare", "old", "new", *where)
    bound = setups("compare", "old", "new", "--fail-if", "keywords_overlap.each:0.5", *where)
    document = setups(
        "compare", "old", "new", "--fail-if", "keywords_overlap.each:0.5", *where, "--json"
    ).json

    assert done.code == 0
    assert "[-An astronaut-]{+A diver+} in [-an orange suit.-]{+a yellow dress.+}" in done.out
    assert bound.code == 1
    assert "regression: keywords_overlap of boats.jpg 0.429 is below keywords_overlap.each:0.5" in bound.out
    (picture,) = document["pictures"]
    caption, keywords, _ = picture["answers"]
    assert picture["image"] == "boats.jpg"
    assert (caption["stage"], caption["sample"]) == ("caption", 1)
    assert (caption["before"], caption["after"]) == (ASTRONAUT["caption"], DIVER["caption"])
    assert caption["difference"][:2] == [
        {"change": "removed", "text": "An astronaut", "earlier": None},
        {"change": "added", "text": "A diver", "earlier": None},
    ]
    assert keywords["similarity"] == pytest.approx(3 / 7)
    assert document["broken_pictures"][0]["image"] == "boats.jpg"
    assert document["broken"] == ["keywords_overlap.each"]


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (
            "keywords_overlap.each:1.5",
            "*'keywords_overlap.each:1.5': type the lowest value that is acceptable*",
        ),
        ("keywords_overlap.each:0.5s", "*type the lowest value that is acceptable, from 0 to 1*"),
        (
            "p50.each:0.5",
            "*'p50.each:0.5': .each exists only for *of each picture caption_similarity.each, *",
        ),
    ],
)
def test_a_mistake_says_what_to_type(run: Run, bound: str, message: str) -> None:
    result = run("--setup-baseline=latest", f"--setup-fail-if={bound}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_a_bound_on_each_picture_needs_a_baseline(run: Run) -> None:
    result = run("--setup-fail-if=keywords_overlap.each:0.5")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --setup-fail-if keywords_overlap.each:0.5 needs a baseline: *"])


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ("An astronaut in orange.", "A diver in orange.", "[-An astronaut-]{+A diver+} in orange."),
        ("A boat, at sea.", "a boat at sea", "a boat at sea"),
        ("A boat", "", "[-A boat-]"),
        ("", "A boat", "{+A boat+}"),
        ("old boat at sea", "boat at sea now", "[-old-] boat at sea {+now+}"),
        ("boat at sea", "A boat at sea", "{+A+} boat at sea"),
        ("一艘木船停在河上", "一艘木船停在湖上", "一艘木船停在[-河-]{+湖+}上"),
    ],
)
def test_a_difference_by_word_holds_both_texts(before: str, after: str, difference: str) -> None:
    marks = {WordChange.SAME: "{}", WordChange.REMOVED: "[-{}-]", WordChange.ADDED: "{{+{}+}}"}
    parts = text_difference(before, after)
    assert "".join(marks[part.change].format(part.text) for part in parts) == difference


def test_a_difference_keeps_the_earlier_spelling() -> None:
    same, *_ = text_difference("A boat, at sea.", "a boat at sea now")
    assert (same.text, same.earlier) == ("a boat at sea", "A boat, at sea.")


def test_keywords_differ_as_a_set() -> None:
    parts = keywords_difference(["Boat", "sea", "sky"], ["sky", "boat ", "sand"])
    assert [(part.change, part.text) for part in parts if part.text != ", "] == [
        (WordChange.SAME, "sky"),
        (WordChange.SAME, "boat"),
        (WordChange.REMOVED, "sea"),
        (WordChange.ADDED, "sand"),
    ]


def answer(image: str, text: str | None, *, sample: int = 1, stage: Stage = Stage.CAPTION) -> Measurement:
    keywords = text.split() if stage is Stage.KEYWORDS and text else None
    return Measurement.model_validate({
        "image": image, "stage": stage, "sample": sample, "passed": True, "text": text, "keywords": keywords,
    })  # fmt: skip


def test_the_worst_pictures_come_first_and_the_rest_is_counted() -> None:
    before = [answer(f"{number}.jpg", "one two three four five six") for number in range(7)]
    changed = [
        "one two three four five six",
        "one two",
        "one",
        "zero",
        "one two three",
        "x one",
        "one x three",
    ]
    after = [answer(f"{number}.jpg", text) for number, text in enumerate(changed)]

    comparison = compare(before, after, [parse_bound("caption_similarity.each:99%")])

    assert [picture.image for picture in comparison.pictures] == [
        "3.jpg", "5.jpg", "2.jpg", "6.jpg", "1.jpg", "4.jpg",
    ]  # fmt: skip
    shown = [picture_text.plain(parts) for parts in picture_text.worst_pictures(comparison)]
    assert shown[0] == "6 of 7 pictures changed; the least similar:"
    assert [line for line in shown if ".jpg" in line] == [
        "  3.jpg: similarity 0.00", "  5.jpg: similarity 0.25", "  2.jpg: similarity 0.29",
    ]  # fmt: skip
    lines = list(comparison_text.breaches(comparison))
    assert len(lines) == 4
    assert lines[0].startswith("regression: caption_similarity of 3.jpg 0.000 is below")
    assert lines[3] == "regression: caption_similarity.each:99% is also broken by 6.jpg, 1.jpg, 4.jpg"


def test_of_several_samples_the_mean_counts_and_the_least_similar_is_shown() -> None:
    before = [answer("a.jpg", "one two", sample=sample) for sample in (1, 2, 3, 4)]
    texts = ("one two", "one two", "three four", "one two")
    after = [answer("a.jpg", text, sample=sample) for sample, text in enumerate(texts, start=1)]

    comparison = compare(before, after, [parse_bound("caption_similarity.each:0.7")])

    (picture,) = comparison.pictures
    (caption,) = picture.answers
    assert (caption.similarity, caption.sample, caption.after) == (0.75, 3, "three four")
    assert comparison.broken == []
    assert "    caption 0.75 (sample 3): [-one two-]{+three four+}" in [
        picture_text.plain(parts) for parts in picture_text.worst_pictures(comparison)
    ]


def test_long_and_hostile_texts_are_bounded() -> None:
    said = "\x1b[31m" + "word\u202e \x07" * 20_000

    comparison = compare([answer("a\x1b[2J.jpg", said)], [answer("a\x1b[2J.jpg", f"x {said}")])

    (picture,) = comparison.pictures
    (caption,) = picture.answers
    assert len(caption.before) <= MAX_SHOWN + 1
    for parts in picture_text.worst_pictures(comparison):
        line = picture_text.plain(parts)
        assert len(line) < 1200
        assert not {"\x1b", "\x07", "\u202e"} & set(line)


def test_a_figure_that_cannot_be_paired_does_not_pass() -> None:
    comparison = compare(
        [answer("a.jpg", None)], [answer("a.jpg", "x")], [parse_bound("keywords_overlap.each:0.1")]
    )

    assert comparison.broken == ["keywords_overlap.each:0.1"]
