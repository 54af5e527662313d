"""The command of an external tagger as its user wrote it: words with placeholders, never run by a shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from pytest_setups.redaction import one_line, redact

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
)
REQUIRED: Final = {
    "images": "the folder of the pictures to tag",
    "output": "the file that it writes its JSON lines to",
}
_PLACEHOLDER: Final = re.compile(r"\{\{(?P<kept>\w+)\}\}|\{(?P<name>[A-Za-z_]\w*)\}")
_ONLY_A_SHELL: Final = re.compile(r"\|\|?|&&?|;|(?:\d|&)?>>?(?:&\d)?|<")


class TemplateError(ValueError):
    """A command that cannot be run; the message says what to type."""


@dataclass(frozen=True, slots=True)
class CommandTemplate:
    """A command whose words may hold ``{placeholders}``; ``{{name}}`` gives the program ``{name}``."""

    text: str
    words: tuple[str, ...]
    names: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """The template that a user wrote.

        Raises:
            TemplateError: no command, an open quote, an unknown placeholder or one missing that every
                tagger needs, something only a shell understands, or no such program.
        """
        text = re.sub(r"\s*\\?\n\s*", " ", text.strip())
        words = _words(text)
        found = [match["name"] for word in words for match in _PLACEHOLDER.finditer(word) if match["name"]]
        unknown = [name for name in found if name not in PLACEHOLDERS]
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            message = f"unknown placeholder {{{unknown[0]}}}; known are {known} ({{{{x}}}} is {{x}} itself)"
            raise TemplateError(message)
        for name, meaning in REQUIRED.items():
            if name not in found:
                message = f"the command does not say {{{name}}}, {meaning}"
                raise TemplateError(message)
        _check_program(words[0])
        return cls(text=text, words=tuple(words), names=frozenset(found))

    def fill(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """The words of the command with the values in their places; ``~/`` is the home directory."""
        return tuple(
            _PLACEHOLDER.sub(
                lambda match: f"{{{match['kept']}}}" if match["kept"] else values[match["name"]], word
            )
            for word in map(_at_home, self.words)
        )


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        message = f"not a command: {str(error).lower()}"
        raise TemplateError(message) from None
    if not words:
        message = "the command is empty"
        raise TemplateError(message)
    for word in words:
        if _ONLY_A_SHELL.fullmatch(word):
            message = f"{word!r} is for a shell, and the command is run without one: put it into a script"
            raise TemplateError(message)
    return words


def _check_program(program: str) -> None:
    if not _PLACEHOLDER.search(program) and shutil.which(_at_home(program)) is None:
        message = f"no program {one_line(redact(program), 200)!r} that can be run"
        if re.match(r"\w+=", program):
            message = f"{message}: without a shell, variables are set before pytest"
        raise TemplateError(message)


def _at_home(word: str) -> str:
    return os.path.expanduser(word) if word.startswith("~/") else word
