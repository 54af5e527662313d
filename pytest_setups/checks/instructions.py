"""Words about the task in place of an answer: an acknowledgement, a report, or an instruction to a model."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.phrases import is_sign, language
from pytest_setups.checks.texts import own_words, sentences
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from pytest_setups.tagging.outputs import Output

# A prompt, or what a model says of its task, is what an answer begins with.
WITHIN: Final = 2


def acknowledgement(output: Output) -> str | None:
    """The task is acknowledged or reported as done: "Yes.", "The caption has been generated."."""
    if output.stage is Stage.KEYWORDS:
        return None
    answer = without_reasoning(output.text)
    said = sentences(own_words(answer))
    if not said:
        return None
    is_whole = len(said) == 1 and _pattern("acknowledged").fullmatch(said[0].strip(" *#'\"()-"))
    if is_whole or any(map(_pattern("reported").match, (said[0], " ".join(said[:WITHIN])))):
        return f"the task is acknowledged, not done: {one_line(answer, 120)!r}"
    return None


def instruction(output: Output) -> str | None:
    """The answer begins like a prompt, whichever was sent: "Write one sentence about this photo."."""
    if output.stage is Stage.KEYWORDS:
        return None
    answer = without_reasoning(output.text)
    for sentence in sentences(own_words(answer))[:WITHIN]:
        if _pattern("instruction").match(sentence.lstrip("*#->\"' ")) and not is_sign(sentence):
            return f"an instruction to a model in place of an answer: {one_line(answer, 120)!r}"
    return None


@cache
def _pattern(table: str) -> re.Pattern[str]:
    return re.compile(f"(?:{'|'.join(language('instructions').tables[table])})")
