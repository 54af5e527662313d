"""The answers to each picture before and after: which pictures changed most, and by which words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line, redact
from pytest_setups.registry.entry import Stage
from pytest_setups.regression.similarity import answer_similarity
from pytest_setups.regression.word_difference import ChangedWords, keywords_difference, text_difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_setups.registry.measurement import Measurement

MAX_SHOWN: Final = 2000
"""Characters of one text that are compared by word and shown."""
MAX_KEYWORDS: Final = 100
MAX_KEYWORD: Final = 200


@dataclass(frozen=True, slots=True)
class AnswerChange:
    """The answers to one picture at one stage, before and after.

    Attributes:
        stage: caption, keywords or description.
        similarity: from 0 to 1, the mean over the samples.
        sample: which sample the texts are of: the one whose texts are least alike.
        before: the baseline's text on one line, without control characters and secrets, cut at ``MAX_SHOWN``.
        after: likewise the text of the run, empty where there is none.
        difference: both texts, by word.
    """

    stage: str
    similarity: float
    sample: int
    before: str
    after: str
    difference: Sequence[ChangedWords]


@dataclass(frozen=True, slots=True)
class PictureChange:
    """One picture whose answers changed: the mean similarity of its stages, and those that changed."""

    image: str
    similarity: float
    answers: Sequence[AnswerChange]


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """The answers to one sample of a picture at one stage, before and after, and how similar they are."""

    before: Measurement
    after: Measurement
    similarity: float


@dataclass(frozen=True, slots=True)
class PicturePairs:
    """The pairs of answers to every picture, by image and stage: those of each sample, in their order.

    Only answers that the baseline has can have changed; a later answer that is missing is the least similar.
    """

    pairs: Mapping[str, Mapping[Stage, Sequence[AnswerPair]]]

    def similarities(self, stage: Stage) -> dict[str, float]:
        """The similarity of each picture's answers at one stage: the mean over its samples."""
        return {
            image: fmean(pair.similarity for pair in by_stage[stage])
            for image, by_stage in self.pairs.items()
            if stage in by_stage
        }

    def changes(self) -> list[PictureChange]:
        """The pictures that changed, the least similar first.

        How similar a picture is, is the mean over its stages of the caption's similarity, the overlap of the
        keywords and the description's similarity.
        """
        by_stage = {stage: self.similarities(stage) for stage in Stage}
        changes = [
            PictureChange(
                image,
                fmean(by_stage[stage][image] for stage in pairs),
                [
                    _answer_change(stage, by_stage[stage][image], pairs[stage])
                    for stage in Stage
                    if by_stage[stage].get(image, 1.0) < 1
                ],
            )
            for image, pairs in self.pairs.items()
        ]
        changed = [change for change in changes if change.answers]
        return sorted(changed, key=lambda change: (change.similarity, change.image))

    def below(self, stage: Stage, level: float) -> list[tuple[str, AnswerChange]]:
        """The pictures whose answers at one stage are less similar than the level, the worst first."""
        similarities = self.similarities(stage)
        images = sorted(similarities, key=lambda image: (similarities[image], image))
        return [
            (image, _answer_change(stage, similarities[image], self.pairs[image][stage]))
            for image in images
            if similarities[image] < level
        ]


def pair_pictures(before: Iterable[Measurement], after: Iterable[Measurement]) -> PicturePairs:
    """Pair the answers to the same pictures, of the same samples."""
    new = {(measured.image, measured.sample, measured.stage): measured for measured in after}
    pairs: dict[str, dict[Stage, list[AnswerPair]]] = defaultdict(lambda: defaultdict(list))
    for old in sorted(before, key=lambda measured: measured.sample):
        answer = new.get((old.image, old.sample, old.stage))
        if answer is not None and _has_answer(old):
            pairs[old.image][old.stage].append(AnswerPair(old, answer, answer_similarity(old, answer)))
    return PicturePairs(pairs)


def _has_answer(measurement: Measurement) -> bool:
    # Keywords that did not parse have text, but no set to compare.
    return bool(measurement.keywords if measurement.stage is Stage.KEYWORDS else measurement.text)


def _answer_change(stage: Stage, similarity: float, pairs: Sequence[AnswerPair]) -> AnswerChange:
    least_similar = min(pairs, key=lambda pair: pair.similarity)
    before, after = least_similar.before, least_similar.after
    if stage is Stage.KEYWORDS:
        old, new = _shown_keywords(before), _shown_keywords(after)
        earlier, later = (one_line(", ".join(words), MAX_SHOWN) for words in (old, new))
        difference = keywords_difference(old, new)
    else:
        earlier, later = (_shown(measurement.text or "") for measurement in (before, after))
        difference = text_difference(earlier, later)
    return AnswerChange(stage, similarity, before.sample, earlier, later, difference)


def _shown(text: str) -> str:
    # Redaction takes time in proportion to the text, and what is cut off is not shown.
    return one_line(redact(text[: 2 * MAX_SHOWN]), MAX_SHOWN)


def _shown_keywords(measurement: Measurement) -> list[str]:
    if measurement.keywords is None:  # no list, but what was said in its place
        return list(filter(None, [_shown(measurement.text or "")]))
    words = [one_line(word, MAX_KEYWORD) for word in measurement.keywords[:MAX_KEYWORDS]]
    # All at once: to redact each of them takes several times as long.
    return redact("\n".join(words)).split("\n") if words else []
