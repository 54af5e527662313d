"""JUnit XML: the figures of a run as properties of its test suite, which both families of pytest allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_setups.registry.performance import by_stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_setups.report.conclusion import Conclusion

Record = Callable[[str, str], None]


def recorder(plugins: Iterable[object]) -> Record | None:
    """How pytest's own JUnit XML takes a property of the suite, None where no XML is written.

    pytest offers this to tests alone (the fixture ``record_testsuite_property``), and in a worker of
    xdist not at all; what stands behind that fixture is a method of the plugin that writes the file.
    """
    found = (getattr(plugin, "add_global_property", None) for plugin in plugins)
    return next((record for record in found if callable(record)), None)


def properties(conclusion: Conclusion) -> Iterator[tuple[str, str]]:
    """The properties, in names that stay: ``setup.verdict``, ``setup.caption.p50_s`` and so on.

    Times are in seconds; what was not measured has no property.
    """
    for name, value in _values(conclusion):
        if value is not None:
            yield f"setup.{name}", conclusion.shown(str(value))


def _values(conclusion: Conclusion) -> Iterator[tuple[str, Any]]:
    run = conclusion.run
    yield "verdict", conclusion.word
    yield "reason", "; ".join(conclusion.faults) or conclusion.verdict.reason or None
    server = run.session.server
    if server is not None:
        yield "model", server.model
        yield "backend", server.identity.backend
        yield "version", server.identity.version
    yield "images", len(run.session.samples)
    performance = run.performance()
    yield "images_per_s", performance.images_per_s
    for stage, found in by_stage(run.measurements).items():
        yield f"{stage}.failed", sum(not measurement.passed for measurement in found)
    comparing = conclusion.comparing
    if comparing.compared is not None and comparing.baseline is not None:
        yield "baseline", comparing.baseline.name
        for row in comparing.compared.rows:
            yield f"{row.name}.change", None if row.change is None else round(row.change, 6)
    for part, figures in [*(performance.stages or {}).items(), ("image", performance.image)]:
        for name, value in figures.model_dump().items() if figures else ():
            yield f"{part}.{name}", value
