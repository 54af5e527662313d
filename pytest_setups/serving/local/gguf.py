"""The metadata at the beginning of a GGUF file (github.com/ggml-org/ggml/blob/master/docs/gguf.md).

Only scalar keys under ``general.`` are kept; the reader stops at the tokenizer's, which are large and
come after them. The package ``gguf`` needs NumPy and reads the whole header, tokenizer included: seconds
for a vocabulary of 150,000 tokens, where this takes less than a millisecond.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    from pathlib import Path

# Bounds for files that are broken: real headers have some dozens of keys before the tokenizer's.
MAX_TEXT: Final = 64 * 1024
MAX_KEYS: Final = 512
MAX_ELEMENTS: Final = 4096
# The letter of ``struct`` for each kind of value; kinds 8 and 9 have no fixed size.
_SCALARS: Final = ("B", "b", "H", "h", "I", "i", "f", "?", "", "", "Q", "q", "d")
_STRING: Final = 8
_ARRAY: Final = 9
# general.file_type; source: enum llama_ftype in llama.cpp's include/llama.h, without removed types.
_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
    36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip

Scalar = str | int | float | bool


class GgufError(ValueError):
    """A file that is not GGUF, or is cut off."""


def read_general(path: Path) -> dict[str, Scalar]:
    """The ``general.*`` keys of a file, without that prefix.

    Raises:
        GgufError: not a GGUF file of version 2 or 3, or broken.
        OSError: it cannot be read.
    """
    general: dict[str, Scalar] = {}
    with path.open("rb") as file:
        magic, version = _unpack(file, "4sI")
        # Version 1 had counts of 32 bits and was in use for some weeks of 2023.
        if magic != b"GGUF" or version not in {2, 3}:
            raise GgufError(f"{path.name} is not a GGUF file of version 2 or 3")
        _, keys = _unpack(file, "QQ")
        for _ in range(min(keys, MAX_KEYS)):
            key = _text(file)
            if key.startswith("tokenizer."):
                break
            value = _value(file, _unpack(file, "I")[0])
            if value is not None and key.startswith("general."):
                general[key.removeprefix("general.")] = value
    return general


def quantization(general: dict[str, Scalar]) -> str | None:
    """The name of the file's quantization, such as Q4_K_M."""
    number = general.get("file_type")
    return _FILE_TYPES.get(number) if isinstance(number, int) else None


def _value(file: BinaryIO, kind: int) -> Scalar | None:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        inner, length = _unpack(file, "IQ")
        # Arrays of arrays would allow a small file to take long; no known key has one.
        if length > MAX_ELEMENTS or inner == _ARRAY:
            raise GgufError(f"an array of {length} values of kind {inner}")
        for _ in range(length):
            _value(file, inner)
        return None
    if kind >= len(_SCALARS):
        raise GgufError(f"a value of unknown kind {kind}")
    scalar: Scalar = _unpack(file, _SCALARS[kind])[0]
    return scalar


def _text(file: BinaryIO) -> str:
    (length,) = _unpack(file, "Q")
    if length > MAX_TEXT:
        raise GgufError(f"a text of {length} bytes")
    return _bytes(file, length).decode("utf-8", "replace")


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", _bytes(file, struct.calcsize(f"<{form}")))


def _bytes(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise GgufError("the file ends within its header")
    return data
