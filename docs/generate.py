"""Write the generated parts of the documentation, or with ``--check`` list the pages that are out of date.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``. The options
come from the table in ``pytest_setups/config/options.py``, the commands from `pytest-setups` itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typer.testing import CliRunner

from pytest_setups.cli.app import app
from pytest_setups.config.options import OPTIONS, Group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.config.options import Option

DOCS: Final = Path(__file__).parent
TERMINAL: Final = {"COLUMNS": "80"}  # the same line breaks in --help on every machine


def main() -> int:
    """Bring every generated part up to date; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="only list the pages that are out of date")
    check = parser.parse_args().check
    stale = {path: text for path, text in generated_pages() if path.read_text("utf-8") != text}
    for path, text in stale.items():
        if check:
            print(f"{path} is out of date: run `python docs/generate.py`")
        else:
            path.write_text(text, "utf-8")
            print(f"written: {path}")
    return 1 if check and stale else 0


def generated_pages() -> Iterator[tuple[Path, str]]:
    """Each page with a generated part, and the text that it should have."""
    parts = {"options.md": ("options", option_tables()), "command-line.md": ("commands", command_help())}
    for file, (name, part) in parts.items():
        path = DOCS / file
        yield path, replace_part(path.read_text("utf-8"), name, part)


def replace_part(page: str, name: str, part: str) -> str:
    """The page with the text between the two markers of this name replaced."""
    begin, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def option_tables() -> str:
    """A heading and a table of options for each group."""
    return "\n\n".join(_group_section(group) for group in Group)


def command_help() -> str:
    """What `pytest-setups --help` prints, for the program and for each command."""
    names = [command.name for command in app.registered_commands if command.name]
    return "\n\n".join([_help(), *(f"## pytest-setups {name}\n\n{_help(name)}" for name in names)])


def _group_section(group: Group) -> str:
    title = f"## {group.value[0].upper()}{group.value[1:]}"
    header = ("| option | what it does | default | environment variable |", "|---|---|---|---|")
    rows = (_row(option) for option in OPTIONS if option.group is group)
    return "\n".join((title, "", *header, *rows))


def _row(option: Option) -> str:
    variable = f"`{option.env}`" if option.env else ""
    cells = (_spellings(option), _escaped(option.help), _default(option), variable)
    return f"| {' | '.join(cells)} |"


def _spellings(option: Option) -> str:
    value = "" if option.negation else f"={option.metavar}"
    value = f"[{value}]" if option.value_optional else value
    return "<br>".join(f"`{flag}{_escaped(value)}`" for flag in option.flags)


def _default(option: Option) -> str:
    text = option.described_default
    if text is None:
        return ""
    return _escaped(text) if option.default_text else f"`{text}`"


def _escaped(text: str) -> str:
    """Text for a cell of a table, in which a bar would end the cell and a tag would not be shown."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _help(*command: str) -> str:
    printed = CliRunner().invoke(app, [*command, "--help"], env=TERMINAL).stdout
    return f"```text\n{printed.strip()}\n```"


if __name__ == "__main__":
    sys.exit(main())
