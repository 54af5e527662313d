"""Figures of one run, computed from its measurements: they need no baseline.

A figure here is a share from 0 to 1. It is a row of ``RUN_FIGURES``: the entry keeps it
(``verification.figures``), every reporter shows it, a comparison has it before and after, and a bound such as
``retries:0.02`` judges it. What it needs of each picture is a field of ``Measurement``, so that it can be
computed again from a results file.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_setups.registry.measurement import Measurement, VocabularyMatch


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole that is greater than zero, such as 2 of 39 answers."""

    part: float
    whole: float

    @property
    def value(self) -> float:
        """The share, from 0 to 1."""
        return self.part / self.whole


@dataclass(frozen=True, slots=True)
class RunFigure:
    """One figure of a run.

    Attributes:
        name: as in bounds, entries and tables.
        unit: what the whole counts, in the plural.
        meaning: what is true of the part, so that "2 of 39 UNIT MEANING" is a sentence.
        higher_is_better: whether a bound is the lowest value that is accepted, and not the highest.
        measure: computes it from the last attempts at each measurement; None where it was not measured.
        hidden_at_zero: whether reporters leave it out while it is zero.
        basis: what two runs must have in common for their figures to compare; None where nothing is needed.
        basis_name: the basis in words, in the plural.
    """

    name: str
    unit: str
    meaning: str
    higher_is_better: bool
    measure: Callable[[Sequence[Measurement]], Share | None]
    hidden_at_zero: bool = False
    basis: Callable[[Sequence[Measurement]], object] | None = None
    basis_name: str = ""

    def compares(self, before: Sequence[Measurement], after: Sequence[Measurement]) -> bool:
        """Whether the figures of two runs have the same basis."""
        return self.basis is None or self.basis(before) == self.basis(after)

    def sentence(self, share: Share) -> str:
        """The figure in words: ``2 of 39 answers needed another attempt``."""
        return f"{_count(share.part)} of {_count(share.whole)} {self.unit} {self.meaning}"


def measured_figures(measurements: Sequence[Measurement]) -> dict[str, Share]:
    """Every figure that was measured, by name."""
    shares = {name: figure.measure(measurements) for name, figure in RUN_FIGURES.items()}
    return {name: share for name, share in shares.items() if share is not None}


def share_of(part: float, whole: float) -> Share | None:
    """The share, None where the whole is empty."""
    return Share(part, whole) if whole > 0 else None


def _retries(measurements: Sequence[Measurement]) -> Share | None:
    return share_of(sum(measured.attempt > 1 for measured in measurements), len(measurements))


def _waits(measurements: Sequence[Measurement]) -> Share | None:
    # A tagger of the user's own asks the server itself, which is not seen here.
    asked = [measured for measured in measurements if measured.started_utc is not None or measured.waits]
    return share_of(sum(bool(measured.waits) for measured in asked), len(asked))


def _coverage(measurements: Sequence[Measurement]) -> Share | None:
    results = [measured.expectations for measured in measurements if measured.expectations]
    return share_of(sum(result.met for result in results), sum(result.groups for result in results))


def _expectations(measurements: Sequence[Measurement]) -> set[tuple[str, str]]:
    """What was expected of each image."""
    return {
        (measured.image, measured.expectations.sha256) for measured in measurements if measured.expectations
    }


def _off_vocabulary(measurements: Sequence[Measurement]) -> Share | None:
    matches = _vocabulary_matches(measurements)
    return share_of(sum(len(match.off) for match in matches), _matched_keywords(measurements))


def _near_vocabulary(measurements: Sequence[Measurement]) -> Share | None:
    off = [off for match in _vocabulary_matches(measurements) for off in match.off]
    return share_of(sum(keyword.near is not None for keyword in off), _matched_keywords(measurements))


def _used_once(measurements: Sequence[Measurement]) -> Share | None:
    """The share of distinct keywords that only one picture has, whatever its samples."""
    pictures: dict[str, set[str]] = defaultdict(set)
    for measured in measurements:
        for word in (measured.keywords or ()) if measured.vocabulary else ():
            pictures[word].add(measured.image)
    return share_of(sum(len(images) == 1 for images in pictures.values()), len(pictures))


def _vocabulary_matches(measurements: Sequence[Measurement]) -> list[VocabularyMatch]:
    return [measured.vocabulary for measured in measurements if measured.vocabulary]


def _vocabularies(measurements: Sequence[Measurement]) -> set[str]:
    return {match.sha256 for match in _vocabulary_matches(measurements)}


def _matched_keywords(measurements: Sequence[Measurement]) -> int:
    return sum(len(measured.keywords or ()) for measured in measurements if measured.vocabulary)


def _pictures(measurements: Sequence[Measurement]) -> set[str]:
    return {measured.image for measured in measurements}


def _references(measurements: Sequence[Measurement]) -> set[tuple[str, tuple[str, ...]]]:
    return {(measured.image, measured.reference.keywords) for measured in measurements if measured.reference}


def _keywords_recall(measurements: Sequence[Measurement]) -> Share | None:
    matches = [measured.reference for measured in measurements if measured.reference]
    given = sum(len(match.keywords) for match in matches)
    return share_of(given - sum(len(match.missed) for match in matches), given)


def _count(number: float) -> str:
    return f"{number:.0f}" if number == round(number) else f"{number:.1f}"


RUN_FIGURES: Final[Mapping[str, RunFigure]] = {
    figure.name: figure
    for figure in (
        RunFigure(
            "retries", "answers", "needed another attempt", higher_is_better=False, measure=_retries,
            hidden_at_zero=True,
        ),
        RunFigure(
            "waits", "answers", "came after the server had asked to wait", higher_is_better=False,
            measure=_waits, hidden_at_zero=True,
        ),
        RunFigure(
            "coverage", "groups of expected words", "are met", higher_is_better=True, measure=_coverage,
            basis=_expectations, basis_name="expectations",
        ),
        RunFigure(
            "off_vocabulary", "keywords", "are not in the vocabulary", higher_is_better=False,
            measure=_off_vocabulary, basis=_vocabularies, basis_name="vocabulary",
        ),
        RunFigure(
            "near_vocabulary", "keywords", "are not in the vocabulary, but near one of its terms",
            higher_is_better=False, measure=_near_vocabulary, basis=_vocabularies, basis_name="vocabulary",
        ),
        RunFigure(
            "used_once", "distinct keywords", "are those of only one picture", higher_is_better=False,
            measure=_used_once, basis=_pictures, basis_name="images",
        ),
        RunFigure(
            "keywords_recall", "reference keywords", "are among the model's", higher_is_better=True,
            measure=_keywords_recall, basis=_references, basis_name="reference keywords",
        ),
    )
}  # fmt: skip
"""By name, in the order in which they are shown."""
