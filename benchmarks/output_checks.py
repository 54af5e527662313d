"""How many outputs of the corpus the checks judge as a person did, by kind and language.

Run `python -m benchmarks.output_checks` in a checkout; `--held-out` adds the totals of the third of the
corpus that is kept aside, `--missed` lists the outputs of the open part that are judged otherwise.
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
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.keywords import as_keywords, parse_keywords
from pytest_setups.tagging.outputs import Failure, Output
from pytest_setups.tagging.prompts import load_prompts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CORPUS: Final = Path(__file__).parent.parent / "tests/data/outputs"


@dataclass(frozen=True, slots=True)
class Judged:
    """One output of the corpus, and the checks that it does not pass."""

    row: dict[str, Any]
    failures: tuple[Failure, ...]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="The checks on the corpus of outputs.")
    parser.add_argument("--held-out", action="store_true", help="also the totals of the held-out files")
    parser.add_argument("--missed", action="store_true", help="list the outputs that are judged otherwise")
    arguments = parser.parse_args()
    broken, honest = judge("broken"), judge("honest")
    for group in ("kind", "language"):
        print_table(f"broken, by {group}: found", broken, group)
        print_table(f"honest, by {group}: punished", honest, group)
    print_total("found", "broken", broken)
    print_total("punished", "honest", honest)
    if arguments.held_out:
        print_total("found", "held_out_broken", judge("held_out_broken"))
        print_total("punished", "held_out_honest", judge("held_out_honest"))
    if arguments.missed:
        print_missed(broken, honest)


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


def print_table(title: str, judged: Iterable[Judged], group: str) -> None:
    """Print one line for each kind or language: how many outputs have a failure, and how many there are."""
    total: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for one in judged:
        total[one.row[group]] += 1
        failed[one.row[group]] += bool(one.failures)
    print(f"\n{title}")
    for name in sorted(total):
        print(f"  {name:22} {failed[name]:4} of {total[name]:4}")


def print_total(what: str, name: str, judged: Sequence[Judged]) -> None:
    """Print how many outputs of a file have a failure."""
    failed = sum(bool(one.failures) for one in judged)
    print(f"\n{name}: {what} {failed} of {len(judged)} ({failed / len(judged):.1%})")


def print_missed(broken: Iterable[Judged], honest: Iterable[Judged]) -> None:
    """Print the broken outputs that pass, and the honest ones that do not."""
    print()
    for one in broken:
        if not one.failures:
            print(
                "passes:", one.row["kind"], one.row["language"], one.row["stage"], ascii_or(one.row["text"])
            )
    for one in honest:
        if one.failures:
            failure = one.failures[0]
            print("punished:", one.row["kind"], one.row["language"], failure.check, failure.reason)


def ascii_or(text: str) -> str:
    """A text on one line."""
    return json.dumps(text[:300], ensure_ascii=False)


if __name__ == "__main__":
    main()
