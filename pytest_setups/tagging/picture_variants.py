"""Variants of a picture: to a model the same, to the caches of a server another picture.

Servers keep what they computed of a picture: vLLM and SGLang by a hash of its decoded pixels, llama.cpp by
one of its bytes. A picture that is sent again would be answered faster than any new photograph.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from PIL import Image

from pytest_setups.tagging.images import encode, read_rgb, scale_down

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_setups.tagging.images import PreparedImage

MARK_EDGE: Final = 16
"""Pixels of the corner that differs: two blocks of JPEG, whose values survive the compression."""
_FIELDS: Final = 4
_OPACITY: Final = 0.35


def prepare_variant(path: Path, max_edge: int, variant: str) -> PreparedImage:
    """Prepare a picture as a run does, with a faint mark in its lower right corner that is drawn from a text.

    Raises:
        ImageError: unreadable, not an image, truncated, or a decompression bomb.
    """
    image = read_rgb(path, max_edge)
    scale_down(image, max_edge)
    left, top = max(image.width - MARK_EDGE, 0), max(image.height - MARK_EDGE, 0)
    corner = image.crop((left, top, image.width, image.height))
    noise = random.Random(variant).randbytes(3 * _FIELDS * _FIELDS)
    mark = Image.frombytes("RGB", (_FIELDS, _FIELDS), noise).resize(corner.size, Image.Resampling.NEAREST)
    image.paste(Image.blend(corner, mark, _OPACITY), (left, top))
    return encode(image, max_edge)
