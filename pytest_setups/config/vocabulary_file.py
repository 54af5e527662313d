"""Reading a vocabulary: a text file with a term a line, or a column of a CSV file."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.vocabulary import Vocabulary, composed
from pytest_setups.redaction import one_line
from pytest_setups.tagging.keywords import MAX_KEYWORD_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_TERMS: Final = 100_000
TABLE_SUFFIXES: Final = (".csv", ".tsv")
# How the column of the terms is named by those who make such files, in the order of preference.
COLUMN_NAMES: Final = ("keyword", "keywords", "term", "terms", "name", "tag", "label")


def load_vocabulary(path: Path, column: str | None = None) -> Vocabulary:
    """The vocabulary in a file, in UTF-8: a term a line with comments after ``#``, or a column of a CSV file.

    Args:
        path: a file that ends in .csv or .tsv is a table, whose first row names its columns.
        column: the name of the column; None for one of ``COLUMN_NAMES``, or the only column.

    Raises:
        ValueError: the file cannot be read, or holds no terms; the message names the file and the line.
    """
    is_table = path.suffix.lower() in TABLE_SUFFIXES
    if column is not None and not is_table:
        message = f"{path.name} has no columns: a table's name ends in {' or '.join(TABLE_SUFFIXES)}"
        raise ValueError(message)
    text = _read(path)
    terms = dict.fromkeys(_valid(path.name, _column(path, text, column) if is_table else _lines(text)))
    if not terms:
        message = f"{path.name} holds no terms"
        raise ValueError(message)
    if len(terms) > MAX_TERMS:
        message = f"{path.name} holds {len(terms)} terms: more than the {MAX_TERMS} that are read"
        raise ValueError(message)
    return Vocabulary(path.name, tuple(terms))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ValueError(message) from None
    if len(data) > MAX_BYTES:
        message = f"{path.name} is larger than the {MAX_BYTES // 2**20} MiB that are read"
        raise ValueError(message)
    try:
        return data.decode("utf-8-sig")  # Windows programs put a byte order mark before the first term
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"{path.name}, line {line}: not UTF-8; save the file as UTF-8"
        raise ValueError(message) from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, without comments."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#"):
            yield number, line


def _column(path: Path, text: str, column: str | None) -> Iterator[tuple[int, str]]:
    """The cells of a column with the numbers of their lines."""
    if not text.strip():
        return
    first = text.partition("\n")[0]
    # Spreadsheets write semicolons where the comma is the decimal sign.
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in first and "," not in first else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        index = _index(path.name, next(rows, []), column)
        for row in rows:
            if row:
                yield rows.line_num, row[index] if index < len(row) else ""
    except csv.Error as error:
        message = f"{path.name}, line {rows.line_num}: {error}"
        raise ValueError(message) from None


def _index(name: str, header: Sequence[str], column: str | None) -> int:
    """Which column holds the terms."""
    names = [cell.strip().casefold() for cell in header]
    wanted = COLUMN_NAMES if column is None else (column.strip().casefold(),)
    index = next((names.index(word) for word in wanted if word in names), None)
    if index is None and column is None and len(names) == 1:
        return 0
    if index is None:
        shown = ", ".join(one_line(cell, 40) for cell in header[:20]) or "none"
        asked, advice = (
            ("which column holds the terms is not clear", "add --setup-vocabulary-column NAME")
            if column is None
            else (f"no column {one_line(column, 40)!r}", "type one of them")
        )
        message = f"{name}, line 1: {asked}; the columns are {shown}: {advice}"
        raise ValueError(message)
    return index


def _valid(name: str, cells: Iterable[tuple[int, str]]) -> Iterator[str]:
    """The terms in cells, without those that are empty."""
    for number, cell in cells:
        term = composed(" ".join(cell.split()))
        if len(term) > MAX_KEYWORD_LENGTH:
            message = (
                f"{name}, line {number}: a term of {len(term)} characters; keywords have at most "
                f"{MAX_KEYWORD_LENGTH}"
            )
            raise ValueError(message)
        if term != one_line(term, MAX_KEYWORD_LENGTH):
            message = f"{name}, line {number}: {one_line(term, 60)!r} holds a control character"
            raise ValueError(message)
        if term:
            yield term
