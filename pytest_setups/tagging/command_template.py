"""The command of ``--setup-tagger-command`` as typed: words with placeholders, never run by a shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from pytest_setups.redaction import one_line, redact_command
from pytest_setups.registry.entry import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACEHOLDERS: Final = (
    "images",
    "base_url",
    "model",
    "caption_model",
    "keywords_model",
    "description_model",
    "output",
    "summary",
    "max_new_tokens",
    "temperature",
    "top_p",
    "timeout",
    "language",
    "caption_language",
    "keywords_language",
    "description_language",
)
LANGUAGE_PLACEHOLDERS: Final = {f"{stage}_language": (stage,) for stage in Stage} | {"language": tuple(Stage)}
"""The placeholders of languages, each with the stages that must have the language it stands for."""

REQUIRED: Final = {
    "images": "the folder of the images to tag",
    "output": "the file that it writes its JSON lines to",
}
# {{name}} is literal: some taggers have placeholders of their own.
_PLACEHOLDER: Final = re.compile(r"\{\{(?P<literal>\w+)\}\}|\{(?P<name>[A-Za-z_]\w*)\}")
# Whole words only: within a word, | and > are arguments such as a regular expression.
_SHELL_OPERATOR: Final = re.compile(r"\|\|?|&&?|;|(?:\d|&)?>>?(?:&\d)?|<")


class TemplateError(ValueError):
    """A command that cannot be run; the message says what to type."""


@dataclass(frozen=True, slots=True)
class CommandTemplate:
    """A command whose words may hold ``{placeholders}``; ``{{name}}`` becomes ``{name}``.

    Attributes:
        text: the command as typed, on one line.
        words: the program and its arguments, placeholders not filled in.
        names: the placeholders that it has.
    """

    text: str
    words: tuple[str, ...]
    names: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """The template that a user typed.

        Raises:
            TemplateError: no command, an open quotation, a placeholder that is unknown, a required one that
                is missing, an operator of a shell, or a program that does not exist.
        """
        # An ini file and a copied command may continue on the next line, with or without a backslash.
        text = re.sub(r"\s*\\?\n\s*", " ", text.strip())
        words = _split(text)
        names = frozenset(
            match["name"] for word in words for match in _PLACEHOLDER.finditer(word) if match["name"]
        )
        _check_placeholders(names)
        _check_program(words[0])
        return cls(text=text, words=tuple(words), names=names)

    def fill(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """The program and its arguments, with the values in place of the placeholders.

        A leading ``~/`` becomes the home directory, as a shell would do it.
        """
        return tuple(_filled(_with_home(word), values) for word in self.words)


def _split(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise TemplateError(f"not a command: {str(error).lower()}") from None
    if not words:
        raise TemplateError("the command is empty")
    for word in words:
        if _SHELL_OPERATOR.fullmatch(word):
            raise TemplateError(
                f"{word!r} needs a shell, and the command is run without one: write a script and name it here"
            )
    return words


def _check_placeholders(names: frozenset[str]) -> None:
    unknown = sorted(names - set(PLACEHOLDERS))
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise TemplateError(
            f"unknown placeholder {{{unknown[0]}}}; known are {known} (write {{{{x}}}} for {{x}} itself)"
        )
    for name, meaning in REQUIRED.items():
        if name not in names:
            raise TemplateError(f"the command is missing {{{name}}}, {meaning}")


def _check_program(program: str) -> None:
    if _PLACEHOLDER.search(program) or shutil.which(_with_home(program)):
        return
    message = f"{one_line(redact_command(program), 200)!r} is not a program that can be run"
    if re.match(r"\w+=", program):
        message = f"{message}: set variables before pytest, the command is run without a shell"
    raise TemplateError(message)


def _filled(word: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(
        lambda match: f"{{{match['literal']}}}" if match["literal"] else values[match["name"]], word
    )


def _with_home(word: str) -> str:
    return os.path.expanduser(word) if word.startswith("~/") else word
