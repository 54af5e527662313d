"""Command lines: their words, options and assignments, as a shell would read them."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction.hiding import HINT, Hiding
from pytest_setups.redaction.secret_names import holds_headers, is_secret_name, is_strong, word_set
from pytest_setups.redaction.secret_values import (
    HIDDEN,
    PLAIN,
    SCHEMES,
    is_harmless,
    is_placeholder,
    looks_random,
    reads_as_prose,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# POSIX shell, 2.2 and 2.3. A quote that is never closed is a character like others: every text can be read.
_SHELL: Final = re.compile(
    r"""
      (?P<space>(?:[^\S\n]|\\\n)++)
    | (?P<comment>(?<![^\s;&|])\#[^\n]*+)
    | (?P<redirect>(?:\d++(?=[<>])|&(?=>))?(?:>>|<<<|<<|>\||>&|<&|<>|[<>]))
    | (?P<operator>[;&|()]|\n)
    | (?P<word>(?:
        '[^']*+' | "(?:[^"\\]|\\.)*+" | \$\((?:[^()]|\([^()]*+\))*+\) | `[^`]*+`
      | \\. | [^\s;&|()<>'"`\\$]++ | [$'"`\\] )++)
    """,
    re.VERBOSE | re.DOTALL,
)
_PIECE: Final = re.compile(
    r"""'[^']*+'|"(?:[^"\\]|\\.)*+"|\$\((?:[^()]|\([^()]*+\))*+\)|`[^`]*+`|\\.|[^'"`\\$]++|.""", re.DOTALL
)
_QUOTING: Final = re.compile(r"""['"`\\]""")
_START: Final = re.compile(r"-{0,2}[A-Za-z_][\w.-]*+[=:]")
_OPTION: Final = re.compile(
    r"(?P<dashes>--?)(?P<name>[A-Za-z][\w.-]*+)(?:(?P<separator>[=:])(?P<value>.*))?", re.DOTALL
)
_ASSIGNMENT: Final = re.compile(r"(?P<name>[A-Za-z_][\w.-]*+)(?P<by>=)(?P<value>.*)", re.DOTALL)
_HEADER: Final = re.compile(r"(?P<name>[A-Za-z][\w-]*+)(?P<by>:\s*)(?!//)(?P<value>.*)", re.DOTALL)
_COMMAND_HINT: Final = re.compile(rf"{HINT.pattern}|(?<![\w-])-[a-z]{{0,4}}[upkab]", re.IGNORECASE)
_USER_NAMES: Final = frozenset({"user", "proxy-user"})
_DEEPEST: Final = 4
# One-letter options whose values are secrets, by program.
_SECRET_LETTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "curl": ("b",),
    "mariadb": ("p",),
    "mysql": ("p",),
    "mysqldump": ("p",),
    "redis-cli": ("a",),
    "sshpass": ("p",),
}
# Programs whose -p and -k are known, and no secrets.
_PLAIN_LETTERS: Final = word_set(
    "pytest py vllm sglang llama-server llama-cli llama-mtmd-cli ollama lmdeploy trtllm-serve litellm lms "
    "text-generation-launcher mkdir cp tar ssh scp curl kill ps"
)
# Long options that begin with -p, in programs that write long options with one dash.
_P_OPTIONS: Final = word_set(
    "p pp ps port path paths parallel parser pass password passphrase pat patch pid pipeline plugin pool "
    "precision prefix preset print processes profile progress project prompt protocol proxy pwd"
)


@dataclass(frozen=True, slots=True)
class ShellWord:
    """A word of a command line: as it was typed, and as a program receives it.

    What a shell fills in stays.
    """

    raw: str
    text: str

    @classmethod
    def read(cls, raw: str) -> ShellWord:
        """The word that was typed; JSON without quotes around it was meant as JSON."""
        if not _QUOTING.search(raw) or _is_json(raw[len(_option_start(raw)) :]):
            return cls(raw, raw)
        return cls(raw, "".join(map(_unquoted, _PIECE.findall(raw))))

    def rewritten(self, new: str) -> str:
        """The new text in the old quotes; ``[hidden]`` itself needs none: it cannot be run anyway."""
        if new == self.text:
            return self.raw
        start = _option_start(self.raw)
        start = start if self.text.startswith(start) and new.startswith(start) else ""
        raw, new = self.raw[len(start) :], new[len(start) :]
        if new == HIDDEN or self.raw == self.text:
            return start + new
        if raw[0] == "'" and "'" not in new:
            return f"{start}'{new}'"
        if raw[0] == '"':
            escaped = re.sub(r'\\(?![$`])|"', lambda match: f"\\{match[0]}", new)
            return f'{start}"{escaped}"'
        return start + shlex.quote(new)


def _option_start(raw: str) -> str:
    """``--option=`` or ``NAME=``, where it stands before the quotes."""
    match = _START.match(raw)
    return match[0] if match else ""


def _is_json(text: str) -> bool:
    if text[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unquoted(piece: str) -> str:
    if len(piece) == 1:
        return piece
    if piece[0] == "'":
        return piece[1:-1]
    if piece[0] == '"':
        return re.sub(r'\\(?:\n|(["\\]))', r"\1", piece[1:-1])
    return piece[1:].removeprefix("\n") if piece[0] == "\\" else piece


class CommandReader:
    """The words of a command line, taken one after the other.

    ``_awaited`` is the name of the option whose value comes next, ``_LIST`` for more values of a list.
    """

    _LIST: Final = "a list of keys"

    def __init__(self, hiding: Hiding, depth: int = 0) -> None:
        self._hiding = hiding
        self._depth = depth
        self._program = ""
        self._after_option = False
        self._awaited: str | None = None
        self._in_header = False

    def end_list(self) -> None:
        """End the values of an option, as a redirection does."""
        self._awaited = None

    def end_command(self, *, by: str) -> None:
        """End the simple command; a value that is awaited may stand on the next line."""
        if by != "\n" or self._awaited == self._LIST:
            self._awaited = None
        self._program = ""
        self._after_option = False

    def take(self, word: str) -> str:
        """The next word without secrets."""
        awaited, self._awaited = self._awaited, None
        self._in_header = self._in_header and awaited is not None
        option = _OPTION.fullmatch(word)
        if option is not None:
            self._after_option, self._in_header = True, False
            return self._option(word, option)
        if awaited is not None:
            self._after_option = False
            return self._value(awaited, word)
        if re.match("-[A-Za-z]", word):  # -pS3+cret, which the name of an option cannot be
            self._after_option = True
            return self._attached(word) or self._hiding.text(word)
        if not self._after_option:
            name = re.split(r"[/\\]", word)[-1].partition(".")[0]
            # The last one counts: sshpass -p PASSWORD ssh -p 22
            self._program = name if name in _PLAIN_LETTERS or name in _SECRET_LETTERS else self._program
        self._after_option = False
        return self._plain(word)

    def _option(self, word: str, option: re.Match[str]) -> str:
        name, value = option["name"], option["value"]
        short = option["dashes"] == "-"
        attached = self._attached(word) if short else None
        if attached is not None:
            return attached
        if value is None:
            self._awaited = name if self._judges(name, short=short) else None
            self._after_option = name != "m"  # python -m pytest: a program comes next
            return word
        start = word[: len(word) - len(value)]
        if self._judges(name, short=short):
            shown = self._value(name, value)
            self._awaited = None
            return start + shown
        return start + self._plain(value)

    def _judges(self, name: str, *, short: bool) -> bool:
        """Whether the value of an option is judged by the option's name."""
        if is_secret_name(name) or name in _USER_NAMES or holds_headers(name):
            return True
        if not short:
            return False
        unknown = name in {"p", "k"} and self._program not in _PLAIN_LETTERS
        return unknown or self._is_secret_letter(name) or _is_user_switch(name)

    def _is_secret_letter(self, name: str) -> bool:
        return name in _SECRET_LETTERS.get(self._program, ())

    def _attached(self, word: str) -> str | None:
        """``-pSECRET``, ``-uuser:password``, ``-HName: value``; None for anything else."""
        letter, value = word[1], word[2:]
        if not value or value[0] == "=":
            return None
        if letter in "uU" and self._hiding.user(value) == HIDDEN:
            return f"-{letter}{HIDDEN}"
        if letter == "H" and ":" in value:
            return f"-H{self._plain(value)}"
        long = re.split("[=-]", word[1:], maxsplit=1)[0] in _P_OPTIONS
        known = long or self._program in _PLAIN_LETTERS or is_placeholder(value)
        plain = PLAIN.fullmatch(value) and not self._is_secret_letter(letter)
        return None if letter != "p" or known or plain else f"-p{self._hiding.hide(value)}"

    def _value(self, name: str, word: str) -> str:
        """The value of an option that is judged by its name."""
        if self._in_header:
            return self._after_header(name, word)
        if name in _USER_NAMES or (_is_user_switch(name) and not is_secret_name(name)):
            shown = self._hiding.user(word)
            return shown if shown != word else self._plain(word)
        if holds_headers(name):
            return self._headers(name, word)
        if name != self._LIST and is_secret_name(name):
            if word.lower() in SCHEMES:  # --auth Bearer SECRET
                self._awaited = name
                return word
            # --api-key S1 S2, as vLLM and LMDeploy take them
            self._awaited = self._LIST if name.lower().endswith(("key", "keys", "tokens")) else None
            return self._secret(name, word)
        self._awaited = self._LIST if name == self._LIST else None
        plain = PLAIN.fullmatch(word) and not self._is_secret_letter(name)
        return self._plain(word) if plain else self._secret(name, word)

    def _headers(self, name: str, word: str) -> str:
        if word[:1] not in {"{", "["} or word.startswith(HIDDEN):
            return self._plain(word)
        shown = self._json(word, name)
        return self._hiding.hide(word) if shown is None else shown

    def _after_header(self, name: str, word: str) -> str:
        """``Authorization: Token S`` in words of their own, or a sentence (``the token: be short``)."""
        if word.lower() in SCHEMES:
            self._awaited = name
            return word
        self._in_header = False
        secret = (is_strong(name) or looks_random(word)) and not reads_as_prose(word)
        return self._secret(name, word) if secret else self._plain(word)

    def _secret(self, name: str, value: str) -> str:
        if is_harmless(name, value):
            return self._hiding.text(value)
        return self._hiding.credentials(name, value)

    def _plain(self, word: str, *, nested: bool = False) -> str:
        """A word that no option announces: an assignment, a header, JSON, a command line, or text."""
        pair = _ASSIGNMENT.fullmatch(word) or _HEADER.fullmatch(word)
        if pair is None or not (is_secret_name(pair["name"]) or (pair["by"] == "=" and not nested)):
            return self._structured(word)
        name, value = pair["name"], pair["value"]
        start = word[: len(word) - len(value)]
        if not is_secret_name(name):
            return start + self._plain(value, nested=True)
        if pair["by"] == "=":
            return start + self._secret(name, value)
        if not value:
            self._awaited, self._in_header = name, True
            return word
        first = value.partition(" ")[0]
        prose = first != value and first.lower() not in SCHEMES and reads_as_prose(first)
        return word if prose else start + self._secret(name, value)

    def _structured(self, word: str) -> str:
        if word.lstrip()[:1] in {"{", "["} and not word.startswith(HIDDEN):
            shown = self._json(word)
            return self._hiding.text(word) if shown is None else shown
        if self._depth < _DEEPEST and re.search(r"\S\s+\S", word):
            return hide_in_command(self._hiding, word, self._depth + 1)
        return self._hiding.text(word)

    def _json(self, word: str, name: str = "") -> str | None:
        """The JSON without secrets that stands in a field of that name; None if it is not JSON."""
        try:
            value = json.loads(word)
            public = self._hiding.field(name, value)
        except (ValueError, RecursionError):
            return None
        if public == value:
            return word
        separators = (", ", ": ") if re.search(r'":\s', word) else (",", ":")
        return json.dumps(public, ensure_ascii=False, separators=separators)


def _is_user_switch(name: str) -> bool:
    """``-u``, also at the end of others: ``curl -sSku user:password``."""
    return name[-1] in "uU" and len(name) <= 5 and name.isalpha()


def hide_in_command(hiding: Hiding, text: str, depth: int = 0) -> str:
    """A command line without secrets; a word that holds none stays as it was typed."""
    text = hiding.known(text)
    if not _COMMAND_HINT.search(text):
        return hiding.text(text)
    kept: list[str] = []
    reader = CommandReader(hiding, depth)
    for match in _SHELL.finditer(text):
        raw = match[0]
        if match.lastgroup == "word":
            word = ShellWord.read(raw)
            raw = word.rewritten(reader.take(word.text))
        elif match.lastgroup == "comment":
            raw = hiding.text(raw)
        elif match.lastgroup == "operator":
            reader.end_command(by=raw)
        elif match.lastgroup == "redirect":
            reader.end_list()
        kept.append(raw)
    # What no shell would take for words, such as JSON without quotes around it, is text.
    return hiding.text("".join(kept))
