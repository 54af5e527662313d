"""`diff` and `compare`: two entries side by side, their settings or their measurements."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_setups.cli import tables
from pytest_setups.cli.output import MAX_MESSAGE, USAGE_ERROR, finish, print_json, print_text, stop
from pytest_setups.cli.parameters import DEFAULT_REGISTRY, JsonOption, RegistryOption, open_registry
from pytest_setups.redaction import one_line
from pytest_setups.registry.differences import EntryComparison, compare_entries

if TYPE_CHECKING:
    from pytest_setups.regression.baseline import Baseline
    from pytest_setups.regression.comparison import Comparison


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Name of an entry.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Name of another entry.")],
    *,
    as_json: JsonOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Show what changed between two entries, and both outcomes.

    The exit code is 1 when their settings, versions or hardware differ. Ports, paths, commands and times
    of the start are listed apart.
    """
    store = open_registry(registry)
    comparison = compare_entries(store.find(a), store.find(b))
    if as_json:
        print_json({"a": a, "b": b, **asdict(comparison)})
    else:
        _print_comparison(comparison, (a, b))
    finish(findings=comparison.differences)


def compare(
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
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Compare the measurements of two entries of one setup, as --setup-baseline does after a run.

    The exit code is 1 when something got worse than allowed, 2 when the two cannot be compared.
    """
    # Statistics and similarity: no other command needs them.
    from pytest_setups.regression import baseline, bounds
    from pytest_setups.report import comparison_text

    store = open_registry(registry)
    try:
        limits = [bounds.parse_bound(text) for text in fail_if or ()]
        before, after = (baseline.load_baseline(store, name) for name in (a, b))
        gate = baseline.Gate(before, limits, allow or (), option="--allow")
        compared = gate.compare(after.entry, after.measurements, b)
    except (baseline.BaselineError, ValueError) as error:
        stop(error, USAGE_ERROR)
    changes = comparison_text.changes(before.entry, after.entry)
    if as_json:
        print_json({"a": a, "b": b, "changes": changes, **asdict(compared), "broken": compared.broken})
    else:
        print_text(comparison_text.headline(before, compared))
        for change in changes:
            print_text(f"changed: {change}")
        _print_compared(compared, after)
    finish(findings=compared.broken or after.entry.verification.status != "success")


def _print_compared(compared: "Comparison", after: "Baseline") -> None:
    from pytest_setups.report import comparison_text, picture_text

    print_text(tables.compared_table(comparison_text.COLUMNS, comparison_text.rows(compared)))
    for parts in picture_text.worst_pictures(compared):
        print_text(tables.difference_line(parts))
    for line in (*comparison_text.unproved(compared), *comparison_text.breaches(compared)):
        print_text(line)
    verification = after.entry.verification
    if verification.status != "success":
        print_text(f"{after.name} failed: {one_line(verification.failure_reason or '', MAX_MESSAGE)}")


def _print_comparison(comparison: EntryComparison, slugs: tuple[str, str]) -> None:
    if comparison.differences:
        print_text(tables.differences_table("setting", comparison.differences, slugs))
        if any(difference.decides for difference in comparison.differences):
            print_text("* affects behaviour: different setups")
    else:
        print_text("the settings are the same")
    if comparison.incidental:
        print_text(tables.differences_table("where and how it ran", comparison.incidental, slugs))
    print_text(tables.outcomes_table(comparison, slugs))
    if comparison.not_comparable:
        print_text(f"not comparable: {comparison.not_comparable}")
