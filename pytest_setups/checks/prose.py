"""Captions and descriptions that say nothing of a picture, or end in the middle of a sentence."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.phrases import Language, languages_of
from pytest_setups.checks.texts import UNSPACED, plain, scripts, share_of_scripts, words
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.tagging.outputs import Output

# A longer answer says something, if only by its other words.
MAX_EMPTY_WORDS: Final = 60
MAX_EMPTY_CHARACTERS: Final = 600
# How many words of a long empty answer may be in no table.
EMPTY_SHARE: Final = 0.9
_NOTHING: Final = re.compile(
    r"\A\W*(?:n/?a|null|none|nil|undefined|unknown|untitled"
    r"|no (?:caption|description|title|text|content|data|keywords?|answer|response|output)"
    r"(?: (?:available|provided|found|given))?)\W*\Z",
    re.IGNORECASE,
)
_ENDED: Final = re.compile(r"[.!?\u2026\u3002\uff01\uff1f\u0964\u061f]")
_SENTENCE_GAP: Final = re.compile(
    r"(?<=[\w)\"'\u2019\u201d\u00bb][.!?\u2026\u0964\u061f])\s+|(?<=[\u3002\uff01\uff1f])|\n+"
)
_FULL_WIDTH_END: Final = re.compile(r"[\u3002\uff01\uff1f]\Z")
_LIST_ITEM: Final = re.compile(r"\s*(?:[-*\u2022#]|\d+[.)])")
_COMMA: Final = re.compile(r"[,\uff0c\u3001\u060c;\u2013\u2014-]\Z")
_LAST_WORD: Final = re.compile(r"[\w'\u0900-\u097f\u064b-\u0652-]+\W*\Z")
_SUFFIX_OF_CUT: Final = {
    # A Turkish adjective of place, a Korean object, with nothing after it.
    "tr": re.compile(r"\w{2,}(?:[dt][ae]ki)\Z"),
    "ko": re.compile(
        r"[\uac00-\ud7af]+(?:\ub97c|\uc5d0\uac8c|\uba74\uc11c)\Z|[^\s\uac00\ub9c8\ub178\uace0]\uc744\Z"
    ),
}
# "Something to hold on to", "The house he came from": an English clause may end with its preposition.
_STRANDED: Final = re.compile(
    r"\b(?:what|where|who|how|(?:some|no|any|every)(?:one|body|thing|where)|he|she|they|we|i|you|it|to \w+)"
    r" .*\b(?:to|from|with|for|at|of)\Z"
)
_LOW_QUOTATION: Final = re.compile("\u201e[^\u201c\u201d]*[\u201c\u201d]")
_OPEN: Final = {
    "(": ")",
    "[": "]",
    "\u201c": "\u201d",
    "\u00ab": "\u00bb",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
    "\uff08": "\uff09",
}


def says_nothing(output: Output) -> str | None:
    """The answer is true of every picture: "An image."."""
    if output.stage is Stage.KEYWORDS:
        return None
    answer = without_reasoning(output.text).strip()
    if not answer or len(answer) > MAX_EMPTY_CHARACTERS:
        return None
    # A word with an article before an apostrophe, or of two parts, is two words: l'image, photo-portrait.
    said = [word.strip("'") for word in words(re.sub(r"(?<=\w)['-](?=\w)", "' ", plain(answer)))]
    if _NOTHING.match(answer) or any(_is_empty(language, answer, said) for language in languages_of(answer)):
        return f"says nothing of the picture: {one_line(answer, 120)!r}"
    return None


def _is_empty(language: Language, answer: str, said: Sequence[str]) -> bool:
    if language.spaced == "none":
        return _leaves_nothing(language, answer)
    if not said or len(said) > MAX_EMPTY_WORDS:
        return False
    empty, stop = language.words("empty"), language.words("stop")
    known = sum(word in empty or word in stop for word in said)
    # Grammatical words without a noun are a title ("Where are you?"), not an empty caption.
    if not any(word in empty for word in said):
        return False
    return known == len(said) if len(said) < 10 else known >= EMPTY_SHARE * len(said)


def _leaves_nothing(language: Language, answer: str) -> bool:
    """Whether an answer without spaces consists of empty phrases."""
    text = "".join(words(answer))
    if not text or len(text) > MAX_EMPTY_WORDS or share_of_scripts(text, UNSPACED) < 0.9:
        return False
    rest = _empty_phrases(language).sub("", text)
    # One character is a noun ("snow"): only grammatical ones are in the table.
    return not rest


@cache
def _empty_phrases(language: Language) -> re.Pattern[str]:
    phrases = sorted(language.words("empty"), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, phrases)) or "(?!)")


def cut_off(output: Output) -> str | None:
    """The answer ends in the middle of a sentence, although the server says that it is complete."""
    if output.stage is Stage.KEYWORDS or (output.reply and output.reply.finish_reason == "length"):
        return None
    answer = without_reasoning(output.text).strip()
    if not answer or (len(answer.split()) < 2 and share_of_scripts(answer, UNSPACED) < 0.5):
        return None
    end = answer[-200:]
    if (
        _lacks_its_end(answer, output.stage)
        or _COMMA.search(end)
        or _unclosed(answer)
        or _ends_with_grammar(end, has_sentences=bool(_ENDED.search(answer[:-1])))
    ):
        return f"cut in the middle of a sentence: {one_line(answer[-80:], 80)!r}"
    return None


def _lacks_its_end(answer: str, stage: Stage) -> bool:
    """Whether a text whose other sentences end with a full stop ends without one."""
    *ended, last = _SENTENCE_GAP.split(answer)
    ended = [sentence for sentence in ended if len(sentence.split()) > 3 or _FULL_WIDTH_END.search(sentence)]
    # A caption of one sentence may have an abbreviation in the middle: "Sunset Blvd. in Los Angeles".
    if len(ended) < (1 if stage is Stage.DESCRIPTION else 2) or _LIST_ITEM.match(last):
        return False
    is_long = len(last.split()) > 2 or (len(last) > 3 and share_of_scripts(last, UNSPACED) > 0.5)
    return is_long and (last[-1].isalpha() or _is_mark(last[-1]))


def _unclosed(answer: str) -> bool:
    """Whether the last sentence opens a bracket or a quotation that nothing closes."""
    last = re.split(r"[.!?\u3002]\s", answer)[-1]
    if _ENDED.search(last[-1:]):
        return False
    # In German, Czech and Polish the mark that opens in English closes: „...“.
    last = _LOW_QUOTATION.sub("", last)
    return any(last.count(mark) > last.count(close) for mark, close in _OPEN.items())


def _ends_with_grammar(end: str, *, has_sentences: bool) -> bool:
    if not (end[-1].isalpha() or end[-1] in "'\u2019" or _is_mark(end[-1])):
        return False
    likely, last = _likely_languages(end), plain(end)
    ends = [_dangling(language) for language in likely]
    suffixes = [_SUFFIX_OF_CUT[language.code] for language in likely if language.code in _SUFFIX_OF_CUT]
    # "A bridge over the Seine": a name.
    if end.rsplit(maxsplit=1)[-1][:1].isupper() and not end.isupper():
        return False
    if any(weak.search(last) for _, weak in ends) or _STRANDED.search(last):
        return has_sentences
    return any(pattern.search(last) for pattern in [strong for strong, _ in ends] + suffixes)


def _is_mark(character: str) -> bool:
    """Vowel signs are no letters for Python, but they end words."""
    return "\u0900" <= character <= "\u097f" or "\u064b" <= character <= "\u0652"


def _likely_languages(end: str) -> list[Language]:
    """The languages that the text may be in: a word that ends no sentence in one is a noun in another."""
    possible = languages_of(end[-12:])
    if share_of_scripts(end, frozenset({"kana"})):
        return [language for language in possible if language.code == "ja"]
    if share_of_scripts(end, UNSPACED) > 0.5:
        return [language for language in possible if language.code == "zh"]
    # Without the last word, which is in the table in any case.
    said = [word.strip("'") for word in words(end.replace("'", "' "))[:-1]]
    counts = {language: sum(word in language.grammar() for word in said) for language in possible}
    most = max(counts.values(), default=0)
    # Without any, a short lower-case word that ends no sentence in one language is trusted in a longer text.
    last = end.rsplit(maxsplit=1)[-1]
    if most == 0 and "latin" in scripts(last) and (len(said) < 3 or len(last) < 2 or not last.islower()):
        return []
    return [language for language, count in counts.items() if count == most]


@cache
def _dangling(language: Language) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Words that no sentence ends with, and those that no sentence but some headings end with."""
    table = language.words("dangling")
    boundary = "" if language.spaced == "none" else r"(?<![\w\u0900-\u097f])"
    strong, weak = (
        "|".join(re.escape(word.rstrip("?")) for word in table if word.endswith("?") is heading) or "(?!)"
        for heading in (False, True)
    )
    elided = (
        r"|\b(?:l|d|qu|s|c|j|un|dell|nell|sull|all|dall|jusqu|lorsqu)['\u2019]\Z"
        if language.code in {"fr", "it"}
        else ""
    )
    return re.compile(rf"{boundary}(?:{strong})\Z{elided}"), re.compile(rf"{boundary}(?:{weak})\Z")
