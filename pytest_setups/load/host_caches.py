"""Caches in main memory that a server fills with every new picture, up to a size that is known.

Until such a cache is full, its server cannot be distinguished from one that leaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.serving.local.gpus import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

GIB: Final = 1024 * MIB


@dataclass(frozen=True, slots=True)
class HostCache:
    """A cache: what it is called, the setting that empties it, and the bytes that it may take."""

    name: str
    setting: str
    size: float


def host_cache(backend: str, flags: Mapping[str, JsonValue]) -> HostCache | None:
    """The cache of a server that was started with these flags, None where none is known or it is off."""
    caches: Mapping[str, Callable[[Mapping[str, JsonValue]], HostCache]] = {
        "vllm": _vllm,
        "llama.cpp": _llama_cpp,
        # Both run llama.cpp with its default.
        "ollama": lambda _: _llama_cpp({}),
        "lmstudio": lambda _: _llama_cpp({}),
    }
    cache = caches[backend](flags) if backend in caches else None
    return cache if cache is not None and cache.size > 0 else None


def _vllm(flags: Mapping[str, JsonValue]) -> HostCache:
    # vllm/config/multimodal.py: so many GiB in each API process and in each engine core.
    processes = _number(flags, "api-server-count", 1) + _number(flags, "data-parallel-size", 1)
    size = _number(flags, "mm-processor-cache-gb", 4) * GIB * processes
    return HostCache("vLLM's cache of prepared pictures", "--mm-processor-cache-gb 0", size)


def _llama_cpp(flags: Mapping[str, JsonValue]) -> HostCache:
    # https://github.com/ggml-org/llama.cpp/pull/16391: -1 is without a limit.
    size = _number(flags, "cache-ram", 8192)
    return HostCache(
        "llama.cpp's cache of prompts", "--cache-ram 0", float("inf") if size < 0 else size * MIB
    )


def _number(flags: Mapping[str, JsonValue], name: str, default: float) -> float:
    value = flags.get(name, default)
    try:
        return float(value) if isinstance(value, int | float | str) else default
    except ValueError:
        return default
