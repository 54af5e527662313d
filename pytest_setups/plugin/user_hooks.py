"""What users plug in through hooks: their tagger, their checks, and the last word on the entry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.config.settings import SettingsError
from pytest_setups.redaction import one_line, redact
from pytest_setups.registry.entry import Entry
from pytest_setups.registry.store import RegistryError
from pytest_setups.tagging.outputs import Failure
from pytest_setups.tagging.python_tagger import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from pytest_setups.config.settings import Settings
    from pytest_setups.tagging.outputs import Outcome

PROVED: Final = ("date_utc", "images_processed", "images", "vision", "checks", "results")


class ModifiedEntryError(RegistryError):
    """An entry that a user's hook may not make of the run's; the message says which part."""


@dataclass(frozen=True, slots=True)
class Hooked:
    """One plugin's implementation of a hook."""

    plugin: str
    call: Callable[..., list[object]]


def implementations(config: pytest.Config, hook: str) -> Iterator[Hooked]:
    """The implementations of a hook, one by one, in the order in which plugins were registered."""
    manager = config.pluginmanager
    plugins = [found.plugin for found in getattr(manager.hook, hook).get_hookimpls()]
    for plugin in plugins:
        others = [other for other in plugins if other is not plugin]
        yield Hooked(_name(config, plugin), manager.subset_hook_caller(hook, others))


def find_tagger(config: pytest.Config, settings: Settings) -> object | None:
    """The tagger of the first plugin that has one.

    Raises:
        SettingsError: the hook raised; the message says what and where.
    """
    try:
        found: object | None = config.hook.pytest_setups_tagger(config=config, settings=settings)
    except Exception as error:
        message = f"pytest_setups_tagger: {told(error)}"
        raise SettingsError(message) from None
    return found


class UserChecks:
    """The checks of a user's plugins."""

    def __init__(self, config: pytest.Config) -> None:
        self._hooked = list(implementations(config, "pytest_setups_check"))

    @property
    def names(self) -> list[str]:
        """The names of the checks, as failures carry them."""
        return [f"own:{hooked.plugin}" for hooked in self._hooked]

    def judge(self, outcome: Outcome) -> Outcome:
        """The outcome with the failures that the user's checks found in its output."""
        if outcome.output is None or not self._hooked:
            return outcome
        found = [
            Failure(name, reason)
            for name, hooked in zip(self.names, self._hooked, strict=True)
            for reason in _reasons(hooked, outcome)
        ]
        return replace(outcome, failures=(*outcome.failures, *found))


def has_entry_hooks(config: pytest.Config) -> bool:
    """Whether a plugin may change the entry, which is then known at the end only."""
    return next(implementations(config, "pytest_setups_modify_entry"), None) is not None


def modified(config: pytest.Config, entry: Entry) -> Entry:
    """The entry after each plugin had its word.

    Raises:
        ModifiedEntryError: a hook raised, returned no entry, or changed what was proved.
    """
    for hooked in implementations(config, "pytest_setups_modify_entry"):
        where = f"pytest_setups_modify_entry of {hooked.plugin}"
        try:
            returned = _only(hooked.call(config=config, entry=entry.model_copy(deep=True)))
        except Exception as error:
            message = f"{where}: {told(error)}"
            raise ModifiedEntryError(message) from None
        if returned is not None:
            entry = _checked(where, entry, returned)
    return entry


def _reasons(hooked: Hooked, outcome: Outcome) -> Iterator[str]:
    try:
        reason = _only(hooked.call(stage=outcome.stage, output=outcome.output, image=outcome.sample))
    except Exception as error:
        yield told(error)
        return
    if isinstance(reason, str):
        yield one_line(redact(reason)) or "(no reason was given)"
    elif reason is not None:
        yield f"the check returned {type(reason).__name__}: a reason or None is expected"


def _checked(where: str, before: Entry, returned: object) -> Entry:
    if not isinstance(returned, Entry):
        message = f"{where} returned {type(returned).__name__}: an Entry or None is expected"
        raise ModifiedEntryError(message)
    try:
        after = Entry.from_document(returned.model_dump(mode="json", warnings=False))
    except ValueError as error:
        message = f"{where} returned no valid entry: {one_line(str(error))}"
        raise ModifiedEntryError(message) from None
    changed = _changed(before, after)
    if changed is not None:
        message = f"{where} changed {changed}, which the run has proved"
        raise ModifiedEntryError(message)
    return after


def _changed(before: Entry, after: Entry) -> str | None:
    """What a user may not change: evidence, and a failure into a success."""
    old, new = before.verification, after.verification
    for name in PROVED:
        if getattr(old, name) != getattr(new, name):
            return f"verification.{name}"
    if old.status == "failed" and (new.status != "failed" or not new.failure_reason):
        return "verification.status or its failure_reason"
    if before.schema_version != after.schema_version:
        return "schema_version"
    return None


def _only(results: list[object]) -> object | None:
    return results[0] if results else None


def _name(config: pytest.Config, plugin: object) -> str:
    """The plugin's name; a conftest's is its path below the project, without its suffix."""
    name = config.pluginmanager.get_name(plugin) or type(plugin).__name__
    path = Path(name)
    if not path.is_absolute():
        return one_line(name, 80)
    below = path.relative_to(config.rootpath) if path.is_relative_to(config.rootpath) else Path(path.name)
    return one_line(below.with_suffix("").as_posix(), 80)
