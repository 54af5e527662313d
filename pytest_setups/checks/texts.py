"""A text as the checks read it: its own words without what it quotes, its sentences, words and scripts."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.tagging.outputs import Output

# What a model says to its user stands at the beginning or at the end: an answer of 100,000 characters is
# searched there, so that a check takes milliseconds.
HEAD: Final = 3_000
TAIL: Final = 1_000

_APOSTROPHES: Final = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u0130": "i"})
# Pairs of quotation marks of many languages. A quotation is short, so that one lost mark hides no long text.
_QUOTED: Final = re.compile(
    r"""(?x)
      \u201c [^\u201d\n]{0,300} \u201d      # English, Chinese, Korean
    | \u201e [^\u201c\u201d"\n]{0,300} [\u201c\u201d"]  # German, Polish, Czech
    | \u00ab [^\u00bb\n]{0,300} \u00bb      # French, Spanish, Russian, Arabic
    | \u00bb [^\u00ab\n]{1,300} \u00ab      # Danish, German books
    | \u201d [^\u201d\n]{1,300} \u201d      # Swedish, Finnish
    | \u2018 (?:[^\u2019'\n]|[\u2019'](?=\w)){1,300} [\u2019'](?!\w)  # English, Dutch, Korean
    | \u201a [^\u2018\n]{1,300} \u2018
    | \u2039 [^\u203a\n]{1,300} \u203a
    | \u300c [^\u300d\n]{0,300} \u300d      # Japanese, Taiwanese
    | \u300e [^\u300f\n]{0,300} \u300f
    | \u300a [^\u300b\n]{0,300} \u300b
    | (?<!\w) " [^"\n]{0,300} " (?!\w)
    | (?<![\w"]) " [^"\n]{0,300} "           # a Hebrew or Japanese word may follow at once
    | (?<!\w) ' (?:[^'\n]|'(?=\w)){2,200} ' (?!\w)
    | \u3008 [^\u3009\n]{0,300} \u3009
    """
)
_WHOLE: Final = re.compile(
    r"\A\s*[\"\u201c\u201e\u00ab\u300c'](.*)[\"\u201d\u201c\u00bb\u300d']\s*\Z", re.DOTALL
)
_MARKS: Final = re.compile(r"[\"\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d]")
# A sign that speaks in two sentences: "How can I help? asks a badge."
_SAYING: Final = r"(?:reads?|says?|warns?|asks?|begs?|pleads?|declares?|announces?|urges?)"
# A full stop inside a word belongs to an address or a number.
_SENTENCE_END: Final = re.compile(
    rf"[.!?\u2026;]+(?=\W|\Z)(?! {_SAYING} )|[\u3002\uff01\uff1f\u0964\u061f\uff1b\n]+"
)
_WORD: Final = re.compile(
    r"[^\s.,;:!?\u2026\u3002\uff01\uff1f\uff0c\u3001\uff1b\uff1a\u0964\u061f\u060c\u061b\u30fb"
    r"\"\u201c\u201d\u201e\u00ab\u00bb\u2018\u300c\u300d\u300e\u300f()\[\]{}<>\u2013\u2014*_#/|\uff08\uff09]+"
)
_SCRIPTS: Final = {
    "latin": re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]"),
    "cyrillic": re.compile(r"[\u0400-\u04ff]"),
    "greek": re.compile(r"[\u0370-\u03ff]"),
    "hebrew": re.compile(r"[\u0590-\u05ff]"),
    "arabic": re.compile(r"[\u0600-\u06ff]"),
    "devanagari": re.compile(r"[\u0900-\u097f]"),
    "bengali": re.compile(r"[\u0980-\u09ff]"),
    "thai": re.compile(r"[\u0e00-\u0e7f]"),
    "hangul": re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"),
    "kana": re.compile(r"[\u3040-\u30ff]"),
    "han": re.compile(r"[\u3400-\u9fff]"),
}
# Scripts whose words are not separated by spaces.
UNSPACED: Final = frozenset({"kana", "han", "thai"})


def answer_of(output: Output) -> str:
    """What an output says: the answer without reasoning, or the keywords that were read from it."""
    if output.keywords is not None:
        # JSON around them has letters of its own, and escapes for those of other scripts.
        return ", ".join(output.keywords.words)
    return without_reasoning(output.text)


def normalised(text: str) -> str:
    """The words of a text without case and punctuation, separated by single spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def normalised_answer(text: str) -> str:
    """The words of an answer likewise, without its reasoning."""
    return normalised(without_reasoning(text))


def beginning_and_end(text: str) -> str:
    """The text, without the middle of a very long one."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def plain(text: str) -> str:
    """The text in lower case, with straight apostrophes and composed accents."""
    return unicodedata.normalize("NFC", text).translate(_APOSTROPHES).lower()


def own_words(text: str) -> str:
    """What the text says itself, in lower case: quotations are left out, as signs in a picture are quoted.

    A text that is one quotation as a whole is the answer in quotation marks, and says itself what is in them.
    """
    text = beginning_and_end(text)
    whole = _WHOLE.match(text)
    if whole and not _MARKS.search(whole[1]):
        text = whole[1]
    return plain(_QUOTED.sub(" \u25aa ", text.replace("**", "")))


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with single spaces."""
    parts = (" ".join(part.split()) for part in _SENTENCE_END.split(text))
    return [part for part in parts if part]


def words(text: str) -> list[str]:
    """The words of a text in lower case, in scripts that separate them."""
    return _WORD.findall(plain(text))


def scripts(text: str) -> set[str]:
    """The scripts that letters of the text belong to, without the middle of a very long one."""
    text = beginning_and_end(text)
    return {name for name, letters in _SCRIPTS.items() if letters.search(text)}


def share_of_scripts(text: str, names: frozenset[str]) -> float:
    """How many of the text's letters belong to these scripts, from 0 to 1."""
    counts = {name: len(letters.findall(text)) for name, letters in _SCRIPTS.items()}
    total = sum(counts.values())
    return sum(counts[name] for name in names) / total if total else 0.0


def lines(text: str) -> Iterator[str]:
    """The lines of a text that are not empty, without spaces at their ends."""
    return (line.strip() for line in text.splitlines() if line.strip())
