"""The energy counters of processors (RAPL), as Linux exposes them for Intel and AMD.

See https://docs.kernel.org/power/powercap/powercap.html. A package counts its cores and its graphics; memory
(dram) is beside it. The platform zone (psys) includes the packages, and is left out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.load.power_sensors import (
    PowerSensor,
    PowerSource,
    Quantity,
    SensorError,
    Sensors,
    micro_or_none,
    read_micro,
)
from pytest_setups.serving.local.text_files import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONES: Final = "sys/class/powercap/intel-rapl:*"
_COUNTED: Final = ("package", "dram")


def rapl_sensors(root: Path = Path("/")) -> Sensors:
    """A sensor for each package and its memory; ``root`` is the root of the file system."""
    sensors, faults = [], []
    for zone, name in _zones(root):
        energy = zone / "energy_uj"
        try:
            read_micro(energy)
        except SensorError as error:
            faults.append((PowerSource.CPU, f"{name}: {error}"))
            continue
        sensors.append(
            PowerSensor(
                PowerSource.CPU,
                name,
                Quantity.ENERGY,
                partial(read_micro, energy),
                limit_w=_limit(zone),
                range_j=micro_or_none(zone / "max_energy_range_uj"),
            )
        )
    return Sensors(power=sensors, faults=faults)


def _zones(root: Path) -> Iterator[tuple[Path, str]]:
    for zone in sorted(root.glob(ZONES)):
        name = read_text(zone / "name").strip()
        if name.startswith(_COUNTED):
            # A zone within a package: intel-rapl:0:2 is the memory of package 0.
            package = zone.name.split(":")[1]
            yield zone, name if name.startswith("package") else f"{name} of package {package}"


def _limit(zone: Path) -> float | None:
    """The highest of the limits, long-term and short-term; memory and AMD's packages state none."""
    limits = [micro_or_none(path) for path in sorted(zone.glob("constraint_*_power_limit_uw"))]
    return max((limit for limit in limits if limit), default=None)
