"""The similarity of two answers, from 0 to 1."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rapidfuzz.distance import Indel

from pytest_setups.registry.entry import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_setups.registry.measurement import Measurement

# Scripts that put no spaces between words (Han, kana, Hangul, Thai) are compared character by character.
UNSPACED: Final = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")


def keyword_overlap(before: Iterable[str], after: Iterable[str]) -> float:
    """The Jaccard index of two sets of keywords, ignoring case: common keywords over all of them."""
    old, new = ({word.casefold().strip() for word in side} for side in (before, after))
    return len(old & new) / len(old | new) if old | new else 1.0


def word_similarity(before: str, after: str) -> float:
    """The share of words that two texts have in common, in the same order, ignoring case.

    Twice the longest common subsequence divided by the number of words in both: the normalised Indel
    similarity.
    """
    return Indel.normalized_similarity(words(before), words(after))


def answer_similarity(before: Measurement, after: Measurement) -> float:
    """The similarity of two answers of one stage; 0 where the later one is missing or is no keywords."""
    if before.stage == Stage.KEYWORDS:
        return keyword_overlap(before.keywords or (), after.keywords or ())
    return word_similarity(before.text or "", after.text or "")


def words(text: str) -> list[str]:
    """The words that are compared: without case and punctuation; of scripts without spaces, characters."""
    return _WORD.findall(text.casefold())
