"""The model speaks to its user instead of describing: refusals, missing pictures, offers of help."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.phrases import is_sign, languages_of
from pytest_setups.checks.texts import beginning_and_end, own_words, sentences
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.checks.phrases import Language
    from pytest_setups.tagging.outputs import Output

# An apology and what it is for stand at the beginning, in at most this many sentences.
APOLOGY_WITHIN: Final = 3
# Keywords are no sentences: the person is missing.
_IN_KEYWORDS: Final = re.compile(
    r"\b(?:unable|cannot|can't|not able) (?:to )?"
    r"(?:view|see|access|process|open|analy[sz]e|identify|describe)\b"
    r"|\bno (?:image|photo|picture) (?:provided|attached|available|found|uploaded|detected|given)\b"
    r"|\b(?:image|photo|picture) (?:not|un)\s?(?:available|provided|found|attached|loaded|visible)\b"
)


def refusal(output: Output) -> str | None:
    """The answer is said to the user: that it sees nothing, may not, or needs something."""
    if output.reply is not None and output.reply.finish_reason == "content_filter":
        return "the server's content filter withheld the answer"
    answer = without_reasoning(output.text)
    if output.stage is Stage.KEYWORDS and output.keywords is not None:
        # Commas separate what belongs together in a sentence, and the words alone prove nothing.
        refused = _refused_keywords(output.keywords.words)
        return f"a refusal: {one_line(', '.join(refused), 120)!r}" if refused else None
    said = sentences(own_words(answer))
    for language in languages_of(beginning_and_end(answer)):
        refused_sentence = _refused(language, said)
        if refused_sentence is not None:
            return f"a refusal: {one_line(_where(answer, refused_sentence), 120)!r}"
    return None


def _refused_keywords(words: Sequence[str]) -> list[str]:
    refused = [
        word
        for word in words
        for own in [own_words(word)]
        if _IN_KEYWORDS.search(own) or any(_is_refusal(language, own) for language in languages_of(own))
    ]
    return refused if len(refused) * 3 >= len(words) else []


def _refused(language: Language, said: Sequence[str]) -> str | None:
    if _apologises(language, said):
        return said[0]
    return next((sentence for sentence in said if _is_refusal(language, sentence)), None)


def _is_refusal(language: Language, sentence: str) -> bool:
    # Nearly every sentence is asked for in a dozen languages, and is no refusal.
    return _is_said_to_user(language, sentence) and not is_sign(sentence)


def _is_said_to_user(language: Language, sentence: str) -> bool:
    says = language.says
    if says("model", sentence) or says("absent", sentence):
        return True
    if says("policy", sentence) or says("offers", sentence):
        return True
    if says("cannot", sentence) and (
        says("helps", sentence) or (says("picture", sentence) and says("sees", sentence))
    ):
        return True
    return (says("message", sentence) and says("picture", sentence)) or (
        says("request", sentence) and says("gives", sentence)
    )


def _apologises(language: Language, said: Sequence[str]) -> bool:
    """Whether the answer begins with an apology to the user, not with one that a sign makes."""
    apology, followed = language.pattern("apology"), language.pattern("apology_but")
    if not said or apology is None or is_sign(said[0]):
        return False
    first = said[0].lstrip("*#-> ")
    # "Sorry!" is also the name of a board game.
    is_bare = len(first.split()) == 1 and len(said) > 1
    if followed is not None and followed.match(first) and not is_bare:
        return True
    return apology.match(first) is not None and any(
        language.says("cannot", sentence) for sentence in said[:APOLOGY_WITHIN]
    )


def _where(answer: str, sentence: str) -> str:
    """The answer from the sentence on; sentences are in lower case, so it is searched without case."""
    start = " ".join(answer.split()).lower().find(sentence[:40])
    return " ".join(answer.split())[max(start, 0) :]
