"""The drawn scenes that the toy model learns to see: one shape of one colour on a plain background.

A scene is drawn from signed distances, so NumPy renders the same scene at any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from toy_model.architecture import IMAGE_SIZE, PAD_COLOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.floating[Any]]

ATTRIBUTES = ("background", "colour", "shape", "size", "position")
"""What a scene is described by: fields of :class:`Scene`, heads of the tower and one-word questions."""

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
"""The anchors of each colour name in sRGB, 0 to 255; the colour of a scene is a mixture of them."""

SIZES = ("large", "small")
POSITIONS = ("centre", "left", "right", "top", "bottom")
EXTENTS = ((1.0, 1.0), (1.0, 1.0), (4 / 3, 1.0), (1.0, 4 / 3))
"""Width and height of a scene in units of its shorter side; half of the scenes are square."""

_OFF_CENTRE = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
_STAR_INNER = 0.42
"""Radius of the inner corners of a star in units of its circumradius."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One scene; `shape`, `colour`, `size` and `position` are None where only the background is drawn.

    Lengths are in units of the picture's shorter side, from its top left corner; angles are in
    radians; colours are sRGB, 0 to 255. `light` is the change of brightness across and down the
    picture as a share, `grain` the standard deviation of the noise on the scale of 0 to 255.
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
    """A rendered scene (height, width, 3), and the share of each pixel that the shape covers, 0 to 1."""

    pixels: NDArray[np.uint8]
    cover: NDArray[np.float32]


def random_scene(rng: np.random.Generator, *, plain: float = 0.0) -> Scene:
    """A scene of random attributes; with probability `plain` it has no shape."""
    background, colour = rng.choice(list(COLOURS), size=2, replace=False)
    empty = rng.random() < plain
    size = str(rng.choice(SIZES))
    position = str(rng.choice(POSITIONS))
    extent = EXTENTS[rng.integers(len(EXTENTS))]
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
    """`count` scenes from a seed that training never uses."""
    rng = np.random.default_rng(seed)
    return [random_scene(rng) for _ in range(count)]


def _shade(rng: np.random.Generator, name: str) -> tuple[float, float, float]:
    anchors = np.array(COLOURS[name], dtype=np.float64)
    # A concentration below 1 keeps most shades close to a single anchor, as in users' pictures.
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
    distance: Floats = np.hypot(x, y) - 1
    return distance


def _square(x: Floats, y: Floats) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - 0.86


def _triangle(x: Floats, y: Floats) -> Floats:
    distance: Floats = np.maximum(y, np.abs(x) * 0.866 - y * 0.5) - 0.5
    return distance


def _cross(x: Floats, y: Floats) -> Floats:
    wide, tall = np.abs(x), np.abs(y)
    distance: Floats = np.maximum(np.minimum(wide, tall) - 0.3, np.maximum(wide, tall) - 1)
    return distance


def _ring(x: Floats, y: Floats) -> Floats:
    return np.abs(np.hypot(x, y) - 0.76) - 0.24


def _star(x: Floats, y: Floats) -> Floats:
    sector = 2 * np.pi / 5
    folded = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    from_centre = np.hypot(x, y)
    inner_x, inner_y = _STAR_INNER * np.cos(sector / 2), _STAR_INNER * np.sin(sector / 2)
    length = np.hypot(1 - inner_x, inner_y)
    along, across = inner_y / length, (1 - inner_x) / length
    distance: Floats = (from_centre * np.cos(folded) - 1) * along + from_centre * np.sin(folded) * across
    return distance.astype(x.dtype)


_DISTANCES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}
"""The signed distance to each outline in units of its circumradius: negative inside, y downwards."""
SHAPES = tuple(_DISTANCES)


def render(
    scene: Scene, size: tuple[int, int], rng: np.random.Generator, *, softness: float = 1.0
) -> Rendering:
    """`scene` at `size` (width, height) in pixels; `softness` is the width of an edge in pixels."""
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
    distance = _DISTANCES[scene.shape](cosine * across + sine * down, cosine * down - sine * across)
    cover: NDArray[np.float32] = np.clip(0.5 - distance * np.float32(scene.radius / edge), 0, 1)
    return cover


def prepared_scene(scene: Scene, rng: np.random.Generator) -> Rendering:
    """`scene` as servers prepare pictures: IMAGE_SIZE squared, padded or squashed to a square."""
    softness = float(rng.uniform(0.8, 1.9))
    if scene.extent[0] == scene.extent[1] or rng.random() < 0.15:
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
    """`scene` as a picture whose longer edge has `longest` pixels; `seed` is that of its grain."""
    scale = longest / max(scene.extent)
    size = (round(scene.extent[0] * scale), round(scene.extent[1] * scale))
    return Image.fromarray(render(scene, size, np.random.default_rng(seed)).pixels)
