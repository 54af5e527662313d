"""What a scripted model sees in a picture: colours and places, whatever the size and compression."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from functools import lru_cache

from PIL import Image

from pytest_setups.proofs.coded_pictures import COLOURS

GRID = 24
CLOSE = 900  # squared distance of two colours


def seen(picture: bytes) -> tuple[str, ...]:
    """The background, the colour and the place of a plain shape; the sha256 of any other picture.

    Places are left, right, top, bottom and centre.
    """
    with Image.open(io.BytesIO(picture)) as image:
        image.draft("RGB", (2 * GRID, 2 * GRID))  # decodes an eighth of a JPEG's pixels, which is fast
        # Of the nearest pixels: a mean of two colours would be a third one.
        small = image.convert("RGB").resize((GRID, GRID), Image.Resampling.NEAREST)
    cells = [_name(pixel) for pixel in zip(*[iter(small.tobytes())] * 3, strict=True)]
    colours = Counter(filter(None, cells)).most_common(2)
    if len(colours) < 2 or sum(count for _, count in colours) < 0.9 * len(cells):
        return (hashlib.sha256(picture).hexdigest(),)
    background, colour = (name for name, _ in colours)
    return background, colour, _place([divmod(n, GRID) for n, name in enumerate(cells) if name == colour])


@lru_cache(10_000)
def _name(pixel: tuple[int, ...]) -> str | None:
    distances = {
        name: sum((a - b) ** 2 for a, b in zip(pixel, colour, strict=True))
        for name, colour in COLOURS.items()
    }
    nearest = min(distances, key=lambda name: distances[name])
    return nearest if distances[nearest] < CLOSE else None


def _place(inside: list[tuple[int, int]]) -> str:
    y, x = (sum(values) / len(inside) / GRID - 0.5 for values in zip(*inside, strict=True))
    if max(abs(x), abs(y)) < 0.12:
        return "centre"
    if abs(x) > abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"
