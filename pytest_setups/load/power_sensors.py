"""What measures energy: a counter of joules or a meter of watts, of one GPU or one part of a processor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from pytest_setups.serving.local.text_files import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MICRO: Final = 1e-6


class SensorError(Exception):
    """A sensor gives no figure that can be used; the message says why."""


class PowerSource(StrEnum):
    """What draws the power."""

    GPU = "gpu"
    CPU = "cpu"


class Quantity(StrEnum):
    """What a sensor reads: joules since some moment, or watts now."""

    ENERGY = "energy"
    POWER = "power"


@dataclass(frozen=True, slots=True)
class PowerSensor:
    """One sensor.

    Attributes:
        source: what draws the power.
        name: the device, as a person calls it: ``GPU 0 (NVIDIA L40S)``.
        quantity: what ``read`` returns.
        read: joules or watts; raises SensorError where they cannot be read.
        limit_w: the most that the device is allowed to draw, None where that is not known.
        range_j: where a counter starts again from zero, None for one that does not in practice.
    """

    source: PowerSource
    name: str
    quantity: Quantity
    read: Callable[[], float]
    limit_w: float | None = None
    range_j: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """GPU memory in use in MiB: of all processes, and of the server's where that is known."""

    device_mib: float
    server_mib: float | None = None


class MemorySensor(Protocol):
    """The memory of the GPUs that are measured."""

    def read(self, *, processes: bool) -> MemoryReading:
        """The memory in use now, of the server's processes only where ``processes``: that costs more.

        Raises:
            SensorError: it cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Sensors:
    """The sensors of one kind on this machine.

    Attributes:
        power: those that can be read.
        faults: why devices that are there cannot be measured, by source.
        memory: of their GPUs, None where there is none.
        remarks: what the figure includes beside the server: other GPUs of the machine.
        serves: whether processes of the server were seen on them.
        close: gives back what reading them needs.
    """

    power: Sequence[PowerSensor] = ()
    faults: Sequence[tuple[PowerSource, str]] = ()
    memory: MemorySensor | None = None
    remarks: Sequence[str] = ()
    serves: bool = False
    close: Callable[[], None] = lambda: None


def read_micro(path: Path) -> float:
    """A file of the kernel that holds millionths: microjoules as joules, microwatts as watts.

    Raises:
        SensorError: it cannot be read, or holds something else.
    """
    try:
        return int(path.read_bytes()) * MICRO
    except PermissionError:
        message = f"{path} is readable only by root"
        raise SensorError(message) from None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise SensorError(message) from None
    except ValueError:
        message = f"{path} does not hold a number"
        raise SensorError(message) from None


def micro_or_none(path: Path) -> float | None:
    """Likewise, None where there is no such file or it holds no positive number."""
    text = read_text(path).strip()
    return int(text) * MICRO if text.isdecimal() and int(text) else None
