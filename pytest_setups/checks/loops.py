"""Texts that go round in circles: one token, a phrase, or a sentence with small variations."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from rapidfuzz.fuzz import token_sort_ratio

from pytest_setups.checks.texts import UNSPACED, normalised, own_words, sentences, share_of_scripts
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_setups.tagging.outputs import Output

# "A very, very old boat" and "New York, New York" are honest: two or three repetitions occur in prose.
MIN_REPEATED_WORDS: Final = 4
LOOP_REPEATS: Final = 4
LOOP_MAX_PERIOD: Final = 30
MIN_CLAUSE: Final = 4
# Characters that are searched, whose cost increases with the length.
MAX_CHECKED: Final = 20_000
# A loop with variations: of the word triples in a window, the share that were there before. Prose repeats
# fewer than one in ten; figures of speech ("snow on the roof, snow on the fence, snow on a nose") one in six.
WINDOW: Final = 60
MIN_WINDOW: Final = 14
MAX_REPEATED: Final = 0.3
MIN_CHARACTERS: Final = 30
# Every sentence with the same beginning: so often, and so much of the text.
MIN_RETURNS: Final = 5
MIN_RETURNING: Final = 0.45
# Sentences in a row, each as similar to the one before (0 to 100): none of 1,400 honest outputs had three.
ALIKE_SENTENCES: Final = 3
ALIKE: Final = 75
MIN_SENTENCE: Final = 9
# Words of which so few differ, in a window or in a shorter text, or of which one is so frequent. Of 1,400
# honest outputs, none had fewer than 53 % different words, and in none was a word more than 38 % of all.
MIN_COUNTED: Final = 25
MIN_DISTINCT: Final = 0.42
MIN_WORDS_OF_ONE: Final = 8
MAX_OF_ONE: Final = 0.45
# Eight times in a row: numbers such as 1,000,000 repeat characters too.
_CHARACTER_LOOP: Final = re.compile(r"(.{1,40}?)\1{7,}", re.DOTALL)
# The same clause four times, in scripts without spaces.
_CLAUSE_LOOP: Final = re.compile(r"(.{4,40}?)\1{3,}")


def one_token(output: Output) -> str | None:
    """One word or character, again and again."""
    text = "".join(output.text.split())
    words = output.text.split()
    same_character = len(text) >= MIN_REPEATED_WORDS and len(set(text)) == 1
    same_word = len(words) >= MIN_REPEATED_WORDS and len(set(words)) == 1
    if not (same_character or same_word):
        return None
    return f"one token repeated: {one_line(output.text, 40)!r}"


def loop(output: Output) -> str | None:
    """A phrase again and again, as it is or with other words in some places."""
    if one_token(output):
        return None
    text = without_reasoning(output.text)[:MAX_CHECKED]
    words = normalised(text).split()
    phrase = next(_repeated_phrases(words), None) or _repeated_characters(text)
    if phrase is None and output.stage is not Stage.KEYWORDS:
        # A caption may be a figure of speech; four sentences of a description with one beginning are none.
        returns = MIN_RETURNS if output.stage is Stage.CAPTION else MIN_RETURNS - 1
        phrase = _varied_phrase(text, words, returns) or _few_words(words) or _alike_sentences(text)
    return None if phrase is None else f"a loop: {one_line(phrase, 60)!r} again and again"


def _repeated_characters(text: str) -> str | None:
    """Characters that are repeated without spaces, as in languages that write none."""
    match = _CHARACTER_LOOP.search(re.sub(r"\s+", " ", text))
    if match is None and share_of_scripts(text, UNSPACED) > 0.5:
        match = _CLAUSE_LOOP.search("".join(normalised(text).split()))
    return match[1] if match and any(character.isalnum() for character in match[1]) else None


def _repeated_phrases(words: Sequence[str]) -> Iterator[str]:
    """Phrases of up to ``LOOP_MAX_PERIOD`` words that occur ``LOOP_REPEATS`` times in a row."""
    for period in range(1, min(LOOP_MAX_PERIOD, len(words) // (LOOP_REPEATS - 1)) + 1):
        # Three times the same clause is no figure of speech. A word alone may be called or written more
        # often: "ha ha ha ha", Gorilla gorilla gorilla.
        repeats = LOOP_REPEATS + (2 if period == 1 else 0 if period < MIN_CLAUSE else -1)
        needed, run = period * (repeats - 1), 0
        for index, (earlier, later) in enumerate(zip(words, words[period:], strict=False)):
            run = run + 1 if earlier == later else 0
            if run >= needed:
                yield " ".join(words[index + 1 : index + 1 + period])
                break


def _few_words(words: Sequence[str]) -> str | None:
    """The most frequent words of a text that has few different ones."""
    if len(words) >= MIN_WORDS_OF_ONE:
        word, times = Counter(words).most_common(1)[0]
        if times > MAX_OF_ONE * len(words):
            return word
    for start in range(0, max(1, len(words) - WINDOW + 1), WINDOW // 2):
        window = words[start : start + WINDOW]
        if len(window) >= MIN_COUNTED and len(set(window)) < MIN_DISTINCT * len(window):
            return " ".join(word for word, _ in Counter(window).most_common(3))
    return None


def _alike_sentences(text: str) -> str | None:
    """The first of some sentences in a row that say nearly the same."""
    said = [sentence for sentence in sentences(own_words(text)) if len(sentence) >= MIN_SENTENCE]
    run = 1
    for number, (sentence, following) in enumerate(pairwise(said), 2):
        run = run + 1 if token_sort_ratio(sentence, following) >= ALIKE else 1
        if run == ALIKE_SENTENCES:
            return said[number - run]
    return None


def _varied_phrase(text: str, words: Sequence[str], returns: int) -> str | None:
    """The phrase that a text returns to, where too much of a part of it was there before."""
    if share_of_scripts(text, UNSPACED) > 0.5:
        return _returns_to("".join(words), 4, MIN_CHARACTERS, returns)
    return _returns_to(words, 3, MIN_WINDOW, returns)


def _returns_to(units: Sequence[str], length: int, minimum: int, returns: int) -> str | None:
    grams = [tuple(units[start : start + length]) for start in range(len(units) - length + 1)]
    if len(grams) < minimum - length + 1:
        return None
    for start in range(0, max(1, len(grams) - WINDOW // 2), WINDOW // 2):
        counts = Counter(grams[start : start + WINDOW])
        total = sum(counts.values())
        (gram, times) = counts.most_common(1)[0]
        is_return = times >= returns and times * length > MIN_RETURNING * total
        if is_return or (total - len(counts) > MAX_REPEATED * total and times > 2):
            return (" " if isinstance(units, list) else "").join(gram)
    return None
