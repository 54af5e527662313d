"""The keywords in an answer: JSON, fenced JSON, JSON lines, or a list in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.redaction import one_line
from pytest_setups.tagging.json_in_text import find_json
from pytest_setups.tagging.keyword_lists import is_sentence, listed_words, split_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# A model in a loop lists thousands.
MAX_KEYWORDS: Final = 200
MAX_KEYWORD_LENGTH: Final = 100
# Objects in objects: an answer about categories has two or three levels.
MAX_DEPTH: Final = 6
_LANGUAGE_OF_FENCE: Final = re.compile(
    r"\A\s*(?:json[cl5]?|text|txt|plaintext|markdown|md|csv|\w{0,20}(?=\s*\n))\b"
)
# What models call the list; any other list in an object is a category of keywords.
_LIST_NAMES: Final = frozenset({"keywords", "keyword", "tags", "labels", "hashtags"})
_ITEM_NAMES: Final = ("keyword", "name", "tag", "label", "term", "word", "text")
# FastAPI writes `detail`.
_ERROR_NAMES: Final = frozenset({"error", "errors", "detail", "exception", "traceback"})
_NUMBERED_NAME: Final = re.compile(r"(?:keyword|tag|label)?[ _-]?\d{1,3}", re.IGNORECASE)
_MARKS: Final = " \"'`*“”"


@dataclass(frozen=True, slots=True)
class Keywords:
    """The keywords of an answer.

    Attributes:
        words: distinct regardless of case, in order, at most ``MAX_KEYWORDS``.
        given: how many there were before duplicates were removed.
        form: json-object, json-array, json-lines, fenced-json or list in a text; values where a tagger gave a
            sequence.
    """

    words: tuple[str, ...]
    given: int
    form: str


def parse_keywords(text: str) -> Keywords | None:
    """The keywords in an answer, or None where it does not contain a list of them."""
    # Many models put the JSON that they are asked for into a fence (karakeep#318).
    outside, *fenced = text.split("```")
    blocks = [_LANGUAGE_OF_FENCE.sub("", block, count=1) for block in fenced[::2]]
    for block in blocks:
        if block.strip() and (keywords := _read(block, is_fenced=True)):
            return keywords
    # Without a fence, or after an empty one.
    return (
        None if any(map(str.strip, blocks)) else _read("\n".join([outside, *fenced[1::2]]), is_fenced=False)
    )


def as_keywords(items: Sequence[object]) -> Keywords:
    """The keywords in a sequence of texts, or of objects with a ``keyword``, ``name`` or ``tag``."""
    return _distinct(map(_item, items), "values")


def _read(text: str, *, is_fenced: bool) -> Keywords | None:
    found = find_json(text)
    if found.broken:
        return None
    if not found.values:
        words = listed_words(text)
        return _distinct(words, "list") if words else None
    if len(found.values) > 1 and not found.rest.strip(" \t\r\n,;"):
        return _of_json(list(found.values), "fenced-json" if is_fenced else "json-lines")
    # Where the text has brackets of its own, the list is the longest: [1] {"keywords": [...]}.
    read = [_of_json(value, _form(value, is_fenced=is_fenced)) for value in found.values]
    return max(filter(None, read), key=lambda keywords: keywords.given, default=None)


def _form(value: object, *, is_fenced: bool) -> str:
    if is_fenced:
        return "fenced-json"
    return "json-object" if isinstance(value, dict) else "json-array"


def _of_json(value: object, form: str) -> Keywords | None:
    """The keywords in a JSON value; None where it states an error or holds sentences."""
    if _states_error(value):
        return None
    words = list(islice(_words(value), MAX_KEYWORDS))
    if len(words) == 1:
        words = split_words(words[0])  # ["boat, river, hills"]
    sentences = sum(map(is_sentence, words))
    return None if sentences * 2 > len(words) else _distinct(words, form)


def _states_error(value: object) -> bool:
    parts = value if isinstance(value, list) else [value]
    return any(
        part[name]
        for part in parts
        if isinstance(part, dict)
        for name in part
        if name.casefold() in _ERROR_NAMES
    )


def _words(value: object, depth: int = 0, *, is_named: bool = False) -> Iterator[str]:
    """The words in a JSON value: all strings of its lists.

    ``is_named`` says that the value has the name of a list of keywords: its own texts are keywords too.
    """
    if depth > MAX_DEPTH:
        return
    if isinstance(value, str):
        yield from split_words(value) if is_named else [value]
    elif isinstance(value, list):
        for item in value:
            yield from [item] if isinstance(item, str) else _words(item, depth + 1)
    elif isinstance(value, dict):
        yield from _words_of_object(value, depth, is_named=is_named)


def _words_of_object(value: dict[str, Any], depth: int, *, is_named: bool) -> Iterator[str]:
    named = [part for name, part in value.items() if name.casefold() in _LIST_NAMES and part]
    lists = [part for part in named if not isinstance(part, str)]
    if item := _item(value) if depth and not lists else "":  # {"keyword": "boat", "score": 0.9}
        yield item
    elif named:
        for part in lists or named:
            yield from _words(part, depth + 1, is_named=True)
    elif is_named and all(isinstance(part, (int, float)) for part in value.values()):
        yield from value  # {"keywords": {"boat": 0.9, "river": 0.8}}
    else:
        for name, part in value.items():
            if not isinstance(part, str):
                yield from _words(part, depth + 1)
            elif is_named or _NUMBERED_NAME.fullmatch(name):
                yield from split_words(part)


def _item(item: object) -> str:
    """The text of one keyword: taggers and models write objects with a score too."""
    if isinstance(item, dict):
        texts = (item.get(name) for name in _ITEM_NAMES)
        item = next((text for text in texts if isinstance(text, str) and text.strip()), None)
    return item if isinstance(item, str) else ""


def _clean(text: str) -> str:
    """The keyword without the marks that models write around it: quotes, Markdown, the sign of a hashtag."""
    return one_line(text, MAX_KEYWORD_LENGTH).strip(_MARKS).lstrip("#").strip(_MARKS)


def _distinct(texts: Iterable[str], form: str) -> Keywords:
    words = list(islice(filter(None, map(_clean, texts)), MAX_KEYWORDS))
    distinct: dict[str, str] = {}
    for word in words:
        distinct.setdefault(word.casefold(), word)
    return Keywords(tuple(distinct.values()), len(words), form)
