"""Files written durably: whole or not at all, never over another, by any number of processes.

A file is written under a temporary name that identifies its writer, synced, and then given its final name by
a hard link, which fails when the name is taken. On file systems without hard links a claim file and a
rename do the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
import stat
import time
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.parsing import MAX_ENTRY_BYTES, EntryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STALE_AFTER_S: Final = 24 * 3600
# PID@MACHINE, in the name of a temporary file and in the text of a claim.
_WRITER: Final = re.compile(r"(\d+)@(.+)")
# What link(2) answers on FAT, on some network shares and FUSE mounts, and when an inode has too many links.
_NO_HARD_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK}
)
# A pipe in place of a file must not block the open, and a link must not lead out of the registry.
_READ_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)


def open_regular(path: str | Path) -> int:
    """A descriptor of a regular file, opened for reading.

    Raises:
        EntryError: it is a symbolic link, a pipe, a folder or a device.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        message = "a symbolic link: a registry keeps its files itself; put the file in its place"
        raise EntryError(message) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    message = "not a regular file"
    raise EntryError(message)


def read_bounded(path: str | Path, limit: int = MAX_ENTRY_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises:
        EntryError: it is larger than ``limit`` bytes or not a regular file.
        OSError: it cannot be read.
    """
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        # One byte more than expected shows a file that grows while it is read.
        data = os.read(descriptor, min(size, limit) + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        message = f"{max(size, len(data))} bytes: more than the {limit} that are read"
        raise EntryError(message)
    return data


def write_exclusive(path: Path, data: bytes) -> bool:
    """Create a file durably; False when it exists already (it is then untouched)."""
    with created(path, data) as made:
        return made


@contextlib.contextmanager
def created(path: Path, data: bytes) -> Iterator[bool]:
    """Create a file durably; False when it exists already (it is then untouched).

    Until the block ends, the temporary file remains as a second name of the file: if the process is killed,
    that name shows who wrote it.
    """
    temporary = _write_temporary(path, data)
    try:
        yield _place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file durably, replacing an existing one in one step.

    ``data`` may come in parts, which are written as they come.
    """
    temporary = _write_temporary(path, data)
    try:
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def leftovers(folder: Path) -> list[Path]:
    """Temporary and claim files in this folder that no living process can be using.

    Whether a process of this machine lives is asked of the system. A file of another machine (a shared
    folder), of an earlier boot, or of a version that wrote no boot id must be older than ``STALE_AFTER_S``.
    """
    names = (*folder.glob(".*.tmp"), *folder.glob(".*.claim"))
    return [path for path in names if _is_stale(path)]


def take_over(leftover: Path) -> Path | None:
    """Rename a leftover so that it belongs to this process; None when another process was faster."""
    # Of several processes that clean up at once, the rename succeeds for only one.
    mine = _temporary_beside(leftover)
    try:
        return leftover.rename(mine)
    except FileNotFoundError:
        return None


def _place(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
        placed = True
    except FileExistsError:
        # When the answer to a link request is lost, NFS sends it again and finds the link it has just made.
        placed = path.exists() and temporary.samefile(path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        placed = _place_by_claim(temporary, path)
    if placed:
        _sync_folder(path.parent)
    return placed


def _place_by_claim(temporary: Path, path: Path) -> bool:
    """Rename ``temporary`` to ``path`` unless that exists, on a file system without hard links.

    Only the process that creates the claim file may check and rename; meanwhile the name counts as taken.
    """
    claim = path.with_name(f".{path.name}.claim")
    try:
        with claim.open("x") as file:
            file.write(_writer())
    except FileExistsError:
        return False
    try:
        if path.exists():
            return False
        temporary.rename(path)
        return True
    finally:
        claim.unlink(missing_ok=True)


def _write_temporary(path: Path, data: bytes | Iterable[bytes]) -> Path:
    temporary = _temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.writelines((data,) if isinstance(data, bytes) else data)
            file.flush()
            # Synced before it gets its name: after a power failure no name leads to half a file.
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _temporary_beside(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(4)}.{_writer()}.tmp")


def _writer() -> str:
    return f"{os.getpid()}@{_machine()}"


@cache
def _machine() -> str:
    """Where a process number means the same process: the host, the container in it, and this boot of it.

    Host names are not unique, and the outermost process namespace has the same inode number on every
    machine; the boot id tells machines apart that share a registry over a network.
    """
    namespace = "0"
    with contextlib.suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    return f"{socket.gethostname()}-{namespace}-{_boot_id()}"


def _boot_id() -> str:
    """A random number that Linux draws when it starts; on other systems the network card's address."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{uuid.getnode():012x}"


def _sync_folder(folder: Path) -> None:
    # A new name is durable only when its folder is synced too; Windows cannot open folders.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_stale(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > STALE_AFTER_S:
            return True
        # A temporary name is .8HEXDIG.PID@MACHINE.tmp
        text = path.read_text() if path.suffix == ".claim" else path.name[10:].removesuffix(".tmp")
        writer = _WRITER.fullmatch(text)
        return writer is not None and writer[2] == _machine() and not _alive(int(writer[1]))
    return False


def _alive(pid: int) -> bool:
    if os.name == "nt":  # signal 0 is CTRL_C_EVENT there: os.kill would interrupt the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists, but belongs to another user
        return True
    return True
