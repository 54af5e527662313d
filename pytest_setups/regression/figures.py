"""The figures that are compared, each computed from pairs: one sample of one image before and after."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_setups.registry.entry import Stage
from pytest_setups.registry.performance import image_seconds, percentile
from pytest_setups.regression.similarity import answer_similarity
from pytest_setups.regression.statistics import ENOUGH_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_setups.registry.measurement import ImageSample, Measurement

T = TypeVar("T")
IMAGE: Final = "image"
SIMILARITIES: Final[Mapping[str, Stage]] = {
    "caption_similarity": Stage.CAPTION,
    "keywords_overlap": Stage.KEYWORDS,
    "description_similarity": Stage.DESCRIPTION,
}
"""The figures that compare texts, and the stage whose answers each compares."""
PER_PICTURE: Final = {f"{name}.each": stage for name, stage in SIMILARITIES.items()}
"""Likewise of each picture by itself, as bounds name them: ``keywords_overlap.each``."""
SHORTEST_S: Final = 1e-9
"""Seconds; a shorter time was not measured."""


class Worsening(Enum):
    """What makes a figure worse: a rise, a fall, either as the bound says, or falling below a level."""

    RISE = auto()
    FALL = auto()
    EITHER = auto()
    BELOW_LEVEL = auto()


@dataclass(frozen=True, slots=True)
class Value:
    """What a figure takes from one measurement: an amount, and what it is divided by.

    For the fastest of several samples, ``slack`` is the logarithm of the second fastest over the fastest: it
    bounds how far the fastest is from the limit that more samples would approach (Robson and Whitlock,
    Estimation of a truncation point, Biometrika 51, 1964). None with too few samples.
    """

    amount: float
    per: float = 1.0
    slack: float | None = None


# A figure is computed of some hundred samples of all pictures: these functions are written in C.
_BEFORE: Final = itemgetter(0)
_AFTER: Final = itemgetter(1)
_AMOUNT: Final = attrgetter("amount")
_PER: Final = attrgetter("per")
Pair = tuple[Value, Value]
Pairs = dict["ImageSample", Pair]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        short: the name without the stage.
        unit: empty for shares.
        worsening: what makes it worse.
        example: a bound on it, as people type it.
        combine: makes one number of the values of many measurements.
        pairs: pairs what was measured before and after.
        timed: whether it compares only on the same hardware.
    """

    short: str
    unit: str
    worsening: Worsening
    example: str
    combine: Callable[[Sequence[Value]], float]
    pairs: Callable[[Sequence[Measurement], Sequence[Measurement]], Pairs]
    timed: bool = True

    def before(self, pairs: Sequence[Pair]) -> float:
        """The baseline's figure."""
        return self.combine(list(map(_BEFORE, pairs)))

    def after(self, pairs: Sequence[Pair]) -> float:
        """The run's figure."""
        return self.combine(list(map(_AFTER, pairs)))


def _ratio(values: Sequence[Value]) -> float:
    amount, per = sum(map(_AMOUNT, values)), sum(map(_PER, values))
    return float(amount / per)


def _percentile(percent: int, values: Sequence[Value]) -> float:
    return percentile(list(map(_AMOUNT, values)), percent)


def _latency(measurement: Measurement) -> Value | None:
    return _time(measurement.latency_s)


def _first_token(measurement: Measurement) -> Value | None:
    return _time(measurement.ttft_s)


def _time(seconds: float | None) -> Value | None:
    # A ratio of times, and its logarithm, need a time above zero.
    return None if seconds is None or seconds < SHORTEST_S else Value(seconds)


def _tokens(measurement: Measurement) -> Value | None:
    return Value(measurement.output_tokens) if measurement.output_tokens else None


def _token_rate(measurement: Measurement) -> Value | None:
    latency = _latency(measurement)
    return Value(measurement.output_tokens, latency.amount) if measurement.output_tokens and latency else None


def _stage_pairs(
    stage: str,
    value: Callable[[Measurement], Value | None],
    before: Sequence[Measurement],
    after: Sequence[Measurement],
) -> Pairs:
    old, new = (
        {(m.image, m.sample): measured for m in side if m.stage == stage and (measured := value(m))}
        for side in (before, after)
    )
    return _joined(old, new)


def _joined(old: Mapping[ImageSample, T], new: Mapping[ImageSample, T]) -> dict[ImageSample, tuple[T, T]]:
    return {place: (old[place], new[place]) for place in old if place in new}


def _image_pairs(before: Sequence[Measurement], after: Sequence[Measurement]) -> Pairs:
    old, new = (
        {place: value for place, seconds in image_seconds(side).items() if (value := _time(seconds))}
        for side in (before, after)
    )
    return _joined(old, new)


def _fastest_pairs(stage: str, before: Sequence[Measurement], after: Sequence[Measurement]) -> Pairs:
    """A pair for each image: the fastest of its samples, which other load on the machine delays least."""
    samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (image, _), (old, new) in _stage_pairs(stage, _latency, before, after).items():
        samples[image].append((old.amount, new.amount))
    return {
        (image, 1): (_fastest([old for old, _ in times]), _fastest([new for _, new in times]))
        for image, times in samples.items()
    }


def _fastest(seconds: Sequence[float]) -> Value:
    # Other load only ever delays, so the fastest sample is nearest to the time of an idle machine.
    fastest, *others = sorted(seconds)
    return Value(fastest, slack=math.log(others[0] / fastest) if len(seconds) >= ENOUGH_SAMPLES else None)


def _similarity_pairs(stage: str, before: Sequence[Measurement], after: Sequence[Measurement]) -> Pairs:
    """A pair for each sample whose texts can be compared; the similarity is its second value."""
    old, new = (
        {(m.image, m.sample): m for m in side if m.stage == stage and m.text and _is_parsed(m)}
        for side in (before, after)
    )
    return {place: (Value(1.0), Value(answer_similarity(*pair))) for place, pair in _joined(old, new).items()}


def _is_parsed(measurement: Measurement) -> bool:
    # Keywords that did not parse have text, but no set to compare.
    return measurement.stage != "keywords" or measurement.keywords is not None


def _latencies(
    part: str, pairs: Callable[[Sequence[Measurement], Sequence[Measurement]], Pairs]
) -> dict[str, Figure]:
    """Mean, median and 95th percentile of a stage's latencies, or of whole images."""
    combinations: dict[str, Callable[[Sequence[Value]], float]] = {
        "mean": _ratio,
        "p50": partial(_percentile, 50),
        "p95": partial(_percentile, 95),
    }
    return {
        f"{part}.{name}": Figure(name, "s", Worsening.RISE, f"{name}:20% or {name}:0.5s", combine, pairs)
        for name, combine in combinations.items()
    }


def _stage_figures(stage: str) -> dict[str, Figure]:
    first, tokens, rate = (
        partial(_stage_pairs, stage, value) for value in (_first_token, _tokens, _token_rate)
    )
    median = partial(_percentile, 50)
    return {
        f"{stage}.min": Figure(
            "min", "s", Worsening.RISE, "min:10% or min:0.5s", _ratio, partial(_fastest_pairs, stage)
        ),
        **_latencies(stage, partial(_stage_pairs, stage, _latency)),
        f"{stage}.ttft": Figure("ttft", "s", Worsening.RISE, "ttft:20% or ttft:0.1s", median, first),
        f"{stage}.tokens_per_s": Figure(
            "tokens_per_s", "tokens/s", Worsening.FALL, "tokens_per_s:-15%", _ratio, rate
        ),
        f"{stage}.output_tokens": Figure(
            "output_tokens", "tokens", Worsening.EITHER, "output_tokens:50%", _ratio, tokens, timed=False
        ),
    }


def _similarity_figures() -> dict[str, Figure]:
    return {
        name: Figure(
            name,
            "",
            Worsening.BELOW_LEVEL,
            f"{name}:0.6",
            _ratio,
            partial(_similarity_pairs, stage),
            timed=False,
        )
        for name, stage in SIMILARITIES.items()
    }


FIGURES: Final[Mapping[str, Figure]] = {
    **{name: figure for stage in Stage for name, figure in _stage_figures(stage).items()},
    **_latencies(IMAGE, _image_pairs),
    **_similarity_figures(),
}
"""By the name that a bound and a table use: ``caption.p50``, ``image.mean``, ``keywords_overlap``.

``mean``, ``p50`` and ``p95`` are of all latencies. ``min`` is the mean over the images of the fastest of
their samples. ``ttft`` is the median time to first token. ``tokens_per_s`` is all output tokens divided by
all seconds, ``output_tokens`` their mean per output.
"""
