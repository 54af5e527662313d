"""A launch: a server started from a command, waited for until it answers, and stopped by its process."""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.api.errors import ServerError
from pytest_setups.redaction import HIDDEN, command_secrets, environment_secrets, redact_command, redact_url
from pytest_setups.serving.command_line.launch_command import LaunchCommand, parse_command
from pytest_setups.serving.local.listener import address, describe_listener, is_local, is_relevant
from pytest_setups.serving.processes.server_process import LaunchError, ServerProcess, StartError
from pytest_setups.serving.server import wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_setups.api.client import Client
    from pytest_setups.registry.entry import CommandSource

# On this machine a port answers in microseconds; in another network it may not answer at all.
_CONNECT_S: Final = 1.0
# A connection breaks a moment before the supervisor reports that the server has ended.
_END_KNOWN_S: Final = 0.5
_TO_FILL_IN: Final = "SECRET"


@dataclass(frozen=True, slots=True)
class RecordedLaunch:
    """How the server of an entry was started: base URL, environment variables and directory."""

    base_url: str | None
    variables: Mapping[str, str]
    directory: str | None


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What is to be started, and where it will answer.

    ``source`` is ``launched`` for a command that the user typed, ``entry`` for that of an entry.
    """

    command: LaunchCommand
    source: CommandSource
    base_url: str
    environment: Mapping[str, str]
    directory: str | None

    @property
    def shown(self) -> str:
        """The command for a person, without secrets, after the variables that an entry adds to it."""
        added = self.environment.items() - self.command.environment.items()
        variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(added)]
        return redact_command(" ".join([*variables, self.command.text]))


def plan_launch(
    text: str, *, base_url: str | None = None, recorded: RecordedLaunch | None = None
) -> LaunchPlan:
    """Parse a command and check that it can be started here.

    Args:
        text: the command.
        base_url: where it will answer, if the user named it; else the command's address, else the entry's.
        recorded: how the entry that holds the command was started. Its variables that matter to
            servers are set unless they are set already, and its directory is used if it exists here.

    Raises:
        StartError: it cannot be parsed, needs a shell, lacks a secret, does not specify a port, or its
            port is in use.
    """
    command = parse_command(text)
    # The command first, then the address: the message is about the earlier mistake.
    _refuse_unstartable(command)
    url = base_url or command.base_url or _recorded_url(recorded)
    if url is None:
        raise StartError(
            "the command does not specify a port: add --setup-base-url http://127.0.0.1:PORT/v1; "
            f"the command is {redact_command(text)}"
        )
    _refuse_other_port(command, url)
    _refuse_port_in_use(url)
    return LaunchPlan(
        command=command,
        source="entry" if recorded else "launched",
        base_url=url,
        environment=_unset_variables(recorded) | dict(command.environment),
        directory=command.directory or _existing_directory(recorded),
    )


class LaunchedServer:
    """A server that was started; ``ready_s`` is the seconds from its start to its first real answer."""

    def __init__(self, launch: LaunchPlan) -> None:
        """Start it.

        Raises:
            StartError: it cannot be started.
        """
        self.launch = launch
        self.ready_s: float | None = None
        self.process = ServerProcess(
            # ~ is the only thing that a shell would replace in a plain command.
            [os.path.expanduser(word) for word in launch.command.arguments],
            environment=launch.environment,
            directory=os.path.expanduser(launch.directory) if launch.directory else None,
            # What the server was given, it may write into its log.
            secrets=(
                *command_secrets(launch.command.text),
                *environment_secrets({**os.environ, **launch.environment}),
            ),
        )

    def wait(
        self,
        client: Client,
        request: Callable[[str], bytes],
        seconds: float,
        *,
        model: str | None,
        progress: Callable[[float, str], None],
    ) -> None:
        """Wait until it gives a real answer.

        Args:
            client: the server's client.
            request: makes the encoded body of a chat completion for a model name.
            seconds: how long it may take.
            model: the model to ask, or None for the first that is listed.
            progress: called between attempts with the seconds so far and the last line of the log.

        Raises:
            LaunchError: it ended, or was not ready in time; with the last lines of its log.
        """

        def check_alive() -> None:
            self.process.check()
            progress(time.perf_counter() - self.process.started, self.process.last_line())

        try:
            wait_until_ready(client, request, seconds, model=model, check_alive=check_alive)
        except ServerError as error:
            # Its own end explains more than the connection that then failed.
            self.process.check()
            message = f"{error}; {self.process.log_text()}"
            raise LaunchError(message) from None
        # It may have ended since its answer: some run out of memory at the first picture.
        self.process.check()
        self.ready_s = time.perf_counter() - self.process.started

    def condition(self) -> str:
        """Whether it is still running, and the last lines of its log."""
        try:
            self.process.ends_within(_END_KNOWN_S)
            self.process.check()
        except LaunchError as error:
            return str(error)
        return f"the server is still running; {self.process.log_text()}"


def _recorded_url(recorded: RecordedLaunch | None) -> str | None:
    url = recorded.base_url if recorded else None
    return None if url and HIDDEN in url else url


def _unset_variables(recorded: RecordedLaunch | None) -> dict[str, str]:
    """The recorded variables that are not set here; an entry may be anybody's, so only known names."""
    variables = recorded.variables if recorded else {}
    return {name: variables[name] for name in variables if name not in os.environ and is_relevant(name)}


def _existing_directory(recorded: RecordedLaunch | None) -> str | None:
    return recorded.directory if recorded and Path(recorded.directory or "").is_dir() else None


def _refuse_unstartable(command: LaunchCommand) -> None:
    """Refuse a command that cannot be started as it is, with one to copy where there is one."""
    text = redact_command(command.text)
    if not command.arguments:
        raise StartError(f"the command cannot be parsed, a quote may be open: {text}")
    if HIDDEN in command.text:
        complete = shlex.quote(command.text.replace(HIDDEN, _TO_FILL_IN))
        raise StartError(
            f"the command was recorded without the secret in {_hidden_places(command)}: "
            f"fill it in and type --setup-launch {complete}"
        )
    if not command.plain:
        in_shell = shlex.quote(shlex.join(["bash", "-c", text]))
        raise StartError(f"the command needs a shell: type --setup-launch {in_shell}")


def _hidden_places(command: LaunchCommand) -> str:
    """The options and variables of a recorded command whose values were hidden."""
    hidden = [name for name, value in command.environment.items() if HIDDEN in value]
    for name, value in command.flags.items():
        if HIDDEN in json.dumps(value):
            hidden.append(f"-{name}" if len(name) == 1 else f"--{name}")
    return ", ".join(hidden) or "it"


def _refuse_other_port(command: LaunchCommand, url: str) -> None:
    """Refuse two ports: waiting at the wrong one would end minutes later, at the launch timeout."""
    host, port = address(url)
    command_port = address(command.base_url)[1] if command.base_url else port
    # A host that is not local may forward another port to the command's.
    if is_local(host) and command_port != port:
        message = f"the command listens on port {command_port}, but the base URL is {redact_url(url)}"
        raise StartError(f"{message}: leave one out")


def _refuse_port_in_use(url: str) -> None:
    """Refuse an address that answers already: the wrong server would be verified."""
    host, port = address(url)
    try:
        with socket.create_connection((host, port), _CONNECT_S):
            pass
    except OSError:
        return
    user = f" by {describe_listener(port)}" if is_local(host) else ""
    raise StartError(
        f"port {port} is already in use{user}; stop that server, choose another port, or verify it with "
        f"--setup-base-url {redact_url(url)}"
    )
