"""The environment: this machine as a client, the server's as far as it is known, and nothing made up."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_setups.serving.local.environment import packages_of, server_environment
from pytest_setups.serving.local.gpus import gpu_environment
from tests.conftest import Run, entries, no_traceback_of_ours

COMMAND = str(Path(sys.executable).with_name("pytest-setups"))

GIB = 1024**3


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def test_the_environment_of_this_machine() -> None:
    machine = server_environment()

    assert machine["os"] == platform.platform()
    assert machine["threads"] == psutil.cpu_count()
    assert machine["memory_mib"] == psutil.virtual_memory().total // 1024**2
    assert isinstance(machine["gpus"], list)
    assert "packages" not in machine
    assert json.loads(json.dumps(machine)) == machine


def test_the_server_of_a_stranger_gets_none_of_our_hardware(run: Run, project: pytest.Pytester) -> None:
    run("--record").assert_outcomes(passed=11)

    (entry,) = entries(project.path).values()
    assert entry["environment"]["client"]["packages"]["pytest-setups"]
    assert entry["environment"]["client"]["cpu"]
    assert entry["environment"]["server"] is None
    assert "pytest-setups env" in entry["environment"]["server_reason"]


def test_an_environment_file_is_brought_in(run: Run, project: pytest.Pytester) -> None:
    there = {"os": "Linux-6.8", "gpus": [{"name": "NVIDIA L40S", "memory_mib": 46068}], "driver": "570.86"}
    write(project.path / "env.json", json.dumps(there))

    run("--record", "--setup-environment", "env.json").assert_outcomes(passed=11)

    (entry,) = entries(project.path).values()
    assert entry["environment"]["server"] == there


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "*env.json: No such file or directory"),
        ("{", "*env.json is not JSON: *"),
        ("[]", "*env.json is not what `pytest-setups env` writes: a JSON object"),
        ("[" * 100_000, "*env.json is not JSON: *"),
    ],
)
def test_a_file_that_is_none_is_a_usage_error(
    run: Run, project: pytest.Pytester, content: str | None, message: str
) -> None:
    if content is not None:
        write(project.path / "env.json", content)

    result = run("--record", "--setup-environment", "env.json")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    no_traceback_of_ours(result)


def test_an_environment_without_an_entry_is_a_usage_error(run: Run) -> None:
    result = run("--setup-environment", "env.json")

    result.stderr.fnmatch_lines(["ERROR: --setup-environment is for the entry: add --record"])


def test_packages_are_those_of_the_interpreter_that_serves(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    site = venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    other = venv / "lib" / "python3.99" / "site-packages"
    write(venv / "pyvenv.cfg", "version = 3.12.3\n")
    for folder, name, version in (
        (site, "vllm", "0.32.0+cpu"),
        (site, "torch", "2.9.1"),
        (site, "flashinfer_python", "0.5.2"),
        (site, "requests", "2.32.0"),
        (other, "sglang", "0.5.8"),
    ):
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        write(folder / f"{name}-{version}.dist-info" / "METADATA", metadata)
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(Path(sys.executable).resolve())

    assert packages_of(venv / "bin" / "python") == {
        "flashinfer-python": "0.5.2",
        "torch": "2.9.1",
        "vllm": "0.32.0+cpu",
    }


@pytest.fixture
def no_nvidia_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)


@pytest.mark.usefixtures("no_nvidia_library")
def test_amd_gpus_are_read_from_the_files_of_their_driver(tmp_path: Path) -> None:
    cards = tmp_path / "sys/class/drm"
    write(cards / "card0/device/vendor", "0x1a03\n")
    write(cards / "card1/device/vendor", "0x1002\n")
    write(cards / "card1/device/product_name", "AMD Instinct MI300X\n")
    write(cards / "card1/device/mem_info_vram_total", f"{192 * GIB}\n")
    write(cards / "card2/device/vendor", "0x1002\n")
    write(cards / "card2/device/device", "0x744c\n")
    write(tmp_path / "sys/module/amdgpu/version", "6.12.12\n")
    write(tmp_path / "opt/rocm/.info/version", "6.4.1-83\n")

    assert gpu_environment(tmp_path) == {
        "gpus": [
            {"name": "AMD Instinct MI300X", "memory_mib": 192 * 1024},
            {"name": "AMD 0x744c", "memory_mib": None},
        ],
        "driver": "6.12.12",
        "rocm": "6.4.1-83",
    }


@pytest.mark.usefixtures("no_nvidia_library")
def test_nvidia_gpus_without_the_extra_are_read_from_the_files_of_their_driver(tmp_path: Path) -> None:
    driver = tmp_path / "proc/driver/nvidia"
    write(driver / "gpus/0000:01:00.0/information", "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:  116\n")
    write(driver / "version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23\n")

    assert gpu_environment(tmp_path) == {
        "gpus": [{"name": "NVIDIA GeForce RTX 4090", "memory_mib": None}],
        "driver": "570.86.15",
    }


@pytest.mark.usefixtures("no_nvidia_library")
def test_a_machine_without_gpus_has_none(tmp_path: Path) -> None:
    assert gpu_environment(tmp_path) == {"gpus": []}


class Nvml:
    """The driver's library on a machine with one GPU, or with none and without a driver."""

    NVMLError = OSError

    def __init__(self, *, driver: bool) -> None:
        self.driver = driver

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetName": "NVIDIA L40S",
            "nvmlDeviceGetMemoryInfo": type("Memory", (), {"total": 46068 * 1024**2}),
            "nvmlSystemGetDriverVersion": "570.86.15",
            "nvmlSystemGetCudaDriverVersion": 12080,
            "nvmlInit": None,
            "nvmlShutdown": None,
        }

        def call(*_: object) -> Any:
            if not self.driver:
                raise self.NVMLError
            return answers[name]

        return call


def test_nvidia_gpus_are_read_through_their_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(driver=True))

    assert gpu_environment(tmp_path) == {
        "gpus": [{"name": "NVIDIA L40S", "memory_mib": 46068}],
        "driver": "570.86.15",
        "cuda": "12.8",
    }


def test_the_library_without_a_driver_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(driver=False))

    assert gpu_environment(tmp_path) == {"gpus": []}


def test_the_command_writes_what_a_run_elsewhere_brings_in(run: Run, project: pytest.Pytester) -> None:
    command = [COMMAND, "env"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (project.path / "env.json").write_text(done.stdout)
    run("--record", "--setup-environment=env.json").stdout.fnmatch_lines(["recorded: *"])
    (entry,) = entries(project.path).values()
    assert entry["environment"]["server"] == json.loads(done.stdout)
    assert entry["environment"]["server"]["cores"] >= 1


def test_the_command_fails_when_a_server_is_not_known() -> None:
    command = [COMMAND, "env", "--base-url", "http://127.0.0.1:1/v1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "pytest-setups: cannot identify the server at http://127.0.0.1:1/v1: no process"
    )
