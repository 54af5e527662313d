"""Keywords, judged word by word: what is useless, and how many of them are.

A single odd word is honest ("23" beside "basketball"): a check fails where a share of the words is useless.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.phrases import CODES, language, languages_of
from pytest_setups.checks.texts import normalised, plain, scripts
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.prompts import PROFILES, load_prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_setups.tagging.outputs import Output

# The built-in prompts ask for 10 to 25. One word is no list; two may be all that a plain picture holds.
MIN_KEYWORDS: Final = 2
# Stock libraries accept 50; a list of more is a dictionary.
MAX_DISTINCT: Final = 70
MAX_USELESS_SHARE: Final = 0.5
# A keyword with more words than this is a sentence.
MAX_WORDS: Final = 7
MAX_UNSPACED: Final = 12

# Words that go on with a sentence, and those that also end a keyword ("man looking up").
_CONTINUING: Final = frozenset({
    "and", "which", "that", "is", "are", "there", "can", "qui", "que", "et", "und", "die", "y",
})  # fmt: skip
_PARTICLES: Final = frozenset({
    "on", "in", "up", "out", "down", "off", "over", "an", "auf", "ein", "su", "op", "her", "sein", "i", "a",
})  # fmt: skip
_LANGUAGES_OF_FRAGMENTS: Final = frozenset({"en", "de", "fr", "es", "it", "pt", "nl"})
_NUMBER: Final = re.compile(r"[\d\W_]+|[+-]?\d[\d.,\s]*(?:px|mb|kb|dpi|iso|%|st|nd|rd|th)?")
_JSON_PIECE: Final = re.compile(r"[{}]|\"\s*:|\A[\[\]:,\"\s]+\Z")
_PIECE: Final = re.compile("##\\w|[\u0120\u2581\u010a]|<0x|\\\\u[0-9a-f]{4}")
_SENTENCE: Final = re.compile(r".*[.!?\u3002\uff01\uff1f\u0964]\Z", re.DOTALL)


def keyword_form(output: Output) -> str | None:
    """No keywords, too few or too many."""
    if output.stage is not Stage.KEYWORDS or not output.text.strip():
        return None
    keywords = output.keywords
    if keywords is None:
        return f"no keywords can be read from {one_line(output.text, 80)!r}"
    if len(keywords.words) < MIN_KEYWORDS:
        return f"{len(keywords.words)} distinct keywords: at least {MIN_KEYWORDS} are expected"
    # A model in a loop repeats its keywords; a few duplicates are harmless and were removed.
    if len(keywords.words) * 2 < keywords.given:
        return f"only {len(keywords.words)} of {keywords.given} keywords are distinct"
    if len(keywords.words) > MAX_DISTINCT:
        return f"{len(keywords.words)} keywords: more than {MAX_DISTINCT} describe no picture"
    return None


def keyword_words(output: Output) -> str | None:
    """Words that are useless for searching: letters, numbers, grammar, sentences, fragments."""
    if (
        output.stage is not Stage.KEYWORDS
        or output.keywords is None
        or len(output.keywords.words) < MIN_KEYWORDS
    ):
        return None
    given = output.keywords.words
    pieces = [word for word in given if _JSON_PIECE.search(word)]
    if pieces:
        return f"pieces of JSON as keywords: {one_line(', '.join(pieces), 80)!r}"
    found: set[str] = set()
    for what, is_useless in _faults(output):
        useless = [word for word in given if is_useless(word)]
        if len(useless) >= MAX_USELESS_SHARE * len(given) and len(useless) > 1:
            return f"{what} as keywords, {len(useless)} of {len(given)}: {one_line(', '.join(useless), 80)!r}"
        found.update(useless)
    mixed = [word for word in given if word in found]
    if len(mixed) > 0.6 * len(given) and len(mixed) > 2:
        return f"useless keywords, {len(mixed)} of {len(given)}: {one_line(', '.join(mixed), 80)!r}"
    return None


def near_duplicates(output: Output) -> str | None:
    """One thing under many names: boat, boats, a boat."""
    if output.stage is not Stage.KEYWORDS or output.keywords is None or len(output.keywords.words) < 4:
        return None
    given = output.keywords.words
    distinct = len(_groups([_core(word) for word in given]))
    if distinct * 2 >= len(given):
        return None
    shown = one_line(", ".join(given), 80)
    return f"only {distinct} of {len(given)} keywords differ by more than their form: {shown!r}"


def _faults(output: Output) -> Iterator[tuple[str, Callable[[str], bool]]]:
    prompt = _prompt_words(output)
    stop = (
        _stop_words(tuple(word.lower() for word in output.keywords.words)) if output.keywords else frozenset()
    )
    # Korean syllables are words ("snow"), unless a word was taken apart into its letters too.
    taken_apart = any(map(_is_jamo, output.keywords.words if output.keywords else ()))
    yield "letters", lambda word: _is_letter(word) or (taken_apart and len(word) == 1)
    yield "numbers", lambda word: _NUMBER.fullmatch(word) is not None
    yield "dates and places on the map", _is_date
    yield "grammatical words", lambda word: word.lower() in stop
    yield "sentences", _is_sentence
    yield "fragments of the prompt", lambda word: _is_prompt(word, prompt)
    yield "fragments of sentences", _is_fragment
    yield "words that say nothing", _is_empty
    yield "pieces of a vocabulary", lambda word: _PIECE.search(word) is not None or _is_babble(word)


def _is_letter(word: str) -> bool:
    """One letter, of a script in which one letter is no word."""
    if len(word) != 1 or not word.isalpha():
        return False
    return not scripts(word) & {"han", "hangul"} or _is_jamo(word)


def _is_jamo(word: str) -> bool:
    return len(word) == 1 and "\u3130" <= word <= "\u318f"


def _is_date(word: str) -> bool:
    if _NUMBER.fullmatch(word) and len(word) > 4:
        return True
    return _table("metadata").fullmatch(plain(word).strip()) is not None


def _stop_words(given: Sequence[str]) -> frozenset[str]:
    """The grammatical words of the language that most keywords belong to: "die" is a noun in English."""
    tables = [language(code).words("stop") for code in CODES]
    return max(tables, key=lambda table: sum(word in table for word in given))


def _is_sentence(word: str) -> bool:
    count = len(word.split())
    if scripts(word) & {"han", "kana", "thai"} and count < 3:
        return (len(word) > MAX_UNSPACED and _SENTENCE.match(word) is not None) or len(
            word
        ) > 2 * MAX_UNSPACED
    return count > MAX_WORDS or (count > 3 and _SENTENCE.match(word) is not None)


def _prompt_words(output: Output) -> str:
    return _all_words(output.prompt or "\n".join(load_prompts(profile).keywords for profile in PROFILES))


@lru_cache(maxsize=8)  # the same prompt for every picture
def _all_words(prompt: str) -> str:
    return f" {normalised(prompt)} "


def _is_prompt(word: str, prompt: str) -> bool:
    """Two or more words that are in the prompt in this order, or what prompts of others say."""
    words = normalised(word)
    return (len(words.split()) > 1 and f" {words} " in prompt) or _table("instruction").search(
        plain(word)
    ) is not None


def _is_fragment(word: str) -> bool:
    """Several words of which the last needs another after it, or the first another before it."""
    parts = plain(word).replace("'", "' ").split()
    if len(parts) < 2:
        return False
    return any(
        parts[-1].rstrip("'") in ends or parts[0] in _CONTINUING & (starts | ends)
        for code in {spoken.code for spoken in languages_of(word)} & _LANGUAGES_OF_FRAGMENTS
        for ends, starts in [_grammar(code)]
    )


@cache
def _grammar(code: str) -> tuple[frozenset[str], frozenset[str]]:
    """Words that end no keyword; grammatical words."""
    spoken = language(code)
    return frozenset(word.rstrip("?") for word in spoken.words("dangling")) - _PARTICLES, spoken.words("stop")


@cache
def _table(name: str) -> re.Pattern[str]:
    return re.compile(language("keywords").alternatives(name))


@cache
def _all_empty() -> frozenset[str]:
    return frozenset(word for code in CODES for word in language(code).words("empty")) - {"output", "sky"}


def _is_empty(word: str) -> bool:
    parts = plain(word).split()
    return all(part.strip(".") in _all_empty() or part in {"no", "not", "of", "the", "a"} for part in parts)


def _is_babble(word: str) -> bool:
    return word.isascii() and _table("babble").search(word.lower()) is not None


def _core(word: str) -> str:
    """A keyword without articles, quantities, praise and words for pictures."""
    text = plain(word).strip(" .!")
    bare = _table("particles").sub("", text).strip(" .\u3002")
    parts = [part.strip(".,") for part in (bare or text).replace("'", "' ").split()]
    kept = [part for part in parts if part not in _fillers()]
    return " ".join(kept or parts)


@cache
def _fillers() -> frozenset[str]:
    return language("keywords").words("fillers") | (_all_empty() - {"file", "visual"})


def _groups(cores: Sequence[str]) -> list[str]:
    """One of each group of words that differ only in their endings."""
    groups: list[str] = []
    for core in cores:
        if not any(_same(core, other) for other in groups):
            groups.append(core)
    return groups


def _same(first: str, second: str) -> bool:
    if first == second:
        return True
    if set(first.split()) == set(second.split()):
        return True
    first_parts, second_parts = sorted(set(first.split())), sorted(set(second.split()))
    return len(first_parts) == len(second_parts) and all(map(_same_word, first_parts, second_parts))


def _same_word(first: str, second: str) -> bool:
    return bool(_stems(first) & _stems(second))


@lru_cache(maxsize=10_000)  # not more: keywords of a library have no end
def _stems(word: str) -> frozenset[str]:
    """The word, and what is left of it without an ending; at least three letters."""
    ends = (
        word.removesuffix(ending) for ending in language("keywords").words("endings") if word.endswith(ending)
    )
    plural = [f"{word[:-3]}y"] if word.endswith("ies") else []
    return frozenset([word, *plural, *(stem for stem in ends if len(stem) > 2)])
