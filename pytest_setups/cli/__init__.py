"""`pytest-setups`: what works on the registry without a server."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from pytest_setups.cli import tables
from pytest_setups.redaction import one_line, redact_url
from pytest_setups.registry import differences, importing
from pytest_setups.registry.cleaning import clean
from pytest_setups.registry.entry import Status, json_schema
from pytest_setups.registry.files import replace
from pytest_setups.registry.parsing import EntryError, parse_json
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.registry.validate import validate as validate_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

FOUND: Final = 1
USAGE: Final = 2
PIPE_WIDTH: Final = 1000

app = typer.Typer(
    name="pytest-setups",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Look after a registry of verified setups. No command needs a server.",
    epilog="Exit codes: 0 all is well, 1 faults or differences were found, 2 a mistake in what was typed.",
)

RegistryOption = Annotated[
    Path,
    typer.Option("--registry", envvar="SETUP_REGISTRY", metavar="DIR", help="Folder of the registry."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
SlugArgument = Annotated[str, typer.Argument(metavar="SLUG", help="Name of an entry, as `list` shows it.")]
ImagesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--images", metavar="PATH", help="Sample pictures or folders of them (default: sample_images)."
    ),
]
DEFAULT: Final = Path("registry")
SAMPLES: Final = Path("sample_images")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line, by default the one of this process; a mistake is told in one line."""
    try:
        app(args=arguments)
    except RegistryError as error:
        _stop(error, USAGE)
    except EntryError as error:
        _stop(error, FOUND)


def _tell_version(wanted: bool) -> None:  # noqa: FBT001  # how typer calls it
    if wanted:
        typer.echo(installed_version("pytest-setups"))
        raise typer.Exit


@app.callback()
def common(
    *,
    version: Annotated[  # its callback did the work
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """What may stand before a command."""


@app.command("list")
def list_entries(
    *,
    backend: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this backend, such as vllm.")
    ] = None,
    status: Annotated[Status | None, typer.Option(help="Only this status.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only models with this text in a name.")
    ] = None,
    as_json: JsonOption = False,
    registry: RegistryOption = DEFAULT,
) -> None:
    """List the entries."""
    found = _open(registry).rows()
    wanted = [row for row in found.rows if _is_wanted(row, backend, status, model)]
    if as_json:
        _print_json(wanted)
    else:
        _print(
            tables.entries_table(wanted) if wanted else "no entries" if not found.rows else "no such entries"
        )
    for slug, reason in found.unreadable.items():
        _warn(f"entries/{slug}.json is left out: {reason}")
    raise typer.Exit(FOUND if found.unreadable else 0)


@app.command()
def show(slug: SlugArgument, *, as_json: JsonOption = False, registry: RegistryOption = DEFAULT) -> None:
    """Show one entry."""
    store = _open(registry)
    entry = store.find(slug)
    if as_json:
        document = parse_json(store.read(slug))
        _print_json({"slug": slug, "fingerprint": entry.fingerprint(), "entry": document})
        return
    _print(tables.entry_table(slug, entry))
    if entry.performance.stages:
        _print(tables.stages_table(entry))


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Name of an entry.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Name of another entry.")],
    *,
    as_json: JsonOption = False,
    registry: RegistryOption = DEFAULT,
) -> None:
    """Show what changed between two entries, and both outcomes.

    The exit code is 1 when their settings differ.
    """
    store = _open(registry)
    found = differences.compare_entries(store.find(a), store.find(b))
    if as_json:
        _print_json({"a": a, "b": b, **asdict(found)})
    else:
        _print_comparison(found, (a, b))
    raise typer.Exit(FOUND if found.differences else 0)


@app.command()
def compare(  # noqa: PLR0913  # the options of the command
    a: Annotated[
        str, typer.Argument(metavar="A", help="The earlier entry: its slug, or the path of its file.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The later entry.")],
    *,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="FIGURE:LIMIT", help="How much worse is too much, such as p50:20%; repeatable."),
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A difference that is allowed; repeatable.")
    ] = None,
    as_json: JsonOption = False,
    registry: RegistryOption = DEFAULT,
) -> None:
    """Compare the measurements of two entries of one setup, as --setup-baseline does after a run.

    The exit code is 1 when something got worse than allowed, 2 when the two do not compare.
    """
    from pytest_setups.regression import baseline, bounds
    from pytest_setups.report import comparison_text

    store = _open(registry)
    try:
        judged = [bounds.parse_bound(text) for text in fail_if or ()]
        before, after = (baseline.load_baseline(store, name) for name in (a, b))
        gate = baseline.Gate(before, judged, allow or (), option="--allow")
        found = gate.compare(after.entry, after.measurements, b)
    except (baseline.BaselineError, ValueError) as error:
        _stop(error, USAGE)
    failed = after.entry.verification.status != "success"
    changes = comparison_text.changes(before.entry, after.entry)
    if as_json:
        _print_json({"a": a, "b": b, "changes": changes, **asdict(found), "broken": found.broken})
    else:
        _print(comparison_text.headline(before, found))
        for line in changes:
            _print(f"changed: {line}")
        _print(tables.compared_table(comparison_text.COLUMNS, comparison_text.rows(found)))
        for line in (*comparison_text.unproved(found), *comparison_text.breaches(found)):
            _print(line)
        if failed:
            _print(f"{b} failed: {one_line(after.entry.verification.failure_reason or '', 1000)}")
    raise typer.Exit(FOUND if found.broken or failed else 0)


@app.command()
def history(slug: SlugArgument, *, as_json: JsonOption = False, registry: RegistryOption = DEFAULT) -> None:
    """Show one setup over time: version, status, latencies.

    One setup is every entry with the same fingerprint: model, flags, settings, prompts.
    """
    store = _open(registry)
    store.find(slug)
    found = differences.history_of(store, slug)
    if as_json:
        _print_json([{"slug": name, "entry": entry.model_dump(mode="json")} for name, entry in found])
    else:
        _print(tables.history_table(found, slug))


@app.command()
def validate(
    *,
    git: Annotated[bool, typer.Option("--git/--no-git", help="Ask git whether entries were edited.")] = True,
    check_paths: Annotated[
        bool, typer.Option("--check-paths", help="Check that local paths in entries exist here.")
    ] = False,
    as_json: JsonOption = False,
    registry: RegistryOption = DEFAULT,
) -> None:
    """Check every entry, every results file and the index.

    These are the checks of `pytest DIR`. The exit code is 1 when something is wrong.
    """
    report = validate_registry(_open(registry), history=git, paths=check_paths)
    if as_json:
        _print_json(asdict(report))
    else:
        if report.faults:
            _print(tables.fault_lines(report.faults))
        _print(f"{_count(report.entries, 'entry', 'entries')}, {_count(len(report.faults), 'fault')}")
        for reason in report.unchecked:
            _warn(f"not checked: {reason}")
    raise typer.Exit(FOUND if report.faults else 0)


@app.command()
def index(*, registry: RegistryOption = DEFAULT) -> None:
    """Rebuild the index, and remove what killed recordings left.

    The exit code is 1 when an entry cannot be read and so has no row.
    """
    store = _open(registry)
    store.prepare()
    removed = clean(store)
    found = store.rebuild_index()
    _print(
        f"{store.index_path}: {_count(len(found.rows), 'row')}; {_count(removed, 'leftover file')} removed"
    )
    for slug, reason in found.unreadable.items():
        _warn(f"entries/{slug}.json has no row: {reason}")
    raise typer.Exit(FOUND if found.unreadable else 0)


@app.command()
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
        _stop(f"{output} cannot be written: {error.strerror}", USAGE)


@app.command()
def env(
    *,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="A server that runs here: its packages as well."),
    ] = None,
) -> None:
    """Print this machine's hardware and software as JSON."""
    from pytest_setups.serving.local.environment import server_environment
    from pytest_setups.serving.local.listener import ListenerNotFoundError

    try:
        found = server_environment(base_url)
    except ListenerNotFoundError as error:
        _stop(f"the server at {redact_url(base_url or '')} is not known here: {error}", FOUND)
    typer.echo(json.dumps(found, indent=2))


@app.command("import")
def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Entry files, or folders of them such as a registry."),
    ],
    *,
    as_json: JsonOption = False,
    registry: RegistryOption = DEFAULT,
) -> None:
    """Bring entries in without changing a byte of them.

    An entry is named after its file, and nothing is overwritten. Then the index is rebuilt.
    The exit code is 1 when a file was refused.
    """
    store = Registry(registry)
    found = importing.import_entries(store, [path for file in files for path in importing.entry_files(file)])
    if not found:
        _stop(f"no entries in {', '.join(str(file) for file in files)}", USAGE)
    store.rebuild_index()
    if as_json:
        _print_json([{**asdict(one), "source": str(one.source)} for one in found])
    else:
        _print(tables.imports_table(found))
    raise typer.Exit(FOUND if any(one.outcome == "refused" for one in found) else 0)


@app.command()
def report(
    slug: SlugArgument,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file (default: SLUG.html).")
    ] = None,
    images: ImagesOption = None,
    registry: RegistryOption = DEFAULT,
) -> None:
    """Write one entry as a self-contained HTML file."""
    from pytest_setups.report import html, pages

    store = _open(registry)
    entry, path = store.find(slug), output or Path(f"{slug}.html")
    history = differences.history_of(store, slug)
    try:
        data = pages.entry_data(store, slug, entry, pictures=_pictures(images), history=history)
        html.write_page(path, html.render_report(data))
    except html.ReportError as error:
        _stop(error, USAGE)
    _print(f"report: {path}")


@app.command()
def site(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write it to.")],
    *,
    images: ImagesOption = None,
    registry: RegistryOption = DEFAULT,
) -> None:
    """Write the whole registry as a static site: a table of entries, and a page for each.

    The exit code is 1 when an entry cannot be read and so has no page.
    """
    from pytest_setups.report import html, pages

    data = pages.site_data(_open(registry), _pictures(images))
    try:
        index = html.write_site(data, folder)
    except html.ReportError as error:
        _stop(error, USAGE)
    _print(f"site: {index}: {_count(len(data.pages), 'entry', 'entries')}")
    for slug, reason in data.unreadable.items():
        _warn(f"entries/{slug}.json is left out: {reason}")
    raise typer.Exit(FOUND if data.unreadable else 0)


def _pictures(images: list[Path] | None) -> dict[str, Path]:
    """Sample files by name: in the folders given, else those of the project and the package."""
    from pytest_setups import demo
    from pytest_setups.report.pages import pictures_of
    from pytest_setups.tagging.images import ImageError

    try:
        if images:
            return pictures_of(images)
        usual = [folder for folder in (SAMPLES, demo.sample_images()) if folder.is_dir()]
        return pictures_of(usual[:1])
    except ImageError as error:
        _stop(f"--images: {error}", USAGE)


def _open(root: Path) -> Registry:
    if not root.is_dir():
        message = f"no registry at {root}: name its folder with --registry DIR or SETUP_REGISTRY"
        raise RegistryError(message)
    return Registry(root)


def _is_wanted(row: dict[str, Any], backend: str | None, status: str | None, model: str | None) -> bool:
    names = f"{row['model_repo']} {row['served_model_name']}".lower()
    return (
        backend in {None, row["backend"]}
        and status in {None, row["status"]}
        and (model is None or model.lower() in names)
    )


def _print_comparison(found: differences.Comparison, slugs: tuple[str, str]) -> None:
    if found.differences:
        _print(tables.differences_table(found, slugs))
        if any(difference.decides for difference in found.differences):
            _print("* decides behaviour, so that these are two setups")
    else:
        _print("the settings are the same")
    _print(tables.outcomes_table(found, slugs))
    if found.not_comparable:
        _print(f"not comparable: {found.not_comparable}")


def _print(text: RenderableType) -> None:
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    console.print(text, soft_wrap=not isinstance(text, Table))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number or 'no'} {one if number == 1 else many or f'{one}s'}"


def _print_json(document: object) -> None:
    """JSON in ASCII alone: control and direction characters reach no terminal."""
    typer.echo(json.dumps(document, indent=2))


def _warn(message: str) -> None:
    typer.echo(one_line(message, 1000), err=True)


def _stop(message: object, code: int) -> NoReturn:
    _warn(f"pytest-setups: {message}")
    raise SystemExit(code)
