"""Words in a text: matched with their inflections, and never inside other words.

"boat" is in "two boats" and "car" is not in "a cart". Case, hyphens and possessives do not count; in English,
neither do accents. A phrase is matched where its words stand next to each other, or are written as one word.
In scripts without spaces between words, a word is matched wherever its characters stand.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Final

import snowballstemmer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENGLISH: Final = "en"
# ISO 639-1 codes and Snowball's names of its algorithms (https://snowballstem.org/algorithms/). "porter" and
# "dutch_porter" are older ones.
STEMMERS: Final = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "eo": "esperanto", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali",
    "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
    "yi": "yiddish",
}  # fmt: skip
# Plurals that the English stemmer does not bring to their singular.
_IRREGULAR: Final = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "persons": "person",
    "feet": "foot", "teeth": "tooth", "geese": "goose", "mice": "mouse", "oxen": "ox", "leaves": "leaf",
    "wolves": "wolf", "knives": "knife", "calves": "calf", "shelves": "shelf", "loaves": "loaf",
    "scarves": "scarf", "hooves": "hoof", "wives": "wife", "buses": "bus", "lenses": "lens",
    "cacti": "cactus",
    "fishermen": "fisherman", "firemen": "fireman", "policemen": "policeman", "horsemen": "horseman",
    "snowmen": "snowman", "sportsmen": "sportsman", "workmen": "workman", "cameramen": "cameraman",
}  # fmt: skip
_ENGLISH_ENDINGS: Final = frozenset({"", "s", "es", "d", "ed", "ing", "e", "y", "ies", "ied", "ying"})
# Han, kana, Thai, Lao, Tibetan, Myanmar and Khmer are written without spaces between words.
_WITHOUT_SPACES: Final = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff]"
)
# Korean puts its particles on the word: a plural, then what marks its part in the sentence.
_HANGUL: Final = re.compile("[\uac00-\ud7a3]+")
_KOREAN_ENDING: Final = (
    "(?:들)?(?:은|는|이|가|을|를|의|에|에서|에게|와|과|도|로|으로|만|부터|까지|한|"
    "이나|나|처럼|보다|입니다|이다)?"
)
# U+2019 is the apostrophe that many models write.
_POSSESSIVE: Final = re.compile("['\u2019]s?(?!\\w)")
_ASCII_WORD: Final = re.compile("[A-Za-z0-9]+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]")


@dataclass(frozen=True, slots=True)
class Span:
    """Where a word was matched: words of a text from ``start`` up to ``end``, or its characters."""

    start: int
    end: int
    characters: bool = False

    def lies_within(self, other: Span) -> bool:
        """Whether it is a part of a longer match."""
        inside = other.start <= self.start and self.end <= other.end
        return inside and self != other and self.characters == other.characters


@dataclass(frozen=True, slots=True)
class MatchableText:
    """A text that words can be looked for in.

    Attributes:
        language: the ISO 639-1 code of the language whose inflections count.
        words: its words in order, without case.
        stems: the stem of each word.
        solid: the text without spaces, for scripts that have none.
    """

    language: str
    words: tuple[str, ...]
    stems: tuple[str, ...]
    solid: str

    @classmethod
    def of(cls, text: str, language: str) -> MatchableText:
        """The text as words of this language."""
        folded = _folded(text, language)
        words = _words(folded)
        stems = tuple(_stem(word, language) for word in words)
        return cls(language, words, stems, "".join(folded.split()))

    def spans(self, word: str) -> Iterator[Span]:
        """Where a word or a phrase stands in the text."""
        folded, words = _sought(word, self.language)
        if _WITHOUT_SPACES.search(folded):
            yield from self._characters("".join(folded.split()))
            return
        if len(words) == 1 and _HANGUL.fullmatch(words[0]):
            yield from self._korean(words[0])
            return
        yield from self._in_a_row(words)
        if len(words) > 1:  # "life jacket" is also written "lifejacket"
            yield from self._in_a_row(("".join(words),))

    def _in_a_row(self, words: Sequence[str]) -> Iterator[Span]:
        stems = tuple(_stem(word, self.language) for word in words)
        for start in range(len(self.stems) - len(stems) + 1):
            end = start + len(stems)
            if self.stems[start:end] == stems and _are_inflections(
                words, self.words[start:end], self.language
            ):
                yield Span(start, end)

    def _characters(self, word: str) -> Iterator[Span]:
        start = self.solid.find(word)
        while start >= 0:
            yield Span(start, start + len(word), characters=True)
            start = self.solid.find(word, start + 1)

    def _korean(self, word: str) -> Iterator[Span]:
        form = re.compile(f"{word}{_KOREAN_ENDING}")
        yield from (Span(at, at + 1) for at, other in enumerate(self.words) if form.fullmatch(other))


@lru_cache(maxsize=50_000)
def _sought(word: str, language: str) -> tuple[str, tuple[str, ...]]:
    """A word or phrase that is looked for in many texts: without case, and its words."""
    folded = _folded(word, language)
    return folded, _words(folded)


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit in a text, without which it matches nothing."""
    return bool(_words(text))


def is_same_word(first: str, second: str, language: str) -> bool:
    """Whether two words or phrases match the same texts, apart from inflection and spelling."""
    text = MatchableText.of(first, language)
    return Span(0, len(text.words)) in text.spans(second)


def _folded(text: str, language: str) -> str:
    """The text without case, possessives and invisible characters; in English also without accents."""
    if not text.isascii():  # most texts are, and this takes a hundred times as long
        text = unicodedata.normalize("NFKC", text)
        text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    if language == "tr":  # casefold() makes an i of the Turkish capital of a dotless one
        text = text.replace("I", "\u0131").replace("\u0130", "i")
    text = _POSSESSIVE.sub("", text.casefold())
    if language != ENGLISH or text.isascii():
        return text
    # English keeps or drops the accents of borrowed words: piñata, café, naïve. Elsewhere they make another
    # word: Spanish año (year) and ano.
    return without_accents(text)


def without_accents(text: str) -> str:
    """The text without accents of Latin, Greek and Cyrillic letters; marks of other scripts are vowels."""
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))


def _words(text: str) -> tuple[str, ...]:
    if text.isascii():
        return tuple(_ASCII_WORD.findall(text))
    # Marks belong to letters in Hindi and Thai, where \w does not match them; hyphens separate words.
    return tuple("".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split())


def _are_inflections(words: Sequence[str], others: Sequence[str], language: str) -> bool:
    """Whether words of the same stems are no more than inflections of each other.

    The English stemmer also removes what makes another word: photographer and photograph have one stem.
    """
    return language != ENGLISH or all(map(_is_inflection, words, others))


def _is_inflection(word: str, other: str) -> bool:
    word, other = _IRREGULAR.get(word, word), _IRREGULAR.get(other, other)
    pairs = zip(word, other, strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    # run, running: the last consonant is doubled.
    doubled = word[common - 1 : common]
    endings = (word[common:], other[common:])
    return all({ending, ending.removeprefix(doubled)} & _ENGLISH_ENDINGS for ending in endings)


@lru_cache(maxsize=50_000)
def _stem(word: str, language: str) -> str:
    """The stem of a word; the word itself in a language that has no stemmer."""
    if language == ENGLISH:
        word = _IRREGULAR.get(word, word)
    stemmer = _stemmer(language)
    return word if stemmer is None else str(stemmer.stemWord(word))


@cache
def _stemmer(language: str) -> snowballstemmer.BaseStemmer | None:
    algorithm = STEMMERS.get(language)
    # PyStemmer, which snowballstemmer uses where it is installed, may be older and know fewer languages.
    return snowballstemmer.stemmer(algorithm) if algorithm in snowballstemmer.algorithms() else None
