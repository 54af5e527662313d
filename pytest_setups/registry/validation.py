"""The validation of a registry: each fault names its file and the place in it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_setups.redaction import one_line
from pytest_setups.registry.durable_files import read_bounded
from pytest_setups.registry.entry import Entry
from pytest_setups.registry.git_history import EntryHistory, entry_history
from pytest_setups.registry.index import MAX_INDEX_BYTES, ROW_FIELDS_1_0, index_row
from pytest_setups.registry.local_paths import missing_paths
from pytest_setups.registry.parsing import EntryError, parse_json
from pytest_setups.registry.results import results_faults
from pytest_setups.registry.store import SLUG, Registry, RegistryError
from pytest_setups.registry.timeline import future_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CheckName = Literal["schema", "index", "results", "unchanged", "paths", "named"]
_REBUILD: Final = "run `pytest-setups index`"
UNNAMED: Final = (
    "its name is not a slug: rename it to a-z 0-9 . _ - in lower case, ending in .json, or remove it"
)
UNCLAIMED: Final = (
    "no entry names it: its recording is in progress or was interrupted, or its entry was deleted; "
    "`pytest-setups index` removes what an interrupted recording left, other files are yours to delete"
)


@dataclass(frozen=True, slots=True)
class RegistryFault:
    """One fault: the file relative to the registry, the check that failed, and what is wrong.

    Where there is a place in the file, ``message`` begins with it: ``$.model.repo_id: ...``.
    """

    file: str
    check: CheckName
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


@dataclass(slots=True)
class ValidationReport:
    """The result of a validation.

    Attributes:
        entries: how many there are.
        faults: what is wrong.
        unchecked: what could not be checked, and why.
        warnings: what is suspicious, but not wrong.
    """

    entries: int = 0
    faults: list[RegistryFault] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, file: str, check: CheckName, messages: Iterable[str]) -> None:
        """Add the faults of one check of one file."""
        self.faults += [RegistryFault(file, check, message) for message in messages]


def validate(registry: Registry, *, history: bool = True, paths: bool = False) -> ValidationReport:
    """Check every entry, results file and the index of a registry.

    Args:
        registry: the registry.
        history: ask git whether entries were edited since they were added.
        paths: check that the local paths which entries name exist on this machine.

    Raises:
        RegistryError: the folder cannot be read.
    """
    report = ValidationReport()
    rows: list[dict[str, Any]] = []
    named: set[str] = set()
    for slug in registry.slugs():
        report.entries += 1
        try:
            entry = _read_entry(registry, slug, rows)
        except (EntryError, OSError) as error:
            report.add(f"entries/{slug}.json", "schema", entry_messages(error))
            named.add(f"{slug}.jsonl")  # an entry that cannot be read may name this file
        else:
            _check_entry(report, registry, slug, entry, paths=paths)
            if entry.verification.results is not None:
                named.add(entry.verification.results.file.rpartition("/")[2])
    report.add("index.json", "index", index_faults(registry, rows))
    _add_strays(report, registry, named)
    if history:
        _add_history(report, entry_history(registry.entries_dir))
    return report


def _read_entry(registry: Registry, slug: str, rows: list[dict[str, Any]]) -> Entry:
    """The entry; its row is added to ``rows`` even where the rest of it is not valid, as in the index."""
    document = parse_json(read_bounded(f"{os.fspath(registry.entries_dir)}/{slug}.json"))
    with suppress(EntryError):  # reported as a fault of the schema below
        rows.append(index_row(slug, document))
    return Entry.from_document(document)


def _check_entry(
    report: ValidationReport, registry: Registry, slug: str, entry: Entry, *, paths: bool
) -> None:
    file = f"entries/{slug}.json"
    report.add(file, "results", results_faults(registry.root, entry))
    if paths:
        report.add(file, "paths", missing_paths(entry))
    if date := future_date(entry):
        report.warnings.append(
            f"{file}: $.verification.date_utc: {date} is in the future: "
            "the clock was wrong, so `--setup-baseline latest` skips this entry"
        )


def entry_messages(error: Exception) -> list[str]:
    """The lines of an error that reading an entry raised."""
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


def _row_faults(listed: list[Any], derived: dict[str, dict[str, Any]]) -> Iterator[str]:
    slugs = [row.get("slug") if isinstance(row, dict) else None for row in listed]
    seen: set[str] = set()
    for position, (slug, row) in enumerate(zip(slugs, listed, strict=True)):
        where = f"$.entries[{position}]"
        if not isinstance(slug, str) or slug not in derived:
            yield f"{where}.slug: {_shown(slug)} has no readable entry"
        elif slug in seen:
            yield f"{where}.slug: a second row for {slug!r}"
        else:
            seen.add(slug)
            yield from _cell_faults(where, row, derived[slug])
    yield from (f"$.entries: no row for {slug!r}" for slug in derived if slug not in seen)
    yield from _order_faults(slugs)


def _order_faults(slugs: list[Any]) -> Iterator[str]:
    """Rows are sorted, so that git merges two indexes line by line."""
    for position, (before, after) in enumerate(pairwise(slugs), start=1):
        if isinstance(before, str) and isinstance(after, str) and before > after:
            yield f"$.entries[{position}].slug: {_shown(after)} must come before {_shown(before)}"


def _cell_faults(where: str, row: dict[str, Any], derived: dict[str, Any]) -> Iterator[str]:
    if row == derived:  # almost always, and fast
        return
    for name, value in derived.items():
        # Only the fields of schema 1.0 are required; other versions of this package may add others.
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


def _add_strays(report: ValidationReport, registry: Registry, named: set[str]) -> None:
    if registry.results_dir.is_symlink():
        report.add("results", "results", ["a symbolic link: a registry keeps its files itself"])
    for name in unclaimed_results(registry, named):
        report.add(f"results/{one_line(name)}", "named", [UNCLAIMED])
    for name in registry.misnamed():
        report.add(f"entries/{one_line(name)}", "schema", [UNNAMED])


def _add_history(report: ValidationReport, history: EntryHistory) -> None:
    for name, message in sorted(history.faults.items()):
        report.add(f"entries/{name}", "unchanged", [message])
    if history.reason is not None:
        report.unchecked.append(f"whether entries were edited: {history.reason}")


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(one_line(str(value), 80))
