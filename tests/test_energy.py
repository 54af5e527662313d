"""Energy and GPU memory of a measured span, from sensors of known power, and sensors that cannot be right."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pynvml
import pytest

from pytest_setups.load.amd_gpus import ALL_GPUS as ALL_AMD_GPUS
from pytest_setups.load.amd_gpus import amd_sensors
from pytest_setups.load.energy_meter import EnergyMeter
from pytest_setups.load.energy_sampling import NO_PROCESS_MEMORY, NO_SENSOR, EnergySampling
from pytest_setups.load.nvml import ALL_GPUS, NO_LIBRARY, nvml_sensors
from pytest_setups.load.power_sensors import PowerSource, Sensors
from pytest_setups.load.rapl import rapl_sensors
from pytest_setups.load.sampler import Sampler
from pytest_setups.registry.entry import Performance
from pytest_setups.registry.load_records import EnergyRecord, EnergySourceRecord
from pytest_setups.regression.bounds import parse_bound
from pytest_setups.regression.performance_comparison import performance_rows, unmeasured_bounds
from pytest_setups.report import energy_text
from pytest_setups.report.html import render_report
from pytest_setups.report.pages import ReportData
from pytest_setups.serving.processes.server_process import free_port
from tests.conftest import Run, only_entry
from tests.fake_nvml import MIB, Clock, FakeGpu, FakeNvml, Watts, installed
from tests.recorders import entry_of
from tests.servers import standalone

SERVER, OTHER = 4711, 99
NOT_UTF8 = "\udcff"
SPAN_S = 12.0
TICK_S = 0.1
NO_COUNTER = {"nvmlDeviceGetTotalEnergyConsumption": pynvml.NVML_ERROR_NOT_SUPPORTED}

POWERS: dict[str, tuple[Watts, float]] = {
    "constant": (lambda _: 280.0, 280.0 * SPAN_S),
    "ramp": (lambda s: 60.0 + 20.0 * s, 60.0 * SPAN_S + 10.0 * SPAN_S**2),
    "square wave": (lambda s: 320.0 if s % 3.0 < 1.3 else 70.0, (320.0 * 1.3 + 70.0 * 1.7) * SPAN_S / 3.0),
}
"""Watts by the second of the span, and their integral over it."""

Measure = Callable[..., EnergyRecord]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gpus(clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Sensors]:
    """The sensors that are found on a machine with these GPUs, whose server is one process."""

    def find(*fakes: FakeGpu, broken: dict[str, int] | None = None) -> Sensors:
        installed(FakeNvml(fakes, clock, broken=broken), monkeypatch)
        return nvml_sensors(lambda: {SERVER}, tmp_path)

    return find


@pytest.fixture
def measure(clock: Clock) -> Measure:
    """The record of a span in which sensors are read at every tick."""

    def run(
        *sensors: Sensors, seconds: float = SPAN_S, follow: Callable[[float], None] = lambda _: None
    ) -> EnergyRecord:
        sampling = EnergySampling(sensors, clock)
        start = clock.now
        sampling.sample()
        for _ in range(round(seconds / TICK_S)):
            clock.advance(TICK_S)
            follow(clock.now - start)
            sampling.sample()
        sampling.close()
        return sampling.record()

    return run


def within_5_percent(value: float) -> object:
    return pytest.approx(value, rel=0.05)


@pytest.mark.parametrize("broken", [{}, NO_COUNTER], ids=["counter", "watts"])
@pytest.mark.parametrize("power", POWERS)
def test_a_gpu_gives_the_integral_of_its_power(
    gpus: Callable[..., Sensors], measure: Measure, power: str, broken: dict[str, int]
) -> None:
    watts, joules = POWERS[power]
    record = measure(gpus(FakeGpu(watts=watts, broken=broken)))

    assert record.joules == within_5_percent(joules)
    assert record.mean_watts == within_5_percent(joules / SPAN_S)
    assert record.span_s == SPAN_S
    assert record.reason is None
    assert record.gpu is not None
    assert record.gpu.joules == record.joules
    assert record.gpu.devices == ["GPU 0 (NVIDIA L40S)"]
    assert record.cpu is not None
    assert record.cpu.joules is None
    assert record.cpu.reason == NO_SENSOR[PowerSource.CPU]


def test_only_the_gpus_of_the_server_are_counted(gpus: Callable[..., Sensors], measure: Measure) -> None:
    mine = {SERVER: 9000}
    record = measure(
        gpus(
            FakeGpu(watts=lambda _: 100.0, processes=mine),
            FakeGpu(watts=lambda _: 30.0, processes={OTHER: 500}),
            FakeGpu(watts=lambda _: 50.0, graphics={SERVER: 100}),  # llama.cpp with Vulkan
        )
    )

    assert record.gpu is not None
    assert record.gpu.devices == ["GPU 0 (NVIDIA L40S)", "GPU 2 (NVIDIA L40S)"]
    assert record.joules == within_5_percent(150.0 * SPAN_S)
    assert record.remarks is None


def test_where_no_process_is_seen_all_gpus_are_counted_and_named(
    gpus: Callable[..., Sensors], measure: Measure
) -> None:
    record = measure(gpus(FakeGpu(watts=lambda _: 100.0), FakeGpu(watts=lambda _: 30.0)))

    assert record.joules == within_5_percent(130.0 * SPAN_S)
    assert record.remarks == [ALL_GPUS]


def test_the_peak_of_memory_is_of_the_device_and_of_the_servers_processes(
    gpus: Callable[..., Sensors], measure: Measure
) -> None:
    loaded = FakeGpu(
        processes={SERVER: 9000, OTHER: 500},
        graphics={SERVER: 9000},  # of both kinds: listed twice
        used_mib=lambda s: 12_000.0 if 5.0 < s < 5.3 else 10_000.0,
    )
    record = measure(gpus(loaded))

    assert record.peak_gpu_memory_mib == 12_000.0
    assert record.peak_server_gpu_memory_mib == 9000.0
    assert record.memory_reason is None


def test_memory_of_processes_that_nvml_does_not_tell_has_a_reason(
    gpus: Callable[..., Sensors], measure: Measure
) -> None:
    record = measure(gpus(FakeGpu(processes={SERVER: None})))

    assert record.peak_gpu_memory_mib == 2048.0
    assert record.peak_server_gpu_memory_mib is None
    assert record.memory_reason == NO_PROCESS_MEMORY


def test_a_listing_of_processes_that_fails_costs_no_peak_of_the_device(
    gpus: Callable[..., Sensors], measure: Measure
) -> None:
    gpu = FakeGpu(processes={SERVER: 9000})

    def fail_for_a_while(seconds: float) -> None:
        listing = {"nvmlDeviceGetComputeRunningProcesses_v3": pynvml.NVML_ERROR_UNKNOWN}
        gpu.broken = listing if 3 < seconds < 5 else {}

    record = measure(gpus(gpu), follow=fail_for_a_while)

    assert record.peak_gpu_memory_mib == 2048.0
    assert record.peak_server_gpu_memory_mib is None
    assert record.memory_reason == NO_PROCESS_MEMORY


def test_memory_that_cannot_be_read_costs_no_energy(gpus: Callable[..., Sensors], measure: Measure) -> None:
    unified = {"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_NOT_SUPPORTED}  # of a DGX Spark
    record = measure(gpus(FakeGpu(broken=unified)))

    assert record.peak_gpu_memory_mib is None
    assert record.memory_reason == "NVML: Not Supported"
    assert record.joules == within_5_percent(300.0 * SPAN_S)


TOO_MUCH = "it reports 530 W, and its limit is 350 W"
BROKEN: dict[str, tuple[FakeGpu, str]] = {
    "neither": (
        FakeGpu(broken=NO_COUNTER | {"nvmlDeviceGetPowerUsage": pynvml.NVML_ERROR_NO_PERMISSION}),
        "energy: NVML: Not Supported; power: NVML: Insufficient Permissions",
    ),
    "zero watts": (FakeGpu(watts=lambda _: 0.0, broken=NO_COUNTER), "it reports a power of 0 W, which *"),
    "zero watts at times": (
        FakeGpu(watts=lambda s: 0.0 if 5 < s < 6 else 200.0, broken=NO_COUNTER),
        "it reports a power of 0 W, which *",
    ),
    "beyond the limit": (
        FakeGpu(watts=lambda s: 530.0 if s > 8 else 200.0, broken=NO_COUNTER),
        TOO_MUCH,
    ),
    "a counter beyond the limit": (FakeGpu(watts=lambda _: 530.0), TOO_MUCH),
    "a counter that stands still": (
        FakeGpu(counted=lambda *_: 5.0), "its counter stood still for 2.0 s, *"
    ),
    "a counter that stops": (
        FakeGpu(counted=lambda _, joules: min(joules, 124_500.0)),
        "its counter stood still for 2.0 s, *",
    ),
    "a counter that goes back": (
        FakeGpu(counted=lambda s, joules: joules if s < 6 else joules - 100_000.0),
        "its counter went back by 99970.0 J",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_sensor_that_cannot_be_right_gives_a_reason_and_no_figure(
    gpus: Callable[..., Sensors], measure: Measure, fault: str
) -> None:
    gpu, reason = BROKEN[fault]
    record = measure(gpus(gpu))

    assert record.gpu is not None
    assert (record.joules, record.mean_watts, record.gpu.joules) == (None, None, None)
    assert record.reason == record.gpu.reason
    assert Path(record.reason or "").match(f"GPU 0 (NVIDIA L40S): {reason}")


def test_a_gpu_that_is_lost_during_the_span(gpus: Callable[..., Sensors], measure: Measure) -> None:
    gpu = FakeGpu()

    def lose(seconds: float) -> None:
        if seconds > 7:
            gpu.broken["nvmlDeviceGetTotalEnergyConsumption"] = pynvml.NVML_ERROR_GPU_IS_LOST

    record = measure(gpus(gpu), follow=lose)

    assert record.joules is None
    assert record.reason == "GPU 0 (NVIDIA L40S): NVML: GPU is lost"


def test_a_machine_that_sleeps_leaves_a_gap_in_the_watts(
    gpus: Callable[..., Sensors], measure: Measure, clock: Clock
) -> None:
    record = measure(
        gpus(FakeGpu(broken=NO_COUNTER)),
        follow=lambda s: clock.advance(60.0) if math.isclose(s, 5.0) else None,
    )

    assert record.reason == "GPU 0 (NVIDIA L40S): no reading for 60.1 s"


def test_a_span_too_short_for_the_sensors_has_no_figure(
    gpus: Callable[..., Sensors], measure: Measure
) -> None:
    record = measure(gpus(FakeGpu()), seconds=1.5)

    assert record.joules is None
    assert record.reason == "the measured span of 1.5 s is shorter than 2 s"


def test_a_gpu_that_cannot_be_measured_is_not_left_out_of_a_sum(
    gpus: Callable[..., Sensors], measure: Measure, tmp_path: Path
) -> None:
    broken = FakeGpu(broken=BROKEN["neither"][0].broken)
    rapl_zone(tmp_path, "intel-rapl:0", "package-0")
    follow = counting(tmp_path, {"intel-rapl:0": 80.0})
    record = measure(gpus(FakeGpu(), broken), rapl_sensors(tmp_path), follow=follow)

    assert record.joules is None
    assert record.cpu is not None
    assert record.cpu.joules == within_5_percent(80.0 * SPAN_S)
    assert record.reason is not None
    assert record.reason.startswith("GPU 1 (NVIDIA L40S): energy: NVML")


def test_a_gpu_without_the_library_says_what_to_install(
    measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    information = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information"
    information.parent.mkdir(parents=True)
    information.write_text("Model: \t\t NVIDIA L40S\n")

    assert measure(nvml_sensors(lambda: {SERVER}, tmp_path)).reason == NO_LIBRARY


def test_a_machine_without_sensors_says_so(measure: Measure, tmp_path: Path) -> None:
    record = measure(nvml_sensors(lambda: {SERVER}, tmp_path), amd_sensors(tmp_path), rapl_sensors(tmp_path))

    assert record.joules is None
    assert record.reason == "; ".join(NO_SENSOR[source] for source in PowerSource)


def test_few_calls_are_made_of_the_library(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, measure: Measure, tmp_path: Path
) -> None:
    library = installed(FakeNvml([FakeGpu()], clock), monkeypatch)
    sensors = nvml_sensors(lambda: {SERVER}, tmp_path)
    library.calls.clear()
    measure(sensors)

    ticks = round(SPAN_S / TICK_S) + 1
    assert library.calls["nvmlDeviceGetTotalEnergyConsumption"] == ticks
    assert library.calls["nvmlDeviceGetMemoryInfo"] == ticks
    assert library.calls["nvmlDeviceGetComputeRunningProcesses_v3"] <= 2 * math.ceil(ticks / 10)
    assert library.calls["nvmlShutdown"] == 1
    assert library.calls["nvmlDeviceGetPowerUsage"] == 0


# Processors


def rapl_zone(root: Path, zone: str, name: str, *, energy_uj: int = 0, **files: int) -> Path:
    folder = root / "sys/class/powercap" / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    for file, value in files.items():
        (folder / file).write_text(f"{value}\n")
    return folder


def counting(root: Path, watts: dict[str, float], wraps_at: int = 262_143_328_850) -> Callable[[float], None]:
    """Let the counters of zones advance with these watts."""
    files = {root / "sys/class/powercap" / zone / "energy_uj": power for zone, power in watts.items()}
    before = {file: int(file.read_text()) for file in files}

    def follow(seconds: float) -> None:
        for file, power in files.items():
            file.write_text(f"{(before[file] + round(power * seconds * 1e6)) % wraps_at}\n")

    return follow


def test_packages_and_their_memory_are_counted_once(measure: Measure, tmp_path: Path) -> None:
    watts = {
        "intel-rapl:0": ("package-0", 90.0),
        "intel-rapl:0:0": ("core", 60.0),  # a part of the package
        "intel-rapl:0:1": ("dram", 12.0),
        "intel-rapl:1": ("package-1", 45.0),
        "intel-rapl:2": ("psys", 200.0),  # includes the packages
        "intel-rapl-mmio:0": ("package-0", 90.0),  # the same package again
    }
    for zone, (name, _) in watts.items():
        rapl_zone(tmp_path, zone, name)
    record = measure(
        rapl_sensors(tmp_path), follow=counting(tmp_path, {zone: power for zone, (_, power) in watts.items()})
    )

    assert record.cpu is not None
    assert record.cpu.devices == ["package-0", "dram of package 0", "package-1"]
    assert record.joules == within_5_percent(147.0 * SPAN_S)
    assert record.gpu is not None
    assert record.gpu.reason == NO_SENSOR[PowerSource.GPU]


def test_a_counter_that_wraps_around_goes_on(measure: Measure, tmp_path: Path) -> None:
    rapl_zone(tmp_path, "intel-rapl:0", "package-0", energy_uj=262_143_328_850 - 400_000_000)
    record = measure(rapl_sensors(tmp_path), follow=counting(tmp_path, {"intel-rapl:0": 80.0}))

    assert record.joules == within_5_percent(80.0 * SPAN_S)


def test_a_counter_that_starts_again_is_no_wrap_around(measure: Measure, tmp_path: Path) -> None:
    folder = rapl_zone(tmp_path, "intel-rapl:0", "package-0", constraint_0_power_limit_uw=125_000_000)

    def follow(seconds: float) -> None:
        (folder / "energy_uj").write_text(f"{round(80e6 * (seconds if seconds < 6 else seconds - 6))}\n")

    record = measure(rapl_sensors(tmp_path), follow=follow)

    assert record.joules is None
    assert record.reason is not None
    assert record.reason.endswith("and its limit is 125 W")


def test_a_counter_that_only_root_may_read(measure: Measure) -> None:
    # Not below tmp_path, which only its owner may enter.
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        zone = rapl_zone(Path(folder), "intel-rapl:0", "package-0")
        (zone / "energy_uj").chmod(0)
        with without_root():
            sensors = rapl_sensors(Path(folder))
        assert_unreadable(measure(sensors), f"{zone}/energy_uj is readable only by root")


@contextmanager
def without_root() -> Iterator[None]:
    """Let this process have the rights of any user."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


def test_a_counter_that_cannot_be_read(measure: Measure, tmp_path: Path) -> None:
    folder = rapl_zone(tmp_path, "intel-rapl:0", "package-0")
    (folder / "energy_uj").unlink()

    reason = f"{folder}/energy_uj cannot be read: No such file or directory"
    assert_unreadable(measure(rapl_sensors(tmp_path)), reason)


def assert_unreadable(record: EnergyRecord, reason: str) -> None:
    assert record.joules is None
    assert record.cpu is not None
    assert record.cpu.reason == f"package-0: {reason}"


# AMD's GPUs


def amd_card(root: Path, number: int = 0, **files: int) -> Path:
    card = root / f"sys/class/drm/card{number}/device"
    (card / "hwmon/hwmon3").mkdir(parents=True)
    (card / "vendor").write_text("0x1002\n")
    (card / "product_name").write_text("Radeon PRO W7900\n")
    (card / "mem_info_vram_used").write_text(f"{30_000 * MIB}\n")
    for name, value in files.items():
        (card / "hwmon/hwmon3" / name).write_text(f"{value}\n")
    return card / "hwmon/hwmon3"


@pytest.mark.parametrize("file", ["power1_average", "power1_input"])
@pytest.mark.parametrize("power", POWERS)
def test_amd_gpus_are_read_from_the_files_of_their_driver(
    measure: Measure, tmp_path: Path, power: str, file: str
) -> None:
    watts, joules = POWERS[power]
    folder = amd_card(tmp_path, power1_cap_max=350_000_000, **{file: round(watts(0) * 1e6)})
    record = measure(amd_sensors(tmp_path), follow=lambda s: write(folder / file, round(watts(s) * 1e6)))

    assert record.joules == within_5_percent(joules)
    assert record.gpu is not None
    assert record.gpu.devices == ["GPU 0 (Radeon PRO W7900)"]
    assert record.peak_gpu_memory_mib == 30_000.0
    assert record.memory_reason == NO_PROCESS_MEMORY


def write(path: Path, value: int) -> None:
    path.write_text(f"{value}\n")


def test_a_counter_of_amd_gpus_is_preferred_and_all_of_them_are_counted(
    measure: Measure, tmp_path: Path
) -> None:
    folders = [amd_card(tmp_path, number, energy1_input=7, power1_average=1) for number in range(2)]

    def follow(seconds: float) -> None:
        for folder in folders:
            write(folder / "energy1_input", round(110e6 * seconds))

    record = measure(amd_sensors(tmp_path), follow=follow)

    assert record.joules == within_5_percent(220.0 * SPAN_S)
    assert record.remarks == [ALL_AMD_GPUS]


def test_an_amd_gpu_without_power_has_a_reason(measure: Measure, tmp_path: Path) -> None:
    amd_card(tmp_path)

    assert measure(amd_sensors(tmp_path)).reason == "GPU 0 (Radeon PRO W7900): its driver exposes no power"


# The thread


class ScriptedTicker:
    """So many ticks at once, each of which lets time pass; then it waits to be stopped."""

    def __init__(self, ticks: int, clock: Clock) -> None:
        self._ticks = ticks
        self._clock = clock
        self._stopped = threading.Event()
        self.done = threading.Event()

    def wait(self) -> bool:
        if self._ticks:
            self._ticks -= 1
            self._clock.advance(TICK_S)
            return True
        self.done.set()
        self._stopped.wait()
        return False

    def stop(self) -> None:
        self._stopped.set()


def test_a_thread_samples_from_the_start_to_the_end(gpus: Callable[..., Sensors], clock: Clock) -> None:
    watts, joules = POWERS["ramp"]
    sampling = EnergySampling([gpus(FakeGpu(watts=watts, broken=NO_COUNTER))], clock)
    ticker = ScriptedTicker(round(SPAN_S / TICK_S) - 1, clock)
    sampler = Sampler(sampling.sample, ticker)
    sampler.start()
    assert ticker.done.wait(30)
    clock.advance(TICK_S)
    assert sampler.stop()

    assert sampling.record().joules == within_5_percent(joules)
    assert sampling.record().span_s == pytest.approx(SPAN_S)


# A whole run


@pytest.fixture
def slow_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server in a process of its own, in which a run takes more than two seconds: base URL and process."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    port = free_port()
    words = [sys.executable, str(standalone.__file__), "--port", str(port), "--slow", "0.25"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/v1", process.pid
    finally:
        process.kill()
        process.wait()


def test_a_run_records_prices_and_shows_what_the_server_drew(
    project: pytest.Pytester, slow_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    base_url, pid = slow_server
    gpu = FakeGpu(processes={pid: 9000}, used_mib=lambda _: 10_000.0, counted=lambda *_: 300.0 * monotonic())
    other = FakeGpu(processes={OTHER: 1})
    installed(FakeNvml([gpu, other], Clock()), monkeypatch)
    result = project.runpytest(
        "-p", "no:cacheprovider", "--setup-base-url", base_url, "--setup-wait=20", "--record",
        "--setup-price-kwh=0.30", "--setup-report=run.html",
    )  # fmt: skip

    result.assert_outcomes(passed=11)
    energy = only_entry(project.path)["performance"]["energy"]
    assert energy["gpu"]["devices"] == ["GPU 0 (NVIDIA L40S)"]
    assert energy["span_s"] > 2
    assert energy["mean_watts"] == within_5_percent(300.0)
    assert energy["joules"] == within_5_percent(300.0 * energy["span_s"])
    assert energy["images"] == 3
    assert energy["joules_per_image"] == pytest.approx(energy["joules"] / 3, abs=0.001)
    cost = energy["joules_per_image"] * 1000 / 3.6e6 * 0.30
    assert energy["cost_per_1000_images"] == pytest.approx(cost, abs=1e-6)
    assert energy["price_kwh"] == 0.30
    assert (energy["peak_gpu_memory_mib"], energy["peak_server_gpu_memory_mib"]) == (10_000.0, 9000.0)
    assert energy["reason"] is None
    result.stdout.fnmatch_lines([
        "energy: * J per image (300.* W for *.* s, idle power included) by GPU 0 (NVIDIA L40S)*",
        f"energy: 1,000 images cost {cost:.4g} at 0.3 per kWh",
        "gpu memory: peak 10,000 MiB, of which the server used 9,000",
    ])  # fmt: skip
    page = (project.path / "run.html").read_text("utf-8")
    assert "Energy of the server&#39;s machine" in page or "Energy of the server's machine" in page
    assert f"{cost:.4g} at 0.3 per kWh" in page


def test_figures_that_an_entry_lacks_are_left_out_of_its_texts() -> None:
    part = EnergyRecord(joules=50_001.2, joules_per_image=16_667.07, gpu=EnergySourceRecord(joules=50_001.2))
    memory = EnergyRecord(peak_gpu_memory_mib=42_120, reason="the measured span of 1.5 s is shorter than 2 s")

    assert list(energy_text.sentences(part)) == ["energy: 16,667 J per image (idle power included)"]
    assert dict(energy_text.table(part)) == {
        "energy per image": "16,667 J", "energy": "50,001 J", "GPUs": "50,001 J",
    }  # fmt: skip
    assert list(energy_text.sentences(memory)) == [
        "energy: not measured: the measured span of 1.5 s is shorter than 2 s",
        "gpu memory: peak 42,120 MiB",
    ]
    page = "".join(
        render_report(ReportData("success", "", entry_of(performance={"energy": memory.model_dump()})))
    )
    assert "Not measured: the measured span of 1.5 s is shorter than 2 s" in page
    assert "42,120 MiB" in page


def performance(joules: float | None, *, devices: int = 1, concurrency: int = 1) -> Performance:
    source = EnergySourceRecord(joules=1.0, devices=["GPU"] * devices)
    energy = EnergyRecord(joules_per_image=joules, gpu=source, cpu=EnergySourceRecord(reason="none"))
    return Performance(energy=energy, concurrency=concurrency)


@pytest.mark.parametrize(
    ("after", "finding"),
    [
        (performance(1090.0), "ok"),
        (performance(900.0), "ok"),
        (performance(1110.0), "breach"),
        (performance(1110.0, devices=2), "not comparable"),
        (performance(600.0, concurrency=8), "not comparable"),
    ],
)
def test_the_energy_of_an_image_is_judged_where_the_same_was_measured(
    after: Performance, finding: str
) -> None:
    bound = parse_bound("energy.joules_per_image:10%")
    (row,) = performance_rows(performance(1000.0), after, [bound], timed=True)
    assert row.finding == finding


def test_a_bound_on_energy_that_was_not_measured_is_not_judged() -> None:
    bound = parse_bound("energy.joules_per_image:10%")
    assert unmeasured_bounds(performance(1000.0), performance(None), [bound]) == [bound.text]


def test_a_server_elsewhere_has_a_reason(tmp_path: Path) -> None:
    meter = EnergyMeter("http://192.0.2.1:8000/v1", price_kwh=0.3, root=tmp_path)
    meter.start()
    meter.stop()

    assert meter.record() == EnergyRecord(price_kwh=0.3, reason="192.0.2.1 is another machine")


LISTENING = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
listener.accept()
"""


def test_an_amd_gpu_beside_the_nvidia_gpu_of_the_server_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    amd_card(tmp_path)  # without power: counted, the sum would have no figure
    with subprocess.Popen([sys.executable, "-c", LISTENING], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        installed(FakeNvml([FakeGpu(processes={server.pid: 9000})], Clock()), monkeypatch)
        meter = EnergyMeter(f"http://127.0.0.1:{port}/v1", root=tmp_path)
        meter.start()
        meter.stop()
        server.kill()

    record = meter.record()
    assert record is not None
    assert record.gpu is not None
    assert record.gpu.devices == ["GPU 0 (NVIDIA L40S)"]
    assert record.peak_gpu_memory_mib == 2048.0


def test_a_server_whose_process_cannot_be_found_has_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = installed(FakeNvml([FakeGpu()], Clock()), monkeypatch)
    meter = EnergyMeter(f"http://127.0.0.1:{free_port()}/v1", root=tmp_path)
    meter.start()
    meter.stop()

    record = meter.record()
    assert record is not None
    assert record.joules is None
    assert record.reason is not None
    assert record.reason.startswith("no process that can be seen from here listens on port")
    assert library.calls["nvmlShutdown"] == 1


def test_a_library_that_is_broken_fails_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(FakeNvml([FakeGpu(name=NOT_UTF8)], Clock()), monkeypatch)
    meter = EnergyMeter("http://127.0.0.1:8000/v1", root=tmp_path)
    meter.start()
    meter.stop()

    record = meter.record()
    assert record is not None
    assert record.reason is not None
    assert record.reason.startswith("a sensor cannot be read: UnicodeDecodeError: ")


def test_a_run_without_sensors_keeps_the_reason_and_shows_it_only_with_a_price(
    run: Run, project: pytest.Pytester
) -> None:
    plain = run("--record")
    assert only_entry(project.path)["performance"]["energy"]["joules"] is None
    plain.stdout.no_fnmatch_line("energy:*")
    run("--setup-price-kwh=0.3").stdout.fnmatch_lines(["energy: not measured: *"])
