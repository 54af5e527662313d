"""JSON from untrusted sources: bounded, strict, each fault reported with its path."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json

from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError

MAX_ENTRY_BYTES: Final = 64 * 1024 * 1024
"""An entry names each of its pictures, in some 100 bytes."""
MAX_FAULTS: Final = 50


class EntryError(ValueError):
    """A document that is not an entry this package can read; ``args`` holds one line per fault."""

    def __str__(self) -> str:
        return "; ".join(self.args)


def parse_json(data: bytes, limit: int = MAX_ENTRY_BYTES) -> Any:
    """Parse bounded JSON; a byte order mark, which some editors write, is skipped.

    Raises:
        EntryError: more than ``limit`` bytes, not UTF-8 JSON, a NaN, or nested deeper than 200.
    """
    if len(data) > limit:
        message = f"{len(data)} bytes of JSON: more than the {limit} that are read"
        raise EntryError(message)
    try:
        # Faster than json.loads, and bounded: nesting to 200 levels, integers to 4,300 digits.
        return from_json(data.removeprefix(codecs.BOM_UTF8), allow_inf_nan=False)
    except ValueError as error:
        raise EntryError(_not_json(data, str(error))) from None


def _not_json(data: bytes, reason: str) -> str:
    if not data.strip():
        return "empty"
    if re.search(rb"^(<<<<<<<|>>>>>>>) ", data, re.MULTILINE):
        return "not JSON: it contains the markers of a merge conflict"
    if "recursion limit" in reason:
        return f"nested too deeply: {reason}"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"not JSON: byte {error.start} is not UTF-8"
    return f"not JSON: {reason}"


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def json_sha256(value: object) -> str:
    """Sha256 (hex) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def faults(error: ValidationError) -> list[str]:
    """One line per fault, at most ``MAX_FAULTS``: ``$.path.to[0].field: what is wrong``."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [
        f"{json_path(_place(fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in details[:MAX_FAULTS]
    ]
    more = len(details) - MAX_FAULTS
    return lines if more <= 0 else [*lines, f"$: and {more} more faults"]


def _place(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The location without pydantic's own last step, which marks a key or a kind of JSON value."""
    return location[:-1] if location and location[-1] in {"[key]", "float"} else location


def json_path(parts: Iterable[str | int]) -> str:
    """The JSON path of these keys and positions: ``$.a[0].b``; keys are made printable and bounded."""
    steps = (f"[{part}]" if isinstance(part, int) else f".{one_line(part, 80)}" for part in parts)
    return f"${''.join(steps)}"
