"""The records that tagger commands write, line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.records import Record, Records, read_records

GOOD: dict[str, Any] = {
    "image": "boat.jpg",
    "caption": "A boat.",
    "keywords": ["boat", "river", "hill"],
    "description": "A boat rests.",
}


def read(
    folder: Path, *lines: dict[str, Any] | str | bytes, names: tuple[str, ...] = ("boat.jpg",)
) -> Records:
    path = folder / "output.jsonl"
    encoded = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in encoded))
    return read_records(path, names)


def record(folder: Path, **changed: object) -> Record:
    records = read(folder, GOOD | changed)
    assert records.faults == []
    assert records.rejected == {}
    return records.by_name["boat.jpg"]


def test_what_the_personal_tagger_wrote() -> None:
    path = Path(__file__).parent / "answers/personal-tagger.jsonl"
    names = [Path(json.loads(line)["image"]).name for line in path.read_text().splitlines()]
    records = read_records(path, names)
    assert (records.faults, records.rejected) == ([], {})
    assert sorted(records.by_name) == sorted(names)
    assert all(not record.faults and record.seconds for record in records.by_name.values())
    assert records.by_name["nagasaki-boats.jpg"].keywords.words[:3] == ("boat", "river", "nagasaki")


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        (["boat", "river"], ("boat", "river")),
        ([{"keyword": "boat", "score": 1.0}, {"keyword": "river"}], ("boat", "river")),
        (["boat", {"keyword": "river", "score": 0.5}, "Boat"], ("boat", "river")),
        ([], ()),
        (None, ()),
    ],
)
def test_keywords_are_strings_or_objects_with_scores(
    tmp_path: Path, keywords: object, words: tuple[str, ...]
) -> None:
    assert record(tmp_path, keywords=keywords).keywords.words == words


@pytest.mark.parametrize(
    ("image", "names", "sample"),
    [
        ("boat.jpg", ["boat.jpg"], "boat.jpg"),
        ("/srv/images/boat.jpg", ["boat.jpg"], "boat.jpg"),
        ("images\\boat.jpg", ["boat.jpg"], "boat.jpg"),
        ("/srv/images/a/boat.jpg", ["a/boat.jpg", "b/boat.jpg"], "a/boat.jpg"),
        ("b/boat.jpg", ["a/boat.jpg", "b/boat.jpg"], "b/boat.jpg"),
        ("Cafe\u0301.jpg", ["Caf\u00e9.jpg"], "Caf\u00e9.jpg"),
    ],
)
def test_an_image_is_a_name_or_a_path(tmp_path: Path, image: str, names: list[str], sample: str) -> None:
    assert list(read(tmp_path, GOOD | {"image": image}, names=tuple(names)).by_name) == [sample]


def test_a_name_that_two_images_have(tmp_path: Path) -> None:
    records = read(tmp_path, GOOD, names=("a/boat.jpg", "b/boat.jpg"))
    assert records.faults == [
        "line 1 names 'boat.jpg', which may be a/boat.jpg or b/boat.jpg: write the path"
    ]


@pytest.mark.parametrize(
    ("notes", "faults"),
    [
        ("no-meta: metadata skipped", {}),
        ("", {}),
        (None, {}),
        (["no-meta: metadata skipped"], {}),
        ("the caption is not empty", {}),
        ("caption_error: HTTP 500", {Stage.CAPTION: "caption_error: HTTP 500"}),
        ("keyword_error: no JSON", {Stage.KEYWORDS: "keyword_error: no JSON"}),
        ("keywords_empty", {Stage.KEYWORDS: "keywords_empty"}),
        ("description_empty; no-meta", {Stage.DESCRIPTION: "description_empty; no-meta"}),
        (
            "caption_error: timeout; keywords_error: timeout | description_empty",
            {
                Stage.CAPTION: "caption_error: timeout",
                Stage.KEYWORDS: "keywords_error: timeout",
                Stage.DESCRIPTION: "description_empty",
            },
        ),
        (["caption_error: a", "caption_empty"], {Stage.CAPTION: "caption_error: a; caption_empty"}),
        ("caption_error: Bearer abcdef123456", {Stage.CAPTION: "caption_error: Bearer [hidden]"}),
    ],
)
def test_notes_of_a_failed_stage_are_its_reason(
    tmp_path: Path, notes: object, faults: dict[Stage, str]
) -> None:
    assert record(tmp_path, notes=notes).faults == faults


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"caption": 5}, "line 1: 'caption' must be a string, got 5"),
        ({"description": ["a"]}, "line 1: 'description' must be a string, got [\"a\"]"),
        (
            {"keywords": "boat, river"},
            "line 1: 'keywords' must be a list of strings or of objects {keyword, score}, got ",
        ),
        (
            {"keywords": [1]},
            "line 1: 'keywords' must be a list of strings or of objects {keyword, score}, got [1]",
        ),
        (
            {"duration_seconds": "3 s"},
            "line 1: 'duration_seconds' must be a number of seconds, got \"3 s\"",
        ),
        ({"duration_seconds": -1}, "line 1: 'duration_seconds' must be a number of seconds, got -1"),
        ({"duration_seconds": True}, "line 1: 'duration_seconds' must be a number of seconds, got true"),
    ],
)
def test_a_malformed_record_is_rejected(tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    records = read(tmp_path, GOOD | changed)
    assert records.by_name == {}
    assert records.rejected["boat.jpg"].startswith(expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{'image': 'boat.jpg'}", "line 2 is not JSON: \"{'image': 'boat.jpg'}\""),
        (b"\xff\xfe{}", "line 2 is not JSON: "),
        ('{"image": "boat.jpg", "x": NaN}', "line 2 is not JSON: "),
        ("[" * 100_000, "line 2 is not JSON: "),
        ("[]", "line 2 is not a JSON object"),
        ('{"caption": "A boat."}', "line 2 has no 'image' with a name or path"),
        ('{"image": 7}', "line 2 has no 'image' with a name or path"),
        ('{"image": "\\u001b[31mcat.jpg"}', "line 2 names an image that is not in {images}: 'cat.jpg'"),
        ('{"image": "' + "x" * 2_000_000 + '"}', "line 2 is longer than 1 MiB"),
    ],
)
def test_a_line_that_is_not_a_record_is_a_fault_and_the_others_are_read(
    tmp_path: Path, line: str | bytes, expected: str
) -> None:
    records = read(tmp_path, GOOD | {"image": "dog.jpg"}, line, "", GOOD, names=("boat.jpg", "dog.jpg"))
    (fault,) = records.faults
    assert fault.startswith(expected)
    assert list(records.by_name) == ["dog.jpg", "boat.jpg"]


def test_of_two_records_of_an_image_neither_counts(tmp_path: Path) -> None:
    records = read(tmp_path, GOOD, GOOD)
    assert records.by_name == {}
    assert records.rejected == {"boat.jpg": "2 records of this image: lines 1 and 2"}


def test_the_first_faults_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    records = read(tmp_path, *["no"] * 1000)
    assert len(records.faults) == 6
    assert records.faults[-1] == "and 995 more faults"


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    assert list(read(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode()).by_name) == ["boat.jpg"]


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "{output} was not written"), (b"\n\n", "{output} contains no records")]
)
def test_no_output(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "output.jsonl"
    if content is not None:
        path.write_bytes(content)
    assert read_records(path, ["boat.jpg"]).faults == [expected]


def test_a_short_api_key_does_not_damage_records(tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    path.write_text(json.dumps(GOOD | {"token": "abc", "keys": ["abc"]}))

    records = read_records(path, ["boat.jpg"], ("a", "caption", "boat"))

    assert records.faults == []
    kept = records.by_name["boat.jpg"]
    assert kept.caption == GOOD["caption"]
    assert kept.extra == {"token": "[hidden]", "keys": "[hidden]"}


def test_extra_fields_are_kept_printable_bounded_and_without_secrets(tmp_path: Path) -> None:
    expected = {"backend": "vllm", "\u001b[31mraw": {"log": "a\u0000b", "api": "api_key=abc123"}}
    line = json.dumps(GOOD | expected).replace('"vllm"', '"vllm", "score": 1e400')
    kept = read(tmp_path, line).by_name["boat.jpg"].extra
    assert kept == {"backend": "vllm", "score": None, "raw": {"log": "ab", "api": "api_key=[hidden]"}}
    assert record(tmp_path, big=["x" * 100] * 500).extra == {"not_kept": "52009 characters of big"}


def test_extra_fields_may_have_any_name_and_depth(tmp_path: Path) -> None:
    deep = f"{'[' * 900}1{']' * 900}"
    line = json.dumps(GOOD | {"model_config": 1, "model_extra": "x", "__class__": "y"})
    kept = read(tmp_path, f'{line[:-1]}, "deep": {deep}}}').by_name["boat.jpg"].extra
    assert {key: value for key, value in kept.items() if key != "deep"} == {
        "model_config": 1,
        "model_extra": "x",
        "__class__": "y",
    }
    assert json.dumps(kept["deep"]) == f"{'[' * 20}null{']' * 20}"
