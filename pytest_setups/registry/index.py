"""The index: one row per entry, derived from the entries and never a source."""

from __future__ import annotations

import json
from typing import Any, Final

from pytest_setups.registry.entry_fields import MAX_FIGURE, MAX_NAME
from pytest_setups.registry.parsing import EntryError

ROW_FIELDS_1_0: Final = ("slug", "model_repo", "served_model_name", "backend", "status", "date_utc")
MAX_INDEX_BYTES: Final = 1024 * 1024 * 1024


def index_row(slug: str, entry: Any) -> dict[str, Any]:
    """The row of one entry, which is parsed JSON.

    Raises:
        EntryError: it lacks a part that a row needs.
    """
    # Not through the model: an index of 10,000 entries is rebuilt after each recording.
    try:
        model, server, verification = entry["model"], entry["server"], entry["verification"]
        row = {
            "slug": slug,
            "model_repo": model.get("repo_id"),
            "served_model_name": model["served_model_name"],
            "backend": server["backend"],
            "status": verification["status"],
            "date_utc": verification["date_utc"],
            "version": server.get("version"),
            "avg_latency_s": (entry.get("performance") or {}).get("avg_latency_s"),
        }
    except KeyError as error:
        message = f"it has no {error.args[0]!r}"
    except (TypeError, AttributeError):
        message = "one of its parts is not an object"
    else:
        if all(value is None or _is_cell(value) for value in row.values()):
            return row
        message = "a field that the index shows is neither a short text nor a usable number"
    raise EntryError(message)


def _is_cell(value: object) -> bool:
    # An integer of 400 digits is valid JSON, but no table can format it as a float.
    if isinstance(value, str):
        return len(value) <= MAX_NAME
    return isinstance(value, int | float) and abs(value) <= MAX_FIGURE


def index_text(rows: list[dict[str, Any]]) -> str:
    """The index as JSON, one row a line, so that git merges it line by line."""
    lines = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in rows)
    body = f"[\n{lines}\n  ]" if rows else "[]"
    return f'{{\n  "schema_version": "1.1",\n  "entries": {body}\n}}\n'
