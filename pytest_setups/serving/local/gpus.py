"""The GPUs of this machine, through what their drivers expose. Memory is in MiB."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydantic import JsonValue

MIB: Final = 1024 * 1024
_AMD: Final = "0x1002"


def gpu_environment(root: Path = Path("/")) -> dict[str, JsonValue]:
    """``gpus`` (name, memory), ``driver``, and ``cuda`` or ``rocm`` where there are any.

    NVIDIA's are told by its management library (the ``gpu`` extra), or else by the files of its driver;
    AMD's by the files of its driver. ``root`` is the root of the file system.
    """
    return _nvidia_library() or _nvidia_files(root) or _amd_files(root) or {"gpus": []}


def _nvidia_library() -> dict[str, JsonValue]:
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        return {
            "gpus": [_nvidia_gpu(pynvml, handle) for handle in handles],
            "driver": _word(pynvml.nvmlSystemGetDriverVersion()),
            "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        }
    except pynvml.NVMLError:
        return {}
    finally:
        pynvml.nvmlShutdown()


def _nvidia_gpu(pynvml: Any, handle: object) -> dict[str, JsonValue]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    return {"name": _word(pynvml.nvmlDeviceGetName(handle)), "memory_mib": memory // MIB}


def _nvidia_files(root: Path) -> dict[str, JsonValue]:
    driver = root / "proc/driver/nvidia"
    texts = [_text(path) for path in sorted(driver.glob("gpus/*/information"))]
    names = [match[1].strip() for text in texts if (match := re.search(r"(?m)^Model:\s*(.+)$", text))]
    if not names:
        return {}
    version = re.search(r"(?:Kernel Module|for \S+)\s+(\d+\.[\d.]+)", _text(driver / "version"))
    gpus: list[JsonValue] = [{"name": name, "memory_mib": None} for name in names]
    return {"gpus": gpus, "driver": version[1] if version else None}


def _amd_files(root: Path) -> dict[str, JsonValue]:
    cards = sorted((root / "sys/class/drm").glob("card[0-9]*/device"))
    gpus: list[JsonValue] = [_amd_gpu(card) for card in cards if _text(card / "vendor").strip() == _AMD]
    if not gpus:
        return {}
    return {
        "gpus": gpus,
        "driver": _text(root / "sys/module/amdgpu/version").strip() or None,
        "rocm": _text(root / "opt/rocm/.info/version").strip() or None,
    }


def _amd_gpu(card: Path) -> dict[str, JsonValue]:
    memory = _text(card / "mem_info_vram_total").strip()
    name = _text(card / "product_name").strip() or f"AMD {_text(card / 'device').strip()}"
    return {"name": name, "memory_mib": int(memory) // MIB if memory.isdecimal() else None}


def _word(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
