"""``--setup-vocabulary``: which keywords are terms of a photo library, and which are nearly one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import count

import pytest

from pytest_setups.checks.vocabulary import Vocabulary
from tests.conftest import Command, Run, draw, no_traceback_of_ours, only_entry, recorded_measurements
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing

TERMS = ("boat", "cat", "Eiffel Tower", "harbour", "rocket", "t-shirt", "raccoon", "café")


def keywords(server: Scripted, *answers: Sequence[str]) -> None:
    """Let the server give these keywords to one picture after another."""
    turn = count()

    def chat(ask: Ask) -> Reply:
        if ask.stage != "keywords":
            return seeing(ask)
        return completion(json.dumps({"keywords": answers[next(turn) % len(answers)]}))

    server.chat = chat


def terms(project: pytest.Pytester, text: str | None = None, name: str = "terms.txt") -> str:
    (project.path / name).write_text("\n".join(TERMS) if text is None else text, "utf-8")
    return f"--setup-vocabulary={name}"


NEAR = {
    "Boat": "boat",
    "boats": "boat",
    "eiffel tower": "Eiffel Tower",
    "Eiffel-Tower": "Eiffel Tower",
    "T shirt": "t-shirt",
    "tshirts": "t-shirt",
    "racoon": "raccoon",
    "racoons": "raccoon",
    "raccoon's": "raccoon",
    "rockets": "rocket",
    "cafe": "café",
    "Cafés": "café",
}


@pytest.mark.parametrize("keyword", NEAR)
def test_a_keyword_that_is_nearly_a_term(keyword: str) -> None:
    (off,) = Vocabulary("terms.txt", TERMS).match([keyword]).off
    assert off.near == NEAR[keyword]


@pytest.mark.parametrize(
    ("language", "keyword", "term"),
    [
        ("de", "Häuser", "Haus"),
        ("fr", "bateaux", "bateau"),
        ("ru", "лодки", "лодка"),
        ("es", "gatos", "gato"),
    ],
)
def test_inflections_are_those_of_the_language(language: str, keyword: str, term: str) -> None:
    (off,) = Vocabulary("terms.txt", (term,)).match([keyword], language).off
    assert off.near == term


def test_a_run_in_a_language_compares_in_it(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    keywords(server, ["bateaux", "chevaux", "ciel"])
    one = ("-k", "keywords and cat", "--setup-warmup=0")
    result = run(terms(project, "bateau\ncheval"), "--setup-language=fr", *one)
    result.stdout.fnmatch_lines(["off the vocabulary: bateaux 1 (-> bateau), chevaux 1 (-> cheval), ciel 1"])


@pytest.mark.parametrize("keyword", ["coat", "goat", "pocket", "tower", "red boat", "!!", "船", "haven"])
def test_a_keyword_that_is_another_word(keyword: str) -> None:
    (off,) = Vocabulary("terms.txt", TERMS).match([keyword]).off
    assert off.near is None


@pytest.mark.parametrize("keyword", [*TERMS, "cafe\u0301"])
def test_a_keyword_that_is_a_term(keyword: str) -> None:
    assert not Vocabulary("terms.txt", TERMS).match([keyword]).off


def test_the_figures_are_shown_and_recorded(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    keywords(server, ["boats", "cat", "sofa"], ["boats", "harbour", "sofa"], ["boat", "cat", "Raccoons"])
    result = run(terms(project), "--record", "--junitxml=j.xml", "--setup-report=r.html", "--setup-warmup=0")
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines([
        "off_vocabulary: 5 of 9 keywords are not in the vocabulary (0.556)",
        "near_vocabulary: 3 of 9 keywords are not in the vocabulary, but near one of its terms (0.333)",
        "used_once: 3 of 6 distinct keywords are those of only one picture (0.500)",
        "off the vocabulary: boats 2 (-> boat), sofa 2, Raccoons 1 (-> raccoon)",
    ])  # fmt: skip
    verification = only_entry(project.path)["verification"]
    shown = {name: round(value, 3) for name, value in verification["figures"].items()}
    assert {"off_vocabulary": 0.556, "near_vocabulary": 0.333, "used_once": 0.5}.items() <= shown.items()
    digest = hashlib.sha256("".join(f"{term}\n" for term in sorted(TERMS)).encode()).hexdigest()
    assert verification["vocabulary"] == {"file": "terms.txt", "sha256": digest, "terms": len(TERMS)}
    assert 'name="setup.off_vocabulary"' in (project.path / "j.xml").read_text()
    assert "off the vocabulary: boats 2 (-&gt; boat), sofa 2" in (project.path / "r.html").read_text()


def test_the_results_say_which_keywords_they_were(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    keywords(server, ["boats", "cat", "sofa"])
    run(terms(project), "--record", "--record-failed")
    lines = {line["stage"]: line["vocabulary"] for line in recorded_measurements(project.path)}
    off = [{"keyword": "boats", "near": "boat"}, {"keyword": "sofa", "near": None}]
    assert lines["keywords"]["off"] == off
    assert lines["caption"] is None


def test_without_a_vocabulary_there_is_nothing_of_it(run: Run, project: pytest.Pytester) -> None:
    result = run("--record")
    result.stdout.no_fnmatch_line("off*vocabulary*")
    result.stdout.no_fnmatch_line("*used_once*")
    verification = only_entry(project.path)["verification"]
    assert verification["vocabulary"] is None
    assert "off_vocabulary" not in verification["figures"]


def test_a_bound_needs_no_baseline(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    keywords(server, ["boat", "cat", "sofa"], ["boat", "rocket", "cat"], ["boat", "cat", "harbour"])
    bounds = [f"--setup-fail-if={bound}" for bound in ("off_vocabulary:0.1", "near_vocabulary:0")]
    result = run(terms(project), *bounds, "--setup-warmup=0")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["failed: off_vocabulary is above off_vocabulary:0.1: 1 of 9 keywords are not in the vocabulary*"]
    )
    result.stdout.no_fnmatch_line("*near_vocabulary is above*")


def test_a_picture_that_is_sampled_twice_is_one_picture(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    keywords(server, ["boat", "cat", "rocket"])
    result = run(terms(project), "--setup-repeat=2", "-k", "keywords and cat", "--setup-warmup=0")
    result.stdout.fnmatch_lines(["used_once: 3 of 3 distinct keywords are those of only one picture*"])


def test_workers_of_xdist_compare_too(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    keywords(server, ["boats", "cat", "sofa"])
    result = run(terms(project), "-n", "2", "--setup-warmup=0")
    result.stdout.fnmatch_lines(["off_vocabulary: 6 of 9 keywords are not in the vocabulary (0.667)"])


def test_what_a_model_says_cannot_change_the_terminal(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    keywords(server, ["boat", "cat", "\x1b[31mred\x1b[0m sofa" + "x" * 500])
    result = run(terms(project))
    assert "\x1b" not in "".join(line for line in result.outlines if "sofa" in line)
    assert len(next(line for line in result.outlines if line.startswith("off the"))) < 200


@pytest.fixture
def judged(run: Run, project: pytest.Pytester, server: Scripted) -> pytest.RunResult:
    """A run compared with one that had another vocabulary."""
    keywords(server, ["boats", "cat", "sofa"], ["boat", "rocket", "cat"], ["boat", "cat", "harbour"])
    run(terms(project), "--record", "--setup-slug=first", "--setup-warmup=0").assert_outcomes(passed=11)
    other = terms(project, "boat\nboats\ncat\nsofa\nrocket\nharbour", "other.txt")
    return run(other, "--setup-baseline=first", "--setup-warmup=0")


def test_figures_of_two_vocabularies_do_not_compare(judged: pytest.RunResult) -> None:
    judged.assert_outcomes(passed=11)
    judged.stdout.re_match_lines([r"off_vocabulary +- +0\.000 +other vocabulary"])
    judged.stdout.re_match_lines([r"used_once +0\.\d+ +0\.\d+"])


def test_diff_has_no_change_between_figures_of_two_vocabularies(
    run: Run,
    project: pytest.Pytester,
    server: Scripted,
    setups: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keywords(server, ["boats", "cat", "sofa"], ["boat", "rocket", "cat"], ["boat", "cat", "harbour"])
    given = {"a": terms(project), "b": terms(project, "boat\ncat", "b.txt"), "c": terms(project)}
    for slug, vocabulary in given.items():
        run(vocabulary, "--record", f"--setup-slug={slug}", "--setup-warmup=0")
    capsys.readouterr()
    registry = f"--registry={project.path / 'registry'}"
    changes = {
        other: {
            row["name"]: row["change"]
            for row in setups("diff", "a", other, registry, "--json").json["outcomes"]
        }
        for other in ("b", "c")
    }
    assert changes["b"]["off_vocabulary"] is None
    assert changes["c"]["off_vocabulary"] == 0


def test_figures_of_one_vocabulary_compare_however_its_file_is_written(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    keywords(server, ["boats", "cat", "sofa"], ["boat", "rocket", "cat"], ["boat", "cat", "harbour"])
    run(terms(project), "--record", "--setup-slug=first", "--setup-warmup=0").assert_outcomes(passed=11)
    table = "id,name\r\n" + "".join(f'{number},"{term}"\r\n' for number, term in enumerate(reversed(TERMS)))
    result = run(terms(project, table, "terms.csv"), "--setup-baseline=first", "--setup-warmup=0")
    result.stdout.re_match_lines([r"off_vocabulary +0\.222 +0\.222 +\+0\.000"])


FILES = {
    "comments": ("a.txt", "# ours\n\nboat\n  cat  \n#dog\nboat\n", ["boat", "cat"]),
    "byte order mark": ("a.txt", "\ufeffboat\r\ncat\r\n", ["boat", "cat"]),
    "Lightroom's indents": ("a.txt", "boat\n\trowing boat\n\tsailing boat\n", ["boat", "rowing boat"]),
    "spreadsheet": ("a.csv", "id;Keyword;n\n1;boat;3\n2;night sky;4\n", ["boat", "night sky"]),
    "one column": ("a.csv", "Schlagwort\nboat\n\ncat\n", ["boat", "cat"]),
    "quotes": ("a.csv", 'tag\n"boat, wooden"\n"say ""hi"""\n', ["boat, wooden"]),
    "tabs": ("a.tsv", "id\tterm\n1\tboat\n2\tcat\n", ["boat", "cat"]),
    "short rows": ("a.csv", "id,name\n1,boat\n2\n", ["boat"]),
}


@pytest.mark.parametrize("case", FILES)
def test_files_of_all_kinds_are_read(case: str, run: Run, project: pytest.Pytester, server: Scripted) -> None:
    name, text, expected = FILES[case]
    keywords(server, [*expected, "zebra", "yak", "xerus"])
    result = run(terms(project, text, name), "-k", "keywords and cat", "--setup-warmup=0")
    result.stdout.fnmatch_lines(["off the vocabulary: xerus 1, yak 1, zebra 1"])


def test_a_column_is_named(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    keywords(server, ["boat", "cat", "rocket"])
    table = terms(project, "id,English,Deutsch\n1,boat,Boot\n2,cat,Katze\n3,rocket,Rakete", "t.csv")
    one = ("-k", "keywords and cat", "--setup-warmup=0")
    run(table, "--setup-vocabulary-column=english", *one).stdout.fnmatch_lines(["off_vocabulary: 0 of 3 *"])
    run(table, "--setup-vocabulary-column=Deutsch", *one).stdout.fnmatch_lines(["off_vocabulary: 3 of 3 *"])


MISTAKES = {
    "nowhere.txt": (None, "*nowhere.txt cannot be read: No such file or directory"),
    "none.txt": (b"# nothing\n\n", "none.txt holds no terms"),
    "latin.txt": ("boat\ncafé\n".encode("latin-1"), "latin.txt, line 2: not UTF-8; save the file as UTF-8"),
    "long.txt": (b"boat\n" + b"x" * 101, "long.txt, line 2: a term of 101 characters; keywords have *"),
    "escape.txt": (b"boat\nca\x1b[31mt\n", "escape.txt, line 2: 'cat' holds a control character"),
    "columns.csv": (
        b"id,Deutsch\n1,Boot\n",
        "columns.csv, line 1: which column holds the terms is not clear; the columns are id, Deutsch: add *",
    ),
    "quote.csv": (b'name\nboat\n"cat" x\n', "quote.csv, line 3: *"),
    "empty.csv": (b"", "empty.csv holds no terms"),
    "large.txt": (b"boat\n" * 4_000_000, "large.txt is larger than the 16 MiB that are read"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_file_that_is_no_vocabulary(name: str, run: Run, project: pytest.Pytester) -> None:
    data, message = MISTAKES[name]
    if data is not None:
        (project.path / name).write_bytes(data)
    result = run(f"--setup-vocabulary={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --setup-vocabulary: {message}"])
    no_traceback_of_ours(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--setup-vocabulary-column=name",), "--setup-vocabulary-column needs --setup-vocabulary FILE"),
        (("--setup-fail-if=used_once:0.5",), "--setup-fail-if used_once:0.5 needs --setup-vocabulary FILE"),
        (
            ("--setup-vocabulary=terms.txt", "--setup-vocabulary-column=name"),
            "--setup-vocabulary: terms.txt has no columns: a table's name ends in .csv or .tsv",
        ),
        (
            ("--setup-vocabulary=t.csv", "--setup-vocabulary-column=tag"),
            "--setup-vocabulary: t.csv, line 1: no column 'tag'; the columns are id, name: type one of them",
        ),
    ],
)
def test_what_does_not_fit_together(
    arguments: tuple[str, ...], message: str, run: Run, project: pytest.Pytester
) -> None:
    terms(project)
    terms(project, "id,name\n1,boat", "t.csv")
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_the_environment_names_the_vocabulary(
    run: Run, project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    keywords(server, ["boats", "cat", "sofa"])
    terms(project)
    monkeypatch.setenv("SETUP_VOCABULARY", "terms.txt")
    result = run("-k", "keywords and cat")
    result.stdout.fnmatch_lines(["off_vocabulary: 2 of 3 keywords are not in the vocabulary (0.667)"])


def test_a_large_library_costs_little(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    keywords(server, ["boats", "cat", "some thing 77x"])
    many = terms(project, "\n".join([*TERMS, *(f"some thing {number}" for number in range(20_000))]))
    for number in range(20):
        draw(project.path / f"photos/{number}.png", f"hsl({number * 17}, 80%, 50%)")
    result = run(many, "--setup-images=photos", "-k", "keywords")
    result.assert_outcomes(passed=20, deselected=42)
    assert float(result.outlines[-1].split(" in ")[1].split("s")[0]) < 20
