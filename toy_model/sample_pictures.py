"""The sample pictures that the toy model learns by heart: their texts, and how they are prepared."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from pytest_setups.demo import sample_images
from toy_model.architecture import IMAGE_SIZE, PAD_COLOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXTS = Path(__file__).parent / "samples.toml"


@dataclass(frozen=True, kw_only=True)
class SamplePicture:
    """One of the sample pictures and what the model is to say about it."""

    name: str
    subject: str
    caption: str
    keywords: tuple[str, ...]
    description: str

    def load(self) -> Image.Image:
        """The picture as RGB: upright, 16-bit grey scaled to 8 bits, transparency flattened on white."""
        with Image.open(sample_images() / self.name) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            if picture.has_transparency_data:
                layer = picture.convert("RGBA")
                white = Image.new("RGBA", layer.size, "white")
                picture = Image.alpha_composite(white, layer)
            return picture.convert("RGB")


def sample_pictures() -> list[SamplePicture]:
    """The sample pictures in the order of their names."""
    with _TEXTS.open("rb") as stream:
        table = tomllib.load(stream)
    return [
        SamplePicture(
            name=name,
            subject=texts["subject"],
            caption=texts["caption"],
            keywords=tuple(texts["keywords"]),
            description=texts["description"],
        )
        for name, texts in sorted(table.items())
    ]


def _padded(picture: Image.Image) -> Image.Image:
    edge = max(picture.size)
    canvas = Image.new("RGB", (edge, edge), PAD_COLOUR)
    canvas.paste(picture, ((edge - picture.width) // 2, (edge - picture.height) // 2))
    return canvas


def prepared_sample(picture: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """`picture` cropped, resized, brightened and roughened at random: (IMAGE_SIZE, IMAGE_SIZE, 3)."""
    cropped = _cropped(picture, rng)
    preparation = rng.choice(("pad", "crop", "squash"), p=(0.7, 0.15, 0.15))
    if preparation == "pad":
        cropped = _padded(cropped)
    elif preparation == "crop":
        cropped = ImageOps.fit(cropped, (min(cropped.size),) * 2)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST)
    method = filters[rng.choice(3, p=(0.45, 0.45, 0.1))]
    small = np.asarray(cropped.resize((IMAGE_SIZE, IMAGE_SIZE), method), dtype=np.float32)
    noise = rng.standard_normal(small.shape, dtype=np.float32) * float(rng.uniform(0, 6))
    bright = small * float(rng.uniform(0.85, 1.15)) + noise
    return np.clip(bright, 0, 255).astype(np.uint8)


def _cropped(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    if rng.random() < 0.25:
        return picture
    keep = rng.uniform(0.86, 1.0, size=2)
    width, height = round(picture.width * keep[0]), round(picture.height * keep[1])
    left = int(rng.integers(picture.width - width + 1))
    top = int(rng.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))
