"""How well the expectations of the sample pictures distinguish their outputs from those of other pictures.

Run it with ``python benchmarks/expectations.py [RESULTS.jsonl ...]``. It judges

- the outputs that were written for it: ``expectation_outputs.toml``;
- those that were recorded: ``recorded_outputs.jsonl``, the distinct ones of the toy model with three prompt
  profiles, temperatures 0.2 and 1.2 and two seeds each;
- those of the registry, and of other results files of the sample pictures that are named.

The outputs of a picture are judged by its own expectations, where none should be flagged, and by those of
every other picture, where all should be: a planted wrong subject.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_setups.checks.expectations import judge_expectation
from pytest_setups.checks.expectations_file import FILE_NAME, find_expectations
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import find_samples
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_setups.checks.expectations import Expectation, Said

HERE = Path(__file__).parent
ROOT = HERE.parent
SAMPLES = ROOT / "sample_images"
FOUND = 0.95
"""The share of planted wrong subjects that must be found."""


@dataclass(frozen=True)
class Tagged:
    """What was said of a picture, and where that is from."""

    source: str
    image: str
    said: Said


def written(path: Path) -> Iterator[Tagged]:
    """The written outputs; those held out, and those of later, are sources of their own."""
    for image, many in tomllib.loads(path.read_text("utf-8")).items():
        for output in many:
            marks = {"held_out": ", held out", "afterwards": " afterwards"}
            source = "written" + next((text for mark, text in marks.items() if output.get(mark)), "")
            words = tuple(word.strip() for word in output["keywords"].split(","))
            yield Tagged(source, image, _said(output["caption"], words, output["description"]))


def recorded(path: Path) -> Iterator[Tagged]:
    """The outputs that were kept of other runs."""
    for line in map(json.loads, path.read_text("utf-8").splitlines()):
        said = _said(line["caption"], line["keywords"], line["description"])
        yield Tagged(line["source"], line["image"], said)


def results(path: Path) -> Iterator[Tagged]:
    """The outputs in a results file."""
    samples: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
    for line in map(json.loads, path.read_text("utf-8").splitlines()):
        samples[line["image"], line["sample"]][line["stage"]] = line
    for (image, _), stages in samples.items():
        caption, keywords, description = (stages[stage.value] for stage in Stage)
        said = _said(caption["text"], keywords["keywords"] or (), description["text"])
        yield Tagged(path.name, image, said)


def _said(caption: str | None, keywords: Sequence[str], description: str | None) -> Said:
    texts = {Stage.CAPTION: caption, Stage.DESCRIPTION: description}
    said: Said = {stage: (without_reasoning(text),) if text else () for stage, text in texts.items()}
    return said | {Stage.KEYWORDS: keywords}


def is_flagged(expectation: Expectation, said: Said) -> tuple[str, ...]:
    """Why outputs are flagged; empty where they are not."""
    result = judge_expectation(expectation, said)
    return (*result.missed, *result.faults)


def report(outputs: Iterable[Tagged], expectations: Mapping[str, Expectation]) -> bool:
    """Print a row for each source, and each verdict that is wrong; whether all are good enough."""
    groups: dict[str, list[Tagged]] = defaultdict(list)
    for tagged in outputs:
        groups[tagged.source].append(tagged)
    print(f"{'outputs of':<48}{'taggings':>9}{'right flagged':>15}{'wrong found':>15}")
    good = True
    for source, taggings in sorted(groups.items()):
        flagged = [(t, why) for t in taggings if (why := is_flagged(expectations[t.image], t.said))]
        planted = [(t, name) for t in taggings for name in expectations if name != t.image]
        missed = [(t, name) for t, name in planted if not is_flagged(expectations[name], t.said)]
        share = 1 - len(missed) / len(planted)
        right, wrong = f"{len(flagged)} of {len(taggings)}", f"{len(planted) - len(missed)} of {len(planted)}"
        print(f"{source:<48}{len(taggings):>9}{right:>15}{wrong:>15}  {share:.1%}")
        for tagged, why in flagged:
            print(f"    right, flagged: {tagged.image}: {'; '.join(why)}")
        for tagged, name in missed:
            print(f"    passes as {name}: {tagged.image}: {', '.join(tagged.said[Stage.CAPTION])}")
        good = good and not flagged and share >= FOUND
    return good


def main() -> None:
    """Print the table; the exit status is 1 where it is not good enough."""
    files = [*sorted((ROOT / "registry/results").glob("*.jsonl")), *map(Path, sys.argv[1:])]
    outputs = [
        *written(HERE / "expectation_outputs.toml"),
        *recorded(HERE / "recorded_outputs.jsonl"),
        *(tagged for file in files for tagged in results(file)),
    ]
    expectations = find_expectations(find_samples([SAMPLES]), [SAMPLES], SAMPLES / FILE_NAME)
    sys.exit(0 if report(outputs, expectations) else 1)


if __name__ == "__main__":
    main()
