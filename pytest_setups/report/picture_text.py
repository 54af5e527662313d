"""The pictures whose answers changed, as lines: both texts and their difference by word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.regression.word_difference import WordChange

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_setups.regression.comparison import BrokenPicture, Comparison
    from pytest_setups.regression.pictures import AnswerChange
    from pytest_setups.regression.word_difference import ChangedWords

WORST: Final = 3
"""How many pictures a terminal shows; a page has them all."""
MAX_LINE: Final = 1000
MAX_QUOTED: Final = 200
MAX_NAME: Final = 120
_KEPT_AROUND: Final = 40
"""Characters that are kept at each end of a long text that is the same before and after."""
# As in git's word diff: not by colour only, which a log file and some eyes do not have.
_MARKS: Final = {WordChange.SAME: "{}", WordChange.REMOVED: "[-{}-]", WordChange.ADDED: "{{+{}+}}"}


@dataclass(frozen=True, slots=True)
class LinePart:
    """A part of a line, marked if its words were removed or added; ``change`` is for a colour beside."""

    text: str
    change: WordChange = WordChange.SAME


def worst_pictures(comparison: Comparison) -> Iterator[list[LinePart]]:
    """The pictures that changed most, each with the answers that changed; nothing where none did."""
    changed = len(comparison.pictures)
    if not changed:
        return
    of = f"{changed} of {comparison.images} {'picture' if comparison.images == 1 else 'pictures'} changed"
    yield [LinePart(f"{of}; the least similar:" if changed > 1 else f"{of}:")]
    for picture in comparison.pictures[:WORST]:
        yield [LinePart(f"  {one_line(picture.image, MAX_NAME)}: similarity {picture.similarity:.2f}")]
        for answer in picture.answers:
            sample = f" (sample {answer.sample})" if comparison.samples > 1 else ""
            heading = LinePart(f"    {answer.stage} {answer.similarity:.2f}{sample}: ")
            yield [heading, *_parts(answer)]


def broken_pictures(comparison: Comparison, bound: str) -> Iterator[str]:
    """A sentence for each of the worst pictures that break a bound, and one that names the others."""
    broken = [picture for picture in comparison.broken_pictures if picture.bound == bound]
    yield from map(_sentence, broken[:WORST])
    others = broken[WORST:]
    if others:
        names = ", ".join(one_line(picture.image, MAX_NAME) for picture in others[:WORST])
        more = f" and {len(others) - WORST} more" if len(others) > WORST else ""
        yield f"{bound} is also broken by {names}{more}"


def plain(parts: Sequence[LinePart]) -> str:
    """The line without colours."""
    return "".join(part.text for part in parts)


def _sentence(broken: BrokenPicture) -> str:
    answer = broken.answer
    name = broken.bound.partition(":")[0].removesuffix(".each")
    before, after = (
        f'"{one_line(text, MAX_QUOTED)}"' if text else "no answer" for text in (answer.before, answer.after)
    )
    image = one_line(broken.image, MAX_NAME)
    return f"{name} of {image} {answer.similarity:.3f} is below {broken.bound}: {before} -> {after}"


def _parts(answer: AnswerChange) -> Iterator[LinePart]:
    room = MAX_LINE
    for words in answer.difference:
        text = _shortened(words)
        if len(text) > room:
            yield LinePart(_MARKS[words.change].format(f"{text[:room]}…"), words.change)
            return
        room -= len(text)
        yield LinePart(_MARKS[words.change].format(text), words.change)
    if not answer.after:
        yield LinePart(" (no answer)")


def _shortened(words: ChangedWords) -> str:
    """The words; of a long text that is the same only its ends, so that what changed stays in sight."""
    text = words.text
    if words.change is not WordChange.SAME or len(text) <= 3 * _KEPT_AROUND:
        return text
    start, end = text[:_KEPT_AROUND], text[-_KEPT_AROUND:]
    # Cut between words, where the script has spaces.
    return f"{start.rpartition(' ')[0] or start} … {end.partition(' ')[2] or end}"
