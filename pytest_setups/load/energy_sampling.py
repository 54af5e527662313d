"""The readings of all sensors of a machine, and the record that they give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.load.energy_integrals import MIN_SPAN_S, EnergyIntegral
from pytest_setups.load.power_sensors import PowerSource, SensorError
from pytest_setups.registry.load_records import EnergyRecord, EnergySourceRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_setups.load.power_sensors import MemorySensor, Sensors

PROCESSES_EVERY: Final = 10
"""Samples: listing the processes of a GPU costs more than its counters, and servers keep their memory."""
NO_SENSOR: Final = {
    PowerSource.GPU: "no GPU of this machine has a driver that exposes its power",
    PowerSource.CPU: "this machine exposes no energy counters of its processors (RAPL)",
}
NO_GPU_MEMORY: Final = "no GPU of this machine has a driver that exposes its memory"
NO_PROCESS_MEMORY: Final = "the driver does not list the memory of the server's processes"


class EnergySampling:
    """Samples the sensors of a machine. A sensor that fails once gives a reason instead of a figure."""

    def __init__(self, sensors: Sequence[Sensors], clock: Callable[[], float]) -> None:
        """Prepare.

        Args:
            sensors: those of each kind.
            clock: seconds since any moment.
        """
        self._sensors = sensors
        self._clock = clock
        self._integrals = [EnergyIntegral(sensor) for kind in sensors for sensor in kind.power]
        self._memory = PeakMemory([kind.memory for kind in sensors if kind.memory])
        self._span: tuple[float, float] | None = None

    def sample(self) -> None:
        """Read every sensor once."""
        now = self._clock()
        self._span = (self._span[0] if self._span else now, now)
        for integral in self._integrals:
            # Read at its own time: a sensor before it may have been slow.
            integral.sample(self._clock())
        self._memory.sample()

    def close(self) -> None:
        """Give the drivers back."""
        for kind in self._sensors:
            kind.close()

    def record(self) -> EnergyRecord:
        """What the machine drew."""
        first, last = self._span or (0.0, 0.0)
        seconds = last - first
        gpu, cpu = (self._source(source, seconds) for source in PowerSource)
        # A sum without the GPUs of the machine would pass for a frugal server.
        lacks_gpu = gpu.joules is None and gpu.devices is not None
        known = [] if lacks_gpu else [source.joules for source in (gpu, cpu) if source.joules is not None]
        joules = sum(known) if known else None
        reasons = [gpu.reason] if lacks_gpu else [gpu.reason, cpu.reason]
        return EnergyRecord(
            span_s=round(seconds, 3),
            joules=joules and round(joules, 3),
            mean_watts=joules and round(joules / seconds, 3),
            gpu=gpu,
            cpu=cpu,
            peak_gpu_memory_mib=self._memory.device_mib,
            peak_server_gpu_memory_mib=self._memory.server_mib,
            memory_reason=self._memory.reason,
            remarks=[remark for kind in self._sensors for remark in kind.remarks] or None,
            reason=None if known else "; ".join(filter(None, reasons)),
        )

    def _source(self, source: PowerSource, seconds: float) -> EnergySourceRecord:
        integrals = [integral for integral in self._integrals if integral.sensor.source is source]
        faults = [fault for kind in self._sensors for where, fault in kind.faults if where is source]
        if not integrals and not faults:
            return EnergySourceRecord(reason=NO_SENSOR[source])
        devices = [integral.sensor.name for integral in integrals]
        if not faults and seconds < MIN_SPAN_S:
            faults.append(f"the measured span of {seconds:.1f} s is shorter than {MIN_SPAN_S:g} s")
        joules = 0.0
        for integral in integrals if not faults else ():
            try:
                joules += integral.joules
            except SensorError as error:
                faults.append(f"{integral.sensor.name}: {error}")
        if faults:
            return EnergySourceRecord(devices=devices, reason="; ".join(faults))
        watts = joules / seconds
        return EnergySourceRecord(joules=round(joules, 3), mean_watts=round(watts, 3), devices=devices)


class PeakMemory:
    """The most memory in use at any sample."""

    def __init__(self, sensors: Sequence[MemorySensor]) -> None:
        self._sensors = sensors
        self._samples = 0
        self._fault: str | None = None
        self._device_mib = 0.0
        self._server_mib: float | None = 0.0

    def sample(self) -> None:
        """Read all of them."""
        if self._fault is not None or not self._sensors:
            return
        processes = self._samples % PROCESSES_EVERY == 0
        try:
            readings = [sensor.read(processes=processes) for sensor in self._sensors]
        except SensorError as error:
            self._fault = str(error)
            return
        self._samples += 1
        self._device_mib = max(self._device_mib, sum(reading.device_mib for reading in readings))
        if processes and self._server_mib is not None:
            parts = [reading.server_mib for reading in readings]
            known = [part for part in parts if part is not None]
            self._server_mib = max(self._server_mib, sum(known)) if len(known) == len(parts) else None

    @property
    def device_mib(self) -> float | None:
        """Of all processes, None where it is not known."""
        return round(self._device_mib, 1) if self._samples and self._fault is None else None

    @property
    def server_mib(self) -> float | None:
        """Of the server's processes, None where it is not known."""
        known = self._samples and self._fault is None and self._server_mib is not None
        return round(self._server_mib, 1) if known and self._server_mib is not None else None

    @property
    def reason(self) -> str | None:
        """Why one of them is not known."""
        if not self._sensors:
            return NO_GPU_MEMORY
        return self._fault or (NO_PROCESS_MEMORY if self.server_mib is None else None)
