"""`list`, `show` and `history`: read the entries of a registry."""

from typing import Annotated, Any

import typer

from pytest_setups.cli import tables
from pytest_setups.cli.output import finish, print_json, print_text, warn
from pytest_setups.cli.parameters import (
    DEFAULT_REGISTRY,
    JsonOption,
    RegistryOption,
    SlugArgument,
    open_registry,
)
from pytest_setups.registry.entry import Status
from pytest_setups.registry.parsing import parse_json
from pytest_setups.registry.timeline import setup_history


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
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """List the entries."""
    index = open_registry(registry).rows()
    selected = [row for row in index.rows if _is_selected(row, backend, status, model)]
    if as_json:
        print_json(selected)
    elif selected:
        print_text(tables.entries_table(selected))
    else:
        print_text("no matching entries" if index.rows else "no entries")
    for slug, reason in index.unreadable.items():
        warn(f"entries/{slug}.json is left out: {reason}")
    finish(findings=index.unreadable)


def show(
    slug: SlugArgument, *, as_json: JsonOption = False, registry: RegistryOption = DEFAULT_REGISTRY
) -> None:
    """Show one entry."""
    store = open_registry(registry)
    entry = store.find(slug)
    if as_json:
        document = parse_json(store.read(slug))
        print_json({"slug": slug, "fingerprint": entry.fingerprint(), "entry": document})
        return
    print_text(tables.entry_table(slug, entry))
    if entry.performance.stages:
        print_text(tables.stages_table(entry))


def history(
    slug: SlugArgument, *, as_json: JsonOption = False, registry: RegistryOption = DEFAULT_REGISTRY
) -> None:
    """Show one setup over time: version, status, latencies.

    One setup is every entry with the same fingerprint: model, flags, settings, prompts.
    """
    store = open_registry(registry)
    store.find(slug)
    entries = setup_history(store, slug)
    if as_json:
        print_json([{"slug": name, "entry": entry.model_dump(mode="json")} for name, entry in entries])
    else:
        print_text(tables.history_table(entries, slug))


def _is_selected(row: dict[str, Any], backend: str | None, status: str | None, model: str | None) -> bool:
    names = f"{row['model_repo']} {row['served_model_name']}".lower()
    return (
        backend in {None, row["backend"]}
        and status in {None, row["status"]}
        and (model is None or model.lower() in names)
    )
