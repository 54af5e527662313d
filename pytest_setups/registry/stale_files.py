"""What killed recordings left in a registry, and its removal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_setups.registry.durable_files import leftovers, take_over
from pytest_setups.registry.git_repository import is_tracked
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.store import RegistryError, describe_os_error

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_setups.registry.store import Registry


def remove_leftovers(registry: Registry) -> int:
    """Remove what killed recordings left; returns the number of files.

    These are temporary files that no living process can be writing, and results files whose entry was never
    written. A results file that an entry names or git tracks is always kept. So is a results file without
    its second name, as on a file system without hard links: validation reports it.

    Raises:
        RegistryError: a file cannot be removed.
    """
    folders = (registry.root, registry.entries_dir, registry.results_dir)
    try:
        return sum(_remove(registry, leftover) for folder in folders for leftover in leftovers(folder))
    except OSError as error:
        raise RegistryError(describe_os_error(error, registry.root)) from None


def _remove(registry: Registry, leftover: Path) -> int:
    # Taken over first, so that a second process that cleans up does not remove the same files.
    mine = take_over(leftover)
    if mine is None:
        return 0
    orphan = _orphan(registry, mine) if mine.parent == registry.results_dir else None
    if orphan is not None:
        orphan.unlink(missing_ok=True)
    mine.unlink(missing_ok=True)
    return 1 if orphan is None else 2


def _orphan(registry: Registry, temporary: Path) -> Path | None:
    """The results file of which ``temporary`` is a second name, unless it belongs to an entry."""
    # A recording links its results file before it writes the entry; both names share one inode.
    inode = temporary.stat().st_ino
    with os.scandir(registry.results_dir) as files:
        names = [file.name for file in files if file.inode() == inode and file.name != temporary.name]
    for name in names:
        if _is_named(registry, name) or is_tracked(registry.results_dir / name):
            return None
        return registry.results_dir / name
    return None


def _is_named(registry: Registry, results_name: str) -> bool:
    """Whether an entry, readable or not, contains the name of this results file."""
    if (registry.entries_dir / results_name).with_suffix(".json").exists():
        return True
    # A search in the bytes also works in entries that are not valid. JSON may write a slash as "\/".
    needle = f"{registry.results_dir.name}/{results_name}".encode()
    try:
        return any(needle in registry.read(slug).replace(b"\\/", b"/") for slug in registry.slugs())
    except (EntryError, RegistryError):  # in doubt, results are kept
        return True
