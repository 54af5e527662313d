"""What users add through hooks: their tagger, their checks, and their changes to the entry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.config.settings import SettingsError
from pytest_setups.redaction import one_line, redact
from pytest_setups.registry.entry import Entry
from pytest_setups.registry.store import RegistryError
from pytest_setups.tagging.outputs import Failure
from pytest_setups.tagging.python_tagger import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from pytest_setups.config.settings import Settings
    from pytest_setups.tagging.outputs import Outcome

PROVED: Final = (
    "date_utc", "images_processed", "images", "vision", "checks", "results", "figures", "expectations",
)  # fmt: skip


class ModifiedEntryError(RegistryError):
    """A change to the entry that a user's hook must not make; the message names the part."""


@dataclass(frozen=True, slots=True)
class HookImplementation:
    """One plugin's implementation of a hook."""

    plugin: str
    call: Callable[..., list[object]]


def implementations(config: pytest.Config, hook: str) -> Iterator[HookImplementation]:
    """The implementations of a hook, each callable for itself, in the order of registration."""
    manager = config.pluginmanager
    plugins = [hook_impl.plugin for hook_impl in getattr(manager.hook, hook).get_hookimpls()]
    for plugin in plugins:
        others = [other for other in plugins if other is not plugin]
        yield HookImplementation(_name(config, plugin), manager.subset_hook_caller(hook, others))


def find_tagger(config: pytest.Config, settings: Settings) -> object | None:
    """The tagger of the first plugin that has one.

    Raises:
        SettingsError: the hook raised; the message says what and where.
    """
    try:
        tagger: object | None = config.hook.pytest_setups_tagger(config=config, settings=settings)
    except Exception as error:
        message = f"pytest_setups_tagger: {describe_error(error)}"
        raise SettingsError(message) from None
    return tagger


class UserChecks:
    """The checks of a user's plugins."""

    def __init__(self, config: pytest.Config) -> None:
        self._implementations = list(implementations(config, "pytest_setups_check"))

    @property
    def names(self) -> list[str]:
        """The names of the checks, as failures carry them."""
        return [f"own:{implementation.plugin}" for implementation in self._implementations]

    def judge(self, outcome: Outcome) -> Outcome:
        """The outcome with the failures that the user's checks report."""
        if outcome.output is None or not self._implementations:
            return outcome
        failures = [
            Failure(name, reason)
            for name, implementation in zip(self.names, self._implementations, strict=True)
            for reason in _reasons(implementation, outcome)
        ]
        return replace(outcome, failures=(*outcome.failures, *failures))


def has_entry_hooks(config: pytest.Config) -> bool:
    """Whether a plugin may change the entry, which is then known at the end only."""
    return next(implementations(config, "pytest_setups_modify_entry"), None) is not None


def modified(config: pytest.Config, entry: Entry) -> Entry:
    """The entry after the changes of every plugin.

    Raises:
        ModifiedEntryError: a hook raised, returned no entry, or changed what was proved.
    """
    for implementation in implementations(config, "pytest_setups_modify_entry"):
        where = f"pytest_setups_modify_entry of {implementation.plugin}"
        try:
            returned = _first(implementation.call(config=config, entry=entry.model_copy(deep=True)))
        except Exception as error:
            message = f"{where}: {describe_error(error)}"
            raise ModifiedEntryError(message) from None
        if returned is not None:
            entry = _checked(where, entry, returned)
    return entry


def _reasons(implementation: HookImplementation, outcome: Outcome) -> Iterator[str]:
    try:
        reason = _first(implementation.call(stage=outcome.stage, output=outcome.output, image=outcome.sample))
    except Exception as error:
        yield describe_error(error)
        return
    if isinstance(reason, str):
        yield one_line(redact(reason)) or "(no reason given)"
    elif reason is not None:
        yield f"the check returned {type(reason).__name__}: expected a reason or None"


def _checked(where: str, before: Entry, returned: object) -> Entry:
    if not isinstance(returned, Entry):
        message = f"{where} returned {type(returned).__name__}: expected an Entry or None"
        raise ModifiedEntryError(message)
    try:
        after = Entry.from_document(returned.model_dump(mode="json", warnings=False))
    except ValueError as error:
        message = f"{where} returned an invalid entry: {one_line(str(error))}"
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


def _first(results: list[object]) -> object | None:
    return results[0] if results else None


def _name(config: pytest.Config, plugin: object) -> str:
    """The plugin's name; a conftest's is its path below the project, without its suffix."""
    name = config.pluginmanager.get_name(plugin) or type(plugin).__name__
    path = Path(name)
    if not path.is_absolute():
        return one_line(name, 80)
    below = path.relative_to(config.rootpath) if path.is_relative_to(config.rootpath) else Path(path.name)
    return one_line(below.with_suffix("").as_posix(), 80)
