"""JSON values in the text around them, also with the slips that models make.

Of the libraries that repair JSON, json-repair also closes what was cut off and reads the brackets of prose,
so that a broken answer passes for a list, and takes 10 s for 90,000 braces; dirtyjson is not maintained.
The slips that models make are few: a comma after the last item, single or typographic quotes, comments, and
``...`` at the end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

_BRACKET: Final = re.compile(r"[{\[]")
# Brackets in prose are mostly followed by a word: [JSON], {keywords}.
_BEGINS_LIKE_JSON: Final = re.compile(r"""[{\[]\s*(?:["'“{\[]|//|/\*)""")
# Possessive (++, *+): each part is read once, whatever follows.
_SLIPS: Final = re.compile(
    r"""(?xs)
    (?P<string> " (?: [^"\\]++ | \\. )*+ (?:"|\Z) )
    | (?<!\w) ' (?P<single> (?: [^'\\]++ | \\. | ' (?! \s*+ [,\]}:] ) )*+ ) (?:'|\Z)
    | “ (?P<curly> [^”“]*+ ) (?:”|\Z)
    | // [^\n]*+
    | /\* (?: [^*]++ | \* (?!/) )*+ (?:\*/|\Z)
    | , \s*+ (?: (?:\.\.\.|…) \s*+ ,? \s*+ )? (?= [}\]] )
    """
)
# Of brackets that do not begin like JSON: [1, 2] is JSON too, and a hostile text may have very many.
MAX_TRIES: Final = 50
# Not strict: models write line ends inside strings.
_DECODER: Final = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class JsonInText:
    """The JSON objects and arrays in a text, none inside another.

    Attributes:
        values: in order; none where one of them is broken or cut off.
        rest: the text around them.
        broken: whether one begins like JSON and cannot be read.
    """

    values: tuple[Any, ...]
    rest: str
    broken: bool = False


def find_json(text: str) -> JsonInText:
    """Every JSON object and array in a text; time is proportional to its length."""
    values, rest, at, repaired, tries = [], [], 0, False, MAX_TRIES
    while bracket := _BRACKET.search(text, at):
        rest.append(text[at : bracket.start()])
        at = bracket.start()
        is_like_json = _BEGINS_LIKE_JSON.match(text, at) is not None
        value, end = _decode(text, at) if is_like_json or tries else (None, None)
        if is_like_json and end is None and not repaired:
            # Once: from here on, the whole text.
            text, at, repaired = _SLIPS.sub(_mended, text[at:]), 0, True
            value, end = _decode(text, at)
        if end is not None:
            values.append(value)
            at = end
        elif is_like_json:
            return JsonInText((), text, broken=True)
        else:  # prose, or numbers
            rest.append(bracket[0])
            at += 1
            tries -= 1 if tries else 0
    return JsonInText(tuple(values), "".join([*rest, text[at:]]))


def _decode(text: str, at: int) -> tuple[Any, int | None]:
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):  # RecursionError: brackets nested some thousand deep
        return None, None


def _mended(slip: re.Match[str]) -> str:
    if slip["string"] is not None:
        return slip["string"]
    single, curly = slip["single"], slip["curly"]
    if single is not None:
        return json.dumps(single.replace("\\'", "'"), ensure_ascii=False)
    return "" if curly is None else json.dumps(curly, ensure_ascii=False)
