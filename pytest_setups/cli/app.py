"""The program's entry point: every command in the order of `--help`, and what becomes of an error."""

from collections.abc import Sequence
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from pytest_setups.cli import (
    comparison_commands,
    entry_commands,
    expectation_commands,
    maintenance_commands,
    page_commands,
)
from pytest_setups.cli.output import FINDINGS, USAGE_ERROR, stop
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.store import RegistryError

app = typer.Typer(
    name="pytest-setups",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Look after a registry of verified setups. No command needs a server.",
    epilog="Exit codes: 0 success, 1 faults or differences were found, 2 a usage error.",
)
app.command("list")(entry_commands.list_entries)
app.command("show")(entry_commands.show)
app.command("diff")(comparison_commands.diff)
app.command("compare")(comparison_commands.compare)
app.command("history")(entry_commands.history)
app.command("validate")(maintenance_commands.validate)
app.command("index")(maintenance_commands.index)
app.command("schema")(maintenance_commands.schema)
app.command("env")(maintenance_commands.env)
app.command("import")(maintenance_commands.import_files)
app.command("expect")(expectation_commands.expect)
app.command("report")(page_commands.report)
app.command("site")(page_commands.site)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line, by default that of this process; an error is printed as one line."""
    try:
        app(args=arguments)
    except RegistryError as error:
        stop(error, USAGE_ERROR)
    except EntryError as error:
        stop(error, FINDINGS)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(installed_version("pytest-setups"))
        raise typer.Exit


@app.callback()
def _options_before_a_command(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Declare what may stand before a command; the callbacks do the work."""
