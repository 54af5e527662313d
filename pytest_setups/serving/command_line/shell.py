"""What a shell would start: the words of each simple command in a text, without running any shell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<space> (?: [ \t\r] | \\\n )+ )
    | (?P<comment> (?<![^\s;&|]) \# [^\n]* )
    | (?P<redirect> (?: \d+ | & )? (?: >> | <<< | >\| | >& | <& | <> | > | < ) )
    | (?P<operator> && | \|\|? | &> | & | ;;? | \n | [()] )
    | (?P<word> (?: \$\([^()]*\) | '[^']*' | "(?: [^"\\] | \\. )*" | \\. | [^\s;&|<>()'"\\] )+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_PIECE: Final = re.compile(r"""(?s)\$\([^()]*\)|'[^']*'|"(?:[^"\\]|\\.)*"|\\.|.""")
_NEEDS_SHELL: Final = re.compile(r"(?s)'[^']*'|\\.|(?P<needs>[$`])")
_GLOB: Final = re.compile(r"(?s)'[^']*'|\"(?:[^\"\\]|\\.)*\"|\\.|(?P<needs>[*?]|\[[^\]]+\])")


class ShellError(ValueError):
    """A text that no shell would read: a quote is open, or something is out of place."""


@dataclass(frozen=True, slots=True)
class SimpleCommand:
    """One simple command.

    ``operator`` stands after it; ``plain`` says that it means the same without a shell: it holds no
    variable, command or pattern that a shell would replace.
    """

    words: tuple[str, ...]
    operator: str
    plain: bool


def simple_commands(text: str) -> list[SimpleCommand]:
    """The simple commands of a text, redirections left out.

    Raises:
        ShellError: a quote is not closed, or a redirection has no target.
    """
    found: list[SimpleCommand] = []
    raw: list[str] = []
    after_redirect = False
    for kind, token in [*_tokens(text), ("operator", "")]:
        if kind == "redirect":
            after_redirect = True
        elif kind == "word" and after_redirect:
            after_redirect = False
        elif kind == "word":
            raw.append(token)
        elif kind == "operator":
            if after_redirect:
                message = "a redirection has no target"
                raise ShellError(message)
            if raw:
                plain = not any(_needs_shell(word) for word in raw)
                found.append(SimpleCommand(tuple(_unquoted(word) for word in raw), token, plain))
            raw = []
    return found


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            message = f"a quote is open: {text[at : at + 40]!r}"
            raise ShellError(message)
        if match.lastgroup not in {"space", "comment"}:
            tokens.append((str(match.lastgroup), match[0]))
        at = match.end()
    return tokens


def _unquoted(word: str) -> str:
    return "".join(map(_literal, _PIECE.findall(word)))


def _literal(piece: str) -> str:
    if piece.startswith("'"):
        return piece[1:-1]
    if piece.startswith('"'):
        return re.sub(r"\\(?:\n|([$`\"\\]))", r"\1", piece[1:-1])
    return piece[1:].removeprefix("\n") if piece.startswith("\\") else piece


def _needs_shell(word: str) -> bool:
    return any(match["needs"] for pattern in (_NEEDS_SHELL, _GLOB) for match in pattern.finditer(word))
