"""The model: what the command, the server and, on this machine, its own files say about it.

What is in none of them is None. ``format`` is how the weights are stored (gguf, awq, gptq, fp8,
compressed-tensors, bf16, ...); ``quantization`` is the scheme as the server or the file names it.
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
from pytest_setups.serving.local.text_files import first_word, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_setups.serving.backends import Identity
    from pytest_setups.serving.command_line.launch_command import LaunchCommand
    from pytest_setups.serving.local.listener import Listener

_REPO_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
# A path in the Hugging Face cache says which repository and commit it is.
_CACHED: Final = re.compile(r"models--([\w.-]+?)--([\w.-]+)/snapshots/([0-9a-f]{40})(?:/|$)")
# llama.cpp describes types of files as "Q4_K - Medium", "IQ2_XXS - 2.0625 bpw", "mostly F16".
_FTYPE: Final = re.compile(
    r"(?:all |mostly )?([A-Z]+\d\w*)(?: - (Small|Medium|Large))?(?: - [\d.]+ bpw)?", re.IGNORECASE
)
_DTYPES: Final = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_VISION_KEYS: Final = frozenset({"vision_config", "vision_tower", "mm_vision_tower", "visual"})
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
        path: where the weights are according to the user; it overrides the others.
        listener: the server's process where it runs on this machine, so that its files can be read.
    """
    name = identity.model_path or command.model
    place = path or name
    local = _local_path(place, command, listener) if listener and place else None
    files = _read(local) if local else ModelFacts()
    cached = _CACHED.search(str(local or place or "").replace("\\", "/"))
    repos = (_cached_repo(cached), _named_repo(command.model, listener), _named_repo(name, listener))
    revisions = (identity.revision, cached[3] if cached else None, files.revision)
    return ModelFacts(
        path=path or (str(local) if local else _path_of(name)),
        repo_id=_first((*repos, files.repo_id)),
        revision=_first((*revisions, _commit(command.flags.get("revision")))),
        base_model=files.base_model,
        format=identity.format or files.format,
        quantization=_quantization(identity, command, files),
        vision=identity.vision if identity.vision is not None else files.vision,
    )


def _first(values: Iterable[str | None]) -> str | None:
    return next(filter(None, values), None)


def _quantization(identity: Identity, command: LaunchCommand, files: ModelFacts) -> str | None:
    # The flag first: vLLM runs awq weights with awq_marlin when asked to, and only the flag says that.
    given = command.flags.get("quantization", command.flags.get("quantize"))
    if isinstance(given, str):
        return given
    return _ftype(identity.quantization) if identity.quantization else files.quantization


def _ftype(text: str) -> str:
    """llama.cpp's description of a file type as its usual name: Q4_K - Medium is Q4_K_M."""
    match = _FTYPE.fullmatch(text)
    if match is None:
        return text
    name = f"{match[1]}_{match[2][0].upper()}" if match[2] else match[1]
    return "Q2_K" if name == "Q2_K_M" else name  # the only type described as medium and named without it


def _path_of(name: str | None) -> str | None:
    return None if name is None or _looks_like_repo(name) else name


def _looks_like_repo(text: str) -> bool:
    # llama.cpp takes a quantization after a colon: org/model-GGUF:Q4_K_M.
    return _REPO_ID.fullmatch(text.partition(":")[0]) is not None and not text.endswith(".gguf")


def _named_repo(text: str | None, listener: Listener | None) -> str | None:
    """The repository that a text names, unless it names a folder of this machine."""
    # As servers do: a folder ./org/model is taken before the repository org/model.
    if text is None or not _looks_like_repo(text):
        return None
    if listener is not None and Path(listener.directory or ".", text).exists():
        return None
    return text.partition(":")[0]


def _cached_repo(cached: re.Match[str] | None) -> str | None:
    return f"{cached[1]}/{cached[2]}" if cached else None


def _commit(value: object) -> str | None:
    return value if isinstance(value, str) and _COMMIT.fullmatch(value) else None


def _local_path(place: str, command: LaunchCommand, listener: Listener) -> Path | None:
    """The model's file or folder on this machine, None when it is not here."""
    path = Path(listener.directory or ".", os.path.expanduser(place))
    if path.exists():
        # Not resolve(): in the cache of Hugging Face the link's path says which model it is.
        return Path(os.path.normpath(path.absolute()))
    return _in_cache(place, command, listener.variables) if _looks_like_repo(place) else None


def _in_cache(repo: str, command: LaunchCommand, variables: Mapping[str, str]) -> Path | None:
    """The snapshot of a repository in the Hugging Face cache.

    Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    home = Path(variables.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    hub = Path(variables.get("HF_HUB_CACHE") or home / "hub")
    folder = hub / f"models--{repo.partition(':')[0].replace('/', '--')}"
    revision = command.flags.get("revision", "main")
    commit = _commit(revision) or first_word(folder / "refs" / str(revision))
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
    # Multimodal models have the language model's settings one level down.
    configs = (config, _dict(config.get("text_config")))
    scheme = next(
        (_dict(part["quantization_config"]) for part in configs if part.get("quantization_config")), {}
    )
    method = scheme.get("quant_method")
    # transformers 5 writes dtype, 4 torch_dtype.
    dtype = next((part[key] for part in configs for key in ("dtype", "torch_dtype") if part.get(key)), None)
    return ModelFacts(
        format=str(method) if method else _DTYPES.get(str(dtype)),
        quantization=_scheme(scheme),
        vision=not _VISION_KEYS.isdisjoint(config) if config else None,
        revision=_downloaded_revision(folder),
        base_model=_base_model(folder / "README.md"),
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _scheme(scheme: dict[str, Any]) -> str | None:
    """The scheme; in more detail for compressed-tensors, which has many formats."""
    detail = scheme.get("format") or scheme.get("quant_method")
    return detail if isinstance(detail, str) else None


def _downloaded_revision(folder: Path) -> str | None:
    """The commit that ``hf download --local-dir`` writes beside the files it downloads."""
    return _commit(first_word(folder / ".cache" / "huggingface" / "download" / "config.json.metadata"))


def _base_model(readme: Path) -> str | None:
    """The base model in the front matter of a model card, where the Hugging Face hub has its metadata."""
    text = read_text(readme)
    front = text.split("\n---", 1)[0] if text.startswith("---") else ""
    match = _BASE_MODEL.search(front)
    return match[1] if match else None


def _repo_in_url(value: object) -> str | None:
    path = urlsplit(value).path.strip("/") if isinstance(value, str) else ""
    return path if _REPO_ID.fullmatch(path) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        return _dict(json.loads(read_text(path)))
    except (ValueError, RecursionError):
        return {}
