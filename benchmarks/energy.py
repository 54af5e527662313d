"""How exact the measured energy is, and what sampling costs: ``python -m benchmarks.energy``.

The power of a GPU is known here: NVIDIA's library is the fake of the tests, called by ctypes in real time.
Its counter advances every 0.1 s, and its watts, where it has no counter, are those of the moment. Beside the
figures of this package are those of Zeus (``pip install zeus``), where it is installed, on the same library.
"""

from __future__ import annotations

import math
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import pynvml
import pytest

from pytest_setups.load.energy_sampling import EnergySampling
from pytest_setups.load.nvml import nvml_sensors
from pytest_setups.load.sampler import PeriodicTicker, Sampler
from tests.fake_nvml import START_S, FakeGpu, FakeNvml, installed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fake_nvml import Watts

SPAN_S: Final = 6.0
NO_COUNTER: Final = {"nvmlDeviceGetTotalEnergyConsumption": pynvml.NVML_ERROR_NOT_SUPPORTED}
POWERS: Final[dict[str, Watts]] = {
    "constant": lambda _: 280.0,
    "ramp": lambda s: 60.0 + 40.0 * s,
    "square wave": lambda s: 320.0 if s % 1.7 < 0.8 else 70.0,
}


class RealTime:
    """A clock that goes by itself; the energy of its followers is brought up to date when they are read."""

    def __init__(self) -> None:
        self._start = self._followed = time.perf_counter()
        self.followers: list[Callable[[float, float], None]] = []

    def __call__(self) -> float:
        """Likewise."""
        return self.now

    @property
    def now(self) -> float:
        """Seconds on the clock of the fake."""
        now = time.perf_counter()
        for follow in self.followers:
            follow(START_S + self._followed - self._start, now - self._followed)
        self._followed = now
        return START_S + now - self._start


def main() -> None:
    """Print the figures."""
    print(f"power         sensor    joules  integral   error   CPU of a sample ({SPAN_S:g} s each)")
    for name, watts in POWERS.items():
        for sensor, broken in (("counter", {}), ("watts", NO_COUNTER)):
            measured, true, cpu_ms = measure(watts, broken)
            error = measured / true - 1
            print(f"{name:<14}{sensor:<8}{measured:>8.1f}{true:>10.1f}{error:>8.2%}{cpu_ms:>9.3f} ms")
    if find_spec("zeus") is None:
        print("Zeus is not installed: no figures beside these")
        return
    for name, watts in POWERS.items():
        measured, true = measure_with_zeus(watts)
        print(f"{name:<14}{'Zeus':<8}{measured:>8.1f}{true:>10.1f}{measured / true - 1:>8.2%}")


def measure(watts: Watts, broken: dict[str, int]) -> tuple[float, float, float]:
    """Joules that were measured and that were drawn, and milliseconds of CPU that a sample takes."""
    clock = RealTime()
    gpu = install(FakeGpu(watts=watts, limit_w=700.0, processes={1: 9000}, broken=dict(broken)), clock)
    sampling = EnergySampling([nvml_sensors(lambda: {1})], clock)
    samples = 0

    def sample() -> None:
        nonlocal samples
        samples += 1
        sampling.sample()

    sampler = Sampler(sample, PeriodicTicker())
    cpu, before = time.process_time(), drawn(gpu, clock)
    sampler.start()
    time.sleep(SPAN_S)
    sampler.stop()
    true = drawn(gpu, clock) - before
    cpu = time.process_time() - cpu
    return sampling.record().joules or math.nan, true, cpu / samples * 1000


def measure_with_zeus(watts: Watts) -> tuple[float, float]:
    """The same with Zeus, which reads the counter at both ends of a window."""
    from zeus.monitor import ZeusMonitor

    clock = RealTime()
    gpu = install(FakeGpu(watts=watts, limit_w=700.0), clock)
    monitor = ZeusMonitor(gpu_indices=[0])
    before = drawn(gpu, clock)
    monitor.begin_window("span", sync_execution=False)
    time.sleep(SPAN_S)
    measured = monitor.end_window("span", sync_execution=False)
    return float(measured.total_energy), drawn(gpu, clock) - before


def install(gpu: FakeGpu, clock: RealTime) -> FakeGpu:
    """Let ``pynvml`` have loaded a library with this GPU."""
    installed(FakeNvml([gpu], clock), pytest.MonkeyPatch())
    return gpu


def drawn(gpu: FakeGpu, clock: RealTime) -> float:
    """The joules that a GPU has drawn until now."""
    clock()
    return gpu.joules


if __name__ == "__main__":
    main()
