"""The capacity of a server: how many images a second it tags at each number of images at once."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.checks.output_checks import check_outcome
from pytest_setups.config.load_values import MOST_AT_ONCE
from pytest_setups.load import steady_window
from pytest_setups.load.image_load import ThreadedLoad
from pytest_setups.load.level_search import LevelSearch, is_sound, kept_level, knee_of
from pytest_setups.load.load_process import LoadJob, ProcessLoad
from pytest_setups.load.picture_spool import PictureSpool, SpooledPictures
from pytest_setups.registry.load_records import CapacityLevel, CapacityRecord
from pytest_setups.registry.performance import client_delay
from pytest_setups.tagging.python_tagger import wrap_python_tagger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_setups.config.load_values import ServiceLevel
    from pytest_setups.config.settings import Settings
    from pytest_setups.load.image_load import ImageLoad, ImageTiming
    from pytest_setups.load.steady_window import SteadyWindow
    from pytest_setups.run.connection import Connection
    from pytest_setups.tagging.images import Sample

ROUNDS_IN_FLIGHT: Final = 4
"""Images of a level for each that is tagged at once: one round to ramp up, one to drain, two that count."""
FEWEST_ROUNDS: Final = 3
"""With fewer, hardly any time would count."""
FEWEST_IMAGES: Final = 8
MOST_PICTURES: Final = 100
"""A level tags every picture once, unless there are more."""
MOST_ROUNDS: Final = 24
MOST_IMAGES: Final = (64, 200)
"""A level that scatters is measured with more images: ``MOST_ROUNDS`` of them, at least and at most these."""
ENOUGH_MARGIN: Final = 0.1
"""A margin of the throughput, as a share of it, with which a level is no longer measured."""
HOUR_S: Final = 3600


@dataclass(slots=True)
class CapacityExperiment:
    """Measures one level after the other.

    Args:
        samples: the pictures; a level takes them in turn.
        prepare: makes pictures ready before a level is timed; returned are those to tag.
        load: tags them.
    """

    samples: Sequence[Sample]
    prepare: Callable[[Sequence[Sample]], Sequence[Sample]]
    load: ImageLoad
    _asked: int = field(default=0)

    def measure(self, at_once: int) -> CapacityLevel:
        """Measure a level: until its throughput is known well enough, or an image failed."""
        timings: list[ImageTiming] = []
        windows: list[SteadyWindow] = []
        most = min(max(MOST_ROUNDS * at_once, MOST_IMAGES[0]), MOST_IMAGES[1])
        count = max(ROUNDS_IN_FLIGHT * at_once, FEWEST_IMAGES, min(len(self.samples), MOST_PICTURES))
        while True:
            round_timings = self.load.run(self.prepare(self._next(count)), at_once)
            window = steady_window.steady_window(round_timings, at_once)
            windows += [window] if window else []
            timings += round_timings
            count = min(len(timings), most - len(timings))
            if count < FEWEST_ROUNDS * at_once or _is_enough(timings, windows):
                return _level(at_once, timings, windows)

    def _next(self, count: int) -> list[Sample]:
        """The next pictures in turn."""
        asked = range(self._asked, self._asked + count)
        self._asked += count
        return [self.samples[number % len(self.samples)] for number in asked]


def measure_levels(connection: Connection) -> Iterator[CapacityLevel]:
    """Measure the capacity of the server that answered: each level is returned as soon as it is known."""
    settings, own = connection.settings, connection.python_tagger
    most_at_once = max(settings.capacity or (MOST_AT_ONCE,))
    samples = list(connection.samples.values())
    with tempfile.TemporaryDirectory(prefix="pytest-setups-") as folder, ExitStack() as stack:
        if own is None:
            pictures = SpooledPictures(Path(folder))
            load = ProcessLoad(LoadJob(connection.access, connection.request, pictures.folder))
            stack.callback(load.close)
            prepare = PictureSpool(pictures, settings.max_edge).fill
            experiment = CapacityExperiment(samples, prepare, load)
        else:
            tagger = wrap_python_tagger(own.user_tagger, at_once=most_at_once, secrets=settings.secrets())
            # What a user's own tagger sends is its own affair: it is given the files.
            experiment = CapacityExperiment(samples, list, ThreadedLoad(tagger))
        for level in LevelSearch(experiment.measure, settings.capacity or (), settings.slo).run():
            yield level
            if experiment.load.given_up is not None:
                return  # no other level would get an answer


def capacity_record(levels: Sequence[CapacityLevel], settings: Settings) -> CapacityRecord:
    """What the levels that were measured say of the server."""
    knee, slo = knee_of(levels), settings.slo
    kept = kept_level(levels, slo) if slo else None
    usable = [level for level in (knee, kept) if level] if slo is None or kept else []
    best = min(usable, key=lambda level: level.at_once, default=None)
    return CapacityRecord(
        levels=sorted(levels, key=lambda level: level.at_once),
        given=list(settings.capacity or ()) or None,
        knee=knee.at_once if knee else None,
        images_per_s=knee.images_per_s if knee else None,
        slo=slo.text if slo else None,
        slo_level=kept.at_once if kept else None,
        slo_at_least=kept.at_once == max(level.at_once for level in levels) if kept else None,
        recommended=best.at_once if best else None,
        reason=_reason(levels, slo, knee, kept),
        **_prediction(best, settings.library),
    )


def _is_enough(timings: Sequence[ImageTiming], windows: Sequence[SteadyWindow]) -> bool:
    margin = steady_window.margin(windows)
    return any(timing.fault for timing in timings) or margin is None or margin <= ENOUGH_MARGIN


def _level(at_once: int, timings: Sequence[ImageTiming], windows: Sequence[SteadyWindow]) -> CapacityLevel:
    faults = [timing.fault for timing in timings if timing.fault is not None]
    rate = steady_window.images_per_s(windows)
    return CapacityLevel(
        at_once=at_once,
        images=len(timings),
        failures=len(faults),
        unpopulated=sum(_is_unpopulated(timing) for timing in timings),
        images_per_s=_rounded(rate),
        margin=_rounded(steady_window.margin(windows)),
        p50_s=_rounded(steady_window.image_percentile(windows, 50)),
        p95_s=_rounded(steady_window.image_percentile(windows, 95)),
        client_limited=_is_client_limited(timings),
        reason=faults[0] if faults else None if rate else "no time in which the load was steady",
    )


def _is_client_limited(timings: Sequence[ImageTiming]) -> bool | None:
    """Whether the times are rather the client's than the server's, None where that is not known."""
    outputs = [outcome.output for timing in timings for outcome in timing.outcomes if outcome.output]
    replies = [output.reply for output in outputs if output.reply]
    delay = client_delay((reply.client_delay_s, reply.ttft_s or reply.latency_s) for reply in replies)
    return None if delay is None else delay.limited


def _is_unpopulated(timing: ImageTiming) -> bool:
    """Whether the image has an answer that a check of outputs refuses."""
    return any(check_outcome(outcome).failures for outcome in timing.outcomes if outcome.output is not None)


def _reason(
    levels: Sequence[CapacityLevel],
    slo: ServiceLevel | None,
    knee: CapacityLevel | None,
    kept: CapacityLevel | None,
) -> str | None:
    """Why a figure is missing, None where none is."""
    if knee is None:
        return levels[0].reason if levels else "no level was measured"
    if slo is None or kept is not None:
        return None
    lowest = min(filter(is_sound, levels), key=lambda level: level.at_once)
    seconds = slo.measured(lowest) or 0.0
    return f"{slo.text} is not kept at any level: it takes {seconds:.3f} s at {lowest.at_once} at once"


def _prediction(best: CapacityLevel | None, library: int | None) -> dict[str, Any]:
    if best is None or library is None or not best.images_per_s:
        return {"library": library}
    hours = library / best.images_per_s / HOUR_S
    # As a factor: the throughput may be that share lower, or higher.
    share = best.margin
    ends = (None, None) if share is None or share >= 1 else (hours / (1 + share), hours / (1 - share))
    return {
        "library": library,
        "hours": _rounded(hours),
        "hours_low": _rounded(ends[0]),
        "hours_high": _rounded(ends[1]),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
