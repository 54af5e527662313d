"""Whether the local paths that an entry names exist on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import PATH_START
from pytest_setups.registry.parsing import json_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.entry import Entry

PATH_FLAGS: Final = ("model", "mmproj", "chat-template", "chat-template-file", "tokenizer", "lora")
# Without a leading ~, ., / or drive letter, only the ending distinguishes a path from a repository's name.
_PATH: Final = re.compile(rf"{PATH_START}.{{0,4000}}|[^{{}}\n]{{1,4000}}\.(?:jinja2?|j2|gguf|safetensors)")


def local_paths(entry: Entry) -> Iterator[tuple[str, str]]:
    """The local paths that an entry names, each after its JSON path.

    ``model.local_path`` always is one; a chat template or a flag's value is one when it is written like
    a path, and not a template's text or a repository's name.
    """
    if entry.model.local_path:
        yield "$.model.local_path", entry.model.local_path
    flags = {name.lstrip("-").replace("_", "-"): name for name in entry.server.flags}
    named = [("chat_template",), *(("flags", flags[name]) for name in PATH_FLAGS if name in flags)]
    for keys in named:
        value = entry.server.chat_template if len(keys) == 1 else entry.server.flags[keys[1]]
        if isinstance(value, str) and _PATH.fullmatch(value):
            yield json_path(("server", *keys)), value


def missing_paths(entry: Entry) -> list[str]:
    """One line for each local path of the entry that is missing or incomplete on this machine."""
    faults = ((where, _missing(text)) for where, text in local_paths(entry))
    return [f"{where}: {fault}" for where, fault in faults if fault]


def _missing(text: str) -> str | None:
    place = one_line(text, 300)
    try:
        path = Path(text).expanduser()
        # The cache's layout is models--OWNER--NAME/snapshots/REVISION/FILE -> ../../blobs/HASH.
        if path.name.startswith("models--"):
            return _missing_snapshots(path, place)
        if path.exists():
            return _missing_blobs(path, place)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL byte, or no home directory
        return f"{place} cannot be checked: {one_line(str(error))}"
    if path.parent.name == "snapshots" and path.parent.is_dir():
        kept = ", ".join(sorted(one_line(child.name, 40) for child in path.parent.iterdir())[:3])
        return f"{place} is not in the Hugging Face cache, which has: {kept or 'no revision'}"
    return f"{place} does not exist on this machine"


def _missing_snapshots(path: Path, place: str) -> str | None:
    """A model's folder in the Hugging Face cache: one revision must be complete."""
    folder = path / "snapshots"
    revisions = [child for child in folder.iterdir() if child.is_dir()] if folder.is_dir() else []
    if not revisions:
        return f"{place} contains no downloaded revision; download the model again"
    broken = [_missing_blobs(revision, place) for revision in revisions]
    return broken[0] if all(broken) else None


def _missing_blobs(path: Path, place: str) -> str | None:
    """Files of the Hugging Face cache are links to blobs, which may have been deleted."""
    if path.parent.name != "snapshots":
        return None
    broken = sorted(file.name for file in path.iterdir() if not file.exists())
    if broken:
        return f"{place}: {one_line(broken[0], 80)} was deleted from the cache; download the model again"
    return None
