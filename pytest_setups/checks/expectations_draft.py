"""A draft of an expectations file from the keywords that an entry recorded, for a person to edit."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.word_matching import ENGLISH, MatchableText
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_setups.registry.measurement import Measurement

MAX_GROUPS: Final = 3
MAX_OTHERS: Final = 12
# With fewer pictures, a keyword that most of them have may still distinguish one from another.
ENOUGH_PICTURES: Final = 4
# A keyword with more words is hardly said in the same way again.
MAX_PHRASE_WORDS: Final = 2
_INTRODUCTION: Final = """\
# What the outputs of each picture must say: at least one word of each group in brackets. Drafted from the
# keywords of {slug}. Look at the pictures, remove what is not essential, and add other words for the same
# thing: ["boat", "ship", "vessel"]. must_not = ["car"] forbids words.
# https://github.com/pytest-setups/pytest-setups/blob/main/docs/expectations.md
"""


@dataclass(frozen=True, slots=True)
class RecordedOutputs:
    """What an entry recorded of one picture: its caption, keywords and description.

    ``keywords`` is empty where they are not populated.
    """

    caption: str
    keywords: Sequence[str]
    description: str

    @classmethod
    def of(cls, measurements: Mapping[Stage, Measurement]) -> RecordedOutputs:
        """The outputs in the measurements of one picture's stages."""
        texts = {stage: measured.text or "" for stage, measured in measurements.items()}
        keywords = measurements.get(Stage.KEYWORDS)
        words = (keywords.keywords or ()) if keywords is not None and keywords.passed else ()
        return cls(
            caption=texts.get(Stage.CAPTION, ""),
            keywords=[word for word in words if any(map(str.isalpha, word))],
            description=texts.get(Stage.DESCRIPTION, ""),
        )


def outputs_by_image(measurements: Sequence[Measurement]) -> dict[str, RecordedOutputs]:
    """The outputs of the first sample of each image."""
    first: dict[str, dict[Stage, Measurement]] = {}
    for measured in measurements:
        if measured.sample == 1:
            first.setdefault(measured.image, {})[measured.stage] = measured
    return {image: RecordedOutputs.of(stages) for image, stages in first.items()}


def draft(slug: str, pictures: Mapping[str, RecordedOutputs | None], common: Sequence[str]) -> str:
    """The text of an expectations file.

    Args:
        slug: the entry's name.
        pictures: what the entry recorded of each picture, None where it has no such picture.
        common: keywords that are left out because most pictures have them.
    """
    left_out = f"# Left out, because most pictures have them: {_words(common)}\n" if common else ""
    tables = (_table(name, outputs, set(map(str.casefold, common))) for name, outputs in pictures.items())
    return f"{_INTRODUCTION.format(slug=slug)}{left_out}\n" + "\n".join(tables)


def common_keywords(outputs: Sequence[RecordedOutputs]) -> list[str]:
    """The keywords of more than half of the pictures, which say nothing of one of them."""
    if len(outputs) < ENOUGH_PICTURES:
        return []
    counts = Counter(word for each in outputs for word in {word.casefold() for word in each.keywords})
    return sorted(word for word, times in counts.items() if times * 2 > len(outputs))


def _table(name: str, outputs: RecordedOutputs | None, common: set[str]) -> str:
    header = f"[{_quoted(name)}]"
    if outputs is None:
        return f"# {header}: the entry has no picture of this name\n"
    caption = f"# {one_line(outputs.caption, 300)}\n"
    ranked = sorted(
        (word for word in outputs.keywords if word.casefold() not in common),
        key=lambda word: _rank(word, outputs),
    )
    chosen = list(_distinct(ranked))[:MAX_GROUPS]
    if not chosen:
        return f"{caption}# {header}: no keywords that say something of this picture\n"
    others = [word for word in ranked if word not in chosen][:MAX_OTHERS]
    more = f"# further keywords: {_words(others)}\n" if others else ""
    groups = ", ".join(f"[{_quoted(word)}]" for word in chosen)
    return f"{caption}{more}{header}\nmust = [{groups}]\n"


def _rank(word: str, outputs: RecordedOutputs) -> tuple[bool, bool, bool]:
    """What caption and description say too comes first; the sort keeps the model's order otherwise."""
    in_caption, in_description = (
        any(MatchableText.of(text, ENGLISH).spans(word)) for text in (outputs.caption, outputs.description)
    )
    return not in_caption, not in_description, len(word.split()) > MAX_PHRASE_WORDS


def _distinct(words: Sequence[str]) -> Iterator[str]:
    """The words of which none contains another: of "red cup" and "cup" the first."""
    kept: list[MatchableText] = []
    for word in words:
        text = MatchableText.of(word, ENGLISH)
        parts = {stem for other in kept for stem in other.stems}
        if not parts & set(text.stems):
            kept.append(text)
            yield word


def _words(words: Sequence[str]) -> str:
    return one_line(", ".join(words), 1000)


def _quoted(text: str) -> str:
    # A JSON string is a TOML string, except for this one character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
