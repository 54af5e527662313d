"""Text where an answer should have been filled in: "Full caption here", `<caption>`, "string"."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.phrases import languages_of
from pytest_setups.checks.texts import beginning_and_end, own_words, plain, sentences
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.checks.phrases import Language
    from pytest_setups.tagging.outputs import Output

# The whole answer, or what is left to fill in within a sentence.
_WHOLE: Final = re.compile(
    r"""(?x) \A (?: <[^<>\n]{1,120}> | \[[^\[\]\n"]{2,120}\] | \{\{?[^{}\n"':]{1,80}\}\}?
    | \$\{?\w+\}? | %\w+%? | [a-z]{1,30}(?:_[a-z]{1,30}){1,5}
    | __\w+__ | \(\W*(?:your|insert|caption|description)\b[^()]*\) ) \W* \Z"""
)
_GAP: Final = re.compile(
    r"""(?ix) \{[a-z][a-z_]{1,30}\} | \{\{\s*[a-z][a-z_ .]{1,30}\s*\}\}
    | \[(?:your|insert|the|a|an)?\s?(?:adjective|noun|verb|adverb|subject|object|action|place|location|setting
        |name|colou?r|description|caption|title|keyword|date|person|animal|image|insert|mood|x|\.\.\.|\u2026)
        [^\[\]\n]{0,30}\]
    | <(?:your|insert|caption|description|title|keyword|subject|adjective|noun|verb|place|one|two|short|brief
        |a|an|the)\b[^<>\n]{0,60}>
    """
)
_DOTS: Final = re.compile(r"(?i)\A\W*lorem ipsum|\A[\s.\u2026_\-xX?*]*\Z")


def placeholder(output: Output) -> str | None:
    """The answer is what a template or a schema holds, not what the picture shows."""
    if output.stage is Stage.KEYWORDS and output.keywords is not None:
        words = output.keywords.words
        found = list(words) if _counts(words) else [word for word in words if is_placeholder(word)]
        return f"placeholders: {one_line(', '.join(found), 80)!r}" if len(found) * 2 > len(words) else None
    answer = without_reasoning(output.text).strip()
    if not answer:
        return None
    return f"a placeholder: {one_line(answer, 120)!r}" if is_placeholder(answer) else None


def _counts(words: Sequence[str]) -> bool:
    """Whether the keywords are one word with numbers: "tag1", "tag2", "tag3"."""
    bases = {word.rstrip("0123456789. ") for word in words}
    return len(words) > 2 and len(bases) == 1 and all(word[-1:].isdigit() for word in words) and bases != {""}


def is_placeholder(text: str) -> bool:
    """Whether a text is a placeholder: as a whole, in one of its sentences, or with a gap to fill in."""
    if _WHOLE.match(text) or _DOTS.match(text) or _GAP.search(own_words(text)):
        return True
    said = sentences(plain(beginning_and_end(text)).strip("()[]<>{}\uff08\uff09\u3010\u3011\"' \n"))
    return any(
        pattern.match(sentence.strip(" *#\"'"))
        for language in languages_of(text)
        if (pattern := _whole_sentence(language))
        for sentence in said[:4]
    )


@cache
def _whole_sentence(language: Language) -> re.Pattern[str] | None:
    """A sentence that consists of a phrase, with a few words around it."""
    source = language.alternatives("placeholder")
    if not source:
        return None
    if language.spaced != "words":
        return re.compile(rf".{{0,10}}{source}.{{0,12}}\Z")
    return re.compile(rf"\W*{source}(?:\W*\Z|\W+(?:\w+\W+){{0,2}}\w*\Z)")
