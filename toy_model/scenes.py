"""What the toy model learns to see: drawn scenes, the sample pictures, and their preparation.

A scene is one shape of one colour on a plain background. It is drawn from signed distances, so the
same scene can be rendered at any size, in batches and with NumPy alone.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from pytest_setups.demo import sample_images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.floating[Any]]

HERE = Path(__file__).parent
SAMPLE_FOLDER = sample_images()

IMAGE_SIZE = 96
"""Edge in pixels of the square picture that enters the vision tower."""

PAD_COLOUR = (122, 116, 104)
"""What llama.cpp and LlavaImageProcessor fill a picture with to make it square: CLIP's mean."""

COLOURS: Mapping[str, Sequence[tuple[int, int, int]]] = {
    "red": ((255, 0, 0), (205, 25, 30), (165, 15, 25)),
    "green": ((0, 128, 0), (40, 160, 60), (0, 255, 0), (30, 105, 50)),
    "blue": ((0, 0, 255), (30, 70, 210), (20, 35, 130)),
    "yellow": ((255, 255, 0), (240, 212, 30), (255, 232, 90)),
    "orange": ((255, 165, 0), (245, 130, 20), (255, 140, 0)),
    "purple": ((128, 0, 128), (130, 40, 180), (95, 30, 130)),
    "pink": ((255, 192, 203), (255, 105, 180), (250, 150, 190)),
    "brown": ((139, 69, 19), (110, 65, 25), (90, 55, 35)),
    "black": ((0, 0, 0), (28, 28, 28)),
    "white": ((255, 255, 255), (242, 242, 242)),
    "grey": ((128, 128, 128), (105, 105, 105), (165, 165, 165)),
    "cyan": ((0, 255, 255), (0, 190, 205), (60, 215, 220)),
}
"""Anchors in sRGB; a scene's colour lies between the anchors of its name."""

SIZES = ("large", "small")
POSITIONS = ("centre", "left", "right", "top", "bottom")
ASPECTS = ((1.0, 1.0), (1.0, 1.0), (4 / 3, 1.0), (1.0, 4 / 3))
"""Width and height of a scene in units of its shorter side."""

_OFF_CENTRE = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
_STAR_INNER = 0.42


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One drawn scene. `shape`, `colour`, `size` and `position` are None when nothing is drawn.

    Lengths are in units of the picture's shorter side, the origin is its top left corner, angles
    are in radians, colours in sRGB from 0 to 255.
    """

    background: str
    colour: str | None
    shape: str | None
    size: str | None
    position: str | None
    extent: tuple[float, float]
    centre: tuple[float, float]
    radius: float
    angle: float
    background_rgb: tuple[float, float, float]
    colour_rgb: tuple[float, float, float]
    light: tuple[float, float]
    grain: float


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """A rendered scene (height, width, 3), and how much of each pixel the shape covers, 0 to 1."""

    pixels: NDArray[np.uint8]
    cover: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One of the sample pictures and what is to be said about it."""

    name: str
    subject: str
    caption: str
    keywords: tuple[str, ...]
    description: str


def chance(rng: np.random.Generator, share: float) -> bool:
    """Return True in `share` of all calls."""
    return bool(rng.random() < share)


def random_scene(rng: np.random.Generator, *, plain: float = 0.0) -> Scene:
    """Draw the attributes of a scene; with probability `plain` it has no shape."""
    background, colour = rng.choice(list(COLOURS), size=2, replace=False)
    empty = chance(rng, plain)
    size = str(rng.choice(SIZES))
    position = str(rng.choice(POSITIONS))
    extent = ASPECTS[rng.integers(len(ASPECTS))]
    radius = _radius(rng, size, position)
    return Scene(
        background=str(background),
        colour=None if empty else str(colour),
        shape=None if empty else str(rng.choice(SHAPES)),
        size=None if empty else size,
        position=None if empty else position,
        extent=extent,
        centre=_centre(rng, position, extent, radius),
        radius=0.0 if empty else radius,
        angle=float(rng.uniform(-0.15, 0.15)),
        background_rgb=_shade(rng, str(background)),
        colour_rgb=_shade(rng, str(colour)),
        light=(float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.05))),
        grain=float(rng.choice((0.0, 0.0, 2.0, 4.0))),
    )


def held_out_scenes(count: int, *, seed: int = 20_000_003) -> list[Scene]:
    """Return scenes of a seed that training never uses."""
    rng = np.random.default_rng(seed)
    return [random_scene(rng) for _ in range(count)]


def _shade(rng: np.random.Generator, name: str) -> tuple[float, float, float]:
    anchors = np.array(COLOURS[name], dtype=np.float64)
    # A low concentration keeps many shades close to one anchor, where users' pictures are.
    mixed = rng.dirichlet(np.full(len(anchors), 0.4)) @ anchors + rng.uniform(-8, 8, size=3)
    red, green, blue = np.clip(mixed, 0, 255)
    return float(red), float(green), float(blue)


def _radius(rng: np.random.Generator, size: str, position: str) -> float:
    if size == "small":
        return float(rng.uniform(0.16, 0.2))
    return float(rng.uniform(0.28, 0.4 if position == "centre" else 0.32))


def _centre(
    rng: np.random.Generator, position: str, extent: tuple[float, float], radius: float
) -> tuple[float, float]:
    jitter = rng.uniform(-0.04, 0.04, size=2)
    direction = _OFF_CENTRE.get(position, (0, 0))
    inset = max(radius + 0.02, float(rng.uniform(0.2, 0.28)))
    values = [
        edge / 2 + step * (edge / 2 - inset) + shift * edge * (not step)
        for edge, step, shift in zip(extent, direction, jitter, strict=True)
    ]
    return float(values[0]), float(values[1])


def _circle(x: Floats, y: Floats) -> Floats:
    away: Floats = np.hypot(x, y) - 1
    return away


def _square(x: Floats, y: Floats) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - 0.86


def _triangle(x: Floats, y: Floats) -> Floats:
    away: Floats = np.maximum(y, np.abs(x) * 0.866 - y * 0.5) - 0.5
    return away


def _cross(x: Floats, y: Floats) -> Floats:
    wide, tall = np.abs(x), np.abs(y)
    away: Floats = np.maximum(np.minimum(wide, tall) - 0.3, np.maximum(wide, tall) - 1)
    return away


def _ring(x: Floats, y: Floats) -> Floats:
    return np.abs(np.hypot(x, y) - 0.76) - 0.24


def _star(x: Floats, y: Floats) -> Floats:
    sector = 2 * np.pi / 5
    folded = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    reach = np.hypot(x, y)
    inner_x, inner_y = _STAR_INNER * np.cos(sector / 2), _STAR_INNER * np.sin(sector / 2)
    length = np.hypot(1 - inner_x, inner_y)
    along, across = inner_y / length, (1 - inner_x) / length
    away: Floats = (reach * np.cos(folded) - 1) * along + reach * np.sin(folded) * across
    return away.astype(x.dtype)


_DISTANCES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}
"""Signed distances to outlines in units of the circumradius; negative inside, y downwards."""
SHAPES = tuple(_DISTANCES)


def render(
    scene: Scene, size: tuple[int, int], rng: np.random.Generator, *, softness: float = 1.0
) -> Rendering:
    """Render `scene` in `size` (width, height); `softness` is the width of an edge in pixels."""
    width, height = size
    x = (np.arange(width, dtype=np.float32) + 0.5) * (scene.extent[0] / width)
    y = (np.arange(height, dtype=np.float32) + 0.5) * (scene.extent[1] / height)
    light = 1 + scene.light[0] * (x / scene.extent[0] - 0.5)[None, :, None]
    light = light + scene.light[1] * (y / scene.extent[1] - 0.5)[:, None, None]
    cover = _cover(scene, x[None, :], y[:, None], scene.extent[0] / width * softness)
    ground = np.array(scene.background_rgb, dtype=np.float32)
    shape = np.array(scene.colour_rgb, dtype=np.float32)
    picture = (ground + cover[..., None] * (shape - ground)) * light
    if scene.grain:
        picture += scene.grain * rng.standard_normal(cover.shape, dtype=np.float32)[..., None]
    return Rendering(pixels=np.clip(picture + 0.5, 0, 255).astype(np.uint8), cover=cover)


def _cover(scene: Scene, x: NDArray[np.float32], y: NDArray[np.float32], edge: float) -> NDArray[np.float32]:
    if scene.shape is None:
        return np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    across, down = (x - scene.centre[0]) / scene.radius, (y - scene.centre[1]) / scene.radius
    cosine, sine = np.float32(np.cos(scene.angle)), np.float32(np.sin(scene.angle))
    away = _DISTANCES[scene.shape](cosine * across + sine * down, cosine * down - sine * across)
    cover: NDArray[np.float32] = np.clip(0.5 - away * np.float32(scene.radius / edge), 0, 1)
    return cover


def prepared_scene(scene: Scene, rng: np.random.Generator) -> Rendering:
    """Render `scene` as a server would prepare it: IMAGE_SIZE squared, padded or squashed."""
    softness = float(rng.uniform(0.8, 1.9))
    if scene.extent[0] == scene.extent[1] or chance(rng, 0.15):
        return render(scene, (IMAGE_SIZE, IMAGE_SIZE), rng, softness=softness)
    scale = IMAGE_SIZE / max(scene.extent)
    inner = (round(scene.extent[0] * scale), round(scene.extent[1] * scale))
    return _padded_rendering(render(scene, inner, rng, softness=softness))


def _padded_rendering(inner: Rendering) -> Rendering:
    pixels = np.empty((IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    pixels[:] = PAD_COLOUR
    cover = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
    height, width = inner.cover.shape
    top, left = (IMAGE_SIZE - height) // 2, (IMAGE_SIZE - width) // 2
    inside = (slice(top, top + height), slice(left, left + width))
    pixels[inside] = inner.pixels
    cover[inside] = inner.cover
    return Rendering(pixels=pixels, cover=cover)


def scene_picture(scene: Scene, longest: int, *, seed: int = 0) -> Image.Image:
    """Render `scene` as a picture whose longer edge has `longest` pixels."""
    scale = longest / max(scene.extent)
    size = (round(scene.extent[0] * scale), round(scene.extent[1] * scale))
    return Image.fromarray(render(scene, size, np.random.default_rng(seed)).pixels)


def samples() -> list[Sample]:
    """Return the sample pictures with their texts, in the order of their names."""
    with (HERE / "samples.toml").open("rb") as stream:
        table = tomllib.load(stream)
    return [
        Sample(
            name=name,
            subject=texts["subject"],
            caption=texts["caption"],
            keywords=tuple(texts["keywords"]),
            description=texts["description"],
        )
        for name, texts in sorted(table.items())
    ]


def load_picture(path: Path) -> Image.Image:
    """Read a picture as RGB: upright, 16-bit grey scaled to 8 bit, alpha flattened on white."""
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            white = Image.new("RGBA", layer.size, "white")
            picture = Image.alpha_composite(white, layer)
        return picture.convert("RGB")


def padded(picture: Image.Image) -> Image.Image:
    """Pad `picture` to a square with PAD_COLOUR, itself in the middle."""
    edge = max(picture.size)
    canvas = Image.new("RGB", (edge, edge), PAD_COLOUR)
    canvas.paste(picture, ((edge - picture.width) // 2, (edge - picture.height) // 2))
    return canvas


def prepared_sample(picture: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Crop, brighten and prepare a picture at random: an array (IMAGE_SIZE, IMAGE_SIZE, 3)."""
    cropped = _cropped(picture, rng)
    preparation = rng.choice(("pad", "crop", "squash"), p=(0.7, 0.15, 0.15))
    if preparation == "pad":
        cropped = padded(cropped)
    elif preparation == "crop":
        cropped = ImageOps.fit(cropped, (min(cropped.size),) * 2)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST)
    method = filters[rng.choice(3, p=(0.45, 0.45, 0.1))]
    small = np.asarray(cropped.resize((IMAGE_SIZE, IMAGE_SIZE), method), dtype=np.float32)
    noise = rng.standard_normal(small.shape, dtype=np.float32) * float(rng.uniform(0, 6))
    bright = small * float(rng.uniform(0.85, 1.15)) + noise
    return np.clip(bright, 0, 255).astype(np.uint8)


def _cropped(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    if chance(rng, 0.25):
        return picture
    keep = rng.uniform(0.86, 1.0, size=2)
    width, height = round(picture.width * keep[0]), round(picture.height * keep[1])
    left = int(rng.integers(picture.width - width + 1))
    top = int(rng.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))
