"""The process that listens on a port of this machine, and the command that was typed to start it."""

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

from pytest_setups.redaction import is_secret_name, one_line, redact, redact_words
from pytest_setups.serving.command_line.launch_command import parse_command
from pytest_setups.serving.command_line.programs import SHELLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

# What changes how a server computes: devices, threads, caches, kernels.
RELEVANT: Final = re.compile(
    r"(CUDA|NVIDIA|HIP|ROCR|ZE)_VISIBLE_DEVICES|ZE_AFFINITY_MASK|HSA_OVERRIDE_GFX_VERSION|"
    r"(VLLM|SGLANG|SGL|OMP|MKL|HF|TRANSFORMERS|GGML|LLAMA|OLLAMA|LMDEPLOY|TRTLLM|TORCH|PYTORCH|NCCL)_\w+"
)
_CONTAINER: Final = "the server runs in a container, whose processes cannot be seen from here"
# Programs that listen for a server elsewhere: their command and environment are not the server's.
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
    "nginx": "nginx is a proxy for another server",
    "haproxy": "haproxy is a proxy for another server",
    "caddy": "caddy is a proxy for another server",
    "traefik": "traefik is a proxy for another server",
    "socat": "socat forwards the port to a server elsewhere",
}
# Command lines of processes that Python's multiprocessing starts, as vLLM does for its API servers.
_WORKER: Final = re.compile(r"--multiprocessing-fork|multiprocessing\.(spawn|forkserver|resource_tracker)")


class ListenerNotFoundError(Exception):
    """The server's process cannot be determined; the message says why."""


@dataclass(frozen=True, slots=True)
class Listener:
    """The server's process: its command as it was typed, start time (UTC), directory and variables.

    ``python`` is the interpreter that runs it, None for a program that is not Python. ``pid`` is of the
    process that was started, which may have started the one that listens.
    """

    command: str
    pid: int | None = None
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
    # The same port of this machine may be another server's.
    if not is_local(host):
        message = f"{host} is another machine"
        raise ListenerNotFoundError(message)
    process = _listening_process(port)
    try:
        with process.oneshot():
            _refuse_other_programs(process)
        return _describe(process)
    except psutil.Error as error:
        message = f"the process that listens on port {port} cannot be read: {type(error).__name__}"
        raise ListenerNotFoundError(message) from None


def describe_listener(port: int) -> str:
    """The process that listens on a port, for a message."""
    try:
        process = _listening_process(port)
        return f"process {process.pid} ({one_line(shlex.join(redact_words(process.cmdline())), 200)})"
    except (ListenerNotFoundError, psutil.Error):
        return "a process that cannot be seen from here"


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
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    # IPv6 addresses of an interface end with its name: fe80::1%eth0.
    own = {item.address.partition("%")[0] for items in psutil.net_if_addrs().values() for item in items}
    local = own | {"::1", "0.0.0.0", "::"}
    return all(address.startswith("127.") or address in local for address in addresses)


def _listening_process(port: int) -> psutil.Process:
    pids = set(_pids(port))
    if not pids:
        message = f"no process that can be seen from here listens on port {port}: it may run in a container"
        raise ListenerNotFoundError(message)
    known = [psutil.Process(pid) for pid in sorted(pid for pid in pids if pid) if psutil.pid_exists(pid)]
    if not known:
        message = f"the process that listens on port {port} belongs to another user"
        raise ListenerNotFoundError(message)
    # Workers inherit the socket of their parent: the server is the one that no listener started.
    with contextlib.suppress(psutil.Error):
        return next(process for process in known if process.ppid() not in pids)
    return known[0]


def _pids(port: int) -> Iterator[int | None]:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS: only root may list the connections of all processes
        yield from _own_pids(port)
        return
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            yield connection.pid


def _own_pids(port: int) -> Iterator[int]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    yield process.pid


def _refuse_other_programs(process: psutil.Process) -> None:
    if process.pid == os.getpid() or process.pid in {parent.pid for parent in psutil.Process().parents()}:
        message = "the server runs inside the process of the tests"
        raise ListenerNotFoundError(message)
    reason = _FORWARDERS.get(process.name())
    if reason is None and _namespace(process.pid) not in {None, _namespace(os.getpid())}:
        reason = _CONTAINER
    if reason:
        raise ListenerNotFoundError(reason)


def _namespace(pid: int) -> str | None:
    """The mount namespace of a process, None where it cannot be read."""
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return None


def _describe(process: psutil.Process) -> Listener:
    typed = _typed_process(process)
    return Listener(
        command=_as_typed(typed.cmdline()),
        pid=typed.pid,
        started_at=datetime.fromtimestamp(typed.create_time(), UTC).replace(microsecond=0),
        directory=_or_none(typed.cwd),
        variables=_relevant_variables(typed),
        python=_interpreter(process),
    )


def _typed_process(process: psutil.Process) -> psutil.Process:
    """The process that a person started: the outermost that names the same server, below any shell.

    ``uv run vllm serve`` is three processes, of which the last listens and the first was typed.
    """
    outermost: psutil.Process | None = None
    main = process  # of a server that is not known: the parent of its workers
    for ancestor in (process, *process.parents()):
        words = _or_none(ancestor.cmdline)
        if not words or _is_starter(ancestor, words):
            break
        if parse_command(shlex.join(words)).backend:
            outermost = ancestor
        elif outermost is not None:
            break
        elif main == ancestor and any(_WORKER.search(word) for word in words):
            main = ancestor.parent() or ancestor
    return outermost or main


def _is_starter(process: psutil.Process, words: list[str]) -> bool:
    """Whether a process is what people start servers from: a shell, init, or these tests."""
    if process.pid in {1, os.getpid(), *(parent.pid for parent in psutil.Process().parents())}:
        return True
    return PurePath(words[0]).name.lstrip("-") in SHELLS  # a login shell is named -bash


def _as_typed(words: list[str]) -> str:
    """The words as one line; a console script without the interpreter that its first line names."""
    script = len(words) > 1 and not words[1].startswith("-") and os.access(words[1], os.X_OK)
    if script and parse_command(shlex.join(words[1:])).backend:
        return shlex.join(words[1:])
    return shlex.join(words)


def _relevant_variables(process: psutil.Process) -> dict[str, str]:
    environment = _or_none(process.environ) or {}
    return {name: redact(value) for name, value in sorted(environment.items()) if is_relevant(name)}


def _interpreter(process: psutil.Process) -> Path | None:
    """The interpreter as it was called, which in a virtual environment is not the file that runs."""
    words = _or_none(process.cmdline) or [""]
    environment = _or_none(process.environ) or {}
    called = shutil.which(words[0], path=environment.get("PATH")) if words[0] else None
    # The path as called: packages are found from it, not from the file behind its link.
    for path in (called, _or_none(process.exe)):
        if path and Path(path).name.startswith(("python", "pypy")):
            return Path(_or_none(process.cwd) or "/", path)
    return None


def _or_none(read: Callable[[], T]) -> T | None:
    """What a process has, None when it has just ended or belongs to another user."""
    try:
        return read()
    except (psutil.Error, OSError):
        return None
