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
OTHER_LEVELS: Final = "other numbers of images at once were to be measured (--setup-capacity)"


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
        margin: how far the true figure may be from it on either side with a confidence of about 97 %, as a
            share of it; None where that is not known, and every change beyond a bound counts.
        unjudged: why a bound on it is not judged, None where it is.
        timed: whether it compares only on the same hardware.
        basis: what both sides must have in common.
        other_basis: what they do not have in common otherwise, in words.
    """

    name: str
    unit: str
    higher_is_better: bool
    example: str
    value: Callable[[Performance], float | None]
    margin: Callable[[Performance], float | None] = _not_known
    unjudged: Callable[[Performance], str | None] = _not_known
    timed: bool = True
    basis: Callable[[Performance], object] = _not_known
    other_basis: str = ""

    def incomparable(self, before: Performance, after: Performance) -> str | None:
        """Why the figures of two runs do not compare, None where they do."""
        other = self.other_basis if self.basis(before) != self.basis(after) else None
        return self.unjudged(after) or self.unjudged(before) or other

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


def _open_slo_level(performance: Performance) -> str | None:
    """Whether the service level was kept wherever it was measured, or the client was the limit."""
    record = performance.capacity
    if record and record.slo_at_least:
        return f"the service level is kept at least up to {record.slo_level} at once; more was not measured"
    return _client_limit(performance)


def _levels_basis(performance: Performance) -> object:
    """The numbers of images at once that were to be measured, None where they were searched for."""
    return performance.capacity.given if performance.capacity else None


def _slo_basis(performance: Performance) -> object:
    slo = performance.capacity.slo if performance.capacity else None
    return "".join((slo or "").lower().split()), _levels_basis(performance)


def _knee_level(performance: Performance) -> CapacityLevel | None:
    record = performance.capacity
    levels = record.levels or () if record else ()
    return next((level for level in levels if record and level.at_once == record.knee), None)


def _margin_at_knee(performance: Performance) -> float | None:
    level = _knee_level(performance)
    return level.margin if level else None


def _client_limit(performance: Performance) -> str | None:
    """Whether the client was the limit at the knee, or above it, where more seems to gain nothing."""
    record = performance.capacity
    levels = record.levels or () if record else ()
    knee = record.knee if record else None
    limited = any(level.client_limited and level.at_once >= (knee or 0) for level in levels)
    return "the client, and not the server, was the limit" if limited else None


def _joules_per_image(performance: Performance) -> float | None:
    return performance.energy.joules_per_image if performance.energy else None


def _peak_memory(performance: Performance) -> float | None:
    return performance.energy.peak_gpu_memory_mib if performance.energy else None


def _measured_devices(performance: Performance) -> object:
    """How many devices of each source were measured, and how many images at once shared their idle power."""
    energy = performance.energy
    sources = (energy.gpu, energy.cpu) if energy else ()
    devices = [len(source.devices or ()) if source and source.joules is not None else 0 for source in sources]
    return devices, performance.concurrency


PERFORMANCE_FIGURES: Final[Mapping[str, PerformanceFigure]] = {
    figure.name: figure
    for figure in (
        PerformanceFigure(
            "capacity.images_per_s", "images/s", higher_is_better=True, example="capacity.images_per_s:-10%",
            value=_images_per_s, margin=_margin_at_knee, unjudged=_client_limit,
            basis=_levels_basis, other_basis=OTHER_LEVELS,
        ),
        PerformanceFigure(
            "capacity.knee", "images at once", higher_is_better=True, example="capacity.knee:-25%",
            value=_knee, unjudged=_client_limit, basis=_levels_basis, other_basis=OTHER_LEVELS,
        ),
        PerformanceFigure(
            "capacity.slo_level", "images at once", higher_is_better=True, example="capacity.slo_level:-25%",
            value=_slo_level, unjudged=_open_slo_level, basis=_slo_basis,
            other_basis="another service level was to be kept, or other numbers of images at once measured",
        ),
        PerformanceFigure(
            "energy.joules_per_image", "J", higher_is_better=False, example="energy.joules_per_image:10%",
            value=_joules_per_image, basis=_measured_devices,
            other_basis="other devices were measured, or other images at once",
        ),
        PerformanceFigure(
            "energy.peak_gpu_memory_mib", "MiB", higher_is_better=False,
            example="energy.peak_gpu_memory_mib:5%", value=_peak_memory,
        ),
    )
}  # fmt: skip
"""By name, in the order in which they are shown."""
