"""The toy model and its two companions: one that does not see, one that talks nonsense.

The companions are made from the GGUF pair in a moment, with the `gguf` package and NumPy alone:
blind keeps the text model and has a projector of zeros, so every picture looks the same to it;
babbling keeps the vision tower and has a text model of random weights.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, TypeAlias

import gguf
import numpy as np

from pytest_setups import demo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Change: TypeAlias = Callable[[str, NDArray[np.generic]], NDArray[np.generic]]

TEXT_FILE = "toy-vlm.gguf"
MMPROJ_FILE = "mmproj-toy-vlm.gguf"
DEMO = demo.HERE

_LOUDNESS = 3.0
"""How much wider than the trained ones the random weights of the layers are spread.

Weights of the same spread leave the last token standing, and the model repeats it for ever.
"""


def make_blind(folder: Path, pair: Path = DEMO) -> Path:
    """Write the blind companion of the GGUF pair in `pair` to `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pair / TEXT_FILE, folder / TEXT_FILE)
    rewrite(
        pair / MMPROJ_FILE,
        folder / MMPROJ_FILE,
        lambda name, array: np.zeros_like(array) if name.startswith("mm.") else array,
    )
    return folder


def make_babbling(folder: Path, pair: Path = DEMO, *, seed: int = 1) -> Path:
    """Write the babbling companion of the GGUF pair in `pair` to `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pair / MMPROJ_FILE, folder / MMPROJ_FILE)
    rng = np.random.default_rng(seed)

    def noise(name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
        if array.ndim == 1:
            return array
        loudness = _LOUDNESS if name.startswith("blk.") else 1.0
        spread = loudness * float(np.std(array.astype(np.float64)))
        return rng.normal(0, spread, array.shape).astype(array.dtype)

    rewrite(pair / TEXT_FILE, folder / TEXT_FILE, noise)
    return folder


def rewrite(source: Path, target: Path, change: Change) -> None:
    """Copy a GGUF file with every tensor passed through `change(name, array)`."""
    reader = gguf.GGUFReader(source)
    architecture = str(reader.fields[gguf.Keys.General.ARCHITECTURE].contents())
    writer = gguf.GGUFWriter(target, architecture)
    for name, entry in reader.fields.items():
        if name.startswith("GGUF.") or name == gguf.Keys.General.ARCHITECTURE:
            continue
        nested = entry.types[1] if len(entry.types) > 1 else None
        writer.add_key_value(name, entry.contents(), entry.types[0], nested)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, change(tensor.name, np.array(tensor.data)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
