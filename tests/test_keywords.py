"""The forms in which servers really give keywords."""

from __future__ import annotations

import pytest

from pytest_setups.tagging.keywords import Keywords, parse_keywords

WORDS = ("old boat", "river", "hills")
FORMS = {
    '{"keywords": ["old boat", "river", "hills"]}': "json-object",
    '{"tags": ["old boat", "river", "hills"]}': "json-object",
    '{"keywords": "old boat, river, hills"}': "json-object",
    '{"tags": [{"keyword": "old boat", "score": 1}, {"keyword": "river"}, {"tag": "hills"}]}': "json-object",
    'Here you go: {"keywords": ["old boat", "river", "hills"]} Enjoy!': "json-object",
    '["old boat", "river", "hills"]': "json-array",
    '```json\n{"keywords": ["old boat", "river", "hills"]}\n```': "fenced-json",
    '```\n["old boat", "river", "hills"]\n```\nThese are keywords.': "fenced-json",
    '```json\n["old boat", "river", "hills"]': "fenced-json",
    "old boat, river, hills": "list",
    "Keywords: old boat; river; hills.": "list",
    "Here are the keywords:\n- old boat\n- river\n- hills": "list",
    "1. old boat\n2. river\n3) hills\n": "list",
    '["old\nboat", "river", "hills"]': "json-array",
}


@pytest.mark.parametrize("text", FORMS)
def test_every_form_is_read_and_its_kind_kept(text: str) -> None:
    assert parse_keywords(text) == Keywords(WORDS, 3, FORMS[text])


def test_words_are_distinct_whatever_their_case_and_given_counts_all() -> None:
    assert parse_keywords('["Boat", "boat", " river ", "", 7, null]') == Keywords(
        ("Boat", "river"), 3, "json-array"
    )


@pytest.mark.parametrize(
    "text", ["", "boat", "{", "[1, 2", "A man rows his boat over the wide river at dawn.", "null"]
)
def test_what_is_no_list_is_none(text: str) -> None:
    assert parse_keywords(text) is None


def test_deep_json_is_none() -> None:
    assert parse_keywords("[" * 100_000) is None


def test_endless_lists_are_bounded() -> None:
    found = parse_keywords(", ".join(f"word {number}" for number in range(5000)))
    assert found is not None
    assert len(found.words) == 200
