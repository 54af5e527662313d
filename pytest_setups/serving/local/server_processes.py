"""The processes of a server: the one that was started, and all that it started."""

from __future__ import annotations

import psutil

from pytest_setups.serving.local.listener import Listener, ListenerNotFoundError, find_listener


def server_processes(base_url: str) -> list[psutil.Process]:
    """The processes of the server behind a base URL of this machine, the one that was started first.

    vLLM and SGLang listen in one process and compute in others, which it started.

    Raises:
        ListenerNotFoundError: it is not this machine's, or its process cannot be determined.
    """
    return processes_of(find_listener(base_url))


def processes_of(listener: Listener) -> list[psutil.Process]:
    """The processes of a server that listens.

    Raises:
        ListenerNotFoundError: it has ended.
    """
    try:
        started = psutil.Process(listener.pid)
        return [started, *started.children(recursive=True)]
    except psutil.Error as error:
        message = f"the server's process {listener.pid} cannot be read: {type(error).__name__}"
        raise ListenerNotFoundError(message) from None
