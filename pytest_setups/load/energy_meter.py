"""The energy of a measured span: its sensors, sampled from its start to its end."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.load.amd_gpus import amd_sensors
from pytest_setups.load.energy_sampling import EnergySampling
from pytest_setups.load.nvml import nvml_sensors
from pytest_setups.load.power_sensors import Sensors
from pytest_setups.load.rapl import rapl_sensors
from pytest_setups.load.sampler import PeriodicTicker, Sampler
from pytest_setups.registry.load_records import EnergyRecord
from pytest_setups.serving.local.listener import ListenerNotFoundError, address, is_local
from pytest_setups.serving.local.server_processes import server_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_setups.load.sampler import Ticker

HANGS: Final = "the sensors of this machine do not answer"


class EnergyMeter:
    """Measures what the machine of a server draws, where that is this machine.

    ``start`` and ``stop`` enclose the span; ``record`` is its outcome.
    """

    def __init__(
        self,
        base_url: str,
        *,
        price_kwh: float | None = None,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.perf_counter,
        ticker: Ticker | None = None,
    ) -> None:
        """Prepare the measurement.

        Args:
            base_url: where the server answers.
            price_kwh: what a kilowatt-hour costs.
            root: the root of the file system, below which drivers have their files.
            clock: seconds since any moment.
            ticker: when to sample.
        """
        self._base_url = base_url
        self._price_kwh = price_kwh
        self._root = root
        self._clock = clock
        self._ticker = ticker or PeriodicTicker()
        self._sampling: EnergySampling | None = None
        self._sampler: Sampler | None = None
        self._fault: str | None = None

    def start(self) -> None:
        """Find the sensors and begin; a machine whose sensors cannot be used has a reason instead."""
        try:
            sensors = self._find_sensors()
        except ListenerNotFoundError as error:
            self._fault = str(error)
            return
        except Exception as error:  # of a driver's library: a run does not fail for its energy
            self._fault = _unexpected(error)
            return
        self._sampling = EnergySampling(sensors, self._clock)
        self._sampler = Sampler(self._sample, self._ticker)
        self._sampler.start()

    def stop(self) -> None:
        """End the measurement."""
        if self._sampler is not None and not self._sampler.stop():
            self._fault = HANGS
        elif self._sampling is not None:
            with suppress(Exception):  # the figures are there, whatever a driver says at its end
                self._sampling.close()
        self._sampler = None

    def record(self) -> EnergyRecord | None:
        """What was measured, or why it was not; None where it was never started."""
        if self._fault is not None:
            return EnergyRecord(price_kwh=self._price_kwh, reason=self._fault)
        if self._sampling is None:
            return None
        return self._sampling.record().model_copy(update={"price_kwh": self._price_kwh})

    def _sample(self) -> None:
        if self._sampling is None or self._fault is not None:
            return
        try:
            self._sampling.sample()
        except Exception as error:
            self._fault = _unexpected(error)

    def _find_sensors(self) -> list[Sensors]:
        """The sensors of this machine, which must be the server's where there are any."""
        host, _ = address(self._base_url)
        if not is_local(host):
            message = f"{host} is another machine"
            raise ListenerNotFoundError(message)
        find_server = cache(lambda: {process.pid for process in server_processes(self._base_url)})
        nvidia = nvml_sensors(find_server, self._root)
        # AMD's driver lists no processes: beside a GPU that the server uses, such as a processor's own GPU.
        amd = Sensors() if nvidia.serves else amd_sensors(self._root)
        kinds = [nvidia, amd, rapl_sensors(self._root)]
        # Finding the process looks at every process of the machine.
        if any(kind.power or kind.faults for kind in kinds):
            find_server()
        return kinds


def _unexpected(error: Exception) -> str:
    return f"a sensor cannot be read: {type(error).__name__}: {error}"
