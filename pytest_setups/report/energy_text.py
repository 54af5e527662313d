"""What the server's machine drew, in words: lines of the terminal, and rows of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.load_records import EnergyRecord, EnergySourceRecord
    from pytest_setups.run.result import RunResult

MAX_LINE: Final = 600
WHOLE_FROM: Final = 1000


def lines(result: RunResult) -> Iterator[str]:
    """The lines of a terminal; none where neither a sensor nor a price was there."""
    record = result.performance.energy
    if record is None or not is_shown(record):
        return
    for text in sentences(record):
        yield one_line(text, MAX_LINE)


def is_shown(record: EnergyRecord) -> bool:
    """Whether there is anything to say: figures, a GPU that could not be measured, or a price in vain."""
    figures = (record.joules, record.peak_gpu_memory_mib, record.price_kwh)
    return any(figure is not None for figure in figures) or _has_devices(record.gpu)


def sentences(record: EnergyRecord) -> Iterator[str]:
    """The figures, and why there are none."""
    if record.joules is None:
        yield f"energy: {_not_measured(record.reason)}"
    else:
        yield f"energy: {_figures(record)}"
    if record.cost_per_1000_images is not None:
        yield f"energy: 1,000 images cost {_cost(record)}"
    yield from (f"energy includes {remark}" for remark in record.remarks or ())
    if record.peak_gpu_memory_mib is not None:
        yield f"gpu memory: peak {_number(record.peak_gpu_memory_mib)} MiB{_of_the_server(record)}"


def _not_measured(reason: str | None) -> str:
    """That there is no figure, and why, where that is known."""
    return f"not measured: {reason}" if reason else "not measured"


def _of_the_server(record: EnergyRecord) -> str:
    if record.peak_server_gpu_memory_mib is not None:
        return f", of which the server used {_number(record.peak_server_gpu_memory_mib)}"
    return f"; {record.memory_reason}" if record.memory_reason else ""


def _figures(record: EnergyRecord) -> str:
    measured = [source for source in (record.gpu, record.cpu) if source and source.joules is not None]
    devices = ", ".join(device for source in measured for device in source.devices or ())
    unmeasured = [
        f"{name} not included: {source.reason or 'not measured'}"
        for name, source in (("GPUs", record.gpu), ("processors", record.cpu))
        if source and source.joules is None and _has_devices(source)
    ]
    each = "no image was answered"
    if record.joules_per_image is not None:
        each = f"{_significant(record.joules_per_image)} J per image"
    return "; ".join([f"{each} ({_drawn(record)}){f' by {devices}' if devices else ''}", *unmeasured])


def _drawn(record: EnergyRecord) -> str:
    """The mean power and the span, of which an entry may lack each."""
    watts = "" if record.mean_watts is None else f"{_number(record.mean_watts)} W"
    span = "" if record.span_s is None else f"for {record.span_s:.1f} s"
    return ", ".join(filter(None, (f"{watts} {span}".strip(), "idle power included")))


def _has_devices(source: EnergySourceRecord | None) -> bool:
    """Whether the machine has any of this kind, measured or not."""
    return source is not None and source.devices is not None


def table(record: EnergyRecord) -> list[tuple[str, str]]:
    """What was measured as names and values, without what was not."""
    sources = (("GPUs", record.gpu), ("processors", record.cpu))
    cells = {
        "energy per image": _with_unit(record.joules_per_image, "J"),
        "cost of 1,000 images": _cost(record),
        "energy": _with_unit(record.joules, "J"),
        "mean power": _with_unit(record.mean_watts, "W"),
        "span": _with_unit(record.span_s, "s"),
        **{name: _source(source) for name, source in sources if source},
        "peak GPU memory": _with_unit(record.peak_gpu_memory_mib, "MiB"),
        "of which the server used": _with_unit(record.peak_server_gpu_memory_mib, "MiB"),
    }
    return [(name, cell) for name, cell in cells.items() if cell is not None]


def _cost(record: EnergyRecord) -> str | None:
    if record.cost_per_1000_images is None or record.price_kwh is None:
        return None
    return f"{_significant(record.cost_per_1000_images)} at {record.price_kwh:g} per kWh"


def _source(source: EnergySourceRecord) -> str:
    if source.joules is None:
        return _not_measured(source.reason)
    figures = (_with_unit(source.joules, "J"), _with_unit(source.mean_watts, "W"))
    devices = ", ".join(source.devices or ())
    return ": ".join(filter(None, (", ".join(filter(None, figures)), devices)))


def _with_unit(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{_number(value)} {unit}"


def _number(value: float) -> str:
    """To the tenth, from 1,000 up to the whole."""
    return f"{value:,.0f}" if value >= WHOLE_FROM else f"{value:.1f}"


def _significant(value: float) -> str:
    """To four digits, from 1,000 up to the whole."""
    return f"{value:,.0f}" if value >= WHOLE_FROM else f"{value:.4g}"
