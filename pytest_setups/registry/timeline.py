"""Entries in the order of their dates, and the history of one setup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.store import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_setups.registry.entry import Entry
    from pytest_setups.registry.store import Registry

CLOCK_ALLOWANCE: Final = timedelta(days=1)
"""A clock that runs on local time instead of UTC is up to 14 hours ahead."""


def setup_history(registry: Registry, slug: str) -> list[tuple[str, Entry]]:
    """Every readable entry with the fingerprint of this one, by date.

    Raises:
        RegistryError: there is no entry of that slug.
        EntryError: it cannot be read.
    """
    entry = registry.load(slug)
    fingerprint = entry.fingerprint()
    # The index's rows rule out most entries before these are read in full.
    identity = (entry.model.served_model_name, entry.server.backend)
    rows = registry.rows().rows
    candidates = [row["slug"] for row in rows if (row["served_model_name"], row["backend"]) == identity]
    history = [
        (name, candidate)
        for name, candidate in readable_entries(registry, candidates)
        if candidate.fingerprint() == fingerprint
    ]
    return sorted(history, key=date_order)


def date_order(named: tuple[str, Entry]) -> tuple[datetime, str]:
    """Sorts pairs of slug and entry by date, and within one date by slug."""
    slug, entry = named
    return entry.verification.date_utc, slug


def readable_entries(registry: Registry, slugs: Iterable[str]) -> Iterator[tuple[str, Entry]]:
    """The entries of these slugs that can be read."""
    for slug in slugs:
        try:
            yield slug, registry.load(slug)
        except (EntryError, RegistryError):
            continue


def future_date(entry: Entry) -> str | None:
    """The date of an entry that lies in the future, beyond ``CLOCK_ALLOWANCE``; None for any other.

    The clock of the machine that recorded it was wrong, so its place in a history is unknown.
    """
    date = entry.verification.date_utc
    return f"{date:%Y-%m-%d}" if date > datetime.now(UTC) + CLOCK_ALLOWANCE else None
