"""The figures that are compared, each made of cells: one image's sample before and after."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_setups.registry.entry import Stage
from pytest_setups.registry.performance import image_seconds, percentile
from pytest_setups.regression.similarity import keyword_overlap, word_similarity
from pytest_setups.regression.statistics import ENOUGH_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_setups.registry.measurement import ImageSample, Measurement

Found = TypeVar("Found")
IMAGE: Final = "image"
LEAST_S: Final = 1e-9
"""Seconds; less was not measured."""


class Worse(Enum):
    """Which way a figure becomes worse: a rise, a fall, either as the bound says, or below a level."""

    RISING = auto()
    FALLING = auto()
    EITHER = auto()
    LEVEL = auto()


@dataclass(frozen=True, slots=True)
class Value:
    """What a figure needs of one measurement: an amount, and what it is divided by.

    Of the fastest of several samples, ``slack`` is the logarithm of the second fastest over it, which
    says how far the fastest may yet be from the limit (Robson and Whitlock, Estimation of a truncation
    point, 1964); None where there are too few of them.
    """

    amount: float
    per: float = 1.0
    slack: float | None = None


Cells = dict["ImageSample", tuple[Value, Value]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its name without the stage, its unit, which way is worse, and how it is made.

    ``cells`` pairs what was measured before and after, ``whole`` makes one figure of many values.
    ``timed`` figures compare only on the same hardware.
    """

    short: str
    unit: str
    worse: Worse
    example: str
    whole: Callable[[Sequence[Value]], float]
    cells: Callable[[Sequence[Measurement], Sequence[Measurement]], Cells]
    timed: bool = True

    def before(self, cells: Sequence[tuple[Value, Value]]) -> float:
        """The baseline's figure."""
        return self.whole([value for value, _ in cells])

    def after(self, cells: Sequence[tuple[Value, Value]]) -> float:
        """The run's figure."""
        return self.whole([value for _, value in cells])


def _ratio(values: Sequence[Value]) -> float:
    return sum(value.amount for value in values) / sum(value.per for value in values)


def _percentile(percent: float, values: Sequence[Value]) -> float:
    return percentile([value.amount for value in values], percent)


def _seconds(found: Measurement) -> Value | None:
    return _time(found.latency_s)


def _first_token(found: Measurement) -> Value | None:
    return _time(found.ttft_s)


def _time(seconds: float | None) -> Value | None:
    return None if seconds is None or seconds < LEAST_S else Value(seconds)


def _tokens(found: Measurement) -> Value | None:
    return Value(found.output_tokens) if found.output_tokens else None


def _rate(found: Measurement) -> Value | None:
    seconds = _seconds(found)
    return Value(found.output_tokens, seconds.amount) if found.output_tokens and seconds else None


def _paired(
    stage: str,
    value: Callable[[Measurement], Value | None],
    before: Sequence[Measurement],
    after: Sequence[Measurement],
) -> Cells:
    old, new = (
        {(m.image, m.sample): found for m in measured if m.stage == stage and (found := value(m))}
        for measured in (before, after)
    )
    return _joined(old, new)


def _joined(
    old: Mapping[ImageSample, Found], new: Mapping[ImageSample, Found]
) -> dict[ImageSample, tuple[Found, Found]]:
    return {place: (old[place], new[place]) for place in old if place in new}


def _whole_images(before: Sequence[Measurement], after: Sequence[Measurement]) -> Cells:
    old, new = (
        {place: value for place, seconds in image_seconds(measured).items() if (value := _time(seconds))}
        for measured in (before, after)
    )
    return _joined(old, new)


def _fastest(stage: str, before: Sequence[Measurement], after: Sequence[Measurement]) -> Cells:
    """A cell for each image: the fastest of its samples, which other load on the machine delays least."""
    samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (image, _), (old, new) in _paired(stage, _seconds, before, after).items():
        samples[image].append((old.amount, new.amount))
    return {
        (image, 1): (_fastest_of([old for old, _ in each]), _fastest_of([new for _, new in each]))
        for image, each in samples.items()
    }


def _fastest_of(seconds: Sequence[float]) -> Value:
    fastest, *others = sorted(seconds)
    return Value(fastest, slack=math.log(others[0] / fastest) if len(seconds) >= ENOUGH_SAMPLES else None)


def _likeness(
    stage: str,
    like: Callable[[Measurement, Measurement], float],
    before: Sequence[Measurement],
    after: Sequence[Measurement],
) -> Cells:
    old, new = (
        {(m.image, m.sample): m for m in measured if m.stage == stage and m.text and _is_whole(m)}
        for measured in (before, after)
    )
    return {place: (Value(1.0), Value(like(*pair))) for place, pair in _joined(old, new).items()}


def _is_whole(found: Measurement) -> bool:
    return found.stage != "keywords" or found.keywords is not None


def _same_keywords(before: Measurement, after: Measurement) -> float:
    return keyword_overlap(before.keywords or (), after.keywords or ())


def _same_words(before: Measurement, after: Measurement) -> float:
    return word_similarity(before.text or "", after.text or "")


def _latencies(
    part: str, cells: Callable[[Sequence[Measurement], Sequence[Measurement]], Cells]
) -> dict[str, Figure]:
    wholes: dict[str, Callable[[Sequence[Value]], float]] = {
        "mean": _ratio,
        "p50": partial(_percentile, 50),
        "p95": partial(_percentile, 95),
    }
    return {
        f"{part}.{name}": Figure(name, "s", Worse.RISING, f"{name}:20% or {name}:0.5s", whole, cells)
        for name, whole in wholes.items()
    }


def _of_stage(stage: str) -> dict[str, Figure]:
    first, tokens, rate = (partial(_paired, stage, value) for value in (_first_token, _tokens, _rate))
    median = partial(_percentile, 50)
    return {
        f"{stage}.min": Figure(
            "min", "s", Worse.RISING, "min:10% or min:0.5s", _ratio, partial(_fastest, stage)
        ),
        **_latencies(stage, partial(_paired, stage, _seconds)),
        f"{stage}.ttft": Figure("ttft", "s", Worse.RISING, "ttft:20% or ttft:0.1s", median, first),
        f"{stage}.tokens_per_s": Figure(
            "tokens_per_s", "tokens/s", Worse.FALLING, "tokens_per_s:-15%", _ratio, rate
        ),
        f"{stage}.output_tokens": Figure(
            "output_tokens", "tokens", Worse.EITHER, "output_tokens:50%", _ratio, tokens, timed=False
        ),
    }


def _text(name: str, stage: str, like: Callable[[Measurement, Measurement], float]) -> dict[str, Figure]:
    cells = partial(_likeness, stage, like)
    return {name: Figure(name, "", Worse.LEVEL, f"{name}:0.6", _ratio, cells, timed=False)}


FIGURES: Final[Mapping[str, Figure]] = {
    **{name: figure for stage in Stage for name, figure in _of_stage(stage).items()},
    **_latencies(IMAGE, _whole_images),
    **_text("caption_similarity", "caption", _same_words),
    **_text("keywords_overlap", "keywords", _same_keywords),
    **_text("description_similarity", "description", _same_words),
}
"""By the name that a bound and a table use: ``caption.p50``, ``image.mean``, ``keywords_overlap``.

``mean``, ``p50`` and ``p95`` are of all latencies; ``min`` is the mean over the images of the fastest of
their samples; ``ttft`` is the median time to first token;
``tokens_per_s`` is of all output tokens over all seconds, ``output_tokens`` the mean of an answer.
"""
