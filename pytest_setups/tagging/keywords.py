"""The keywords in an answer: JSON, fenced JSON or a plain list."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_KEYWORDS: Final = 200
MAX_KEYWORD_LENGTH: Final = 100
MAX_LISTED_WORDS: Final = 5


@dataclass(frozen=True, slots=True)
class Keywords:
    """Keywords in order, distinct regardless of case; ``given`` counts them before that.

    ``form`` is how they came: json-object, json-array, fenced-json or list in an answer's text; values
    where a tagger gave them one by one.
    """

    words: tuple[str, ...]
    given: int
    form: str


def parse_keywords(text: str) -> Keywords | None:
    """The keywords in an answer, or None where it holds no list of them."""
    text = text.strip()
    fence = re.search(r"```\w*\s*(.+?)\s*(?:```|\Z)", text, re.DOTALL)
    if fence:
        return _from_json(fence[1], "fenced-json") or _from_list(fence[1])
    start = re.search(r"[{\[]", text)
    if start:
        form = "json-object" if start[0] == "{" else "json-array"
        return _from_json(text[start.start() :], form)
    return _from_list(text)


def as_keywords(items: Sequence[object]) -> Keywords:
    """The keywords that a tagger gave one by one: texts, or objects with a ``keyword``."""
    return _distinct(items, "values")


def _from_json(text: str, form: str) -> Keywords | None:
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list)]
        found = found.get("keywords") or (lists[0] if lists else [])
    if isinstance(found, str):
        found = found.split(",")
    return _distinct(found, form) if isinstance(found, list) else None


def _from_list(text: str) -> Keywords | None:
    """A list on one line with commas, or of one keyword a line with or without bullets."""
    text = re.sub(r"\A\s*(?:here (?:are|is)[^:\n]*|keywords|tags)\s*:\s*", "", text, flags=re.IGNORECASE)
    parts = re.split(r"[,;\n]", text)
    words = [re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*|[.\s]+$", "", part) for part in parts]
    looks_listed = len([word for word in words if word]) > 1 and all(
        len(word.split()) <= MAX_LISTED_WORDS for word in words
    )
    return _distinct(words, "list") if looks_listed else None


def _word(item: object) -> str:
    if isinstance(item, dict):
        item = item.get("keyword") or item.get("name") or item.get("tag")
    return one_line(item, MAX_KEYWORD_LENGTH).strip(" \"'`*#") if isinstance(item, str) else ""


def _distinct(items: Sequence[object], form: str) -> Keywords:
    words = [word for word in map(_word, items) if word][:MAX_KEYWORDS]
    distinct: dict[str, str] = {}
    for word in words:
        distinct.setdefault(word.casefold(), word)
    return Keywords(tuple(distinct.values()), len(words), form)
