"""What is wrong with a registry, as data: each fault names its file and where in it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Entry
from pytest_setups.registry.files import read_bounded
from pytest_setups.registry.history import EntryHistory, entry_history
from pytest_setups.registry.index import MAX_INDEX_BYTES, ROW_FIELDS_1_0, index_row
from pytest_setups.registry.local_paths import missing_paths
from pytest_setups.registry.parsing import EntryError, parse_json
from pytest_setups.registry.results import results_faults
from pytest_setups.registry.store import SLUG, Registry, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Check = Literal["schema", "index", "results", "unchanged", "paths", "named"]
_REBUILD: Final = "run `pytest-setups index`"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the file relative to the registry, the check that found it, and what is wrong.

    Where there is a place in the file, ``message`` begins with it: ``$.model.repo_id: ...``.
    """

    file: str
    check: Check
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


@dataclass(slots=True)
class Report:
    """What validation found; ``unchecked`` says what could not be looked at, and why."""

    entries: int = 0
    faults: list[Fault] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def add(self, file: str, check: Check, messages: Iterable[str]) -> None:
        """Add what one check found in one file."""
        self.faults += [Fault(file, check, message) for message in messages]


def validate(registry: Registry, *, history: bool = True, paths: bool = False) -> Report:
    """Check every entry, results file and the index of a registry.

    Args:
        registry: the registry.
        history: ask git whether entries were edited since they were added.
        paths: check that the local paths which entries name exist on this machine.

    Raises:
        RegistryError: the folder cannot be read.
    """
    report, rows, named = Report(), [], set()
    for slug in registry.slugs():
        report.entries += 1
        file = f"entries/{slug}.json"
        try:
            document = parse_json(read_bounded(f"{os.fspath(registry.entries_dir)}/{slug}.json"))
            with suppress(EntryError):
                rows.append(index_row(slug, document))
            entry = Entry.from_document(document)
        except (EntryError, OSError) as error:
            report.add(file, "schema", entry_messages(error))
            named.add(f"{slug}.jsonl")
            continue
        if entry.verification.results is not None:
            named.add(entry.verification.results.file.rpartition("/")[2])
            report.add(file, "results", results_faults(registry.root, entry))
        if paths:
            report.add(file, "paths", missing_paths(entry))
    report.add("index.json", "index", index_faults(registry, rows))
    _add_strays(report, registry, named)
    if history:
        _add_history(report, entry_history(registry.entries_dir))
    return report


def entry_messages(error: Exception) -> list[str]:
    """The lines of an error met while reading an entry."""
    if isinstance(error, OSError):
        return [f"cannot be read: {error.strerror or error}"]
    return [str(message) for message in error.args]


def schema_faults(registry: Registry, name: str) -> list[str]:
    """What is wrong with the entry in the file of this name."""
    if SLUG.fullmatch(name.removesuffix(".json")) is None:
        return [UNNAMED]
    try:
        Entry.from_json(read_bounded(registry.entries_dir / name))
    except (EntryError, OSError) as error:
        return entry_messages(error)
    return []


UNNAMED: Final = (
    "its name is not a slug: rename it to a-z 0-9 . _ - in lower case, ending in .json, or remove it"
)
UNCLAIMED: Final = (
    "no entry names it: a recording under way or cut short, or an entry that was deleted; "
    "`pytest-setups index` removes what a killed recording left, anything else is yours to delete"
)


def index_faults(registry: Registry, rows: list[dict[str, Any]]) -> list[str]:
    """How ``index.json`` differs from these rows, which were derived from the entries."""
    try:
        index = parse_json(read_bounded(registry.index_path, MAX_INDEX_BYTES), MAX_INDEX_BYTES)
    except FileNotFoundError:
        return [f"missing; {_REBUILD}"]
    except (EntryError, OSError) as error:
        return [f"{message}; {_REBUILD}" for message in entry_messages(error)]
    listed = index.get("entries") if isinstance(index, dict) else None
    if not isinstance(listed, list):
        return [f"$.entries: not a list of rows; {_REBUILD}"]
    return [f"{message}; {_REBUILD}" for message in _row_faults(listed, {row["slug"]: row for row in rows})]


def _row_faults(listed: list[Any], wanted: dict[str, dict[str, Any]]) -> Iterator[str]:
    slugs = [row.get("slug") if isinstance(row, dict) else None for row in listed]
    seen: set[str] = set()
    for position, (slug, row) in enumerate(zip(slugs, listed, strict=True)):
        where = f"$.entries[{position}]"
        if not isinstance(slug, str) or slug not in wanted:
            yield f"{where}.slug: {_shown(slug)} has no readable entry"
        elif slug in seen:
            yield f"{where}.slug: a second row for {slug!r}"
        else:
            seen.add(slug)
            yield from _cell_faults(where, row, wanted[slug])
    yield from (f"$.entries: no row for {slug!r}" for slug in wanted if slug not in seen)
    for position, (before, after) in enumerate(pairwise(slugs)):
        if isinstance(before, str) and isinstance(after, str) and before > after:
            yield f"$.entries[{position + 1}].slug: {_shown(after)} stands after {_shown(before)}"


def _cell_faults(where: str, row: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    if row == wanted:
        return
    for name, value in wanted.items():
        if name not in row and name in ROW_FIELDS_1_0:
            yield f"{where}.{name}: missing"
        elif name in row and row[name] != value:
            yield f"{where}.{name}: {_shown(row[name])}, but the entry says {_shown(value)}"


def named_results(registry: Registry) -> set[str]:
    """Names of the results files that belong to an entry; one that cannot be read may name its own."""
    named = set()
    for slug in registry.slugs():
        try:
            results = registry.load(slug).verification.results
        except (EntryError, RegistryError):
            named.add(f"{slug}.jsonl")
        else:
            named |= {results.file.rpartition("/")[2]} if results else set()
    return named


def unclaimed_results(registry: Registry, named: set[str]) -> list[str]:
    """Names of results files that no entry names."""
    try:
        with os.scandir(registry.results_dir) as files:
            return sorted(f.name for f in files if f.name.endswith(".jsonl") and f.name not in named)
    except OSError:
        return []


def _add_strays(report: Report, registry: Registry, named: set[str]) -> None:
    if registry.results_dir.is_symlink():
        report.add("results", "results", ["a symbolic link: a registry keeps its files itself"])
    for name in unclaimed_results(registry, named):
        report.add(f"results/{one_line(name)}", "named", [UNCLAIMED])
    for name in registry.misnamed():
        report.add(f"entries/{one_line(name)}", "schema", [UNNAMED])


def _add_history(report: Report, history: EntryHistory) -> None:
    for name, message in sorted(history.faults.items()):
        report.add(f"entries/{name}", "unchanged", [message])
    if history.reason is not None:
        report.unchecked.append(f"whether entries were edited: {history.reason}")


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(one_line(str(value), 80))
