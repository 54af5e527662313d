"""The store: entries, results files and the index in one folder, written durably and never edited."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
import re
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.redaction import one_line
from pytest_setups.registry.durable_files import created, read_bounded, replace, write_exclusive
from pytest_setups.registry.entry import SLUG_PATTERN, Entry, Results
from pytest_setups.registry.index import index_row, index_text
from pytest_setups.registry.parsing import EntryError, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SLUG: Final = re.compile(SLUG_PATTERN)
# -text: a checkout on Windows must not change line ends, which are part of the checksums. -merge: a conflict
# leaves one side's file whole, without markers. merge=union: rows of two branches are simply added up.
GIT_ATTRIBUTES: Final = b"""\
# Entries and results are kept byte for byte; the index is derived: after a merge, `pytest-setups index`.
entries/*.json -text -merge
results/*.jsonl -text -merge
index.json -text merge=union
"""
GIT_IGNORE: Final = b"""\
# Files of recordings in progress; `pytest-setups index` removes those of interrupted ones.
.*.tmp
.*.claim
"""


class RegistryError(Exception):
    """The registry could not be read or written; the message says what, where and what to do."""


class SlugTakenError(RegistryError):
    """An entry of that slug exists; entries are never edited."""


@dataclasses.dataclass(frozen=True, slots=True)
class RecordedEntry:
    """An entry as it was written, and where.

    ``index_fault`` says why the index does not list it yet, None when it does.
    """

    slug: str
    entry: Entry
    entry_path: Path
    results_path: Path
    index_fault: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class IndexRows:
    """The index's rows sorted by slug; ``unreadable`` has, by slug, the reason why an entry has none."""

    rows: list[dict[str, Any]]
    unreadable: dict[str, str]


def make_slug(served_model_name: str, backend: str) -> str:
    """``<served-model-name>_<backend>`` in lower case, only ``a-z 0-9 . _ -``, at most 120 characters."""
    text = re.sub(r"[^a-z0-9._-]+", "-", f"{served_model_name}_{backend}".lower())
    return text.lstrip("._-")[:120].rstrip(".-") or "setup"


def check_slug(slug: str) -> str:
    """The slug itself.

    Raises:
        RegistryError: it holds anything but ``a-z 0-9 . _ -`` or does not begin with ``a-z 0-9``.
    """
    if SLUG.fullmatch(slug) is None:
        message = f"{slug[:80]!r} is not a slug: use a-z 0-9 . _ - (first a letter or digit, at most 200)"
        raise RegistryError(message)
    return slug


class Registry:
    """A registry folder: ``index.json``, ``entries/<slug>.json`` and ``results/<slug>.jsonl``.

    Any number of processes may add entries at once. An entry is written to a temporary file,
    synced and linked into place, so that it is there whole or not at all; the index is rebuilt from
    the entries and replaced in one step.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries_dir = root / "entries"
        self.results_dir = root / "results"
        self.index_path = root / "index.json"

    def entry_path(self, slug: str) -> Path:
        """Path of the entry with this slug, whether it exists or not."""
        return self.entries_dir / f"{check_slug(slug)}.json"

    def results_path(self, slug: str) -> Path:
        """Path of the results file with this slug, whether it exists or not."""
        return self.results_dir / f"{check_slug(slug)}.jsonl"

    def slugs(self) -> list[str]:
        """Slugs of all entries, sorted; files that are not named like an entry are skipped.

        Raises:
            RegistryError: the folder cannot be read, or is a link that leads elsewhere.
        """
        return sorted(name[:-5] for name in self._names() if SLUG.fullmatch(name[:-5]))

    def misnamed(self) -> list[str]:
        """Names of files among the entries that end in ``.json`` but are not named like an entry."""
        return sorted(name for name in self._names() if not SLUG.fullmatch(name[:-5]))

    def _names(self) -> list[str]:
        try:
            with os.scandir(_not_a_link(self.entries_dir)) as files:  # much faster than Path.iterdir
                names = [file.name for file in files]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RegistryError(describe_os_error(error, self.entries_dir)) from None
        return [name for name in names if name.endswith(".json")]

    def read(self, slug: str) -> bytes:
        """The bytes of one entry.

        Raises:
            RegistryError: there is none, or it cannot be read.
            EntryError: it is too large or not a regular file.
        """
        path = self.entry_path(slug)
        _not_a_link(self.entries_dir)
        try:
            return read_bounded(path)
        except FileNotFoundError:
            message = f"no entry {slug!r} in {self.root}"
            raise RegistryError(message) from None
        except OSError as error:
            raise RegistryError(describe_os_error(error, path)) from None
        except EntryError as error:
            raise EntryError(*(f"{path}: {fault}" for fault in error.args)) from None

    def find(self, slug: str) -> Entry:
        """Load the entry of a slug that a person typed; the error for an unknown slug names the nearest.

        Raises:
            RegistryError: there is none, or it cannot be read.
            EntryError: it is not an entry.
        """
        slugs = self.slugs()
        if slug in slugs:
            return self.load(slug)
        nearest = difflib.get_close_matches(slug, slugs, n=3, cutoff=0.4)
        nearest = nearest or [name for name in slugs if slug.lower() in name][:3]
        advice = f"the nearest: {', '.join(nearest)}" if nearest else "`pytest-setups list` shows all"
        message = f"no entry {one_line(slug, 80)!r} in {self.root}; {advice}"
        raise RegistryError(message)

    def load(self, slug: str) -> Entry:
        """Load one entry.

        Raises:
            RegistryError: there is none, or it cannot be read.
            EntryError: it is not an entry.
        """
        data = self.read(slug)
        try:
            return Entry.from_json(data)
        except EntryError as error:
            raise EntryError(*(f"{self.entry_path(slug)}: {fault}" for fault in error.args)) from None

    def add(self, entry: Entry, *, results: bytes, slug: str, exact: bool) -> RecordedEntry:
        """Record an entry and its results file, then rebuild the index.

        Args:
            entry: the entry; what is written names the results file too.
            results: the results file's bytes, JSON lines.
            slug: the requested slug.
            exact: when the slug is taken, refuse (True) or add a suffix that no other machine
                chooses (False).

        Raises:
            SlugTakenError: ``exact`` and the slug is taken.
            RegistryError: the folder cannot be written; nothing that was there is lost.
        """
        try:
            self.prepare()
            for candidate in _candidate_slugs(check_slug(slug), exact=exact):
                recorded = self._add_as(candidate, entry, results)
                if recorded is not None:
                    return dataclasses.replace(recorded, index_fault=self._index_fault())
        except OSError as error:
            raise RegistryError(describe_os_error(error, self.root)) from None
        raise SlugTakenError(self._why_taken(slug))

    def _add_as(self, slug: str, entry: Entry, results: bytes) -> RecordedEntry | None:
        entry_path, results_path = self.entry_path(slug), self.results_path(slug)
        if entry_path.exists():
            return None
        # The results file claims the slug; its second name marks the recording until the entry is written.
        with created(results_path, results) as claimed:
            if not claimed:
                return None
            described = Results(
                file=f"{self.results_dir.name}/{results_path.name}",
                sha256=hashlib.sha256(results).hexdigest(),
                lines=results.count(b"\n"),
            )
            verification = entry.verification.model_copy(update={"results": described})
            written = entry.model_copy(update={"verification": verification})
            try:
                recorded = write_exclusive(entry_path, written.to_json())
            except BaseException:
                # An interrupt may come after the entry was linked: then both files stay.
                if not entry_path.exists():
                    results_path.unlink(missing_ok=True)
                raise
            if not recorded:
                results_path.unlink(missing_ok=True)
                return None
        return RecordedEntry(slug, written, entry_path, results_path)

    def _why_taken(self, slug: str) -> str:
        if self.entry_path(slug).exists():
            return f"an entry {slug!r} is in {self.root}: entries are never edited; choose another slug"
        return (
            f"{self.results_path(slug)} is there without an entry: another recording is in progress or was "
            "interrupted; run `pytest-setups index`, which removes what an interrupted one left, "
            "or choose another slug"
        )

    def _index_fault(self) -> str | None:
        try:
            unreadable = self.rebuild_index().unreadable
        except RegistryError as error:
            return f"the index could not be rebuilt: {error}; run `pytest-setups index`"
        if unreadable:
            return f"the index leaves out {', '.join(sorted(unreadable)[:3])}: run `pytest-setups validate`"
        return None

    def prepare(self) -> None:
        """Create the folders and, where missing, ``.gitattributes`` and ``.gitignore``.

        Raises:
            RegistryError: the registry cannot be written, or a folder in it is a link that leads elsewhere.
        """
        try:
            for folder in (self.entries_dir, self.results_dir):
                _not_a_link(folder).mkdir(parents=True, exist_ok=True)
            for name, text in ((".gitattributes", GIT_ATTRIBUTES), (".gitignore", GIT_IGNORE)):
                path = self.root / name
                if not path.exists():
                    write_exclusive(path, text)
        except OSError as error:
            raise RegistryError(describe_os_error(error, self.root)) from None

    def check_writable(self) -> None:
        """Raise RegistryError when an entry could not be created here."""
        try:
            for folder in (self.entries_dir, self.results_dir):
                _not_a_link(folder).mkdir(parents=True, exist_ok=True)
                # Permission bits do not show read-only mounts or full disks; a file does.
                with tempfile.TemporaryFile(dir=folder, suffix=".tmp"):
                    pass
        except OSError as error:
            raise RegistryError(describe_os_error(error, self.root)) from None

    def rows(self) -> IndexRows:
        """The index's rows, derived from the entries.

        Raises:
            RegistryError: the folder of the entries cannot be read.
        """
        return self._rows(self.slugs(), {})

    def _rows(self, slugs: Iterable[str], known: dict[str, dict[str, Any]]) -> IndexRows:
        """The rows of these slugs; ``known`` holds rows made before and gets the new ones."""
        folder = os.fspath(self.entries_dir)
        index = IndexRows([], {})
        for slug in slugs:
            try:
                if slug not in known:
                    known[slug] = index_row(slug, parse_json(read_bounded(f"{folder}/{slug}.json")))
                index.rows.append(known[slug])
            except FileNotFoundError:  # deleted since the folder was listed
                continue
            except (EntryError, OSError) as error:
                index.unreadable[slug] = str(error)
        return index

    def rebuild_index(self) -> IndexRows:
        """Derive ``index.json`` from the entries, leaving out and naming those that cannot be read.

        There is no lock. A writer that sees after writing that entries were added writes again, so the last
        writer has seen every entry. A writer that is killed in between may leave an index without some
        entries; validation reports that.

        Raises:
            RegistryError: the entries cannot be read or the index cannot be written; the earlier index
                is left whole.
        """
        known: dict[str, dict[str, Any]] = {}
        slugs = self.slugs()
        while True:
            index = self._rows(slugs, known)
            try:
                replace(self.index_path, index_text(index.rows).encode())
            except OSError as error:
                raise RegistryError(describe_os_error(error, self.index_path)) from None
            before, slugs = slugs, self.slugs()
            if slugs == before:
                return index


def _not_a_link(folder: Path) -> Path:
    """The folder, which must be part of the registry itself and not a link to another place."""
    if folder.is_symlink():
        message = f"{folder} is a symbolic link: a registry keeps its files itself"
        raise RegistryError(message)
    return folder


def _candidate_slugs(slug: str, *, exact: bool) -> Iterator[str]:
    yield slug
    # The time sorts repeated recordings; the random digits keep machines apart that cannot see each other.
    while not exact:
        yield f"{slug[:170]}_{datetime.now(UTC):%Y%m%dt%H%M%Sz}-{secrets.token_hex(4)}"


def describe_os_error(error: OSError, path: Path) -> str:
    """The error on one line; ``path`` is named where the error itself names no file."""
    place = Path(error.filename or path)
    if place.suffix == ".tmp":  # the temporary name says nothing to a user
        place = place.parent
    return f"the registry {place} cannot be used: {error.strerror or error}"
