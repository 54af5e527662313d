"""Reference keywords: those that people wrote into the sample images, which the model's are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pytest_setups.checks.word_matching import MatchableText
from pytest_setups.registry.entry import ReferenceRecord
from pytest_setups.registry.measurement import ReferenceMatch
from pytest_setups.registry.parsing import json_sha256
from pytest_setups.tagging.picture_keywords import read_keywords

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_setups.tagging.images import Sample


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference keywords of a run.

    Attributes:
        keywords: by the image's name; empty for an image that has none.
        faults: a line for each file that could not be read.
    """

    keywords: Mapping[str, tuple[str, ...]]
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Self:
        """The keywords in the metadata of these images."""
        read = {sample.name: read_keywords(sample.path) for sample in samples}
        faults = (fault for picture in read.values() for fault in picture.faults)
        return cls({name: picture.words for name, picture in read.items()}, tuple(faults))

    @property
    def images(self) -> int:
        """How many images have keywords."""
        return sum(map(bool, self.keywords.values()))

    @property
    def images_without(self) -> int:
        """How many images have none, and are left out."""
        return len(self.keywords) - self.images

    @property
    def lines(self) -> list[str]:
        """How much there is to compare with, and what could not be read."""
        return [self._summary, *self.faults]

    @property
    def _summary(self) -> str:
        count = sum(map(len, self.keywords.values()))
        without = f", {self.images_without} without are left out" if self.images_without else ""
        return f"{count} reference keywords in {self.images} of {len(self.keywords)} images{without}"

    def match(self, image: str, keywords: Sequence[str], language: str) -> ReferenceMatch | None:
        """The image's reference beside the model's keywords; None where it has none.

        A reference keyword is contained in a keyword that has all its words next to each other, in any
        inflection: ``boat`` in ``wooden boats``.
        """
        given = self.keywords.get(image)
        if not given:
            return None
        texts = [MatchableText.of(keyword, language) for keyword in keywords]
        missed = [word for word in given if not any(True for text in texts for _ in text.spans(word))]
        return ReferenceMatch(keywords=given, missed=tuple(missed))

    def record(self, *, known_to_tagger: bool) -> ReferenceRecord:
        """What the entry says of it; ``known_to_tagger`` is whether a program was given the files."""
        return ReferenceRecord(
            source="metadata",
            sha256=json_sha256(self.keywords),
            images=self.images,
            images_without=self.images_without,
            keywords=sum(map(len, self.keywords.values())),
            known_to_tagger="possibly" if known_to_tagger else "never",
            faults=list(self.faults) or None,
        )
