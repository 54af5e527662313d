"""Free text: the value that stands behind a secret name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from pytest_setups.redaction.secret_names import IN_SENTENCES, holds_headers, is_secret_name, is_strong
from pytest_setups.redaction.secret_values import (
    HIDDEN,
    SCHEMES,
    SCHEMES_WITH_FIELDS,
    is_harmless,
    is_placeholder,
    looks_random,
    reads_as_prose,
)

NAME: Final = re.compile(r"[\w.-]++")
_QUOTE: Final = re.compile(r"""\\{0,8}["'`]""")
_ASSIGNS: Final = re.compile(r"[ \t]{0,8}(?P<by>=>|:=|=(?!=)|:(?!//|:))\s{0,8}")
_SPACE: Final = re.compile(r"(?P<by>)(?:[ \t]|\\\n)++")
_OPTION_LIKE: Final = re.compile(r"--?[A-Za-z]")
_STRING: Final = {
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*+"?', re.DOTALL),
    "'": re.compile(r"'(?:[^'\\\n]|\\.)*+'?", re.DOTALL),
}
_BRACKET: Final = re.compile(
    r""""(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?|(?P<opens>[\[{(])|(?P<closes>[\]})])""", re.DOTALL
)
# Up to the next space; a quote belongs to it unless it closes something.
_BARE: Final = re.compile(r"""(?:[^\s"'`]|["'`](?=[^\s,}\]):;"'`]))++""")
_BARE_IN_QUERY: Final = re.compile(r"""[^\s"'`&;#<>]++""")
_REST_OF_LINE: Final = re.compile(r"""[^\n"']++""")
_DIGITS_OF_A_NUMBER: Final = 5
_CLOSERS: Final = "])},.;:!?"
_PLACEHOLDER_WITH_SPACES: Final = re.compile(r"<[^<>\n]{1,60}>|\$\(|`")


@dataclass(frozen=True, slots=True)
class AssignedValue:
    """A value in a text, from ``start`` to ``stop``, and what is written in its place if it is a secret."""

    start: int
    stop: int
    text: str
    shown: str = HIDDEN


def secret_after(text: str, name: re.Match[str]) -> AssignedValue | None:
    """The secret behind a name: ``name=value``, ``"name": value``, ``Name: value``, ``--name value``."""
    at = name.end()
    quoted = _QUOTE.match(text, at)
    marks = quoted[0] if quoted and text.endswith(quoted[0], 0, name.start()) else ""
    assigns = _ASSIGNS.match(text, at + len(marks))
    if assigns is None and name[0].startswith("-"):
        assigns = _SPACE.match(text, at)
    if assigns is None or not (is_secret_name(name[0]) or _opens_headers(text, name[0], assigns)):
        return None
    if assigns["by"] and "\n" in assigns[0] and not marks:  # `password:` ends a line: a prompt or a heading
        return None
    if (
        not marks
        and name.start()
        and text[name.start() - 1] == text[assigns.end() : assigns.end() + 1] in "\"'`"
    ):
        return None  # "token:" in quotes: they close here
    value = _value_at(text, assigns.end(), _end_of_bare(text, name, assigns["by"]))
    if value is None or not _is_secret(text, name[0], value, assigns["by"], marks):
        return None
    return replace(value, shown=f"{marks}{HIDDEN}{marks}")


def _opens_headers(text: str, name: str, assigns: re.Match[str]) -> bool:
    """Whether HTTP headers follow in brackets, of which any server may have secret ones of its own."""
    return holds_headers(name) and text[assigns.end() : assigns.end() + 1] in {"{", "["}


def _end_of_bare(text: str, name: re.Match[str], by: str) -> re.Pattern[str]:
    """What a value without quotes consists of."""
    if name.start() and text[name.start() - 1] in "?&":  # in a query whose URL has no scheme
        return _BARE_IN_QUERY
    if by == ":" and name[0].lower().endswith("cookie"):  # RFC 6265: name=value pairs with semicolons
        return _REST_OF_LINE
    return _BARE


def _value_at(text: str, at: int, bare: re.Pattern[str]) -> AssignedValue | None:
    if text.startswith(HIDDEN, at) or _PLACEHOLDER_WITH_SPACES.match(text, at):
        return None
    if opening := _QUOTE.match(text, at):
        return _quoted(text, at, opening[0])
    if text[at : at + 1] in {"[", "{"}:
        stop = _closing(text, at)
        return AssignedValue(at, stop, text[at:stop])
    match = bare.match(text, at)
    return _bare(text, match) if match else None


def _quoted(text: str, at: int, delimiter: str) -> AssignedValue:
    if string := _STRING.get(delimiter):
        match = string.match(text, at)
        stop = match.end() if match else at
    else:  # JSON in a string: \"value\"
        closing = text.find(delimiter, at + len(delimiter))
        stop = len(text) if closing < 0 else closing + len(delimiter)
    return AssignedValue(at, stop, text[at:stop].removeprefix(delimiter).removesuffix(delimiter))


def _closing(text: str, at: int) -> int:
    """Where the bracket that opens at ``at`` closes; the end of the text when it does not."""
    depth = 0
    for match in _BRACKET.finditer(text, at):
        depth += (match["opens"] is not None) - (match["closes"] is not None)
        if depth == 0:
            return match.end()
    return len(text)


def _bare(text: str, match: re.Match[str]) -> AssignedValue | None:
    start, stop = match.span()
    scheme = match[0].lower()
    space = _SPACE.match(text, stop) if scheme in SCHEMES else None
    if space is not None:
        pattern = _REST_OF_LINE if scheme in SCHEMES_WITH_FIELDS else _BARE
        credentials = None if text.startswith(HIDDEN, space.end()) else pattern.match(text, space.end())
        if credentials is None:
            return None
        start, stop = credentials.span()
    whole = text[start:stop]
    kept = whole.rstrip(_CLOSERS) or whole
    dots = whole.rstrip(_CLOSERS.replace(".", ""))
    return None if is_placeholder(dots) else AssignedValue(start, start + len(kept), kept)


def _is_secret(text: str, name: str, value: AssignedValue, by: str, marks: str) -> bool:
    if is_harmless(name, value.text) or (by == "" and _OPTION_LIKE.match(value.text)):
        return False
    if holds_headers(name):
        return HIDDEN not in value.text
    if marks or by not in {"", ":"} or text[value.start] in "\"'\\[{":
        return True
    if reads_as_prose(value.text):
        return False
    strong = is_strong(name) and name not in IN_SENTENCES
    if by == "" or name.startswith("-") or strong or looks_random(value.text):
        return True
    # "session: 5 images", "auth: asked the user": a number, or a plain word in the middle of a sentence.
    follows = text[value.stop : value.stop + 1] == " " and NAME.match(text, value.stop + 1)
    number = value.text.isdigit() and len(value.text) <= _DIGITS_OF_A_NUMBER
    return not (number or (follows and value.text.isalpha()))
