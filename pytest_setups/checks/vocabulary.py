"""The vocabulary of a photo library: which keywords are its terms, and which are nearly one.

A keyword is on the vocabulary when it is a term character by character (in Unicode's form C): photo managers
keep ``Boat`` and ``boat`` apart. Of the others, those are near a term that

1. are the same letters and digits but for case, spaces, hyphens and accents: ``T shirt``, ``t-shirt``;
2. are the same words in another inflection, by their stems: ``boats``, ``boat``;
3. have stems that are spelled nearly the same: one letter inserted, left out, replaced or swapped with its
   neighbour where the longer of the two has at least seven, two from twelve: ``racoons``, ``raccoon``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

from rapidfuzz import process
from rapidfuzz.distance import OSA

from pytest_setups.checks.word_matching import ENGLISH, MatchableText, without_accents
from pytest_setups.registry.measurement import OffKeyword, VocabularyMatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# One letter makes another word of a shorter one: horse and house, beach and bench.
LETTERS_FOR_ONE_EDIT: Final = 7
LETTERS_FOR_TWO_EDITS: Final = 12
_NO_LETTER: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Vocabulary:
    """The terms that keywords should be taken from.

    Attributes:
        name: the name of its file.
        terms: distinct, in the order of the file.
    """

    name: str
    terms: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """Sha256 (hex) of the terms, sorted, one a line in UTF-8: the same however a file holds them."""
        return hashlib.sha256("".join(f"{term}\n" for term in sorted(self.terms)).encode()).hexdigest()

    def match(self, keywords: Iterable[str], language: str = ENGLISH) -> VocabularyMatch:
        """The keywords that are not terms, each with the term that it is near in a language (ISO 639-1)."""
        off = [word for word in keywords if composed(word) not in self._known]
        terms = self._terms_in(language) if off else None
        matched = tuple(OffKeyword(keyword=word, near=terms.nearest(word) if terms else None) for word in off)
        return VocabularyMatch(sha256=self.sha256, off=matched)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(map(composed, self.terms))

    @cached_property
    def _by_language(self) -> dict[str, _NearTerms]:
        return {}

    def _terms_in(self, language: str) -> _NearTerms:
        if language not in self._by_language:
            self._by_language[language] = _NearTerms.of(self.terms, language)
        return self._by_language[language]


@dataclass(frozen=True, slots=True)
class _NearTerms:
    """The terms by what a keyword that is near them has in common with them."""

    language: str
    by_letters: Mapping[str, str]
    by_stems: Mapping[str, str]
    by_joined_stems: Mapping[str, str]

    @classmethod
    def of(cls, terms: Sequence[str], language: str) -> Self:
        """The terms in a language."""
        # Reversed: of several terms with one key, the first in the file remains.
        keys = [(term, _letters(term), _stems(term, language)) for term in reversed(terms)]
        return cls(
            language,
            by_letters={letters: term for term, letters, _ in keys if letters},
            by_stems={stems: term for term, _, stems in keys if stems},
            by_joined_stems={_joined(stems): term for term, _, stems in keys if stems},
        )

    def nearest(self, keyword: str) -> str | None:
        """The term that a keyword is near, by the first of the three rules that gives one."""
        stems = _stems(keyword, self.language)
        return (
            self.by_letters.get(_letters(keyword))
            or self.by_stems.get(stems)
            or self._by_spelling(_joined(stems))
        )

    def _by_spelling(self, stems: str) -> str | None:
        if len(stems) < LETTERS_FOR_ONE_EDIT - 1:  # the term may be one letter longer
            return None
        candidates = list(self.by_joined_stems)
        close = process.extract(stems, candidates, scorer=OSA.distance, score_cutoff=2, limit=None)
        allowed = [term for term, edits, _ in close if edits <= _edits(max(len(term), len(stems)))]
        return self.by_joined_stems[allowed[0]] if allowed else None


def composed(text: str) -> str:
    """The text in Unicode's form C: é is one character there, whatever a model or an editor wrote."""
    return unicodedata.normalize("NFC", text)


def _edits(letters: int) -> int:
    return (letters >= LETTERS_FOR_ONE_EDIT) + (letters >= LETTERS_FOR_TWO_EDITS)


def _letters(text: str) -> str:
    return _NO_LETTER.sub("", without_accents(unicodedata.normalize("NFKC", text.casefold())))


def _stems(text: str, language: str) -> str:
    return " ".join(MatchableText.of(text, language).stems)


def _joined(stems: str) -> str:
    # Not whole words: beaches and benches differ in one of seven letters.
    return stems.replace(" ", "")
