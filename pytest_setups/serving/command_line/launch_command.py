"""The launch command of a server: what it starts, and the flags and names in it.

``flags`` holds every option by its long name, except those that the entry keeps elsewhere: the model,
the served name, host and port. A bare flag is true, numbers and JSON values are parsed, a flag that is
repeated or followed by several values is a list, and secrets are hidden.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import redact_words
from pytest_setups.serving.command_line import programs
from pytest_setups.serving.command_line.flags import first_text, pop_text, read_options, shown
from pytest_setups.serving.command_line.programs import PROGRAMS, UNKNOWN_PROGRAM, Program
from pytest_setups.serving.command_line.shell import ShellError, SimpleCommand, simple_commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

_ASSIGNMENT: Final = re.compile(r"(?s)([A-Za-z_]\w*)=(.*)")
_PYTHON: Final = re.compile(r"python[\d.]*(?:\.exe)?|pypy[\d.]*")
_MODULE_OPTIONS: Final = frozenset({"-m", "--module"})
# Addresses to listen on that are no addresses to connect to.
_ANY_ADDRESS: Final = frozenset({"", "*", "::", "[::]", "0.0.0.0"})
_MAX_PORT: Final = 65_535
_MAX_NESTED_SHELLS: Final = 3  # bash -c 'sh -c "..."': people nest two at most


@dataclass(frozen=True, slots=True)
class LaunchCommand:
    """A launch command, parsed.

    ``arguments`` are the words to start as a foreground child, without what only detaches it
    (``nohup``, ``&``, redirections); they are empty when the text cannot be parsed. ``plain`` says that
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
        """Where the server will answer, None when the port is not known."""
        if self.port is None:
            return None
        host = "127.0.0.1" if self.host is None or self.host in _ANY_ADDRESS else self.host
        shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"http://{shown}:{self.port}/v1"


def parse_command(text: str) -> LaunchCommand:
    """Parse a launch command; a text that cannot be parsed is kept and has no flags."""
    return _parse(text, 0)


def _parse(text: str, depth: int) -> LaunchCommand:
    try:
        commands = simple_commands(text)
    except ShellError:
        return LaunchCommand(text)
    context = _ShellContext()
    # tee copies the server's output; it is not the server, and not what makes a shell necessary.
    programs_started = [
        command for command in commands if not context.takes(command) and command.words[0] != "tee"
    ]
    if not programs_started:
        return LaunchCommand(text)
    started = [(command, _parse_words(text, command.words, depth)) for command in programs_started]
    # A known server, wherever it stands; else the last program, which others usually prepare for.
    command, launch = next((pair for pair in started if pair[1].backend), started[-1])
    return replace(
        launch,
        environment=context.environment | dict(launch.environment),
        directory=launch.directory or context.directory,
        plain=context.plain and len(started) == 1 and launch.plain and command.plain,
    )


@dataclass(slots=True)
class _ShellContext:
    """What commands such as ``cd`` and ``export`` set for those after them."""

    directory: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    plain: bool = True

    def takes(self, command: SimpleCommand) -> bool:
        """Take what a command sets; False when it is not such a command."""
        name, *rest = command.words
        if name == "cd" and len(rest) == 1:
            self.directory = rest[0]
        elif name == "export" or all(_ASSIGNMENT.fullmatch(word) for word in command.words):
            assigned = (_ASSIGNMENT.fullmatch(word) for word in command.words)
            self.environment |= {match[1]: match[2] for match in assigned if match}
        else:
            return False
        self.plain = self.plain and command.plain
        return True


def _parse_words(text: str, words: Sequence[str], depth: int) -> LaunchCommand:
    """What one simple command starts, seen through its wrappers."""
    wrappers, environment, rest = _unwrapped(words)
    script = _script(rest) if depth < _MAX_NESTED_SHELLS else None
    if script is None:
        program, arguments = _program(rest)
        command = LaunchCommand(
            text,
            arguments=(*wrappers, *rest),
            environment=environment,
            plain=bool(rest),
            backend=program.backend,
        )
        return _with_options(command, program, arguments, rest)
    inner = replace(_parse(script, depth + 1), text=text)
    if inner.plain and rest[1] == "-c":  # not -lc: a login shell reads the user's profile first
        return replace(
            inner,
            arguments=(*wrappers, *inner.arguments),
            environment=environment | dict(inner.environment),
        )
    # The shell stays and does what is in the script, so that a shell is not needed around it.
    return replace(inner, arguments=(*wrappers, *rest), environment=environment, directory=None, plain=True)


def _unwrapped(words: Sequence[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """The wrappers to keep before a program (``nice -n 5``), variables set for it, and the rest."""
    wrappers: list[str] = []
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
            wrappers += rest[:width]
        rest = rest[width:]
    return wrappers, environment, rest


def _only_detaches(words: Sequence[str]) -> bool:
    name = PurePath(words[0]).name
    return name in programs.DETACHING or (name in {"env", "exec", "time", "command"} and len(words) == 1)


def _wrapper_width(words: Sequence[str]) -> int:
    """How many words a wrapper at the beginning takes, 0 when there is none."""
    name = PurePath(words[0]).name
    if _PYTHON.fullmatch(name) and len(words) > 1 and PurePath(words[1]).name in programs.RUNNERS:
        # A process started by a runner that is a Python script: python /usr/bin/poetry run ...
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
    while at < len(words) and words[at].startswith("-") and words[at] not in _MODULE_OPTIONS:
        if words[at] == "--":
            return at + 1
        at += 2 if words[at] in with_value else 1
    return at


def _script(words: Sequence[str]) -> str | None:
    """The script of ``bash -c SCRIPT``."""
    if len(words) < 3 or PurePath(words[0]).name not in programs.SHELLS:
        return None
    return words[2] if re.fullmatch(r"-[a-z]*c", words[1]) else None


def _program(words: Sequence[str]) -> tuple[Program, Sequence[str]]:
    """The server program and its arguments."""
    if not words:
        return UNKNOWN_PROGRAM, ()
    name = PurePath(words[0]).name
    if name in _MODULE_OPTIONS:  # uv run -m vllm.entrypoints...
        return _python_program(words)
    if _PYTHON.fullmatch(name):
        return _python_program(words[1:])
    if name in programs.CONTAINERS:
        return _container_program(words)
    return _named_program(name, words[1:])


def _named_program(name: str, arguments: Sequence[str]) -> tuple[Program, Sequence[str]]:
    for program in PROGRAMS:
        # Builds of llama.cpp are named for what they compute on: llama-server-vulkan.
        known = name in program.names or (program.backend == "llama.cpp" and name.startswith("llama-server"))
        if known and tuple(arguments[: len(program.after)]) == program.after:
            return program, arguments[len(program.after) :]
    return UNKNOWN_PROGRAM, arguments


def _python_program(words: Sequence[str]) -> tuple[Program, Sequence[str]]:
    """The program in the arguments of Python: ``-m MODULE ...`` or ``SCRIPT ...``, after its own options."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] not in _MODULE_OPTIONS:
        if words[at] == "-c":
            return UNKNOWN_PROGRAM, ()
        at += 2 if words[at] in programs.PYTHON_OPTIONS_WITH_VALUE else 1
    if at >= len(words):
        return UNKNOWN_PROGRAM, ()
    if words[at] not in _MODULE_OPTIONS:
        return _named_program(PurePath(words[at]).name.removesuffix(".py"), words[at + 1 :])
    return _module_program("".join(words[at + 1 : at + 2]), words[at + 2 :])


def _module_program(module: str, arguments: Sequence[str]) -> tuple[Program, Sequence[str]]:
    for program in PROGRAMS:
        skipped = len(program.after)
        if module in program.modules and tuple(arguments[:skipped]) == program.after:
            return program, arguments[skipped:]
    return UNKNOWN_PROGRAM, arguments


def _container_program(words: Sequence[str]) -> tuple[Program, Sequence[str]]:
    """The program of a known image; the words after the image are its arguments."""
    for at, word in enumerate(words):
        for program in PROGRAMS:
            if any(re.search(rf"(^|/){re.escape(image)}(?=[:@]|$)", word) for image in program.images):
                return program, words[at + 1 :]
    return UNKNOWN_PROGRAM, ()


def _published_ports(words: Sequence[str]) -> dict[int | None, int | None]:
    """The ports of the host by the container's: ``-p 24001:8000``."""
    if not words or PurePath(words[0]).name not in programs.CONTAINERS:
        return {}
    pairs = (re.fullmatch(r"(?:.*:)?(\d+):(\d+)(?:/tcp)?", word.rpartition("=")[2]) for word in words)
    return {_port(pair[2]): _port(pair[1]) for pair in pairs if pair}


def _with_options(
    command: LaunchCommand, program: Program, arguments: Sequence[str], words: Sequence[str]
) -> LaunchCommand:
    # Hidden word by word, as in the command's text: no two places that judge what a secret is. The arguments
    # are the last of the words; what stands before them decides what -p means.
    options, positionals = read_options(program, redact_words(words)[len(words) - len(arguments) :])
    for variable, name in program.environment.items():
        if variable in command.environment:
            options.setdefault(name, [command.environment[variable]])
    if program.positional and positionals:
        options.setdefault(program.model[0], [positionals[0]])
    model, served = pop_text(options, program.model), pop_text(options, program.served_name)
    host, port = _address(pop_text(options, program.host), pop_text(options, ("port",)))
    port = port or program.port
    return replace(
        command,
        model=model,
        served_name=served,
        host=host,
        port=_published_ports(words).get(port, port) if port else None,
        chat_template=first_text(options, program.chat_template),
        flags={name: shown(name, values) for name, values in options.items()},
    )


def _address(host: str | None, port: str | None) -> tuple[str | None, int | None]:
    if host and re.fullmatch(r"[^:]*:\d+", host):  # OLLAMA_HOST=0.0.0.0:11434
        host, _, port = host.partition(":")
    return host, _port(port)


def _port(text: str | None) -> int | None:
    # Five digits at most: int() refuses 4,300 and more with a ValueError.
    number = int(text) if text and re.fullmatch(r"[0-9]{1,5}", text) else 0
    return number if 0 < number <= _MAX_PORT else None
