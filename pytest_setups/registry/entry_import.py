"""The import of entries into a registry, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pytest_setups.registry.durable_files import read_bounded, write_exclusive
from pytest_setups.registry.entry import Entry
from pytest_setups.registry.field_redaction import public_document
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.results import MAX_RESULTS_BYTES, results_faults
from pytest_setups.registry.store import SLUG, RegistryError, describe_os_error, make_slug

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_setups.registry.store import Registry

LEAKED: Final = "its text seems to contain a key or token: revoke it before you commit the entry"
_NOT_ENTRIES: Final = frozenset({"index.json", "schema.json"})


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """The outcome of one file; ``present`` means that the same entry is in the registry already."""

    source: Path
    slug: str | None
    outcome: Literal["imported", "present", "refused"]
    message: str = ""


@dataclass(frozen=True, slots=True)
class _ResultsFile:
    file: str
    data: bytes


def entry_files(source: Path) -> list[Path]:
    """The entry files at a path: the file itself, or those in a registry or another folder."""
    if not source.is_dir():
        return [source]
    folder = source / "entries" if (source / "entries").is_dir() else source
    return sorted(path for path in folder.glob("*.json") if path.name not in _NOT_ENTRIES)


def import_entries(registry: Registry, files: Iterable[Path]) -> list[ImportedFile]:
    """Add copies of these files as entries, with their results files; nothing is overwritten.

    The slug is the file's name where that is a slug, otherwise derived from the names of model and backend.
    The index is not rebuilt.

    Raises:
        RegistryError: the registry cannot be written.
    """
    registry.prepare()
    try:
        return [_import(registry, path) for path in files]
    except OSError as error:
        raise RegistryError(describe_os_error(error, registry.root)) from None


def _import(registry: Registry, source: Path) -> ImportedFile:
    try:
        data = read_bounded(source)
        entry = Entry.from_json(data)
        results = _results(entry, source)
    except EntryError as error:
        return ImportedFile(source, None, "refused", str(error))
    except OSError as error:
        return ImportedFile(source, None, "refused", f"cannot be read: {error.strerror}")
    slug = source.stem if SLUG.fullmatch(source.stem) else _slug(entry)
    path = registry.entry_path(slug)
    if path.exists():
        return _present(registry, source, slug, data)
    # The results come first: an entry must never name a file that is not there.
    if results is not None and not _place(registry.root / results.file, results.data):
        return ImportedFile(source, slug, "refused", f"{results.file} exists with other contents")
    if not write_exclusive(path, data):  # another process was faster
        return _present(registry, source, slug, data)
    return ImportedFile(source, slug, "imported", LEAKED if _holds_secret(entry) else "")


def _present(registry: Registry, source: Path, slug: str, data: bytes) -> ImportedFile:
    if registry.read(slug) == data:
        return ImportedFile(source, slug, "present")
    message = f"an entry {slug!r} with other contents exists; rename the file to <new slug>.json"
    return ImportedFile(source, slug, "refused", message)


def _results(entry: Entry, source: Path) -> _ResultsFile | None:
    """The results file that an entry of a registry names, None where it names none.

    Raises:
        EntryError: it does not match the entry.
        OSError: it cannot be read.
    """
    results = entry.verification.results
    if results is None:
        return None
    root = source.parent.parent
    faults = results_faults(root, entry)
    if faults:
        raise EntryError(*faults)
    return _ResultsFile(results.file, read_bounded(root / results.file, MAX_RESULTS_BYTES))


def _place(path: Path, data: bytes) -> bool:
    """Create a file, or accept the existing one where it has the same contents; False otherwise."""
    return write_exclusive(path, data) or read_bounded(path, MAX_RESULTS_BYTES) == data


def _slug(entry: Entry) -> str:
    return make_slug(entry.model.served_model_name, entry.server.backend)


def _holds_secret(entry: Entry) -> bool:
    return public_document(entry) != entry.model_dump(mode="json")
