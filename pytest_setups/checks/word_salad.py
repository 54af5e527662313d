"""Words without a sentence.

What is certain without knowing a language well: several scripts at once, letters that form no syllables, and
grammatical words in an order that no sentence has. A text that is merely odd passes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.phrases import Language, language, languages_of
from pytest_setups.checks.texts import UNSPACED, own_words, scripts, share_of_scripts, words
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from pytest_setups.tagging.outputs import Output

MIN_WORDS: Final = 8
# Japanese has two of its own beside Latin letters; no language has three foreign to each other.
MAX_SCRIPTS: Final = 2
# Czech and Croatian have words without vowels, but few of them.
MAX_WITHOUT_VOWELS: Final = 0.4

# One may be an error of the model in an honest text; two are not.
MIN_DISORDERS: Final = 2
_VOWEL: Final = re.compile(
    r"[aeiouy\u00e0-\u00e6\u00e8-\u00ef\u00f2-\u00f6\u00f8-\u00fd\u0100-\u0105\u0112-\u011b\u012a\u0131\u014d\u0151\u0153\u0169-\u0173\u01a1\u01b0\u1ea0-\u1ef9]"
)


def word_salad(output: Output) -> str | None:
    """Words in an order that no sentence has."""
    if output.stage is Stage.KEYWORDS:
        return None
    own = own_words(without_reasoning(output.text))
    if _mixes_scripts(own) or _has_no_syllables(own) or _has_no_order(own, output.text):
        return f"words without a sentence: {one_line(output.text, 120)!r}"
    return None


def _mixes_scripts(own: str) -> bool:
    found = scripts(own)
    if found & {"han", "kana"}:
        found = (found - {"kana"}) | {"han"}
    return len(found) > MAX_SCRIPTS


def _has_no_syllables(own: str) -> bool:
    latin = [word for word in words(own) if len(word) > 2 and word.isalpha() and word.isascii()]
    if len(latin) < 4 or share_of_scripts(own, frozenset({"latin"})) < 0.9:
        return False
    without = sum(not _VOWEL.search(word) for word in latin)
    return without > MAX_WITHOUT_VOWELS * len(latin)


def _has_no_order(own: str, raw: str) -> bool:
    text = " ".join(own.split())
    if len(words(text)) < MIN_WORDS and share_of_scripts(text, UNSPACED) < 0.5:
        return False
    said, languages = set(words(text)), _languages(text)
    if any(said <= spoken.grammar() or _is_certain(spoken, text, raw) for spoken in languages):
        return True
    return any(
        disorder is not None and len(list(disorder.finditer(text))) >= MIN_DISORDERS
        for disorder in (spoken.pattern("disorder") for spoken in languages)
    )


def _is_certain(spoken: Language, text: str, raw: str) -> bool:
    """Whether one order alone proves it. In capitals it is a name: "a The Beatles record"."""
    pattern = spoken.pattern("disorder_certain")
    return pattern is not None and any(match[0] in raw for match in pattern.finditer(text))


def _languages(text: str) -> list[Language]:
    """The languages that the grammatical words of a text belong to most."""
    if share_of_scripts(text, UNSPACED) < 0.5:
        said = words(text)
        counts = {spoken: sum(word in spoken.grammar() for word in said) for spoken in languages_of(text)}
        most = max(counts.values(), default=0)
        return [spoken for spoken, count in counts.items() if count == most > 0]
    return [language("ja" if "kana" in scripts(text) else "zh")]
