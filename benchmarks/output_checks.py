"""How many outputs of the corpus the checks judge as a person did, by kind and language.

Run `python -m benchmarks.output_checks` in a checkout; `--held-out` adds a column for the third of the corpus
that is kept aside, `--missed` lists the outputs of the open part that are judged otherwise.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.api.reply import Reply
from pytest_setups.checks.output_checks import failures
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.keywords import as_keywords, parse_keywords
from pytest_setups.tagging.outputs import Failure, Output
from pytest_setups.tagging.prompts import load_prompts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TOTAL: Final = "all"
CORPUS: Final = Path(__file__).parent.parent / "tests/data/outputs"


@dataclass(frozen=True, slots=True)
class Judged:
    """One output of the corpus, and the checks that it does not pass."""

    row: dict[str, Any]
    failures: tuple[Failure, ...]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="The checks on the corpus of outputs.")
    parser.add_argument("--held-out", action="store_true", help="also the held-out files, in a column beside")
    parser.add_argument("--missed", action="store_true", help="list the outputs that are judged otherwise")
    arguments = parser.parse_args()
    files = ["", "held_out_"] if arguments.held_out else [""]
    broken, honest = ([judge(f"{prefix}{name}") for prefix in files] for name in ("broken", "honest"))
    for group in ("kind", "language"):
        print_table(f"broken, by {group}: found", broken, group)
        print_table(f"honest, by {group}: punished", honest, group)
    if arguments.missed:
        print_missed(broken[0], honest[0])


def judge(name: str) -> list[Judged]:
    """Every output of a file of the corpus, judged."""
    lines = (CORPUS / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [Judged(row, failures(output_of(row))) for row in map(json.loads, lines)]


def output_of(row: dict[str, Any]) -> Output:
    """A line of the corpus as the output of a served model, or of a tagger where it says so."""
    stage, text = Stage(row["stage"]), row["text"]
    keywords = None
    if stage is Stage.KEYWORDS:
        keywords = as_keywords(json.loads(text)) if row.get("tagger") else parse_keywords(text)
    prompts = load_prompts("default")
    prompt = row.get("prompt", prompts.description if stage is Stage.DESCRIPTION else prompts.of(stage))
    reply = Reply(text, "", row.get("finish_reason", "stop"), 0.0, 1.0, None, None, None)
    return Output(stage, text, keywords, reply, prompt, row.get("caption", ""))


def print_table(title: str, files: Sequence[Sequence[Judged]], group: str) -> None:
    """Print a line for each kind or language, and their sum: how many outputs have a failure, of how many."""
    columns = [count(judged, group) for judged in files]
    print(f"\n{title + ' of':32}" + "".join(f"{name:>14}" for name in ("", "held out")[: len(files)]))
    names = sorted({name for column in columns for name in column if name != TOTAL})
    for name in [*names, TOTAL]:
        cells = (column.get(name, (0, 0)) for column in columns)
        print(f"  {name:30}" + "".join(f"{failed:6} / {total:5}" for failed, total in cells))


def count(judged: Iterable[Judged], group: str) -> dict[str, tuple[int, int]]:
    """By kind or language: how many outputs have a failure, and how many there are."""
    total: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for one in judged:
        for name in (one.row[group], TOTAL):
            total[name] += 1
            failed[name] += bool(one.failures)
    return {name: (failed[name], total[name]) for name in total}


def print_missed(broken: Iterable[Judged], honest: Iterable[Judged]) -> None:
    """Print the broken outputs that pass, and the honest ones that do not."""
    print()
    for one in broken:
        if not one.failures:
            row = one.row
            print("passes:", row["kind"], row["language"], row["stage"], one_line(row["text"], 200))
    for one in honest:
        if one.failures:
            failure = one.failures[0]
            print("punished:", one.row["kind"], one.row["language"], failure.check, failure.reason)


if __name__ == "__main__":
    main()
