"""All that an entry says about a server: the command, the process, the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import redact_command
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
    """What is known; ``listener`` is the server's process, or why it cannot be determined."""

    command: LaunchCommand
    source: CommandSource | None
    listener: Listener | ListenerNotFoundError
    model: ModelFacts

    @property
    def command_text(self) -> str | None:
        """The command without secrets, None where it is not known."""
        return redact_command(self.command.text) or None

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
        identity: what it answers about itself.
        base_url: where it answers.
        commands: commands that are known to have started it; the first that is not None overrides
            that of the process that listens.
        last_resort: the command of the entry that is verified again, used when no other is known.
        model_path: where the weights are, according to the user.
    """
    listener = _listener_or_reason(base_url)
    process = listener if isinstance(listener, Listener) else None
    # What started the server is known best to whoever started it; a process may have a wrapper's words,
    # and the entry's command is that of an earlier server.
    candidates = [
        *commands,
        ("process", process.command if process else None),
        ("process", identity.command),  # SGLang answers with its own
        ("entry", last_resort),
    ]
    source, text = next(((source, text) for source, text in candidates if text), (None, None))
    command = parse_command(text) if text else _NO_COMMAND
    return ServerFacts(
        command=command,
        source=source,
        listener=listener,
        model=model_facts(identity, command, model_path, process),
    )


def _listener_or_reason(base_url: str) -> Listener | ListenerNotFoundError:
    try:
        return find_listener(base_url)
    except ListenerNotFoundError as error:
        return error
