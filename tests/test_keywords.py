"""The forms in which models really give keywords, as a run reads and records them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_setups.tagging.keywords import MAX_KEYWORD_LENGTH, MAX_KEYWORDS, parse_keywords
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
    '```json\n{"keywords": ["old boat", "river", "hills",]}\n```': "fenced-json",
    "```\n```\n['old boat', 'river', 'hills']": "json-array",
    '[JSON] {"keywords": ["old boat", "river", "hills"]}': "json-object",
    'The list of {keywords} is: ["old boat", "river", "hills"]': "json-array",
    '{"keyword": "old boat"}\n{"keyword": "river"}\n{"keyword": "hills"}': "json-lines",
    '{"things": ["old boat"], "scenery": ["river", "hills"]}': "json-object",
    '{"keywords": {"things": ["old boat"], "scenery": ["river", "hills"]}}': "json-object",
    '{"keywords": ["old boat"], "tags": ["river", "hills"]}': "json-object",
    "**Keywords:** old boat, river, hills": "list",
    "# Keywords\n\n* old boat\n* river\n* hills": "list",
    "These fit the photograph well.\nold boat, river, hills": "list",
    "old boat、river、hills": "list",
    "old boat，river，hills": "list",
    "old boat، river، hills": "list",
    "old boat・river・hills": "list",
}
NO_LISTS = (
    '["I\'m sorry, I can\'t see the picture.", "Please send the picture again.", "I cannot help."]',
    '{"error": "CUDA out of memory", "details": ["rank 0", "rank 1", "rank 2"]}',
    '```json\n{"keywords": ["acanthus", "leaf", "spi',
    "boat",
    "{",
    "[1, 2",
    "A man rows his boat over the wide river at dawn.",
    "null",
    "[" * 100_000,
)


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


# Derandomised: the same examples in every run, so that no change of another place fails here.
examples = settings(derandomize=True, deadline=None, max_examples=80)
keyword = st.from_regex(r"[a-zäéß]{2,10}( [a-zäéß]{2,10})?", fullmatch=True)
FORMATS: dict[str, Callable[[list[str]], str]] = {
    "commas": ", ".join,
    "semicolons": "; ".join,
    "full-width commas": "，".join,
    "ideographic commas": "、".join,
    "Arabic commas": "، ".join,
    "lines": "\n".join,
    "bullets": lambda words: "".join(f"- {word}\n" for word in words),
    "numbers": lambda words: "".join(f"{number}. {word}\n" for number, word in enumerate(words, 1)),
    "array": json.dumps,
    "object": lambda words: json.dumps({"keywords": words}),
    "objects": lambda words: json.dumps([{"keyword": word, "score": 0.5} for word in words]),
    "lines of objects": lambda words: "\n".join(json.dumps({"keyword": word}) for word in words),
    "fence": lambda words: f"```json\n{json.dumps(words, indent=2)}\n```",
    "trailing comma": lambda words: json.dumps(words)[:-1] + ",]",
    "prose around": lambda words: f"Here you are:\n{json.dumps(words)}\nAnything else?",
    "heading": lambda words: f"**Keywords:** {', '.join(words)}",
}


@pytest.mark.parametrize("form", FORMATS)
@examples
@given(words=st.lists(keyword, min_size=3, max_size=30, unique=True))
def test_any_list_is_read_back_from_every_form(form: str, words: list[str]) -> None:
    keywords = parse_keywords(FORMATS[form](words))
    assert keywords is not None
    assert list(keywords.words) == words
    assert keywords.given == len(words)


@examples
@given(st.text(max_size=300) | st.text('{}[]",:\n`*# abc', max_size=300))
def test_no_text_breaks_the_bounds(text: str) -> None:
    keywords = parse_keywords(text)
    if keywords is not None:
        assert len(keywords.words) <= min(keywords.given, MAX_KEYWORDS)
        assert all(0 < len(word) <= MAX_KEYWORD_LENGTH for word in keywords.words)
        assert len({word.casefold() for word in keywords.words}) == len(keywords.words)


@examples
@given(st.lists(keyword, min_size=3, max_size=30, unique=True))
def test_what_was_read_is_read_again_the_same(words: list[str]) -> None:
    first = parse_keywords(", ".join(words))
    assert first is not None
    second = parse_keywords(", ".join(first.words))
    assert second is not None
    assert second.words == first.words
