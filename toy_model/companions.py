"""Two companions of the toy model that checks must reject: a blind one and a babbling one.

They are made from a GGUF pair in a moment, with only the `gguf` package and NumPy. The blind one has
a projector of zeros, so every picture looks the same to it; the babbling one keeps the vision part
and has a text model of random weights.
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

PACKAGED_PAIR = demo.MODEL.parent
TEXT_FILE = demo.MODEL.name
MMPROJ_FILE = demo.PROJECTOR.name
"""The folder of the packaged GGUF pair, and the names of the two files of every pair."""

_LAYER_SPREAD = 3.0
"""The spread of the random weights in the layers, in units of that of the trained weights.

With a spread of 1 the layers change too little: the model repeats its last token for ever.
"""


def make_blind(folder: Path, pair: Path = PACKAGED_PAIR) -> Path:
    """Write the blind companion of the GGUF pair in `pair` to `folder`; the result is `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pair / TEXT_FILE, folder / TEXT_FILE)
    _rewrite(
        pair / MMPROJ_FILE,
        folder / MMPROJ_FILE,
        lambda name, array: np.zeros_like(array) if name.startswith("mm.") else array,
    )
    return folder


def make_babbling(folder: Path, pair: Path = PACKAGED_PAIR, *, seed: int = 1) -> Path:
    """Write the babbling companion of the GGUF pair in `pair` to `folder`; the result is `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pair / MMPROJ_FILE, folder / MMPROJ_FILE)
    rng = np.random.default_rng(seed)

    def noise(name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
        if array.ndim == 1:
            return array
        factor = _LAYER_SPREAD if name.startswith("blk.") else 1.0
        spread = factor * float(np.std(array.astype(np.float64)))
        return rng.normal(0, spread, array.shape).astype(array.dtype)

    _rewrite(pair / TEXT_FILE, folder / TEXT_FILE, noise)
    return folder


def _rewrite(source: Path, target: Path, change: Change) -> None:
    """Copy the GGUF file `source` with every tensor replaced by `change(name, array)`."""
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
