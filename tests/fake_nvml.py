"""NVIDIA's management library as functions with C's calling convention: what ``pynvml`` calls by ctypes.

Each is a pointer to a function that ctypes calls as it calls those of ``libnvidia-ml.so.1``, with the same
arguments in the same memory. The power of the GPUs is a function of the time on a clock.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pynvml
import pytest

MIB = 1024 * 1024
_POINTER, _UINT = ctypes.c_void_p, ctypes.c_uint
START_S = 1000.0
UPDATE_S = 0.1
"""How often the counter of a real GPU advances."""

Watts = Callable[[float], float]


class Time(Protocol):
    """The seconds of a clock, and what is brought up to date as they pass."""

    followers: list[Callable[[float, float], None]]

    @property
    def now(self) -> float: ...


class Clock:
    """Time that passes only when a test says so; power is integrated in small steps as it passes."""

    def __init__(self) -> None:
        self.now = START_S
        self.followers: list[Callable[[float, float], None]] = []

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        for follow in self.followers:
            follow(self.now, seconds)
        self.now += seconds


@dataclass
class FakeGpu:
    """A GPU that draws ``watts``, a function of the seconds since the start of the clock.

    ``broken`` maps functions of NVML to the error that they return; ``counted`` changes what its counter of
    joules shows.
    """

    watts: Watts = lambda _: 300.0
    limit_w: float = 350.0
    name: str = "NVIDIA L40S"
    processes: Mapping[int, int | None] = field(default_factory=dict)
    graphics: Mapping[int, int | None] = field(default_factory=dict)
    used_mib: Watts = lambda _: 2048.0
    broken: dict[str, int] = field(default_factory=dict)
    counted: Callable[[float, float], float] = lambda _, joules: joules
    joules: float = 123_456.0
    counter: float = 123_456.0
    updated_s: float = 0.03

    def follow(self, clock_s: float, seconds: float) -> None:
        steps = 5
        for step in range(steps):
            middle = clock_s - START_S + (step + 0.5) * seconds / steps
            self.joules += self.watts(middle) * seconds / steps
            if middle >= self.updated_s + UPDATE_S:
                self.updated_s, self.counter = middle, self.joules


class FakeNvml:
    """The library object that ``pynvml`` takes functions from."""

    def __init__(
        self, gpus: Sequence[FakeGpu], clock: Time, *, broken: Mapping[str, int] | None = None
    ) -> None:
        self.gpus = gpus
        self.clock = clock
        self.broken = broken or {}
        self.calls: Counter[str] = Counter()
        self._functions: dict[str, object] = {}
        clock.followers += [gpu.follow for gpu in gpus]

    def __getattr__(self, name: str) -> object:
        try:
            arguments, function = self._table()[name]
        except KeyError:
            raise AttributeError(name) from None
        if name not in self._functions:
            self._functions[name] = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(self._called(name, function))
        return self._functions[name]

    @property
    def seconds(self) -> float:
        return self.clock.now - START_S

    def _called(self, name: str, function: Callable[..., int | None]) -> Callable[..., int]:
        def call(*arguments: int) -> int:
            self.calls[name] += 1
            broken = self.broken.get(name)
            if (
                broken is None
                and name.startswith("nvmlDeviceGet")
                and "Handle" not in name
                and "Count" not in name
            ):
                broken = self._gpu(arguments[0]).broken.get(name)
            return broken if broken is not None else function(*arguments) or pynvml.NVML_SUCCESS

        return call

    def _gpu(self, handle: int) -> FakeGpu:
        return self.gpus[handle - 1]  # a handle of zero would be a null pointer

    def _table(self) -> dict[str, tuple[tuple[type, ...], Callable[..., int | None]]]:
        device = (_POINTER, _POINTER)
        return {
            "nvmlInitWithFlags": ((_UINT,), lambda _: None),
            "nvmlShutdown": ((), lambda: None),
            "nvmlDeviceGetCount_v2": ((_POINTER,), lambda out: put(_UINT, out, len(self.gpus))),
            "nvmlDeviceGetHandleByIndex_v2": ((_UINT, _POINTER), lambda n, out: put(_POINTER, out, n + 1)),
            "nvmlDeviceGetName": ((*device, _UINT), self._name),
            "nvmlDeviceGetArchitecture": (
                device, lambda _, out: put(_UINT, out, pynvml.NVML_DEVICE_ARCH_ADA)
            ),
            "nvmlDeviceGetTotalEnergyConsumption": (device, self._energy),
            "nvmlDeviceGetPowerUsage": (device, self._power),
            "nvmlDeviceGetPowerManagementLimitConstraints": ((*device, _POINTER), self._limits),
            "nvmlDeviceGetEnforcedPowerLimit": (device, self._limit),
            "nvmlDeviceGetMemoryInfo": (device, self._memory),
            "nvmlDeviceGetComputeRunningProcesses_v3": (
                (*device, _POINTER), lambda handle, *out: put_processes(self._gpu(handle).processes, *out)
            ),
            "nvmlDeviceGetGraphicsRunningProcesses_v3": (
                (*device, _POINTER), lambda handle, *out: put_processes(self._gpu(handle).graphics, *out)
            ),
        }  # fmt: skip

    def _name(self, handle: int, out: int, size: int) -> None:
        name = ctypes.create_string_buffer(self._gpu(handle).name.encode("utf-8", "surrogateescape"))
        ctypes.memmove(out, name, min(size, len(name)))

    def _energy(self, handle: int, out: int) -> None:
        gpu = self._gpu(handle)
        put(ctypes.c_uint64, out, round(gpu.counted(self.seconds, gpu.counter) * 1000))

    def _power(self, handle: int, out: int) -> None:
        put(_UINT, out, round(self._gpu(handle).watts(self.seconds) * 1000))

    def _limit(self, handle: int, out: int) -> None:
        put(_UINT, out, round(self._gpu(handle).limit_w * 1000))

    def _limits(self, handle: int, lowest: int, highest: int) -> None:
        put(_UINT, lowest, 100_000)
        self._limit(handle, highest)

    def _memory(self, handle: int, out: int) -> None:
        used = round(self._gpu(handle).used_mib(self.seconds) * MIB)
        memory = pynvml.c_nvmlMemory_t(total=46068 * MIB, free=46068 * MIB - used, used=used)
        ctypes.memmove(out, ctypes.byref(memory), ctypes.sizeof(memory))


def put(kind: type, address: int, value: int) -> None:
    """Write a value where a pointer points."""
    kind.from_address(address).value = value  # type: ignore[attr-defined]


def put_processes(processes: Mapping[int, int | None], count: int, array: int | None) -> int | None:
    """Write the processes into an array, or how many there are where it is too small."""
    room = _UINT.from_address(count).value
    put(_UINT, count, len(processes))
    if room < len(processes):
        return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    kind = pynvml.c_nvmlProcessInfo_v2_t
    for number, (pid, mib) in enumerate(processes.items()):
        used = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value if mib is None else mib * MIB
        item = kind(pid=pid, usedGpuMemory=used, gpuInstanceId=0xFFFFFFFF, computeInstanceId=0xFFFFFFFF)
        ctypes.memmove((array or 0) + number * ctypes.sizeof(kind), ctypes.byref(item), ctypes.sizeof(kind))
    return None


def installed(library: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Let ``pynvml`` have loaded this library."""
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return library
