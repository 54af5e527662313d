"""How every command prints and ends."""

import json
import sys
from typing import Final, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from pytest_setups.redaction import one_line

SUCCESS: Final = 0
FINDINGS: Final = 1
USAGE_ERROR: Final = 2
# A table in a pipe is for another program, which a line break inside a cell would confuse.
PIPE_WIDTH: Final = 1000
MAX_MESSAGE: Final = 1000


def print_text(text: RenderableType) -> None:
    """Print a table or a line; no markup is read from it."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    console.print(text, soft_wrap=not isinstance(text, Table))


def print_json(document: object) -> None:
    """Print JSON in ASCII: control and direction characters never reach a terminal."""
    typer.echo(json.dumps(document, indent=2))


def count(number: int, singular: str, plural: str = "") -> str:
    """A number and its noun: no faults, 1 fault, 2 faults."""
    return f"{number or 'no'} {singular if number == 1 else plural or f'{singular}s'}"


def warn(message: str) -> None:
    """Print one line to standard error."""
    typer.echo(one_line(message, MAX_MESSAGE), err=True)


def stop(message: object, code: int) -> NoReturn:
    """End the program with one line on standard error."""
    warn(f"pytest-setups: {message}")
    raise SystemExit(code)


def finish(*, findings: object) -> NoReturn:
    """End a command that did its work; it found something unless ``findings`` is empty."""
    raise typer.Exit(FINDINGS if findings else SUCCESS)
