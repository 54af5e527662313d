"""`validate`, `index`, `schema`, `env` and `import`: keep a registry sound, and feed it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pytest_setups.cli import tables
from pytest_setups.cli.output import FINDINGS, USAGE_ERROR, count, finish, print_json, print_text, stop, warn
from pytest_setups.cli.parameters import DEFAULT_REGISTRY, JsonOption, RegistryOption, open_registry
from pytest_setups.redaction import redact_url
from pytest_setups.registry.durable_files import replace
from pytest_setups.registry.entry import json_schema
from pytest_setups.registry.entry_import import entry_files, import_entries
from pytest_setups.registry.stale_files import remove_leftovers
from pytest_setups.registry.store import Registry
from pytest_setups.registry.validation import validate as validate_registry


def validate(
    *,
    git: Annotated[bool, typer.Option("--git/--no-git", help="Ask git whether entries were edited.")] = True,
    check_paths: Annotated[
        bool, typer.Option("--check-paths", help="Check that local paths in entries exist on this machine.")
    ] = False,
    as_json: JsonOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Check every entry, every results file and the index.

    These are the checks of `pytest DIR`. The exit code is 1 when something is wrong.
    """
    report = validate_registry(open_registry(registry), history=git, paths=check_paths)
    if as_json:
        print_json(asdict(report))
    else:
        if report.faults:
            print_text(tables.fault_lines(report.faults))
        print_text(f"{count(report.entries, 'entry', 'entries')}, {count(len(report.faults), 'fault')}")
        for reason in report.unchecked:
            warn(f"not checked: {reason}")
        for warning in report.warnings:
            warn(f"warning: {warning}")
    finish(findings=report.faults)


def index(*, registry: RegistryOption = DEFAULT_REGISTRY) -> None:
    """Rebuild the index, and remove what interrupted recordings left.

    The exit code is 1 when an entry cannot be read and so has no row.
    """
    store = open_registry(registry)
    store.prepare()
    removed = remove_leftovers(store)
    rebuilt = store.rebuild_index()
    print_text(
        f"{store.index_path}: {count(len(rebuilt.rows), 'row')}; {count(removed, 'leftover file')} removed"
    )
    for slug, reason in rebuilt.unreadable.items():
        warn(f"entries/{slug}.json has no row: {reason}")
    finish(findings=rebuilt.unreadable)


def schema(
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
    ] = None,
) -> None:
    """Print the JSON Schema of an entry, for editors and CI."""
    text = f"{json.dumps(json_schema(), indent=2)}\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        replace(output, text.encode())
    except OSError as error:
        stop(f"{output} cannot be written: {error.strerror}", USAGE_ERROR)


def env(
    *,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="A server on this machine: include its packages."),
    ] = None,
) -> None:
    """Print this machine's hardware and software as JSON."""
    # psutil and the package metadata of a server: no other command needs them.
    from pytest_setups.serving.local.environment import server_environment
    from pytest_setups.serving.local.listener import ListenerNotFoundError

    try:
        environment = server_environment(base_url)
    except ListenerNotFoundError as error:
        stop(f"cannot identify the server at {redact_url(base_url or '')}: {error}", FINDINGS)
    typer.echo(json.dumps(environment, indent=2))


def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Entry files, or folders of them such as a registry."),
    ],
    *,
    as_json: JsonOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Import entries byte for byte.

    An entry is named after its file, and nothing is overwritten. Then the index is rebuilt.
    The exit code is 1 when a file was refused.
    """
    store = Registry(registry)
    imports = import_entries(store, [path for file in files for path in entry_files(file)])
    if not imports:
        stop(f"no entries in {', '.join(str(file) for file in files)}", USAGE_ERROR)
    store.rebuild_index()
    if as_json:
        print_json([{**asdict(imported), "source": str(imported.source)} for imported in imports])
    else:
        print_text(tables.imports_table(imports))
    finish(findings=any(imported.outcome == "refused" for imported in imports))
