"""The process that listens on a port of this machine, and the command that a person typed to start it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

import psutil

from pytest_setups.redaction import is_secret_name, redact
from pytest_setups.serving.command_line.launch_command import parse_command
from pytest_setups.serving.command_line.programs import SHELLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

RELEVANT: Final = re.compile(
    r"(CUDA|NVIDIA|HIP|ROCR|ZE)_VISIBLE_DEVICES|ZE_AFFINITY_MASK|HSA_OVERRIDE_GFX_VERSION|"
    r"(VLLM|SGLANG|SGL|OMP|MKL|HF|TRANSFORMERS|GGML|LLAMA|OLLAMA|LMDEPLOY|TRTLLM|TORCH|PYTORCH|NCCL)_\w+"
)
_CONTAINER: Final = "the server runs in a container, whose processes are not this machine's"
_FORWARDERS: Final = {
    "docker-proxy": _CONTAINER,
    "rootlessport": _CONTAINER,
    "slirp4netns": _CONTAINER,
    "pasta": _CONTAINER,
    "conmon": _CONTAINER,
    "com.docker.backend": _CONTAINER,
    "ssh": "ssh forwards the port: the server runs elsewhere",
    "sshd": "sshd forwards the port: the server runs elsewhere",
    "kubectl": "kubectl forwards the port: the server runs elsewhere",
    "nginx": "nginx answers for a server behind it",
    "haproxy": "haproxy answers for a server behind it",
    "caddy": "caddy answers for a server behind it",
    "traefik": "traefik answers for a server behind it",
    "socat": "socat forwards the port to a server elsewhere",
}
_WORKER: Final = re.compile(r"--multiprocessing-fork|multiprocessing\.(spawn|forkserver|resource_tracker)")


class ListenerNotFoundError(Exception):
    """The process of a server that cannot be known; the message says why."""


@dataclass(frozen=True, slots=True)
class Listener:
    """The server's process: its command as it was typed, when (UTC), where and with which variables.

    ``python`` is the interpreter that runs it, None for a program that is not Python.
    """

    command: str
    started_at: datetime | None = None
    directory: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    python: Path | None = None


def find_listener(base_url: str) -> Listener:
    """The process behind a base URL of this machine.

    Raises:
        ListenerNotFoundError: it is not this machine's, not visible to this user, in a container, behind a
            proxy, or this very process.
    """
    host, port = address(base_url)
    if not is_local(host):
        message = f"{host} is another machine"
        raise ListenerNotFoundError(message)
    process = _listening(port)
    try:
        with process.oneshot():
            _refuse_strangers(process)
        return _describe(process)
    except psutil.Error as error:
        message = f"the process that listens on port {port} cannot be read: {type(error).__name__}"
        raise ListenerNotFoundError(message) from None


def describe_listener(port: int) -> str:
    """The process that listens on a port, in words for a person."""
    try:
        process = _listening(port)
        return f"process {process.pid}: {redact(shlex.join(process.cmdline()))[:200]}"
    except ListenerNotFoundError as error:
        return str(error)
    except psutil.Error:
        return "a process that has just ended, or that another user owns"


def address(base_url: str) -> tuple[str, int]:
    """Host and port of a base URL."""
    parts = urlsplit(base_url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def is_relevant(variable: str) -> bool:
    """Whether an environment variable matters to a server, and holds no secret."""
    return RELEVANT.fullmatch(variable) is not None and not is_secret_name(variable)


def is_local(host: str) -> bool:
    """Whether a host is this machine: loopback, or one of its own addresses."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    own = {entry.address.partition("%")[0] for many in psutil.net_if_addrs().values() for entry in many}
    return all(one.startswith("127.") or one in {"::1", "0.0.0.0", "::"} or one in own for one in found)


def _listening(port: int) -> psutil.Process:
    pids = set(_pids(port))
    if not pids:
        message = f"no process seen from here listens on port {port}: it may run in a container"
        raise ListenerNotFoundError(message)
    known = [psutil.Process(pid) for pid in sorted(pid for pid in pids if pid) if psutil.pid_exists(pid)]
    if not known:
        message = f"the process that listens on port {port} belongs to another user"
        raise ListenerNotFoundError(message)
    with contextlib.suppress(psutil.Error):
        return next(one for one in known if one.ppid() not in pids)
    return known[0]


def _pids(port: int) -> Iterator[int | None]:
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS: only root sees those of all
        yield from _own_pids(port)
        return
    for connection in found:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            yield connection.pid


def _own_pids(port: int) -> Iterator[int]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    yield process.pid


def _refuse_strangers(process: psutil.Process) -> None:
    if process.pid == os.getpid() or process.pid in {parent.pid for parent in psutil.Process().parents()}:
        message = "the server runs inside the process that tests"
        raise ListenerNotFoundError(message)
    reason = _FORWARDERS.get(process.name())
    if reason is None and _namespace(process.pid) not in {None, _namespace(os.getpid())}:
        reason = _CONTAINER
    if reason:
        raise ListenerNotFoundError(reason)


def _namespace(pid: int) -> str | None:
    """The mount namespace of a process, None where that is not told."""
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return None


def _describe(process: psutil.Process) -> Listener:
    typed = _typed(process)
    return Listener(
        command=_as_typed(typed.cmdline()),
        started_at=datetime.fromtimestamp(typed.create_time(), UTC).replace(microsecond=0),
        directory=_or_none(typed.cwd),
        variables=_relevant(typed),
        python=_interpreter(process),
    )


def _typed(process: psutil.Process) -> psutil.Process:
    """The process that a person started: the outermost that names the same server, below any shell."""
    chosen: psutil.Process | None = None
    workers = process
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for one in (process, *process.parents()):
        words = _or_none(one.cmdline)
        if not words or one.pid in own or one.pid == 1 or PurePath(words[0]).name.lstrip("-") in SHELLS:
            break
        if parse_command(shlex.join(words)).backend:
            chosen = one
        elif chosen is not None:
            break
        elif workers == one and any(_WORKER.search(word) for word in words):
            workers = one.parent() or one
    return chosen or workers


def _as_typed(words: list[str]) -> str:
    """The words as one line; a console script without the interpreter that its first line names."""
    script = len(words) > 1 and not words[1].startswith("-") and os.access(words[1], os.X_OK)
    if script and parse_command(shlex.join(words[1:])).backend:
        return shlex.join(words[1:])
    return shlex.join(words)


def _relevant(process: psutil.Process) -> dict[str, str]:
    found = _or_none(process.environ) or {}
    return {name: redact(value) for name, value in sorted(found.items()) if is_relevant(name)}


def _interpreter(process: psutil.Process) -> Path | None:
    """The interpreter as it was called, which in a virtual environment is not the file that runs."""
    words = _or_none(process.cmdline) or [""]
    environment = _or_none(process.environ) or {}
    called = shutil.which(words[0], path=environment.get("PATH")) if words[0] else None
    for path in (called, _or_none(process.exe)):
        if path and Path(path).name.startswith(("python", "pypy")):
            return Path(_or_none(process.cwd) or "/", path)
    return None


def _or_none(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (psutil.Error, OSError):
        return None
