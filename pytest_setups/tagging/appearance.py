"""Whether two pictures look alike: frames of one burst, copies in other sizes or formats.

A difference hash (https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html) compares
shapes; the colours of a thumbnail distinguish pictures of the same shapes. Pillow does both in a few lines;
imagehash would bring numpy, scipy and pywavelets.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

from PIL import Image

from pytest_setups.tagging.images import read_rgb

if TYPE_CHECKING:
    from pathlib import Path

HASH_EDGE: Final = 8
THUMBNAIL: Final = 16
# Of 64 bits. Moved by 2 % or turned by a degree, the sample pictures differ in up to 9 bits from themselves,
# and in 11 and more from one another.
MAX_BITS: Final = 10
# Of 255, on average over the thumbnail: a small change of exposure stays below.
MAX_COLOUR: Final = 12
# Decoded no smaller than this: a JPEG decoder's own scaling would show in the hash.
DECODED_EDGE: Final = 128


@dataclass(frozen=True, slots=True)
class Appearance:
    """What a picture looks like.

    Attributes:
        bits: 64 bits, each whether a point is darker than the one to its right.
        colours: red, green and blue of 16 by 16 points.
    """

    bits: int
    colours: bytes

    @classmethod
    def of(cls, path: Path) -> Self:
        """The appearance of an image file.

        Raises:
            ImageError: unreadable, not an image, truncated, or a decompression bomb.
        """
        upright = read_rgb(path, DECODED_EDGE)
        grey = upright.convert("L").resize((HASH_EDGE + 1, HASH_EDGE), Image.Resampling.BOX).tobytes()
        rows = (grey[start : start + HASH_EDGE + 1] for start in range(0, len(grey), HASH_EDGE + 1))
        darker = (left < right for row in rows for left, right in pairwise(row))
        bits = sum(bit << place for place, bit in enumerate(darker))
        return cls(bits, upright.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes())

    def is_like(self, other: Self) -> bool:
        """Whether both may rightly get the same words."""
        if (self.bits ^ other.bits).bit_count() > MAX_BITS:
            return False
        distance = sum(abs(a - b) for a, b in zip(self.colours, other.colours, strict=True))
        return distance <= MAX_COLOUR * len(self.colours)
