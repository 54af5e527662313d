"""What a shell would start: the words of each simple command in a text, without running any shell.

Quotes, nested substitutions, here-documents and control structures are Bash's grammar, which is read by
tree-sitter, as editors do. It is imported at the first use, because plain pytest must stay cheap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tree_sitter import Node, Parser

# Names of nodes: https://github.com/tree-sitter/tree-sitter-bash/blob/master/src/node-types.json
_COMMANDS: Final = frozenset({
    "command", "declaration_command", "test_command", "unset_command", "variable_assignment",
    "variable_assignments",
})  # fmt: skip
# Statements that run their commands one after another. Those inside any other statement (if, while,
# for, case, a function) need a shell to run as they are written.
_SEQUENCES: Final = frozenset({
    "program", "list", "pipeline", "subshell", "compound_statement", "redirected_statement",
    "heredoc_redirect",
})  # fmt: skip
_REDIRECTIONS: Final = frozenset({"file_redirect", "heredoc_redirect", "herestring_redirect"})
_REPLACED_BY_SHELL: Final = frozenset({
    "arithmetic_expansion", "array", "brace_expression", "command_substitution", "expansion",
    "process_substitution", "simple_expansion", "subscript", "$",
})  # fmt: skip
_WORDS: Final = _REPLACED_BY_SHELL | {
    "ansi_c_string", "concatenation", "number", "raw_string", "string", "translated_string", "word",
}  # fmt: skip
_QUOTED: Final = re.compile(
    r"""(?s)'[^']*'|(?P<double>"(?:[^"\\]|\\.)*")|(?<![^\s;&|()])\#[^\n]*|\\(?P<escaped>.)"""
)
_ESCAPED_IN_QUOTES: Final = re.compile(r"\\(?:\n|([$`\"\\]))")
_PATTERN: Final = re.compile(r"[*?]|\[[^\]]+\]")


class ShellError(ValueError):
    """A text that is not Bash: a quote is open, or something is out of place."""


@dataclass(frozen=True, slots=True)
class SimpleCommand:
    """One simple command: its words without quotes, redirections left out.

    ``plain`` says that it means the same without a shell: it holds no variable, command or pattern
    that a shell would replace, and is not part of a control structure.
    """

    words: tuple[str, ...]
    plain: bool


class _Piece(NamedTuple):
    """A part of a word without its quotes.

    ``pattern`` is the text as far as a shell would look for patterns in it: "_" for what is quoted,
    "*" for what a shell replaces in any case.
    """

    text: str
    pattern: str


def simple_commands(text: str) -> list[SimpleCommand]:
    """The simple commands of a text, in order.

    Raises:
        ShellError: it cannot be parsed.
    """
    escapes_rewritten = _QUOTED.sub(_without_escape, text.replace("\r\n", "\n"))
    # Arguments of a process that are not UTF-8 come as surrogates.
    root = _parser().parse(escapes_rewritten.encode("utf-8", "surrogateescape")).root_node
    if root.has_error:
        raise ShellError(f"cannot be parsed as Bash: {text[:40]!r}")
    try:
        return list(_commands(root, plain=True))
    except RecursionError:
        raise ShellError("nested too deeply") from None


@cache
def _parser() -> Parser:
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


def _without_escape(match: re.Match[str]) -> str:
    """The same with quotes in place of a backslash, and with continued lines joined.

    The grammar takes a backslash before a space or a line's end for the end of some words.
    """
    if match["double"]:
        return match[0].replace("\\\n", "")
    escaped = match["escaped"]
    if escaped is None:
        return match[0]
    return "" if escaped == "\n" else '"\'"' if escaped == "'" else f"'{escaped}'"


def _commands(node: Node, *, plain: bool) -> Iterator[SimpleCommand]:
    if node.type in _COMMANDS:
        yield from _command([node], plain=plain)
        return
    statements = [child for child in node.named_children if child.type not in _WORDS]
    if node.type == "redirected_statement" and node.children[0].type in _COMMANDS:
        yield from _command(node.children, plain=plain)
        # What follows "<<END" on its line, such as "| sh", is part of the redirection in the grammar.
        statements = [child for child in statements if child.type == "heredoc_redirect"]
    for statement in statements:
        yield from _commands(statement, plain=plain and node.type in _SEQUENCES)


def _command(parts: Iterable[Node], *, plain: bool) -> Iterator[SimpleCommand]:
    words: list[list[_Piece]] = []
    end = -1
    for node in (node for part in parts for node in _word_nodes(part)):
        if node.start_byte != end:
            words.append([])
        words[-1] += _pieces(node)
        end = node.end_byte
    if words:
        patterns = ("".join(piece.pattern for piece in word) for word in words)
        yield SimpleCommand(
            words=tuple("".join(piece.text for piece in word) for word in words),
            plain=plain and not any(_PATTERN.search(pattern) for pattern in patterns),
        )


def _word_nodes(part: Node) -> Iterator[Node]:
    """The words of a command or of one of its redirections, in order."""
    if part.type in _COMMANDS - {"test_command", "variable_assignment"}:
        for child in part.children:
            yield from _word_nodes(child)
    elif part.type == "file_redirect":
        # The grammar takes every word behind the operator; only the first is the file.
        yield from [child for child in part.named_children if child.type in _WORDS][1:]
    elif part.type == "heredoc_redirect":
        for child in part.named_children:
            if child.type in _WORDS or child.type == "file_redirect":
                yield from _word_nodes(child)
    elif part.type not in _REDIRECTIONS:
        yield part


def _pieces(node: Node) -> Iterator[_Piece]:
    text = _source(node)
    if node.type in _REPLACED_BY_SHELL or node.type == "test_command":
        yield _Piece(text, "*")
    elif node.type == "raw_string":
        yield _Piece(text[1:-1], "_")
    elif node.type == "ansi_c_string":  # $'...', whose escapes are left to a shell
        yield _Piece(text, "*") if "\\" in text else _Piece(text[2:-1], "_")
    elif node.type == "string":
        replaced = [child for child in node.children if child.type in _REPLACED_BY_SHELL]
        for part in _parts(node, replaced, quotes=1):
            if isinstance(part, str):
                yield _Piece(_ESCAPED_IN_QUOTES.sub(r"\1", part), "_")
            else:
                yield _Piece(_source(part), "*")
    else:
        for part in _parts(node, node.children):
            yield from [_Piece(part, part)] if isinstance(part, str) else _pieces(part)


def _parts(node: Node, children: Iterable[Node], quotes: int = 0) -> Iterator[str | Node]:
    """The children and the literal text around them, in order."""
    text, at = node.text or b"", quotes
    for child in children:
        yield _decoded(text[at : child.start_byte - node.start_byte])
        yield child
        at = child.end_byte - node.start_byte
    yield _decoded(text[at : len(text) - quotes])


def _source(node: Node) -> str:
    return _decoded(node.text or b"")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
