"""The keywords in an answer: JSON, fenced JSON or a plain list."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

# A model in a loop lists thousands.
MAX_KEYWORDS: Final = 200
MAX_KEYWORD_LENGTH: Final = 100
# A part with more words than this is a sentence, and its commas do not make it a list.
MAX_LISTED_WORDS: Final = 5
_FENCE: Final = re.compile(r"```\w*\s*(.+?)\s*(?:```|\Z)", re.DOTALL)
_HEADING: Final = re.compile(r"\A\s*(?:here (?:are|is)[^:\n]*|keywords|tags)\s*:\s*", re.IGNORECASE)
_BULLET_OR_END: Final = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*|[.\s]+$")


@dataclass(frozen=True, slots=True)
class Keywords:
    """The keywords of an answer.

    Attributes:
        words: distinct regardless of case, in order, at most ``MAX_KEYWORDS``.
        given: how many there were before duplicates were removed.
        form: json-object, json-array, fenced-json or list in a text; values where a tagger gave a sequence.
    """

    words: tuple[str, ...]
    given: int
    form: str


def parse_keywords(text: str) -> Keywords | None:
    """The keywords in an answer, or None where it does not contain a list of them."""
    text = text.strip()
    # Many models put the JSON that they are asked for into a fence (karakeep#318).
    fence = _FENCE.search(text)
    if fence:
        return _from_json(fence[1], "fenced-json") or _from_list(fence[1])
    start = re.search(r"[{\[]", text)
    if start:
        form = "json-object" if start[0] == "{" else "json-array"
        return _from_json(text[start.start() :], form)
    return _from_list(text)


def as_keywords(items: Sequence[object]) -> Keywords:
    """The keywords in a sequence of texts, or of objects with a ``keyword``, ``name`` or ``tag``."""
    return _distinct(items, "values")


def _from_json(text: str, form: str) -> Keywords | None:
    try:
        # Not strict: models write line ends inside strings. raw_decode: text may follow the JSON.
        value, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        value = value.get("keywords") or (lists[0] if lists else [])
    if isinstance(value, str):
        value = value.split(",")
    return _distinct(value, form) if isinstance(value, list) else None


def _from_list(text: str) -> Keywords | None:
    """A list on one line with commas, or with one keyword on each line, with or without bullets."""
    parts = re.split(r"[,;\n]", _HEADING.sub("", text))
    words = [word for word in (_BULLET_OR_END.sub("", part) for part in parts) if word]
    is_list = len(words) > 1 and all(len(word.split()) <= MAX_LISTED_WORDS for word in words)
    return _distinct(words, "list") if is_list else None


def _word(item: object) -> str:
    # Models write hashtags and Markdown; taggers write objects with a score.
    if isinstance(item, dict):
        item = item.get("keyword") or item.get("name") or item.get("tag")
    return one_line(item, MAX_KEYWORD_LENGTH).strip(" \"'`*#") if isinstance(item, str) else ""


def _distinct(items: Sequence[object], form: str) -> Keywords:
    words = [word for word in map(_word, items) if word][:MAX_KEYWORDS]
    distinct: dict[str, str] = {}
    for word in words:
        distinct.setdefault(word.casefold(), word)
    return Keywords(tuple(distinct.values()), len(words), form)
