"""Answers in a format that no caption has: data, markup, errors, addresses, broken encodings."""

from __future__ import annotations

import json
import re
from functools import cache
from html.entities import html5
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.phrases import is_sign, language
from pytest_setups.checks.texts import answer_of, beginning_and_end, own_words
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from pytest_setups.tagging.outputs import Output

# A cut multi-byte character at the end of an answer gives one U+FFFD, also from servers in good order.
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
# How much of an answer may be an address: a sign may show one.
MAX_ADDRESS_SHARE: Final = 0.5

_DATA: Final = re.compile(r"\A\s*(?:\{\s*[\"'\w]+\s*:|\[\s*[\"{\d]|\[\s*'\w|---\s*\n\w+:)")
_FENCE: Final = re.compile(r"```|~~~")
# `subject: woman` on several lines, as in YAML, or `key="value"` several times on one.
_KEY_LINES: Final = re.compile(r"(?m)^\s*[-*\u2022]?\s*[\"']?[a-z][a-z_]{1,20}[\"']?\s*[:=]\s*\S")
# What a camera writes into the file. One name may be what a display in the picture shows.
_METADATA: Final = re.compile(
    r"\b(?:Make|Model|LensModel|Software|Orientation|FNumber|ExposureTime|ISOSpeedRatings|FocalLength"
    r"|DateTime(?:Original)?|GPS\w+|(?:Pixel)?[XY](?:Resolution|Dimension)|ColorSpace)\s*[:=]"
)
_ASSIGNMENTS: Final = re.compile(r"\b[a-z_]{2,20}\s?=\s?(?:[\"'\[{(]|None\b|True\b|False\b|\d)")
_EDGE_TAG: Final = re.compile(
    r"(?is)\A\s*<[a-z!/][^<>\n]{0,200}>|</[a-z][\w-]*>\s*\Z|<[a-z][\w-]*\s*/>\s*\Z|\S<br\s*/?>|<loc_?\d+>"
)
_ENTITY: Final = re.compile(r"&(?:#\d{1,6}|#x[0-9a-f]{1,5}|[a-z]{2,8});", re.IGNORECASE)

# Exceptions are named in capitals: "TypeError: ...", "httpx.ReadTimeout: ...". "Terror: ..." is a headline.
_NAMED_ERROR: Final = re.compile(
    r"\A\W*(?:(?:\w+\.){0,9}(?:[A-Z][a-z0-9]{0,30}){1,6}(?:Error|Exception)\b\s*:|(?:[a-z_]\w*\.){1,9}[A-Z]\w+:\s)"
)
_STATUS: Final = "|".join(re.escape(status.phrase.lower()) for status in HTTPStatus if status >= 400)

_ADDRESS: Final = re.compile(
    r"""(?ix) (?:https?|ftp|file|s3|data)://?[^\s<>"']+ | \bwww\.[\w.-]{1,200}\.\w+[^\s"']*
    | (?<![\w/])[a-z]:\\[^\s"*?<>|]+
    | (?<![\w.])(?:~|\.{1,2})?/(?:[\w.@%+-]{1,200}/){1,20}[\w.@%+-]*
    | (?<![\w()%.+-])[\w()%+-]{1,100}(?:\.[\w-]{1,30}){0,3}\.(?:jpe?g|png|gif|webp|heic|avif|tiff?|bmp|svg
        |arw|cr2|cr3|nef|dng|raw|txt|json|md|mp4)\b
    """
)
# A file name with spaces, a camera's name for a picture, a share of a network, a host without a scheme.
_NAME_ONLY: Final = re.compile(
    r"(?i)\A\W*(?:[\w ()\-]{1,80}\.(?:jpe?g|png|gif|webp|heic|tiff?|bmp|raw|arw|cr2|nef|dng)"
    r"|(?:img|dsc[nf]?|pxl|mvimg|gopr|dji|photo|image|pict?)[_-]?\d{3,}[\w-]*|\\\\\w+\\\S+"
    r"|[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|io|jpg)(?:/\S*)?)\W*\Z"
)
_MARKDOWN_LINK: Final = re.compile(r"!\[[^\]\n]{0,300}\]\(|\[[^\]\n]{1,300}\]\((?:https?:|/|\w+\.\w{2,4}\))")
_SEE_ADDRESS: Final = re.compile(
    r"(?:\A|[.!?:\n])\s*(?:https?://|www\.)\S+\s*\Z"
    r"|\b(?:see|visit|source|credit|via|(?:learn|read) more|more information|available at|click)\b"
    r"[^.\n]{0,60}(?:https?://|www\.)",
    re.IGNORECASE,
)
_BASE64: Final = re.compile(
    r"(?<![\w+/])(?=[\w+/]{0,200}\d)(?=[\w+/]{0,200}[A-Z])(?=[\w+/]{0,200}[a-z])[A-Za-z0-9+/]{40,}={0,2}|(?<!\w)[0-9a-f]{32,}(?!\w)|data:\w+/[\w.+-]+;base64,"
)
_BASE64_RUN: Final = re.compile(r"([A-Za-z0-9+/])\1{11,}")

# UTF-8 that was read as Windows-1252: the first byte of a character, then bytes that no word has there.
_AFTER: Final = (
    "\u0080-\u00bf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d"
    "\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
)
# Windows-1251 read as Latin-1 has nearly no plain letters; Shift JIS and GBK read as each other, these.
_ACCENTED: Final = re.compile("[\u00c0-\u017f]")
MAX_ACCENTED: Final = 0.6
# UTF-8 read as Windows-1251: every other letter is one of two.
_CYRILLIC: Final = re.compile(
    "(?:[\u0420\u0421][\u0080-\u00bf\u0402-\u040f\u0452-\u045f\u2010-\u2122\u0410-\u042f]){4,}"
)
_EAST_ASIAN: Final = re.compile("[\u7e5d\u7e3a\u7e67]|\u951f\u65a4\u62f7|[\uff61-\uff9f][\u4e00-\u9fff]")
_SURE_MOJIBAKE: Final = re.compile(
    rf"\u00c3[{_AFTER}]|\u00e2\u20ac|\u00c2[\u0080-\u00bf]|\u00f0\u0178|\u00ef\u00bf\u00bd"
)
_MOJIBAKE: Final = re.compile(rf"[\u00c2-\u00df][{_AFTER}]|[\u00e0-\u00ef][{_AFTER}]{{2}}")
# Encodings that UTF-8 is taken for, in Europe west and east, Turkey, China, Taiwan, Japan, and on DOS.
_WRONG_ENCODINGS: Final = (
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1254",
    "gbk",
    "big5",
    "shift_jis",
    "cp437",
    "koi8-r",
)
# How much of a text must be UTF-8 when it is written back in the wrong encoding: some bytes were lost.
MIN_READ_BACK: Final = 0.9
_ESCAPES: Final = re.compile(
    r"\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|<0x[0-9A-F]{2}>|[%=][C-E][0-9A-F][%=][89AB][0-9A-F]"
    r"|\\[0-3][0-7]{2}|[^\W\d]\?[^\W\d]|\\[nrt](?![a-z])",
    re.IGNORECASE,
)
# How byte-pair and sentence-piece vocabularies write a space and a line end.
_PIECES: Final = re.compile("\u0120\\w|\u010a|\u2581|(?<![\\w#])##[a-z]+")


def foreign_format(output: Output) -> str | None:
    """Data or markup where prose belongs; keywords have a check of their own."""
    if output.stage is Stage.KEYWORDS:
        return None
    text = beginning_and_end(without_reasoning(output.text))
    own = own_words(text)
    if _is_data(text):
        return f"data in place of prose: {one_line(text, 80)!r}"
    if _FENCE.search(text):
        return f"a code fence in place of prose: {one_line(text, 80)!r}"
    markup = (
        _EDGE_TAG.search(own)
        or _program("code").match(text)
        or next(filter(_is_entity, _ENTITY.finditer(own)), None)
    )
    return f"markup or code in the answer: {one_line(markup[0], 60)!r}" if markup else None


def _is_data(text: str) -> bool:
    if _DATA.match(text):
        return True
    if text.startswith(("{", "[", '"')):
        try:
            return not isinstance(json.loads(text), str)
        except (ValueError, RecursionError):
            return False
    return (
        len(_KEY_LINES.findall(text)) > 1
        or max(len(_ASSIGNMENTS.findall(text)), len(_METADATA.findall(text)) - 1) > 1
    )


def _is_entity(match: re.Match[str]) -> bool:
    return match[0].startswith("&#") or match[0][1:] in html5 or match[0][1:].lower() in html5


def error_message(output: Output) -> str | None:
    """An error of a program in place of an answer."""
    text = beginning_and_end(without_reasoning(output.text)).strip()
    if _program("frames").search(text) or _program("exception").match(text) or _NAMED_ERROR.match(text):
        return f"a traceback: {one_line(text, 120)!r}"
    # One technical term may be what a screen in the picture shows; two are a message.
    if _program("error").match(text) or len(_program("technical").findall(own_words(text))) > 1:
        return f"an error message: {one_line(text, 120)!r}"
    return None


@cache
def _program(table: str) -> re.Pattern[str]:
    """What programs write: at the beginning, or anywhere for lines of a traceback and technical terms."""
    source = language("programs").alternatives(table).replace("<status>", _STATUS)
    anywhere = table in {"frames", "technical"}
    return re.compile(source if anywhere else rf"\W{{0,9}}{source}", re.IGNORECASE | re.MULTILINE)


def address(output: Output) -> str | None:
    """An address, a file name or a path in place of an answer."""
    words = output.keywords.words if output.stage is Stage.KEYWORDS and output.keywords else ()
    if words:
        found = [word for word in words if _ADDRESS.fullmatch(word)]
        return (
            f"addresses as keywords: {one_line(', '.join(found), 80)!r}"
            if len(found) * 2 >= len(words)
            else None
        )
    text = beginning_and_end(without_reasoning(output.text)).strip()
    length = sum(len(match[0]) for match in _ADDRESS.finditer(text))
    own = own_words(text)
    link = _MARKDOWN_LINK.search(text) or (_SEE_ADDRESS.search(own) and not is_sign(own))
    if link or _NAME_ONLY.match(text) or (text and length > MAX_ADDRESS_SHARE * len("".join(text.split()))):
        return f"an address or file name: {one_line(text, 80)!r}"
    return None


def base64(output: Output) -> str | None:
    """Encoded bytes in the answer."""
    found = _BASE64.search(beginning_and_end(output.text))
    if found is None or _BASE64_RUN.fullmatch(found[0]):
        return None
    return f"encoded bytes: {one_line(found[0], 60)!r}"


def mojibake(output: Output) -> str | None:
    """Text in a wrong encoding, or in the pieces of a vocabulary."""
    text = beginning_and_end(answer_of(output))
    broken = text.rstrip(f" .{REPLACEMENT}\n").count(REPLACEMENT)
    if broken and any(character.isalpha() for character in text):
        return f"garbled: {broken} characters cannot be decoded: {one_line(text, 80)!r}"
    letters = sum(character.isalpha() for character in text)
    accented = len(_ACCENTED.findall(text)) > max(8, MAX_ACCENTED * letters)
    if (
        accented
        or _SURE_MOJIBAKE.search(text)
        or any(len(pattern.findall(text)) > 2 for pattern in (_MOJIBAKE, _EAST_ASIAN))
    ):
        return f"text in a wrong encoding: {one_line(text, 80)!r}"
    original = _read_back(text)
    if original is not None:
        return f"text in a wrong encoding: {one_line(text, 60)!r} was {one_line(original, 60)!r}"
    if len(_ESCAPES.findall(text)) > 1:
        return f"escaped characters: {one_line(text, 80)!r}"
    if len(_PIECES.findall(text)) > 1:
        return f"pieces of a vocabulary in place of words: {one_line(text, 80)!r}"
    return None


def _read_back(text: str) -> str | None:
    """What a text was before its UTF-8 was read in another encoding; None where it was not.

    By chance, no text that is written in another encoding is UTF-8.
    """
    foreign = sum(not character.isascii() for character in text)
    for encoding in _WRONG_ENCODINGS if foreign else ():
        written = text.encode(encoding, "ignore")
        read = written.decode("utf-8", "ignore")
        letters = sum(character.isalpha() and not character.isascii() for character in read)
        kept = len(read.encode()) >= MIN_READ_BACK * len(written)
        if kept and letters > 2 and letters * 4 >= foreign:
            return read
    return None
