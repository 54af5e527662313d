"""Sample images: finding them, and preparing each once as the JPEG that is sent.

EXIF orientation is applied; CMYK, palette, alpha, 16-bit and greyscale become RGB. JPEG is what every
server reads; some refuse WebP and TIFF.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
FORMAT: Final = "JPEG"
MIME: Final = "image/jpeg"
QUALITY: Final = 90
_SIXTEEN_BIT_MODES: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})


class ImageError(Exception):
    """A picture that cannot be prepared; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample image: its name, unique in the run, and its file.

    ``nth`` is which of the samples of its outputs is taken, from 1 (``--setup-repeat``).
    """

    name: str
    path: Path
    nth: int = 1


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """A picture ready to send: base64 of the JPEG, its size in pixels, sha256 of the pixels sent."""

    base64: bytes
    width: int
    height: int
    sha256: str


def find_samples(paths: Sequence[Path]) -> list[Sample]:
    """Every image below the given files and folders, sorted by name; a file given twice counts once.

    Files of the same name are told apart by as many parent folders as it takes.

    Raises:
        ImageError: a path does not exist or is no image, or there are no images at all.
    """
    files = list(dict.fromkeys(file.resolve() for path in paths for file in _files(path)))
    if not files:
        where = ", ".join(str(path) for path in paths)
        message = f"no images in {where}: looked for {', '.join(sorted(SUFFIXES))}"
        raise ImageError(message)
    return sorted(
        (Sample(name, file) for file, name in _names(files).items()), key=lambda sample: sample.name
    )


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return (
            file
            for file in path.rglob("*")
            if file.suffix.lower() in SUFFIXES
            and file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
    if not path.is_file():
        message = f"no such file or folder: {path}"
        raise ImageError(message)
    if path.suffix.lower() not in SUFFIXES:
        message = f"{path} is not named like an image: known are {', '.join(sorted(SUFFIXES))}"
        raise ImageError(message)
    return (path,)


def _names(files: Iterable[Path]) -> dict[Path, str]:
    names: dict[Path, str] = {}
    left, depth = list(files), 1
    while left:
        tails = {file: "/".join(file.parts[-depth:]) for file in left}
        count = Counter(tails.values())
        names.update({file: tail for file, tail in tails.items() if count[tail] == 1})
        left = [file for file in left if file not in names]
        depth += 1
    return names


def file_sha256(path: Path) -> str:
    """Sha256 (hex) of the file's bytes.

    Raises:
        ImageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        message = f"{path.name} cannot be read: {error.strerror or error}"
        raise ImageError(message) from None


def prepare(path: Path, max_edge: int) -> PreparedImage:
    """Decode, turn, convert to RGB, scale down to ``max_edge`` pixels and encode one picture.

    Raises:
        ImageError: unreadable, not an image, truncated, or a decompression bomb.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", _draft_size(image.size, max_edge))
            return encode(_as_rgb(ImageOps.exif_transpose(image)), max_edge)
    except UnidentifiedImageError:
        message = f"{path.name} is not an image that Pillow can read"
    except Image.DecompressionBombError:
        message = f"{path.name} is a decompression bomb: more pixels than Pillow opens"
    except (OSError, ValueError, ArithmeticError, SyntaxError, EOFError, MemoryError, Warning) as error:
        message = (
            f"{path.name} cannot be read: {getattr(error, 'strerror', None) or error or type(error).__name__}"
        )
    raise ImageError(message)


def encode(image: Image.Image, max_edge: int) -> PreparedImage:
    """An RGB picture scaled down to ``max_edge`` pixels as JPEG in base64."""
    image.thumbnail((max_edge, max_edge), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, FORMAT, quality=QUALITY)
    data = buffer.getvalue()
    return PreparedImage(base64.b64encode(data), image.width, image.height, hashlib.sha256(data).hexdigest())


def control_pictures() -> tuple[PreparedImage, PreparedImage]:
    """Two pictures that nobody who sees could describe in the same words.

    A white disc on red and a yellow square on blue, 256 x 256 pixels.
    """
    disc = Image.new("RGB", (256, 256), (220, 20, 20))
    ImageDraw.Draw(disc).ellipse((64, 64, 192, 192), fill=(255, 255, 255))
    square = Image.new("RGB", (256, 256), (20, 40, 220))
    ImageDraw.Draw(square).rectangle((72, 72, 184, 184), fill=(255, 230, 30))
    return encode(disc, 256), encode(square, 256)


def _draft_size(size: tuple[int, int], max_edge: int) -> tuple[int, int]:
    """Twice the size that is sent, so that scaling down in the JPEG decoder costs no sharpness."""
    scale = min(1.0, 2 * max_edge / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        return _eight_bit(image).convert("RGB")
    if image.mode == "F":
        return image.point(lambda value: value * 255).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    wide = image.convert("I")
    return wide.point(lambda value: value * (1 / 256)).convert("L")
