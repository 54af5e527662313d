"""What the server's machine drew, in words: lines of the terminal, and rows of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.load_records import EnergyRecord, EnergySourceRecord
    from pytest_setups.run.result import RunResult

MAX_LINE: Final = 600


def lines(result: RunResult) -> Iterator[str]:
    """The lines of a terminal; none where neither a sensor nor a price was there."""
    record = result.performance.energy
    if record is None or not is_shown(record):
        return
    for text in sentences(record):
        yield one_line(text, MAX_LINE)


def is_shown(record: EnergyRecord) -> bool:
    """Whether there is anything to say: figures, a GPU that could not be measured, or a price in vain."""
    return bool(record.joules is not None or record.price_kwh is not None or _has_devices(record.gpu))


def sentences(record: EnergyRecord) -> Iterator[str]:
    """The figures, and why there are none."""
    if record.joules is None:
        yield f"energy: not measured: {record.reason}"
    else:
        yield f"energy: {_figures(record)}"
    if record.cost_per_1000_images is not None:
        yield f"energy: 1,000 images cost {_cost(record)}"
    yield from (f"energy: counted are {remark}" for remark in record.remarks or ())
    if record.peak_gpu_memory_mib is not None:
        server = record.peak_server_gpu_memory_mib
        part = record.memory_reason if server is None else f"{server:.0f} MiB of them the server's"
        yield f"gpu memory: {record.peak_gpu_memory_mib:.0f} MiB at most; {part}"


def _figures(record: EnergyRecord) -> str:
    drawn = f"{record.mean_watts:.1f} W for {record.span_s:.1f} s, idle power included"
    each = "no image was answered" if record.joules_per_image is None else _each(record)
    measured = [source for source in (record.gpu, record.cpu) if source and source.joules is not None]
    devices = ", ".join(device for source in measured for device in source.devices or ())
    unmeasured = [
        f"{name} not included: {source.reason}"
        for name, source in (("GPUs", record.gpu), ("processors", record.cpu))
        if source and source.joules is None and _has_devices(source)
    ]
    return "; ".join([f"{each} ({drawn}) by {devices}", *unmeasured])


def _has_devices(source: EnergySourceRecord | None) -> bool:
    """Whether the machine has any of this kind, measured or not."""
    return source is not None and source.devices is not None


def _each(record: EnergyRecord) -> str:
    return f"{record.joules_per_image:.4g} J per image"


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
        "GPU memory at most": _with_unit(record.peak_gpu_memory_mib, "MiB"),
        "of it the server's": _with_unit(record.peak_server_gpu_memory_mib, "MiB"),
    }
    return [(name, cell) for name, cell in cells.items() if cell is not None]


def _cost(record: EnergyRecord) -> str | None:
    if record.cost_per_1000_images is None or record.price_kwh is None:
        return None
    return f"{record.cost_per_1000_images:.4g} at {record.price_kwh:g} per kWh"


def _source(source: EnergySourceRecord) -> str | None:
    if source.joules is None:
        return f"not measured: {source.reason}"
    return f"{source.joules:.1f} J, {source.mean_watts:.1f} W: {', '.join(source.devices or ())}"


def _with_unit(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:.1f} {unit}"
