"""The forms in which models really give keywords, as a run reads and records them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_setups.tagging.keywords import MAX_KEYWORD_LENGTH, MAX_KEYWORDS, parse_keywords
from tests.conftest import Measured

# The same examples every time, and no deadline, which a busy machine would miss.
examples = partial(settings, derandomize=True, deadline=None, database=None)
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
    # Around the JSON.
    '[JSON] {"keywords": ["old boat", "river", "hills"]}': "json-object",
    '{keywords} for this photograph: ["old boat", "river", "hills"]': "json-array",
    'See [1]: {"keywords": ["old boat", "river", "hills"]}': "json-object",
    '```json\n```\n```json\n["old boat", "river", "hills"]\n```': "fenced-json",
    "```\n```\nold boat, river, hills": "list",
    "```text\nold boat, river, hills\n```": "list",
    # Slips in the JSON.
    '```json\n{"keywords": ["old boat", "river", "hills",],}\n```': "fenced-json",
    "['old boat', \"river\", 'hills']": "json-array",
    '{"keywords": [“old boat”, “river”, “hills”]}': "json-object",
    '["old boat", "river", "hills", ...]': "json-array",
    '{"keywords": ["old boat", // wooden\n "river", /* wide */ "hills"]}': "json-object",
    # Other shapes of JSON.
    '{"keyword": "old boat"}\n{"keyword": "river"}\n{"keyword": "hills"}': "json-lines",
    '["old boat"]\n["river"]\n["hills"]': "json-lines",
    '{"title": "Dawn", "things": ["old boat"], "places": ["river", "hills"]}': "json-object",
    '{"keywords": {"things": ["old boat"], "places": "river, hills"}}': "json-object",
    '{"keywords": {"old boat": 0.9, "river": 0.8, "hills": 0.5}}': "json-object",
    '[{"kind": "things", "keywords": ["old boat"]}, {"kind": "places", "tags": ["river", "hills"]}]': (
        "json-array"
    ),
    '{"keyword1": "old boat", "keyword2": "river", "keyword3": "hills"}': "json-object",
    '["old boat, river, hills"]': "json-array",
    '"old boat, river, hills"': "list",
    # Lists.
    "**Keywords:** old boat, river, hills": "list",
    "**Keywords**\n\n* **old boat**\n* **river**\n* **hills**\n\nThese words describe the picture.": "list",
    "## Keywords\n1. old boat\n2. river\n3. hills": "list",
    "Schlagwörter: old boat, river, hills": "list",
    "Mots-clés\N{NO-BREAK SPACE}: old boat, river, hills": "list",
    "キーワード：old boat、river、hills": "list",
    "old boat，river，hills。": "list",
    "old boat، river؛ hills": "list",
    "・old boat\n・river\n・hills": "list",
    "old boat・river・hills": "list",
    "1、old boat\n2、river\n3、hills": "list",
    "old boat | river | hills": "list",
    "[old boat, river, hills]": "list",
    "The photograph shows a boat on a wide river.\nold boat, river, hills": "list",
    "**Things**: old boat\n**Places**: river, hills": "list",
}
KEPT_WHOLE = {
    "カフェ・オ・レ、船、丘": ["カフェ・オ・レ", "船", "丘"],
    "1,000 people, sea-lion, 9.58, c#": ["1,000 people", "sea-lion", "9.58", "c#"],
    "Star Wars: A New Hope, film poster, space": ["Star Wars: A New Hope", "film poster", "space"],
    "#goldenhour #beach #surf": ["goldenhour", "beach", "surf"],
    '["to be or not to be, that is", "hamlet", "skull"]': ["to be or not to be, that is", "hamlet", "skull"],
}
NO_LISTS = (
    "boat",
    "{",
    "[1, 2",
    "A man rows his boat over the wide river at dawn.",
    "null",
    "[" * 100_000,
    '{"keywords": ["old boat", "river", "hi',  # cut
    '{"things": ["old boat", "river", "hills"], "places": ["harbour", "qu',
    '{"error": "no image was given", "details": ["old boat", "river", "hills"]}',
    '{"detail": [{"loc": ["body", "messages", "content"], "msg": "str type expected"}]}',
    '["I am sorry, I cannot see it.", "Please provide the image again.", "Then I will try to help."]',
    "A man rows his boat over the river at dawn.\nHe is happy, tired, wet.",
    "两个孩子在绿色的草地上放风筝，笑得很开心，天空很蓝。",
)


def test_every_form_is_read_and_its_kind_is_recorded(measured: Measured) -> None:
    lines = measured(FORMS, "keywords")
    assert [line["keywords_form"] for line in lines] == list(FORMS.values())
    assert [[word.lower() for word in line["keywords"]] for line in lines] == [WORDS] * len(FORMS)


def test_an_answer_without_a_list_has_no_keywords(measured: Measured) -> None:
    lines = measured(NO_LISTS, "keywords")
    assert [line["keywords"] for line in lines] == [None] * len(NO_LISTS)
    assert not any(line["passed"] for line in lines)


def test_keywords_with_separators_of_their_own_are_kept_whole(measured: Measured) -> None:
    lines = measured(KEPT_WHOLE, "keywords")
    assert [line["keywords"] for line in lines] == list(KEPT_WHOLE.values())


def test_endless_lists_are_bounded(measured: Measured) -> None:
    (line,) = measured([", ".join(f"word {number}" for number in range(5000))], "keywords")
    assert len(line["keywords"]) == 200


# Properties: any words, in any form, and any text.
words_of_keywords = st.lists(
    st.text(st.sampled_from("abcdeéßøжид"), min_size=2, max_size=9),
    min_size=2,
    max_size=30,
    unique_by=str.casefold,
)
WRITTEN: dict[str, Callable[[list[str]], str]] = {
    "array": json.dumps,
    "object": lambda words: json.dumps({"keywords": words}, ensure_ascii=False),
    "categories": lambda words: json.dumps({"things": words[:1], "places": words[1:]}),
    "objects": lambda words: json.dumps([{"keyword": word, "score": 0.5} for word in words]),
    "lines": lambda words: "\n".join(json.dumps({"tag": word}) for word in words),
    "repr": repr,
    "trailing comma": lambda words: json.dumps(words)[:-1] + ",]",
    "fence": lambda words: f"Here:\n```json\n{json.dumps(words, indent=1)}\n```\nDone.",
    "commas": ", ".join,
    "Chinese commas": "、".join,
    "Arabic commas": "، ".join,
    "bullets": lambda words: "\n".join(f"- {word}" for word in words),
    "numbers": lambda words: "\n".join(f"{number}. {word}" for number, word in enumerate(words, 1)),
    "heading": lambda words: f"**Keywords:** {', '.join(words)}.",
    "hashtags": lambda words: " ".join(f"#{word}" for word in words),
}


@pytest.mark.parametrize("form", WRITTEN)
@examples(max_examples=40)
@given(words=words_of_keywords)
def test_words_written_in_any_form_are_read_back(form: str, words: list[str]) -> None:
    keywords = parse_keywords(WRITTEN[form](words))
    assert keywords is not None
    assert list(keywords.words) == words


pieces_of_answers = st.lists(
    st.one_of(
        st.sampled_from(list("[]{},:;\"'`#*-•、，・|\n\t .\\")),
        st.sampled_from(
            ["```", "```json\n", '{"keywords": [', '["boat", ', "Keywords: ", "- ", "1. ", "//", "/*"]
        ),
        st.text(max_size=12),
    ),
    max_size=40,
).map("".join)


@examples(max_examples=400)
@given(pieces_of_answers)
def test_no_text_raises_and_what_is_read_is_bounded_and_stays(text: str) -> None:
    keywords = parse_keywords(text)
    if keywords is None:
        return
    assert len(keywords.words) <= keywords.given <= MAX_KEYWORDS
    assert all(word and len(word) <= MAX_KEYWORD_LENGTH for word in keywords.words)
    if len(keywords.words) > 1:
        again = parse_keywords(json.dumps(keywords.words))
        assert again is None or again.words == keywords.words


LONG = 90_000
HOSTILE = [
    *(
        piece * (LONG // len(piece))
        for piece in ("[", "{", '"', '["a",', "[1,", '\\"', "['", "[//", "[/*", ", ")
    ),
    *(
        piece * (LONG // len(piece))
        for piece in ("```", "a b ", "#a ", "*", "a:", "- a:\n", "1.", "!", "{}", "“")
    ),
    '["a"' + " ," * (LONG // 2),
    '[" ,' + " " * LONG,
    " " * LONG + "x",
    "." * LONG + "x",
    "Keywords: a" + "\n" * LONG + "b",
]


@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(text[:6]) for text in HOSTILE])
def test_time_is_in_proportion_to_the_length(text: str) -> None:
    start = time.process_time()
    parse_keywords(text)
    parse_keywords(f"```json\n{text}\n```")
    # Quadratic, any of them would take minutes.
    assert time.process_time() - start < 10
