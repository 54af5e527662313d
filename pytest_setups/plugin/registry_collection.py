"""The registry as tests: `pytest registry/` checks every entry, every results file and the index.

A registry is collected only when its path is given, or with the ini key ``setup_collect_registry``. The
modules that read it are imported when the first check runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_setups.plugin import option_values
from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _pytest._code.code import ExceptionInfo, TerminalRepr

    from pytest_setups.registry.entry import Entry
    from pytest_setups.registry.git_history import EntryHistory
    from pytest_setups.registry.store import Registry

INDEX: Final = "index.json"
ENTRIES: Final = "entries"
RESULTS: Final = "results"
_REQUESTED: Final = pytest.StashKey[dict[Path, bool]]()
_HISTORIES: Final = pytest.StashKey[dict[Path, "EntryHistory"]]()
_NAMED: Final = pytest.StashKey[dict[Path, set[str]]]()


class RegistryFaultsError(Exception):
    """The faults in a registry; ``args`` holds one line for each."""


def collect_file(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The collector of a file, None unless it is part of a requested registry."""
    if path.name == INDEX and _is_requested(path.parent, parent.config):
        return IndexFile.from_parent(parent, path=path)
    if not _is_requested(path.parent.parent, parent.config):
        return None
    if path.parent.name == ENTRIES and path.suffix == ".json":
        return EntryFile.from_parent(parent, path=path)
    if path.parent.name == RESULTS and path.suffix == ".jsonl":
        return ResultsFile.from_parent(parent, path=path)
    return None


def collect_folder(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The collector of a registry's folder whose index is missing: without it nothing would report that."""
    missing = not (path / INDEX).exists() and not (path / "__init__.py").exists()
    if not missing or not _is_requested(path, parent.config):
        return None
    return RegistryFolder.from_parent(parent, path=path)


def _is_requested(root: Path, config: pytest.Config) -> bool:
    known = config.stash.setdefault(_REQUESTED, {})
    if root not in known:
        requested = _is_given(root, config) or option_values.switched_on(config, "collect-registry")
        known[root] = requested and _is_registry(root)
    return known[root]


def _is_given(root: Path, config: pytest.Config) -> bool:
    folder = config.invocation_params.dir
    given = (Path(os.path.normpath(folder / argument.partition("::")[0])) for argument in config.args)
    return any(path.is_relative_to(root) for path in given)


def _is_registry(root: Path) -> bool:
    """Whether the folder is a registry: a project may have another folder of that name."""
    if next((root / ENTRIES).glob("*.json"), None) is not None:
        return True
    try:
        with (root / INDEX).open("rb") as index:
            return b'"entries"' in index.read(4096)
    except OSError:
        return False


class RegistryFolder(pytest.Directory):
    """A registry without an index."""

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """What is there, and the index that should be."""
        yield from pytest.Dir.from_parent(self, path=self.path).collect()
        yield IndexFile.from_parent(self, path=self.path / INDEX)


class IndexFile(pytest.File):
    """The index, and entries that are missing although git has them."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each check."""
        yield RegistryCheck.of(self, self.path.parent, index)
        yield RegistryCheck.of(self, self.path.parent, unchanged)


class EntryFile(pytest.File):
    """An entry."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each check; a file whose name is not a slug gets only the first."""
        from pytest_setups.registry.store import SLUG

        optional = (paths,) if option_values.switched_on(self.config, "check-paths") else ()
        is_named = SLUG.fullmatch(self.path.stem) is not None
        checks = (schema, results, unchanged, *optional) if is_named else (schema,)
        yield from (RegistryCheck.of(self, self.path.parent.parent, check) for check in checks)


class ResultsFile(pytest.File):
    """A results file; that it agrees with its entry is a check of the entry."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item."""
        yield RegistryCheck.of(self, self.path.parent.parent, named)


class RegistryCheck(pytest.Item):
    """One check of one file."""

    def __init__(self, *, root: Path, check: Callable[[RegistryCheck], list[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root
        self._check = check

    @classmethod
    def of(
        cls, parent: pytest.File, root: Path, check: Callable[[RegistryCheck], list[str]]
    ) -> RegistryCheck:
        """The item of a check, which is named after its function."""
        item: RegistryCheck = cls.from_parent(parent, name=check.__name__, root=root, check=check)
        return item

    @property
    def registry(self) -> Registry:
        """The registry that the file is part of."""
        from pytest_setups.registry.store import Registry

        return Registry(self.root)

    def runtest(self) -> None:
        """Fail with the faults that the check finds."""
        faults = self._check(self)
        if faults:
            raise RegistryFaultsError(*faults)

    def repr_failure(self, excinfo: ExceptionInfo[BaseException]) -> str | TerminalRepr:  # type: ignore[override]
        """One line for each fault, after the name of the file."""
        from pytest_setups.registry.parsing import EntryError
        from pytest_setups.registry.store import RegistryError

        if isinstance(excinfo.value, RegistryFaultsError | EntryError | RegistryError):
            file = one_line(os.path.relpath(self.path, self.config.invocation_params.dir))
            return "\n".join(f"{file}: {fault}" for fault in excinfo.value.args)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        """The location that reports show."""
        return self.path, None, self.name


def schema(item: RegistryCheck) -> list[str]:
    """The entry can be read."""
    from pytest_setups.registry.validation import schema_faults

    return schema_faults(item.registry, item.path.name)


def results(item: RegistryCheck) -> list[str]:
    """The results file exists, is whole, and agrees with the entry."""
    from pytest_setups.registry.results import results_faults

    entry = _entry(item)
    if entry.verification.results is None:
        pytest.skip("the entry names no results file")
    return results_faults(item.root, entry)


def paths(item: RegistryCheck) -> list[str]:
    """The local paths that the entry names exist on this machine."""
    from pytest_setups.registry.local_paths import local_paths, missing_paths

    entry = _entry(item)
    if not any(local_paths(entry)):
        pytest.skip("the entry names no local path")
    return missing_paths(entry)


def index(item: RegistryCheck) -> list[str]:
    """The rows of the index agree with the entries."""
    from pytest_setups.registry.validation import index_faults

    return index_faults(item.registry, item.registry.rows().rows)


def named(item: RegistryCheck) -> list[str]:
    """An entry names the results file."""
    from pytest_setups.registry.validation import UNCLAIMED, named_results

    known = item.config.stash.setdefault(_NAMED, {})
    if item.root not in known:
        known[item.root] = named_results(item.registry)
    return [] if item.path.name in known[item.root] else [UNCLAIMED]


def unchanged(item: RegistryCheck) -> list[str]:
    """Git knows of no edit since the commit that added the entry; for the index, of no missing entry."""
    history = _history(item)
    if item.path.name == INDEX:
        missing = {name for name in history.faults if not (item.root / ENTRIES / name).exists()}
        faults = [f"{ENTRIES}/{name}: {history.faults[name]}" for name in sorted(missing)]
    else:
        faults = [history.faults[item.path.name]] if item.path.name in history.faults else []
    if not faults and history.reason:
        pytest.skip(f"whether entries were edited: {history.reason}")
    if not faults and item.path.name != INDEX and item.path.name not in history.committed:
        pytest.skip("not committed yet: there is nothing to compare with")
    return faults


def _entry(item: RegistryCheck) -> Entry:
    from pytest_setups.registry.parsing import EntryError
    from pytest_setups.registry.store import RegistryError

    try:
        return item.registry.load(item.path.stem)
    except (EntryError, RegistryError):
        pytest.skip("the entry cannot be read: see ::schema")


def _history(item: RegistryCheck) -> EntryHistory:
    from pytest_setups.registry.git_history import entry_history

    known = item.config.stash.setdefault(_HISTORIES, {})
    if item.root not in known:
        known[item.root] = entry_history(item.root / ENTRIES)
    return known[item.root]
