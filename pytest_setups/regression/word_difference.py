"""The difference of two answers by word, as git's word diff has it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from rapidfuzz.distance import Indel

from pytest_setups.regression.similarity import UNSPACED, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# The punctuation that follows a word belongs to it: "boat," and "boat" are the same word.
_TOKEN: Final = re.compile(rf"(?P<space>\s*)(?P<text>[{UNSPACED}]|[^\s{UNSPACED}]+)")


class WordChange(StrEnum):
    """Whether words are in both texts, only in the earlier one, or only in the later one."""

    SAME = "same"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class ChangedWords:
    """Words that follow each other and have the same change.

    ``earlier`` is the spelling in the earlier text of words that are the same but for case and punctuation.
    """

    change: WordChange
    text: str
    earlier: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """A word as it is written, the word that is compared, and whether there is space before it."""

    text: str
    word: str
    space: str


def text_difference(before: str, after: str) -> list[ChangedWords]:
    """What was removed and added; case and punctuation are ignored, as in the similarity."""
    old, new = list(_tokens(before)), list(_tokens(after))
    parts: list[ChangedWords] = []
    # Between two runs of common words, what was removed comes first, whatever the order of the steps.
    removed: list[_Token] = []
    added: list[_Token] = []
    for step in Indel.opcodes([token.word for token in old], [token.word for token in new]):
        if step.tag == "equal":
            parts += _changed(removed, added, parts)
            removed, added = [], []
            sides = old[step.src_start : step.src_end], new[step.dest_start : step.dest_end]
            parts.append(_same(*sides, is_first=not parts))
        removed += old[step.src_start : step.src_end] if step.tag == "delete" else []
        added += new[step.dest_start : step.dest_end] if step.tag == "insert" else []
    return [*parts, *_changed(removed, added, parts)]


def keywords_difference(before: Iterable[str], after: Iterable[str]) -> list[ChangedWords]:
    """What was removed from a set of keywords, and added: common keywords first, in the later order."""
    old, new = ({word.casefold().strip(): word.strip() for word in side} for side in (before, after))
    groups = (
        (WordChange.SAME, [new[word] for word in new if word in old]),
        (WordChange.REMOVED, [old[word] for word in old if word not in new]),
        (WordChange.ADDED, [new[word] for word in new if word not in old]),
    )
    parts: list[ChangedWords] = []
    for change, group in groups:
        for word in group:
            parts += [ChangedWords(WordChange.SAME, ", ")] if parts else []
            parts.append(ChangedWords(change, word))
    return parts


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        token = match["text"]
        yield _Token(token, " ".join(words(token)) or token, " " if match["space"] else "")


def _same(old: Sequence[_Token], new: Sequence[_Token], *, is_first: bool) -> ChangedWords:
    # The first word of one text may follow a space in the other.
    space = "" if is_first else old[0].space or new[0].space
    earlier, later = (f"{space}{_joined(tokens)}" for tokens in (old, new))
    return ChangedWords(WordChange.SAME, later, None if earlier == later else earlier)


def _changed(
    removed: Sequence[_Token], added: Sequence[_Token], parts: Sequence[ChangedWords]
) -> Iterator[ChangedWords]:
    space = next((tokens[0].space for tokens in (removed, added) if tokens), "")
    if space and parts:
        yield ChangedWords(WordChange.SAME, space)
    for change, tokens in ((WordChange.REMOVED, removed), (WordChange.ADDED, added)):
        if tokens:
            yield ChangedWords(change, _joined(tokens))


def _joined(tokens: Sequence[_Token]) -> str:
    return "".join(f"{token.space}{token.text}" for token in tokens).lstrip()
