"""JSON documents as flat lists of their values, for tables and comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value in a document that is not an object, with the keys that lead to it.

    Lists stay whole. An empty object has no leaves.
    """
    if not isinstance(value, dict):
        yield path, value
        return
    for name, child in value.items():
        yield from leaves(child, (*path, str(name)))


def fields(document: object) -> Iterator[tuple[str, Any]]:
    """The leaves of a document, each with its dotted name."""
    return ((".".join(path), value) for path, value in leaves(document))
