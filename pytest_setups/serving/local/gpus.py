"""The GPUs of this machine, through what their drivers expose. Memory is in MiB."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.serving.local.text_files import read_text

if TYPE_CHECKING:
    from pydantic import JsonValue

MIB: Final = 1024 * 1024
_NVIDIA_DRIVER: Final = "proc/driver/nvidia"
_AMD: Final = "0x1002"  # AMD's number among PCI vendors


def gpu_environment(root: Path = Path("/")) -> dict[str, JsonValue]:
    """``gpus`` (name, memory), ``driver``, and ``cuda`` or ``rocm`` where there are any.

    NVIDIA's are read through its management library (the ``gpu`` extra), else from the files of its
    driver, which do not say how much memory there is; AMD's from the files of its driver. ``root`` is
    the root of the file system.
    """
    return _nvidia_library() or _nvidia_files(root) or _amd_files(root) or {"gpus": []}


def amd_cards(root: Path) -> list[Path]:
    """The folder of each AMD GPU; ``root`` is the root of the file system."""
    # Files of the kernel's driver (amdgpu); rocm-smi need not be installed on a machine that serves.
    cards = sorted((root / "sys/class/drm").glob("card[0-9]*/device"))
    return [card for card in cards if read_text(card / "vendor").strip() == _AMD]


def nvidia_names(root: Path) -> list[str]:
    """The names of NVIDIA's GPUs, as the files of a driver that is loaded have them."""
    # Present wherever the driver is loaded, in containers too.
    texts = [read_text(path) for path in sorted((root / _NVIDIA_DRIVER).glob("gpus/*/information"))]
    return [match[1].strip() for text in texts if (match := re.search(r"(?m)^Model:\s*(.+)$", text))]


def _nvidia_library() -> dict[str, JsonValue]:
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # the library is installed, a driver is not
        return {}
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        return {
            "gpus": [_nvidia_gpu(pynvml, handle) for handle in handles],
            "driver": library_text(pynvml.nvmlSystemGetDriverVersion()),
            "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",  # 12080 is 12.8
        }
    except pynvml.NVMLError:
        return {}
    finally:
        pynvml.nvmlShutdown()


def _nvidia_gpu(pynvml: Any, handle: object) -> dict[str, JsonValue]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    return {"name": library_text(pynvml.nvmlDeviceGetName(handle)), "memory_mib": memory // MIB}


def _nvidia_files(root: Path) -> dict[str, JsonValue]:
    names = nvidia_names(root)
    if not names:
        return {}
    text = read_text(root / _NVIDIA_DRIVER / "version")
    version = re.search(r"(?:Kernel Module|for \S+)\s+(\d+\.[\d.]+)", text)
    gpus: list[JsonValue] = [{"name": name, "memory_mib": None} for name in names]
    return {"gpus": gpus, "driver": version[1] if version else None}


def _amd_files(root: Path) -> dict[str, JsonValue]:
    gpus: list[JsonValue] = [_amd_gpu(card) for card in amd_cards(root)]
    if not gpus:
        return {}
    return {
        "gpus": gpus,
        "driver": read_text(root / "sys/module/amdgpu/version").strip() or None,
        "rocm": read_text(root / "opt/rocm/.info/version").strip() or None,
    }


def _amd_gpu(card: Path) -> dict[str, JsonValue]:
    memory = read_text(card / "mem_info_vram_total").strip()
    name = read_text(card / "product_name").strip() or f"AMD {read_text(card / 'device').strip()}"
    return {"name": name, "memory_mib": int(memory) // MIB if memory.isdecimal() else None}


def library_text(value: object) -> str:
    """A text from NVIDIA's library, whose older versions give bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
