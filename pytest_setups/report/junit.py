"""JUnit XML: the figures of a run as properties of its test suite, which both families of pytest allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_setups.redaction import one_line
from pytest_setups.registry.performance import by_stage
from pytest_setups.report.reporter import MAX_NOTICE, faults, verdict_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_setups.registry.entry import Performance
    from pytest_setups.registry.load_records import CapacityRecord, SoakRecord
    from pytest_setups.report.reporter import Notice
    from pytest_setups.run.result import RunResult

RecordProperty = Callable[[str, str], None]


class JunitReporter:
    """Adds the figures to the XML file that pytest itself writes (``--junitxml``)."""

    def __init__(self, plugins: Iterable[object]) -> None:
        """``plugins`` are pytest's; without the one that writes the file nothing is reported."""
        self._record = _property_recorder(plugins)

    def report(self, result: RunResult, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Record the properties."""
        if self._record is not None:
            for name, value in properties(result, notices):
                self._record(name, value)
        return ()


def properties(result: RunResult, notices: Sequence[Notice]) -> Iterator[tuple[str, str]]:
    """The properties, in names that stay: ``setup.verdict``, ``setup.caption.p50_s`` and so on.

    Times are in seconds; what was not measured has no property.
    """
    for name, value in _values(result, notices):
        if value is not None:
            yield f"setup.{name}", one_line(str(value), MAX_NOTICE)


def _values(result: RunResult, notices: Sequence[Notice]) -> Iterator[tuple[str, Any]]:
    yield "verdict", verdict_word(result, notices)
    yield "reason", "; ".join(faults(notices)) or result.verdict.reason or None
    server = result.header.server
    if server is not None:
        yield "model", server.model
        yield "backend", server.identity.backend
        yield "version", server.identity.version
    yield "images", result.header.images
    yield "images_per_s", result.performance.images_per_s
    for stage, measurements in by_stage(result.measurements).items():
        yield f"{stage}.failed", sum(not measurement.passed for measurement in measurements)
    for level in result.levels:
        yield level.name, None if level.after is None else round(level.after.value, 6)
    yield from _capacity_values(result.performance.capacity)
    yield from _soak_values(result.performance.soak)
    yield from _comparison_values(result)
    yield from _figures(result.performance)


def _capacity_values(record: CapacityRecord | None) -> Iterator[tuple[str, Any]]:
    if record is not None:
        for name in ("images_per_s", "knee", "slo_level", "recommended", "hours"):
            yield f"capacity.{name}", getattr(record, name)


def _soak_values(record: SoakRecord | None) -> Iterator[tuple[str, Any]]:
    if record is not None:
        yield "soak.images", record.images
        yield "soak.failed_images", record.failed_images
        yield "soak.memory_mib_per_image", record.memory and record.memory.mib_per_image
        yield "soak.latency_share_per_image", record.latency and record.latency.share_per_image


def _comparison_values(result: RunResult) -> Iterator[tuple[str, Any]]:
    if result.comparison is None:
        return
    yield "baseline", result.comparison.baseline.name
    for row in result.comparison.comparison.rows:
        yield f"{row.name}.change", None if row.change is None else round(row.change, 6)


def _figures(performance: Performance) -> Iterator[tuple[str, Any]]:
    for part, figures in [*(performance.stages or {}).items(), ("image", performance.image)]:
        for name, value in figures.model_dump().items() if figures else ():
            yield f"{part}.{name}", value


def _property_recorder(plugins: Iterable[object]) -> RecordProperty | None:
    """How pytest's own JUnit XML takes a property of the suite, None where no XML is written.

    pytest offers this to tests only (the fixture ``record_testsuite_property``), and in a worker of
    xdist not at all; what stands behind that fixture is a method of the plugin that writes the file.
    """
    methods = (getattr(plugin, "add_global_property", None) for plugin in plugins)
    return next((method for method in methods if callable(method)), None)
