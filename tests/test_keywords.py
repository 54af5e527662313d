"""The forms in which models really give keywords, as a run reads and records them."""

from __future__ import annotations

from tests.conftest import Measured

WORDS = ["old boat", "river", "hills"]
FORMS = {
    '{"keywords": ["old boat", "river", "hills"]}': "json-object",
    '{"tags": ["old boat", "river", "hills"]}': "json-object",
    '{"keywords": "old boat, river, hills"}': "json-object",
    '{"tags": [{"keyword": "old boat", "score": 1}, {"keyword": "river"}, {"tag": "hills"}]}': "json-object",
    'Here you go: {"keywords": ["old boat", "river", "hills"]} Enjoy!': "json-object",
    '["old boat", "river", "hills"]': "json-array",
    '["old\nboat", "river", "hills"]': "json-array",
    '```json\n{"keywords": ["old boat", "river", "hills"]}\n```': "fenced-json",
    '```\n["old boat", "river", "hills"]\n```\nThese are keywords.': "fenced-json",
    '```json\n["old boat", "river", "hills"]': "fenced-json",
    "old boat, river, hills": "list",
    "Keywords: old boat; river; hills.": "list",
    "Here are the keywords:\n- old boat\n- river\n- hills": "list",
    "1. old boat\n2. river\n3) hills\n": "list",
    '["Old boat", "old boat", " river ", "", "hills", 7, null]': "json-array",
}
NO_LISTS = ("boat", "{", "[1, 2", "A man rows his boat over the wide river at dawn.", "null", "[" * 100_000)


def test_every_form_is_read_and_its_kind_is_recorded(measured: Measured) -> None:
    lines = measured(FORMS, "keywords")
    assert [line["keywords_form"] for line in lines] == list(FORMS.values())
    assert [[word.lower() for word in line["keywords"]] for line in lines] == [WORDS] * len(FORMS)


def test_an_answer_without_a_list_has_no_keywords(measured: Measured) -> None:
    lines = measured(NO_LISTS, "keywords")
    assert [line["keywords"] for line in lines] == [None] * len(NO_LISTS)
    assert not any(line["passed"] for line in lines)


def test_endless_lists_are_bounded(measured: Measured) -> None:
    (line,) = measured([", ".join(f"word {number}" for number in range(5000))], "keywords")
    assert len(line["keywords"]) == 200
