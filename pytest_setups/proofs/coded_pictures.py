"""Coded pictures: one plain shape on a plain background, drawn from a seed.

No server can have seen them before, and a model needs only colours, shapes and places to distinguish them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw

from pytest_setups.tagging.images import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from pytest_setups.tagging.images import PreparedImage

Point = tuple[float, float]

COLOURS: Final[Mapping[str, tuple[int, int, int]]] = {
    "red": (210, 30, 30),
    "green": (30, 140, 50),
    "blue": (30, 60, 210),
    "yellow": (250, 220, 40),
    "orange": (250, 140, 20),
    "purple": (130, 40, 160),
    "pink": (250, 150, 190),
    "brown": (110, 65, 25),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
    "grey": (128, 128, 128),
    "cyan": (0, 200, 215),
}
SHAPES: Final = ("circle", "square", "triangle", "cross", "ring", "star")
PLACES: Final[Mapping[str, Point]] = {
    "centre": (0.5, 0.5),
    "left": (0.27, 0.5),
    "right": (0.73, 0.5),
    "top": (0.5, 0.27),
    "bottom": (0.5, 0.73),
}
MAX_SHIFT: Final = 0.03
"""How far a view moves its shape, as a share of the edge: too little to change its place."""
ON_ONE_BACKGROUND: Final = 2
"""Pictures that share a background, so that a model that sees only that cannot distinguish them."""


@dataclass(frozen=True, slots=True)
class PictureCode:
    """What a coded picture shows, in words."""

    background: str
    colour: str
    shape: str
    place: str

    def __str__(self) -> str:
        """The code as a person reads it: ``red circle on blue, left``."""
        return f"{self.colour} {self.shape} on {self.background}, {self.place}"


@dataclass(frozen=True, slots=True)
class PictureView:
    """One way to render a picture.

    Attributes:
        edge: in pixels; pictures are square.
        quality: JPEG quality.
        shift: how far the shape is moved to the right and down, as shares of the edge.
    """

    edge: int
    quality: int
    shift: Point = (0.0, 0.0)


def draw_codes(chance: Random, backgrounds: int) -> list[PictureCode]:
    """Codes of two pictures on each of so many backgrounds (at most 12), in random order.

    The two pictures on one background differ in colour, shape and place.
    """
    codes = [code for name in chance.sample(list(COLOURS), backgrounds) for code in _codes_on(name, chance)]
    chance.shuffle(codes)
    return codes


def _codes_on(background: str, chance: Random) -> list[PictureCode]:
    colours = chance.sample([name for name in COLOURS if name != background], ON_ONE_BACKGROUND)
    shapes = chance.sample(SHAPES, ON_ONE_BACKGROUND)
    places = chance.sample(list(PLACES), ON_ONE_BACKGROUND)
    return [PictureCode(background, *parts) for parts in zip(colours, shapes, places, strict=True)]


def draw_shift(chance: Random) -> Point:
    """A random shift of at most ``MAX_SHIFT`` in each direction."""
    return chance.uniform(-MAX_SHIFT, MAX_SHIFT), chance.uniform(-MAX_SHIFT, MAX_SHIFT)


def render(code: PictureCode, view: PictureView) -> PreparedImage:
    """The picture of a code, ready to send."""
    image = Image.new("RGB", (view.edge, view.edge), COLOURS[code.background])
    x, y = (place + shift for place, shift in zip(PLACES[code.place], view.shift, strict=True))
    # Away from the centre there is less room.
    radius = 0.3 if code.place == "centre" else 0.22
    draw = ImageDraw.Draw(image)
    for outline, colour in _outlines(code):
        points = [((x + radius * u) * view.edge, (y + radius * v) * view.edge) for u, v in outline]
        draw.polygon(points, fill=COLOURS[colour])
    return encode(image, view.edge, quality=view.quality)


def _outlines(code: PictureCode) -> Sequence[tuple[Sequence[Point], str]]:
    """The polygons of a shape in units of its radius, y downwards, each with its colour."""
    outlines: dict[str, Sequence[Sequence[Point]]] = {
        "circle": [_disc(1.0)],
        "square": [[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]],
        "triangle": [[(0.0, -1.0), (-0.9, 0.6), (0.9, 0.6)]],
        "cross": [_bar(1.0, 0.3), _bar(0.3, 1.0)],
        "star": [_star()],
    }
    if code.shape == "ring":
        return [(_disc(1.0), code.colour), (_disc(0.55), code.background)]
    return [(outline, code.colour) for outline in outlines[code.shape]]


def _disc(radius: float, corners: int = 48) -> list[Point]:
    angles = (2 * math.pi * corner / corners for corner in range(corners))
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def _bar(width: float, height: float) -> list[Point]:
    return [(-width, -height), (width, -height), (width, height), (-width, height)]


def _star(points: int = 5, inner: float = 0.42) -> list[Point]:
    reaches = [1.0, inner] * points
    step = math.pi / points
    return [
        (reach * math.sin(step * corner), -reach * math.cos(step * corner))
        for corner, reach in enumerate(reaches)
    ]
