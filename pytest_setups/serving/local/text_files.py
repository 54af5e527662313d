"""Reading text files of this machine: drivers, interpreters and models, of which any may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# A model's config.json or README has some kilobytes; a file that is larger is read up to here.
MAX_CHARACTERS: Final = 4 * 1024 * 1024


def read_text(path: Path) -> str:
    """The text of a file, empty when it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_CHARACTERS)
    except OSError:
        return ""


def first_word(path: Path) -> str | None:
    """The first word of a file, None when there is none."""
    return next(iter(read_text(path).split()), None)
