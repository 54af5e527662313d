"""Figures that an entry holds ready: each is read from the ``performance`` of an entry.

Unlike those of ``figures.py`` they cannot be computed again from answers. To add a figure, write its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.regression.figures import Worsening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_setups.registry.entry import Performance
    from pytest_setups.registry.load_records import CapacityLevel

CAPACITY_PREFIX: Final = "capacity."
"""Of the figures that are measured only with --setup-capacity."""


def _not_known(_: Performance) -> None:
    return None


@dataclass(frozen=True, slots=True)
class PerformanceFigure:
    """One figure.

    Attributes:
        name: as in bounds and tables.
        unit: of its value; seconds are ``s``, which a bound must name.
        higher_is_better: whether it is worse when it falls, and not when it rises.
        example: a bound on it, as people type it.
        value: reads it; None where it was not measured.
        margin: how far the true figure may be from it on either side with a confidence of 99 %, as a share
            of it; None where that is not known, and every change beyond a bound counts.
        unjudged: why a bound on it is not judged, None where it is.
        timed: whether it compares only on the same hardware.
    """

    name: str
    unit: str
    higher_is_better: bool
    example: str
    value: Callable[[Performance], float | None]
    margin: Callable[[Performance], float | None] = _not_known
    unjudged: Callable[[Performance], str | None] = _not_known
    timed: bool = True

    @property
    def short(self) -> str:
        """Its name in messages."""
        return self.name

    @property
    def worsening(self) -> Worsening:
        """What makes it worse."""
        return Worsening.FALL if self.higher_is_better else Worsening.RISE


def _images_per_s(performance: Performance) -> float | None:
    return performance.capacity.images_per_s if performance.capacity else None


def _knee(performance: Performance) -> float | None:
    return performance.capacity.knee if performance.capacity else None


def _slo_level(performance: Performance) -> float | None:
    return performance.capacity.slo_level if performance.capacity else None


def _knee_level(performance: Performance) -> CapacityLevel | None:
    record = performance.capacity
    levels = record.levels or () if record else ()
    return next((level for level in levels if record and level.at_once == record.knee), None)


def _margin_at_knee(performance: Performance) -> float | None:
    level = _knee_level(performance)
    return level.margin if level else None


def _client_at_knee(performance: Performance) -> str | None:
    level = _knee_level(performance)
    return "the client was the limit" if level and level.client_limited else None


PERFORMANCE_FIGURES: Final[Mapping[str, PerformanceFigure]] = {
    figure.name: figure
    for figure in (
        PerformanceFigure(
            "capacity.images_per_s", "images/s", higher_is_better=True, example="capacity.images_per_s:-10%",
            value=_images_per_s, margin=_margin_at_knee, unjudged=_client_at_knee,
        ),
        PerformanceFigure(
            "capacity.knee", "images at once", higher_is_better=True, example="capacity.knee:-25%",
            value=_knee, unjudged=_client_at_knee,
        ),
        PerformanceFigure(
            "capacity.slo_level", "images at once", higher_is_better=True, example="capacity.slo_level:-25%",
            value=_slo_level, unjudged=_client_at_knee,
        ),
    )
}  # fmt: skip
"""By name, in the order in which they are shown."""
