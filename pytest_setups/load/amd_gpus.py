"""The power and memory of AMD's GPUs, through the files of the kernel's driver (amdgpu).

See https://docs.kernel.org/gpu/amdgpu/thermal.html: ``power1_average`` is a mean over milliseconds, and newer
cards have only ``power1_input``. ``energy1_input``, where a driver has it, counts by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.load.power_sensors import (
    MemoryReading,
    PowerSensor,
    PowerSource,
    Quantity,
    SensorError,
    Sensors,
    micro_or_none,
    read_micro,
)
from pytest_setups.serving.local.gpus import MIB, amd_cards
from pytest_setups.serving.local.text_files import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FILES: Final = (
    ("energy1_input", Quantity.ENERGY),
    ("power1_average", Quantity.POWER),
    ("power1_input", Quantity.POWER),
)
_LIMITS: Final = ("power1_cap_max", "power1_cap")
ALL_GPUS: Final = "all AMD GPUs of the machine: its driver does not say which of them the server uses"


@dataclass(frozen=True, slots=True)
class AmdMemory:
    """The memory of AMD's GPUs; of single processes it is not known."""

    cards: Sequence[Path]

    def read(self, *, processes: bool) -> MemoryReading:
        """The memory of all of them together.

        Raises:
            SensorError: one of them cannot be read.
        """
        # Bytes, which the same reader gives as millionths.
        used = [read_micro(card / "mem_info_vram_used") / 1e-6 for card in self.cards]
        return MemoryReading(device_mib=sum(used) / MIB)


def amd_sensors(root: Path = Path("/")) -> Sensors:
    """A sensor for each AMD GPU; ``root`` is the root of the file system."""
    cards = amd_cards(root)
    if not cards:
        return Sensors()
    sensors, faults = [], []
    for number, card in enumerate(cards):
        try:
            sensors.append(_sensor(number, card))
        except SensorError as error:
            faults.append((PowerSource.GPU, str(error)))
    return Sensors(
        power=sensors,
        faults=faults,
        memory=AmdMemory(cards),
        remarks=[ALL_GPUS] if len(cards) > 1 else [],
    )


def _sensor(number: int, card: Path) -> PowerSensor:
    product = read_text(card / "product_name").strip() or f"AMD {read_text(card / 'device').strip()}"
    name, fault = f"GPU {number} ({product})", "its driver exposes no power"
    for file, quantity in _files(card):
        try:
            read_micro(file)
        except SensorError as error:  # a file may be there and not work on this card
            fault = str(error)
            continue
        limits = (micro_or_none(file.with_name(limit)) for limit in _LIMITS)
        limit_w = next((limit for limit in limits if limit), None)
        return PowerSensor(PowerSource.GPU, name, quantity, partial(read_micro, file), limit_w=limit_w)
    message = f"{name}: {fault}"
    raise SensorError(message)


def _files(card: Path) -> Iterator[tuple[Path, Quantity]]:
    for folder in sorted(card.glob("hwmon/hwmon*")):
        for name, quantity in _FILES:
            if (folder / name).exists():
                yield folder / name, quantity
