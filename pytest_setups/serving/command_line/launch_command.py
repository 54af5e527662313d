"""The launch command of a server: what it starts, and the flags and names in it.

``flags`` holds every option by its long name, without what the entry says elsewhere: the model, the
served name, host and port. A bare flag is true, numbers and JSON values are what they say, a flag that
is repeated or followed by several values is a list, and secrets are hidden.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, Literal

from pytest_setups.serving.command_line import programs
from pytest_setups.serving.command_line.flags import first_text, pop_text, read_options, shown
from pytest_setups.serving.command_line.programs import PROGRAMS, UNKNOWN_PROGRAM, Program
from pytest_setups.serving.command_line.shell import ShellError, SimpleCommand, simple_commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

CommandSource = Literal["given", "process", "launched", "entry"]
_ASSIGNMENT: Final = re.compile(r"(?s)([A-Za-z_]\w*)=(.*)")
_PYTHON: Final = re.compile(r"python[\d.]*(?:\.exe)?|pypy[\d.]*")
_ANYWHERE: Final = frozenset({"", "*", "::", "[::]", "0.0.0.0"})
_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class LaunchCommand:
    """A launch command, parsed.

    ``arguments`` are the words to start as a foreground child, without what only detaches it
    (``nohup``, ``&``, redirections); they are empty when the text cannot be read. ``plain`` says that
    no shell is needed to start them. ``backend`` is None for a program that is not known.
    """

    text: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None
    plain: bool = False
    backend: str | None = None
    model: str | None = None
    served_name: str | None = None
    host: str | None = None
    port: int | None = None
    chat_template: str | None = None
    flags: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def base_url(self) -> str | None:
        """Where the server will answer, None when neither the command nor its program tells a port."""
        if self.port is None:
            return None
        host = "127.0.0.1" if self.host is None or self.host in _ANYWHERE else self.host
        shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"http://{shown}:{self.port}/v1"


def parse_command(text: str) -> LaunchCommand:
    """Read a launch command; one that cannot be read keeps its text and has no flags."""
    return _parse(text, 0)


def _parse(text: str, depth: int) -> LaunchCommand:
    try:
        simples = simple_commands(text)
    except ShellError:
        return LaunchCommand(text)
    directory: str | None = None
    environment: dict[str, str] = {}
    plain = True
    started: list[tuple[SimpleCommand, LaunchCommand]] = []
    for simple in simples:
        name, *rest = simple.words
        if name == "cd" and len(rest) == 1:
            directory, plain = rest[0], plain and simple.plain
        elif name == "export" or (_ASSIGNMENT.fullmatch(simple.words[-1]) and _all_assign(simple.words)):
            environment |= _assigned(simple.words)
            plain = plain and simple.plain
        elif name != "tee":
            started.append((simple, _started(text, simple.words, depth)))
    if not started:
        return LaunchCommand(text)
    simple, command = next((pair for pair in started if pair[1].backend), started[-1])
    return replace(
        command,
        environment=environment | dict(command.environment),
        directory=command.directory or directory,
        plain=plain and len(started) == 1 and command.plain and simple.plain,
    )


def _started(text: str, words: Sequence[str], depth: int) -> LaunchCommand:
    """What one simple command starts, seen through its wrappers."""
    kept: list[str] = []
    environment: dict[str, str] = {}
    rest = list(words)
    while rest:
        assigned = _ASSIGNMENT.fullmatch(rest[0])
        width = 1 if assigned else _wrapper_width(rest)
        if assigned:
            environment[assigned[1]] = assigned[2]
        elif not width or width >= len(rest):
            break
        elif not _only_detaches(rest[:width]):
            kept += rest[:width]
        rest = rest[width:]
    script = _script(rest) if depth < _DEPTH else None
    if script is not None:
        inner = _parse(script, depth + 1)
        whole = (*kept, *rest)
        direct = inner.plain and rest[1] == "-c"
        return replace(
            inner,
            text=text,
            arguments=(*kept, *inner.arguments) if direct else whole,
            environment=environment | (dict(inner.environment) if direct else {}),
            directory=inner.directory if direct else None,
            plain=True,
        )
    program, arguments = _program(rest)
    command = LaunchCommand(
        text, arguments=(*kept, *rest), environment=environment, plain=bool(rest), backend=program.backend
    )
    return _with_options(command, program, arguments, rest)


def _only_detaches(words: Sequence[str]) -> bool:
    name = PurePath(words[0]).name
    return name in programs.DETACHING or (name in {"env", "exec", "time", "command"} and len(words) == 1)


def _wrapper_width(words: Sequence[str]) -> int:
    """How many words a wrapper at the beginning takes, 0 when there is none."""
    name = PurePath(words[0]).name
    if _PYTHON.fullmatch(name) and len(words) > 1 and PurePath(words[1]).name in programs.RUNNERS:
        width = _wrapper_width(words[1:])
        return width + 1 if width else 0
    if name in programs.WRAPPERS:
        with_value, positionals = programs.WRAPPERS[name]
        return _after_options(words, 1, with_value) + positionals
    if name in programs.RUNNERS and "run" in words[1:4]:
        at = list(words).index("run") + 1
        return _after_options(words, at, programs.RUNNERS[name])
    return 0


def _after_options(words: Sequence[str], at: int, with_value: frozenset[str]) -> int:
    while at < len(words) and words[at].startswith("-") and words[at] not in {"-m", "--module"}:
        if words[at] == "--":
            return at + 1
        at += 2 if words[at] in with_value else 1
    return at


def _script(words: Sequence[str]) -> str | None:
    """The script of ``bash -c SCRIPT``."""
    if len(words) < 3 or PurePath(words[0]).name not in programs.SHELLS:
        return None
    found = re.fullmatch(r"-[a-z]*c", words[1])
    return words[2] if found else None


def _program(words: Sequence[str]) -> tuple[Program, Sequence[str]]:
    """The server program and its arguments."""
    if not words:
        return UNKNOWN_PROGRAM, ()
    name = PurePath(words[0]).name
    if _PYTHON.fullmatch(name) or name in {"-m", "--module"}:
        return _python(words)
    if name in programs.CONTAINERS:
        return _container(words)
    return _named(name, words[1:]) or (UNKNOWN_PROGRAM, words[1:])


def _named(name: str, arguments: Sequence[str]) -> tuple[Program, Sequence[str]] | None:
    for program in PROGRAMS:
        known = name in program.names or (program.backend == "llama.cpp" and name.startswith("llama-server"))
        if known and tuple(arguments[: len(program.after)]) == program.after:
            return program, arguments[len(program.after) :]
    return None


def _python(words: Sequence[str]) -> tuple[Program, Sequence[str]]:
    at = 0 if words[0] in {"-m", "--module"} else 1
    while at < len(words) and words[at].startswith("-") and words[at] not in {"-m", "--module"}:
        if words[at] == "-c":
            return UNKNOWN_PROGRAM, ()
        at += 2 if words[at] in programs.PYTHON_OPTIONS_WITH_VALUE else 1
    if at >= len(words):
        return UNKNOWN_PROGRAM, ()
    if words[at] not in {"-m", "--module"}:
        name = PurePath(words[at]).name.removesuffix(".py")
        return _named(name, words[at + 1 :]) or (UNKNOWN_PROGRAM, words[at + 1 :])
    module, arguments = "".join(words[at + 1 : at + 2]), words[at + 2 :]
    for program in PROGRAMS:
        skipped = len(program.after)
        if module in program.modules and tuple(arguments[:skipped]) == program.after:
            return program, arguments[skipped:]
    return UNKNOWN_PROGRAM, arguments


def _container(words: Sequence[str]) -> tuple[Program, Sequence[str]]:
    for at, word in enumerate(words):
        for program in PROGRAMS:
            if any(re.search(rf"(^|/){re.escape(image)}(?=[:@]|$)", word) for image in program.images):
                return program, words[at + 1 :]
    return UNKNOWN_PROGRAM, ()


def _published(words: Sequence[str]) -> dict[int, int]:
    """The ports of the host by the container's: ``-p 24001:8000``."""
    if not words or PurePath(words[0]).name not in programs.CONTAINERS:
        return {}
    found = (re.fullmatch(r"(?:.*:)?(\d+):(\d+)(?:/tcp)?", word.rpartition("=")[2]) for word in words)
    return {int(match[2]): int(match[1]) for match in found if match}


def _with_options(
    command: LaunchCommand, program: Program, arguments: Sequence[str], words: Sequence[str]
) -> LaunchCommand:
    options, positionals = read_options(program, arguments)
    for variable, name in program.environment.items():
        if variable in command.environment and name not in options:
            options[name] = [command.environment[variable]]
    if program.positional and positionals:
        options.setdefault(program.model[0], [positionals[0]])
    model, served = pop_text(options, program.model), pop_text(options, program.served_name)
    host, port = pop_text(options, program.host), _as_port(pop_text(options, ("port",)))
    if host and re.fullmatch(r"[^:]*:\d+", host):  # OLLAMA_HOST=0.0.0.0:11434
        host, _, own = host.partition(":")
        port = _as_port(own)
    port = port or program.port
    return replace(
        command,
        model=model,
        served_name=served,
        host=host,
        port=_published(words).get(port, port) if port else None,
        chat_template=first_text(options, program.chat_template),
        flags={name: shown(name, values) for name, values in options.items()},
    )


def _as_port(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and 0 < int(text) < 65_536 else None


def _all_assign(words: Sequence[str]) -> bool:
    return all(_ASSIGNMENT.fullmatch(word) for word in words)


def _assigned(words: Sequence[str]) -> dict[str, str]:
    found = (_ASSIGNMENT.fullmatch(word) for word in words)
    return {match[1]: match[2] for match in found if match}
