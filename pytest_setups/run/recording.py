"""Keeping the result of a run in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_setups.registry.store import RecordedEntry, Registry, RegistryError, make_slug

if TYPE_CHECKING:
    from pytest_setups.config.settings import Settings
    from pytest_setups.run.result import RunResult


def record(result: RunResult, settings: Settings) -> RecordedEntry:
    """Write the entry of a run and its results file.

    Raises:
        RegistryError: the registry cannot be written, the requested slug is in use, or the user's hooks
            spoiled the entry.
    """
    entry = result.entry
    if entry is None:
        message = "this run has no entry"
        raise LookupError(message)
    if result.entry_fault is not None:
        raise RegistryError(result.entry_fault)
    # The server's own names: a hook may rename the model in the entry. A requested slug is exact; any other
    # gets a suffix where it is in use.
    server = result.header.server
    name, backend = (server.model, server.identity.backend) if server else ("unknown", "unknown")
    return Registry(settings.registry).add(
        entry,
        results="".join(f"{line}\n" for line in result.collected.lines).encode(),
        slug=settings.slug or make_slug(name, backend),
        exact=settings.slug is not None,
    )
