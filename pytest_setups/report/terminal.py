"""The terminal's lines: a header, and a summary with a table of stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.performance import by_stage, image_performance, image_seconds, stage_performance
from pytest_setups.regression.word_difference import WordChange
from pytest_setups.report import (
    capacity_text,
    comparison_text,
    energy_text,
    formatting,
    library_text,
    picture_text,
    server_counters_text,
    soak_text,
)
from pytest_setups.report.reporter import Level
from pytest_setups.serving.processes.server_process import without_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_setups.registry.measurement import Measurement
    from pytest_setups.report.reporter import Notice
    from pytest_setups.run.evidence import TaggerEvidence
    from pytest_setups.run.result import RunHeader, RunResult

_COLOURS: Final[Mapping[WordChange, Mapping[str, bool]]] = {
    WordChange.SAME: {},
    WordChange.REMOVED: {"red": True},
    WordChange.ADDED: {"green": True},
}
COLUMNS = ("stage", "n", "failed", "mean s", "p50 s", "p95 s", "max s", "TTFT s", "tokens/s")


class TerminalSummary:
    """The summary below the tests: the table of stages, the slowest image, the comparison, the notices."""

    def __init__(self, write: Callable[..., None]) -> None:
        """``write`` writes a text, in a colour where one is named (``green=True``) and there are colours."""
        self._write = write

    def report(self, result: RunResult, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Write the summary."""
        for line in self._lines(result):
            self._write(f"{line}\n")
        for parts in picture_text.worst_pictures(result.comparison.comparison) if result.comparison else ():
            for part in parts:
                self._write(part.text, **_COLOURS[part.change])
            self._write("\n")
        for notice in notices:
            is_good = notice.level is Level.INFO
            self._write(notice.text, green=is_good, red=not is_good)
            self._write("\n")
        return ()

    def _lines(self, result: RunResult) -> Iterator[str]:
        if result.measurements:
            yield from table(result.measurements)
            yield slowest(result.measurements) or "no answer was measured"
        yield from figures(result)
        yield from library_text.lines(result)
        yield from capacity_text.lines(result)
        yield from server_counters_text.lines(result)
        yield from energy_text.lines(result)
        yield from soak_text.lines(result)
        if result.comparison is not None:
            yield from comparison_text.table(result.comparison.comparison)
        if result.collected.tagger is not None:
            yield tagger(result.collected.tagger)


def header(run: RunHeader) -> str:
    """The header line: server, models, images, and the tagger or how many requests at once."""
    images = f"{run.images} image{'s' if run.images != 1 else ''}"
    if run.repeat > 1:
        images += f" x {run.repeat} samples"
    if run.server is None:
        fault = without_log(run.fault or "not asked").splitlines()[0]
        return f"setups: {run.base_url or 'no server yet'}, {images}: {fault}"
    identity = run.server.identity
    backend = one_line(" ".join(filter(None, (identity.backend, identity.version))), 60)
    model = one_line(" / ".join(dict.fromkeys(run.server.models.values())), 120)
    how = f"concurrency {run.concurrency}"
    if run.program is not None:
        how = f"tagger {one_line(run.program, 120)}"
    return f"setups: {run.base_url} ({backend}), model {model}, {images}, {how}"


def table(measurements: Sequence[Measurement]) -> Iterator[str]:
    """One line for each stage: answers, failures, latencies in seconds, output tokens per second.

    The last line is for whole images. A figure that was not measured is ``-``.
    """
    yield _line(COLUMNS)
    yield from map(_line, rows(measurements))


def rows(measurements: Sequence[Measurement]) -> Iterator[list[str]]:
    """The cells of each line of the table."""
    grouped = by_stage(measurements)
    for stage in Stage:
        yield _stage_cells(stage, grouped.get(stage, []))
    yield _image_cells(measurements)


def tagger(evidence: TaggerEvidence) -> str:
    """How long a tagger command took, and where its log is."""
    took = "was not run" if evidence.seconds is None else f"took {evidence.seconds:.1f} s"
    return f"tagger: the command {took}; log: {evidence.log or 'none'}"


def slowest(measurements: Sequence[Measurement]) -> str | None:
    """The slowest image and its seconds, None when nothing was measured."""
    seconds = image_seconds(measurements)
    if not seconds:
        return None
    image = max(seconds, key=lambda key: seconds[key])
    return f"slowest image: {one_line(image[0], 120)} ({seconds[image]:.3f} s)"


def figures(result: RunResult) -> Iterator[str]:
    """A line for each figure of the run as a whole: ``retries: 2 of 39 answers needed another attempt``."""
    yield from (f"{level.name}: {level.sentence}" for level in result.levels)


def _stage_cells(stage: Stage, measurements: Sequence[Measurement]) -> list[str]:
    figures = stage_performance(measurements)
    answered = sum(measurement.text is not None for measurement in measurements)
    failed = sum(not measurement.passed for measurement in measurements)
    latencies = (figures.mean_s, figures.p50_s, figures.p95_s, figures.max_s, figures.ttft_p50_s)
    cells = [stage.value, str(answered), str(failed), *map(formatting.seconds, latencies)]
    return [*cells, formatting.rate(figures.output_tokens_per_s)]


def _image_cells(measurements: Sequence[Measurement]) -> list[str]:
    answered = {(m.image, m.sample) for m in measurements if m.text is not None}
    failed = {(m.image, m.sample) for m in measurements if not m.passed}
    figures = image_performance(image_seconds(measurements))
    latencies = (figures.mean_s, figures.p50_s, figures.p95_s, figures.max_s)
    return ["image", str(len(answered)), str(len(failed)), *map(formatting.seconds, latencies), "-", "-"]


def _line(cells: Sequence[str]) -> str:
    first, *rest = cells
    return f"{first:<12}" + "".join(f"{cell:>9}" for cell in rest)
