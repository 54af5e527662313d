"""Words to the user around an answer: "Sure! Here is a caption:", labels, offers at the end."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.phrases import Language, languages_of
from pytest_setups.checks.texts import lines, own_words, plain
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from pytest_setups.tagging.outputs import Output

# A preamble is at the beginning; what is offered is at the end.
WITHIN: Final = 160
CLOSING_WITHIN: Final = 220
_NUMBERED: Final = re.compile(
    r"(?m)^\W{0,3}(?:\d{1,2}[.)]|(?:option|version|variante?|opci[oó]n|opção|opzione) \d)\s", re.IGNORECASE
)
# "Caption - A boat": what follows the dash begins a sentence.
_DASHED: Final = re.compile(r"(?<=\w) [-\u2013\u2014] (?=\w)")
_DASHED_ANSWER: Final = re.compile(r"[^\W\d]{2,20}(?: \w+)? [-\u2013\u2014] (?=\w)(?![a-z\u00df-\u00ff])")
_MARKDOWN: Final = "*#_`> -"


def preamble(output: Output) -> str | None:
    """The answer has words around it that are said to the user."""
    # What stands before a list of keywords is removed when they are read.
    if output.stage is Stage.KEYWORDS:
        return None
    answer = without_reasoning(output.text)
    if answer.endswith((":", "\uff1a")) and len(answer) < 400:
        return f"an introduction with no answer after it: {one_line(answer, 120)!r}"
    own = own_words(answer).strip()
    for language in languages_of(answer):
        said = _said_to_the_user(language, own, answer)
        if said is not None:
            return f"{said}: {one_line(answer, 120)!r}"
    if output.stage is Stage.CAPTION and len(_NUMBERED.findall(answer[:3_000])) > 1:
        return f"several captions in place of one: {one_line(answer, 120)!r}"
    return None


def _said_to_the_user(language: Language, own: str, answer: str) -> str | None:
    start = " ".join(own[:WITHIN].split(" "))
    if _introduction(language).match(start):
        return "an introduction"
    if any(_label(language).match(line) for line in lines(own[:2_000])):
        return "a label"
    headings = [line for line in lines(plain(answer[:2_000])) if line.startswith(("#", "**", "__"))]
    # Several headings divide a long description.
    if len(headings) == 1 and _heading(language).fullmatch(headings[0]):
        return "a heading"
    if _DASHED_ANSWER.match(answer) and _label(language).match(_DASHED.sub(":", own, count=1)):
        return "a label"
    closing = language.pattern("closing")
    # Whole sentences: the first is not at the end, and a description may end with a wish of the people in it.
    rest = re.split(r"(?<=[.!?\u3002\uff01\uff1f\u0964])\s*|\n", own)[1:]
    ending = "\n".join(rest)[-CLOSING_WITHIN:]
    if closing and any(
        closing.match(line.strip(" (*")) for line in re.split(r"(?<=[.!?\u3002\uff01\uff1f])\s*|\n", ending)
    ):
        return "words to the user at the end"
    return None


@cache
def _introduction(language: Language) -> re.Pattern[str]:
    """How an answer to a user begins: with an interjection, with "here is the caption", or with both."""
    names = ("opening", "eager", "here", "answer", "introduction")
    opening, eager, here, answer, introduction = (language.alternatives(name) or "(?!)" for name in names)
    answer_to_eager = r"\s*[!\uff01]\s*[^\s!]"
    interjection = rf"(?:{opening})\s*[!,.:;\u2013\u2014\uff0c\uff01\u3002\u3001\u060c-]"
    return re.compile(
        rf"""(?sx) \W* (?:
          {_spaces(eager)} {answer_to_eager}
        | (?:{_spaces(interjection)}\W*){{1,2}} (?:.{{0,30}}?) {_spaces(here)}
        | (?:{_spaces(interjection)}\W*){{1,2}} [^.!?\n\u3002]{{0,60}}? {_spaces(answer)}
        | (?:{_spaces(interjection)}\W*|[^.!?:\n\u3002]{{3,60}},\s*)?
          {_spaces(here)} [^.!?\n\u3002]{{0,80}}? {_spaces(answer)}
        | {_spaces(introduction)} [^.!?\n\u3002]{{0,60}} [:\uff1a\u25aa]
        | {_spaces(interjection)} \W* \Z
        )"""
    )


def _spaces(source: str) -> str:
    """The source for a verbose regular expression, in which a bare space counts for nothing."""
    return source.replace(" ", r"\ ").replace("#", r"\#")


@cache
def _label(language: Language) -> re.Pattern[str]:
    label = language.alternatives("label") or "(?!)"
    return re.compile(rf"[{re.escape(_MARKDOWN)}\[(]*{label}\s?[*_\])]*\s?[:\uff1a]")


@cache
def _heading(language: Language) -> re.Pattern[str]:
    label = language.alternatives("label") or "(?!)"
    return re.compile(rf"(?:#{{1,4}} |\*\*|__)\s*{label}\s*[:\uff1a]?(?:\*\*|__)?")
