"""The keywords of a run beside a photo library: those off its vocabulary, and what people wrote."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_setups.registry.measurement import Measurement
    from pytest_setups.run.result import RunResult

MAX_KEYWORDS_SHOWN: Final = 10
MAX_FAULTS_SHOWN: Final = 5


def lines(result: RunResult) -> Iterator[str]:
    """The lines of a terminal; none where neither a vocabulary nor a reference was given."""
    yield from off_vocabulary(result.measurements)
    known = result.header.reference
    yield from (f"reference: {one_line(line)}" for line in known[: MAX_FAULTS_SHOWN + 1])
    if len(known) > MAX_FAULTS_SHOWN + 1:
        yield f"reference: and {len(known) - MAX_FAULTS_SHOWN - 1} more files that cannot be read"


def off_vocabulary(measurements: Sequence[Measurement]) -> Iterator[str]:
    """A line with the most frequent keywords off the vocabulary: ``boats 3 (-> boat), sofa 2``."""
    matches = [measured.vocabulary for measured in measurements if measured.vocabulary]
    counts = Counter((off.keyword, off.near) for match in matches for off in match.off)
    if not counts:
        return
    # Of equally frequent ones those first that have a suggestion, then by the alphabet.
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0][1] is None, item[0][0]))
    shown = [
        f"{one_line(word, 60)} {count}{f' (-> {one_line(near, 60)})' if near else ''}"
        for (word, near), count in frequent[:MAX_KEYWORDS_SHOWN]
    ]
    more = len(frequent) - len(shown)
    yield f"off the vocabulary: {', '.join(shown)}{f' and {more} more' if more > 0 else ''}"
