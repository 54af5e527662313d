"""The model: what the command, the server and, on this machine, its own files say of it.

What none of them tells is None. ``format`` is how the weights are kept (gguf, awq, gptq, fp8,
compressed-tensors, bf16, ...); ``quantization`` is the scheme as its server or file names it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pytest_setups.serving.local import gguf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_setups.serving.backends import Identity
    from pytest_setups.serving.command_line.launch_command import LaunchCommand
    from pytest_setups.serving.local.listener import Listener

MAX_FILE: Final = 4 * 1024 * 1024
_REPO_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_CACHED: Final = re.compile(r"models--([\w.-]+?)--([\w.-]+)/snapshots/([0-9a-f]{40})(?:/|$)")
_FTYPE: Final = re.compile(
    r"(?:all |mostly )?([A-Z]+\d\w*)(?: - (Small|Medium|Large))?(?: - [\d.]+ bpw)?", re.IGNORECASE
)
_DTYPES: Final = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_BASE_MODEL: Final = re.compile(r"(?m)^base_model:[ \t]*(?:\n[ \t]*-[ \t]*)?[\"']?([\w.-]+/[\w.-]+)")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model; ``path`` is where its weights are on the server's machine."""

    path: str | None = None
    repo_id: str | None = None
    revision: str | None = None
    base_model: str | None = None
    format: str | None = None
    quantization: str | None = None
    vision: bool | None = None


def model_facts(
    identity: Identity, command: LaunchCommand, path: str | None, listener: Listener | None
) -> ModelFacts:
    """Gather what is known of the served model.

    Args:
        identity: what the server says.
        command: how it was started.
        path: where the user says the weights are; it wins.
        listener: the server's process where it runs on this machine, so that its files can be read.
    """
    named = identity.model_path or command.model
    place = path or named
    found = _find(place, command, listener) if listener and place else None
    files = _read(found) if found else ModelFacts()
    cached = _CACHED.search(str(found or place or "").replace("\\", "/"))
    return ModelFacts(
        path=path or (str(found) if found else _path_of(named)),
        repo_id=_cached_repo(cached)
        or _named_repo(command.model, listener)
        or _named_repo(named, listener)
        or files.repo_id,
        revision=identity.revision or (cached[3] if cached else None) or files.revision
        or _commit(command.flags.get("revision")),
        base_model=files.base_model,
        format=identity.format or files.format,
        quantization=_quantization(identity, command, files),
        vision=identity.vision if identity.vision is not None else files.vision,
    )  # fmt: skip


def _quantization(identity: Identity, command: LaunchCommand, files: ModelFacts) -> str | None:
    given = command.flags.get("quantization", command.flags.get("quantize"))
    if isinstance(given, str):
        return given
    return _ftype(identity.quantization) if identity.quantization else files.quantization


def _ftype(text: str) -> str:
    """llama.cpp's description of a file type as the name that everybody uses: Q4_K - Medium is Q4_K_M."""
    match = _FTYPE.fullmatch(text)
    if match is None:
        return text
    name = f"{match[1]}_{match[2][0].upper()}" if match[2] else match[1]
    return "Q2_K" if name == "Q2_K_M" else name


def _path_of(named: str | None) -> str | None:
    return None if named is None or _looks_like_repo(named) else named


def _looks_like_repo(text: str) -> bool:
    return _REPO_ID.fullmatch(text.partition(":")[0]) is not None and not text.endswith(".gguf")


def _named_repo(text: str | None, listener: Listener | None) -> str | None:
    """The repository that a text names, unless it names a folder of this machine."""
    if text is None or not _looks_like_repo(text):
        return None
    if listener is not None and Path(listener.directory or ".", text).exists():
        return None
    return text.partition(":")[0]


def _cached_repo(cached: re.Match[str] | None) -> str | None:
    return f"{cached[1]}/{cached[2]}" if cached else None


def _commit(value: object) -> str | None:
    return value if isinstance(value, str) and _COMMIT.fullmatch(value) else None


def _find(place: str, command: LaunchCommand, listener: Listener) -> Path | None:
    """The model's file or folder on this machine."""
    path = Path(listener.directory or ".", os.path.expanduser(place))
    if path.exists():
        return Path(os.path.normpath(path.absolute()))
    return _in_cache(place, command, listener.variables) if _looks_like_repo(place) else None


def _in_cache(repo: str, command: LaunchCommand, variables: Mapping[str, str]) -> Path | None:
    """The snapshot of a repository in the Hugging Face cache."""
    home = Path(variables.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    hub = Path(variables.get("HF_HUB_CACHE") or home / "hub")
    folder = hub / f"models--{repo.partition(':')[0].replace('/', '--')}"
    wanted = command.flags.get("revision", "main")
    commit = _commit(wanted) or _first_line(folder / "refs" / str(wanted))
    snapshot = folder / "snapshots" / commit if commit and _COMMIT.fullmatch(commit) else None
    return snapshot if snapshot and snapshot.is_dir() else None


def _read(path: Path) -> ModelFacts:
    return _read_folder(path) if path.is_dir() else _read_gguf(path)


def _read_gguf(path: Path) -> ModelFacts:
    try:
        general = gguf.read_general(path)
    except (gguf.GgufError, OSError):
        return ModelFacts()
    source = general.get("source.repo_url") or general.get("source.huggingface.repository")
    return ModelFacts(
        format="gguf",
        quantization=gguf.quantization(general),
        repo_id=_repo_in_url(general.get("repo_url")),
        base_model=_repo_in_url(general.get("base_model.0.repo_url")) or _repo_in_url(source),
    )


def _read_folder(folder: Path) -> ModelFacts:
    config = _json(folder / "config.json")
    text = config.get("text_config")
    inner: dict[str, Any] = text if isinstance(text, dict) else {}
    scheme = config.get("quantization_config") or inner.get("quantization_config")
    method = scheme.get("quant_method") if isinstance(scheme, dict) else None
    dtype = next((c[k] for c in (config, inner) for k in ("dtype", "torch_dtype") if c.get(k)), None)
    vision = {"vision_config", "vision_tower", "mm_vision_tower", "visual"} & set(config)
    return ModelFacts(
        format=str(method) if method else _DTYPES.get(str(dtype)),
        quantization=_scheme(scheme) if isinstance(scheme, dict) else None,
        vision=bool(vision) if config else None,
        revision=_downloaded(folder),
        base_model=_base_model(folder / "README.md"),
    )


def _scheme(scheme: dict[str, Any]) -> str | None:
    """The scheme in more detail where the configuration has it: compressed-tensors keeps many formats."""
    detail = scheme.get("format") or scheme.get("quant_method")
    return detail if isinstance(detail, str) else None


def _downloaded(folder: Path) -> str | None:
    """The commit that ``hf download --local-dir`` notes beside what it downloads."""
    line = _first_line(folder / ".cache" / "huggingface" / "download" / "config.json.metadata")
    return _commit(line)


def _base_model(readme: Path) -> str | None:
    text = _text(readme)
    front = text.split("\n---", 1)[0] if text.startswith("---") else ""
    match = _BASE_MODEL.search(front)
    return match[1] if match else None


def _repo_in_url(value: object) -> str | None:
    path = urlsplit(value).path.strip("/") if isinstance(value, str) else ""
    return path if _REPO_ID.fullmatch(path) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _first_line(path: Path) -> str | None:
    return next(iter(_text(path).split()), None)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_FILE)
    except OSError:
        return ""
