"""A launch: a server started from a command, waited for, and known by what was asked for."""

from __future__ import annotations

import os
import shlex
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.api.errors import ServerError
from pytest_setups.redaction import HIDDEN, redact, redact_url
from pytest_setups.serving.command_line.launch_command import LaunchCommand, parse_command
from pytest_setups.serving.local.listener import address, describe_listener, is_local, is_relevant
from pytest_setups.serving.processes.server_process import LaunchError, ServerProcess, StartError
from pytest_setups.serving.server import wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_setups.api.client import Client
    from pytest_setups.serving.command_line.launch_command import CommandSource

_CONNECT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class RecordedLaunch:
    """What the entry says whose command is started: base URL, environment variables and directory."""

    base_url: str | None
    variables: Mapping[str, str]
    directory: str | None


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What is to be started, and where it will answer.

    ``source`` says who asked for the command: the user, or an entry that the user named.
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
        return redact(
            " ".join([*(f"{name}={shlex.quote(value)}" for name, value in sorted(added)), self.command.text])
        )


def plan_launch(
    text: str, *, base_url: str | None = None, recorded: RecordedLaunch | None = None
) -> LaunchPlan:
    """Read a command and see that it can be started here.

    Args:
        text: the command.
        base_url: where it will answer, if the user said so; else the command tells, else the entry.
        recorded: how the entry that holds the command was started. Its variables that matter to
            servers are set unless they are set already, and its directory is used if it exists here.

    Raises:
        StartError: it cannot be read, needs a shell, holds a hidden secret, does not tell where it
            will answer, or somebody listens there already.
    """
    command = parse_command(text)
    _refuse_unstartable(command)
    url = base_url or command.base_url or (recorded.base_url if recorded else None)
    if url is None:
        message = f"{redact(text)!r} does not tell its port: add --setup-base-url http://127.0.0.1:PORT/v1"
        raise StartError(message)
    _refuse_other_port(command, url)
    _refuse_taken(url)
    variables = recorded.variables if recorded else {}
    unset = {name: variables[name] for name in variables if name not in os.environ and is_relevant(name)}
    there = recorded.directory if recorded and Path(recorded.directory or "").is_dir() else None
    return LaunchPlan(
        command=command,
        source="entry" if recorded else "launched",
        base_url=url,
        environment=unset | dict(command.environment),
        directory=command.directory or there,
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
            [os.path.expanduser(word) for word in launch.command.arguments],
            environment=launch.environment,
            directory=os.path.expanduser(launch.directory) if launch.directory else None,
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
            progress: told, between attempts, the seconds so far and the last line of the log.

        Raises:
            LaunchError: it ended, or was not ready in time; with the last lines of its log.
        """

        def look() -> None:
            self.process.check()
            progress(time.perf_counter() - self.process.started, self.process.last_line())

        try:
            wait_until_ready(client, request, seconds, model=model, check_alive=look)
        except ServerError as error:
            self.process.check()
            message = f"{error}; its log {self.process.log} ends with:\n{self.process.log_end()}"
            raise LaunchError(message) from None
        self.process.check()
        self.ready_s = time.perf_counter() - self.process.started


def _refuse_unstartable(command: LaunchCommand) -> None:
    text = redact(command.text)
    if not command.arguments:
        message = f"{text!r} is no command: is a quote open?"
    elif HIDDEN in command.text:
        message = f"{text!r} was recorded without its secret: give the whole command with --setup-launch"
    elif not command.plain:
        message = f"{text!r} needs a shell: write bash -c '...' around it"
    else:
        return
    raise StartError(message)


def _refuse_other_port(command: LaunchCommand, url: str) -> None:
    host, port = address(url)
    told = address(command.base_url)[1] if command.base_url else port
    if is_local(host) and told != port:
        message = f"the command listens on port {told}, but the base URL is {redact_url(url)}: leave one out"
        raise StartError(message)


def _refuse_taken(url: str) -> None:
    host, port = address(url)
    try:
        with socket.create_connection((host, port), _CONNECT_S):
            pass
    except OSError:
        return
    who = describe_listener(port) if is_local(host) else "somebody"
    message = (
        f"port {port} is taken by {who}; stop that, choose another port, or verify what runs there with "
        f"--setup-base-url {redact_url(url)}"
    )
    raise StartError(message)
