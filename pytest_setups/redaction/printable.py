"""Printable text: what a terminal, a log and a file can show."""

from __future__ import annotations

import re
from typing import Final

_NOT_PRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_ESCAPE_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def printable(text: str, limit: int = 4000) -> str:
    """The text without control and direction characters (line ends and tabs stay), cut at ``limit``."""
    kept = _ESCAPE_SEQUENCE.sub("", text[: limit * 2].replace("\r\n", "\n"))
    kept = _NOT_PRINTABLE.sub("", kept)
    return kept if len(kept) <= limit and len(text) <= limit * 2 else f"{kept[:limit]}…"


def one_line(text: str, limit: int = 300) -> str:
    """The printable text on one line, cut at ``limit`` characters."""
    return printable(" ".join(printable(text, limit * 4).split()), limit)


def encodable(text: str) -> str:
    """The text with a question mark for each byte that the command line could not decode."""
    return text.encode("utf-8", "replace").decode()
