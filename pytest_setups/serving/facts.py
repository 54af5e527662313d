"""All that is known of a server for its entry: the command, the process, the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import redact
from pytest_setups.serving.command_line.launch_command import LaunchCommand, parse_command
from pytest_setups.serving.local.listener import Listener, ListenerNotFoundError, find_listener
from pytest_setups.serving.local.model_files import ModelFacts, model_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.registry.entry import CommandSource
    from pytest_setups.serving.backends import Identity

_NO_COMMAND: Final = LaunchCommand("")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known; ``listener`` is the server's process, or why it is not known."""

    command: LaunchCommand
    source: CommandSource | None
    listener: Listener | ListenerNotFoundError
    model: ModelFacts

    @property
    def command_text(self) -> str | None:
        """The command without secrets, None where it is not known."""
        return redact(self.command.text) or None

    @property
    def command_reason(self) -> str | None:
        """Why the command is not known."""
        return None if self.command.text else str(self.listener)


def gather_facts(
    identity: Identity,
    base_url: str,
    *,
    commands: Sequence[tuple[CommandSource, str | None]] = (),
    last_resort: str | None = None,
    model_path: str | None = None,
) -> ServerFacts:
    """Gather what is known of the server behind a base URL.

    Args:
        identity: what it says of itself.
        base_url: where it answers.
        commands: commands that are known to have started it; the first that is not None wins over
            that of the process that listens.
        last_resort: the command of the entry that is verified again, when nothing else tells one.
        model_path: where the user says the weights are.
    """
    listener: Listener | ListenerNotFoundError
    try:
        listener = find_listener(base_url)
    except ListenerNotFoundError as error:
        listener = error
    found = listener.command if isinstance(listener, Listener) else None
    known = [*commands, ("process", found), ("process", identity.command), ("entry", last_resort)]
    source, text = next(((source, text) for source, text in known if text), (None, None))
    command = parse_command(text) if text else _NO_COMMAND
    local = listener if isinstance(listener, Listener) else None
    return ServerFacts(
        command=command,
        source=source,
        listener=listener,
        model=model_facts(identity, command, model_path, local),
    )
