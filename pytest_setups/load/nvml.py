"""NVIDIA's GPUs through their management library (NVML): energy, power, memory, and which the server uses.

See https://docs.nvidia.com/deploy/nvml-api/. The counter of energy exists since Volta. Without it power is
read, which since Ampere (GA100 aside) is a mean of the last second.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.load.power_sensors import (
    MemoryReading,
    PowerSensor,
    PowerSource,
    Quantity,
    SensorError,
    Sensors,
)
from pytest_setups.serving.local.gpus import MIB, library_text, nvidia_names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

MILLI: Final = 1e-3
NO_LIBRARY: Final = "install pytest-setups[gpu] to read its NVIDIA GPUs"
ALL_GPUS: Final = "all NVIDIA GPUs of the machine: NVML lists no process of the server's on any of them"


def nvml_sensors(find_server: Callable[[], Collection[int]], root: Path = Path("/")) -> Sensors:
    """The sensors of the GPUs that the server's processes use, of all GPUs where no process is seen.

    In a container of its own the server has other process ids than NVML, which gives those of the host.

    Args:
        find_server: gives the processes of the server; called only where there are GPUs.
        root: the root of the file system, whose driver says whether there are GPUs without the library.
    """
    has_driver = bool(nvidia_names(root))
    try:
        library = _library()
    except SensorError as error:  # installed and without a driver: a machine without these GPUs
        return _unread(str(error)) if has_driver else Sensors()
    with ExitStack() as opened:
        opened.callback(library.nvmlShutdown)
        sensors = _found(library, find_server)
        return replace(sensors, close=opened.pop_all().close)


@dataclass(frozen=True, slots=True)
class NvmlGpu:
    """One GPU, as NVML counts them: CUDA may count them otherwise."""

    library: Any
    index: int
    handle: Any
    name: str

    @classmethod
    def at(cls, library: Any, index: int) -> NvmlGpu:
        """The GPU of that index."""
        handle = library.nvmlDeviceGetHandleByIndex(index)
        return cls(library, index, handle, f"GPU {index} ({library_text(library.nvmlDeviceGetName(handle))})")

    def is_used_by(self, pids: Collection[int]) -> bool:
        """Whether any of these processes has memory or a context on it."""
        try:
            return any(pid in pids for pid, _ in self.processes())
        except SensorError:
            return False

    def processes(self) -> Mapping[tuple[int, int], int | None]:
        """The bytes that each process uses in each GPU instance (MIG); None where NVML does not say.

        Raises:
            SensorError: they cannot be listed.
        """
        # llama.cpp with Vulkan is a graphics process; one of both kinds is listed twice with the same bytes.
        with _errors():
            listed = [
                *self.library.nvmlDeviceGetComputeRunningProcesses(self.handle),
                *self.library.nvmlDeviceGetGraphicsRunningProcesses(self.handle),
            ]
        return {(process.pid, process.gpuInstanceId): process.usedGpuMemory for process in listed}

    def sensor(self) -> PowerSensor:
        """The counter of energy, or else the power.

        Raises:
            SensorError: neither can be read.
        """
        faults = []
        for quantity, read in ((Quantity.ENERGY, self._joules), (Quantity.POWER, self._watts)):
            try:
                read()
            except SensorError as error:
                faults.append(f"{quantity}: {error}")
            else:
                return PowerSensor(PowerSource.GPU, self.name, quantity, read, limit_w=self._limit())
        message = f"{self.name}: {'; '.join(faults)}"
        raise SensorError(message)

    def used_bytes(self) -> int:
        """The memory in use.

        Raises:
            SensorError: NVML does not say.
        """
        with _errors():
            return int(self.library.nvmlDeviceGetMemoryInfo(self.handle).used)

    def _joules(self) -> float:
        with _errors():
            return float(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle)) * MILLI

    def _watts(self) -> float:
        with _errors():
            return float(self.library.nvmlDeviceGetPowerUsage(self.handle)) * MILLI

    def _limit(self) -> float | None:
        """The most that the board can be set to, or else the limit that is in force."""
        for name, nth in (("PowerManagementLimitConstraints", 1), ("EnforcedPowerLimit", None)):
            try:
                with _errors():
                    limit = getattr(self.library, f"nvmlDeviceGet{name}")(self.handle)
            except SensorError:
                continue
            return float(limit if nth is None else limit[nth]) * MILLI or None
        return None


@dataclass(frozen=True, slots=True)
class NvmlMemory:
    """The memory of GPUs, and the part of it that the server's processes use."""

    gpus: Sequence[NvmlGpu]
    server_pids: Collection[int]

    def read(self, *, processes: bool) -> MemoryReading:
        """The memory of all of these GPUs together.

        Raises:
            SensorError: NVML does not say.
        """
        device = sum(gpu.used_bytes() for gpu in self.gpus) / MIB
        return MemoryReading(device, self._server() if processes else None)

    def _server(self) -> float | None:
        try:
            processes = [process for gpu in self.gpus for process in gpu.processes().items()]
        except SensorError:
            return None
        listed = [used for (pid, _), used in processes if pid in self.server_pids]
        known = [used for used in listed if used is not None]
        return sum(known) / MIB if listed and len(known) == len(listed) else None


def _library() -> Any:
    """The library, initialised."""
    try:
        import pynvml
    except ImportError:
        raise SensorError(NO_LIBRARY) from None
    with _errors():
        pynvml.nvmlInit()
    return pynvml


def _gpus(library: Any) -> list[NvmlGpu]:
    with _errors():
        return [NvmlGpu.at(library, index) for index in range(library.nvmlDeviceGetCount())]


def _found(library: Any, find_server: Callable[[], Collection[int]]) -> Sensors:
    try:
        gpus = _gpus(library)
    except SensorError as error:
        return _unread(str(error))
    pids = find_server() if gpus else ()
    used = [gpu for gpu in gpus if gpu.is_used_by(pids)]
    remarks = [] if used or len(gpus) < 2 else [ALL_GPUS]
    return replace(_sensors_of(used or gpus, pids), remarks=remarks, serves=bool(used))


def _sensors_of(gpus: Sequence[NvmlGpu], pids: Collection[int]) -> Sensors:
    power, faults = [], []
    for gpu in gpus:
        try:
            power.append(gpu.sensor())
        except SensorError as error:
            faults.append((PowerSource.GPU, str(error)))
    memory = NvmlMemory(gpus, pids) if gpus else None
    return Sensors(power=power, faults=faults, memory=memory)


def _unread(reason: str) -> Sensors:
    return Sensors(faults=[(PowerSource.GPU, reason)])


@contextmanager
def _errors() -> Iterator[None]:
    """NVML's errors as those of a sensor."""
    import pynvml

    try:
        yield
    except pynvml.NVMLError as error:
        raise SensorError(f"NVML: {error}") from None
