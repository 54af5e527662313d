"""Sample images: which files they are, and each as the JPEG that is sent.

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
# Above 90, a photo's size increases much more than its quality.
QUALITY: Final = 90
# Pillow's convert("RGB") clips these modes at 255 instead of scaling them. Pillow reads 16-bit PNG and TIFF
# as "I;16" and 16-bit PGM and PPM as "I".
_SIXTEEN_BIT_MODES: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
_WARM_UP_EDGE: Final = 256


class ImageError(Exception):
    """An image that cannot be prepared; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample image.

    Attributes:
        name: unique in the run: the file's name, with as many parent folders as that takes.
        path: the file.
        nth: which sample of its outputs is taken, from 1; above 1 with ``--setup-repeat`` only.
    """

    name: str
    path: Path
    nth: int = 1


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image ready to send: an RGB JPEG of ``width`` by ``height`` pixels, encoded in base64."""

    base64: bytes
    width: int
    height: int


def find_samples(paths: Sequence[Path]) -> list[Sample]:
    """Every image in the given files and folders, sorted by name; a file that is named twice counts once.

    Folders are searched with their subfolders; hidden files and folders are left out.

    Raises:
        ImageError: a path does not exist or is not an image, or there are no images at all.
    """
    # Resolved: a file and a link to it are one image.
    files = list(dict.fromkeys(file.resolve() for path in paths for file in _files(path)))
    if not files:
        searched = ", ".join(str(path) for path in paths)
        raise ImageError(f"no images in {searched}: looked for {', '.join(sorted(SUFFIXES))}")
    return sorted(
        (Sample(name, file) for file, name in _unique_names(files).items()), key=lambda sample: sample.name
    )


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return (
            file
            for file in path.rglob("*")
            if file.suffix.lower() in SUFFIXES
            and file.is_file()
            # Photo managers and file servers keep thumbnails in hidden folders.
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
    if not path.is_file():
        raise ImageError(f"no such file or folder: {path}")
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"{path} is not an image; supported are {', '.join(sorted(SUFFIXES))}")
    return (path,)


def _unique_names(files: Iterable[Path]) -> dict[Path, str]:
    names: dict[Path, str] = {}
    unnamed, depth = list(files), 1
    while unnamed:
        tails = {file: "/".join(file.parts[-depth:]) for file in unnamed}
        count = Counter(tails.values())
        names.update({file: tail for file, tail in tails.items() if count[tail] == 1})
        unnamed = [file for file in unnamed if file not in names]
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
        raise ImageError(f"{path.name} cannot be read: {error.strerror or error}") from None


def prepare(path: Path, max_edge: int) -> PreparedImage:
    """Decode, turn upright, convert to RGB, scale down to ``max_edge`` pixels and encode one image.

    Raises:
        ImageError: unreadable, not an image, truncated, or a decompression bomb.
    """
    return encode(read_rgb(path, max_edge), max_edge)


def read_rgb(path: Path, edge: int) -> Image.Image:
    """An image decoded, turned upright and converted to RGB, in no less than what ``edge`` pixels need.

    Raises:
        ImageError: unreadable, not an image, truncated, or a decompression bomb.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", _draft_size(image.size, edge))
            return _as_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        message = f"{path.name} is not an image that Pillow can read"
    except Image.DecompressionBombError:
        message = f"{path.name} is a decompression bomb: more pixels than Pillow opens"
    # Pillow's decoders raise all of these for broken files (SyntaxError: a PNG's broken chunk), and warnings
    # are errors where a user's pytest configuration makes them so.
    except (OSError, ValueError, ArithmeticError, SyntaxError, EOFError, MemoryError, Warning) as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        message = f"{path.name} cannot be read: {reason}"
    raise ImageError(message)


def encode(image: Image.Image, max_edge: int, *, quality: int = QUALITY) -> PreparedImage:
    """An RGB image as JPEG in base64; the longest edge is at most ``max_edge`` pixels, never enlarged.

    The given image is scaled in place.
    """
    scale_down(image, max_edge)
    buffer = io.BytesIO()
    # Pillow writes the comment of the file, in which people write captions, into the new one.
    image.info.clear()
    image.save(buffer, FORMAT, quality=quality)
    return PreparedImage(base64.b64encode(buffer.getvalue()), image.width, image.height)


def scale_down(image: Image.Image, max_edge: int) -> None:
    """Scale an image in place until its longest edge is at most ``max_edge`` pixels."""
    # reducing_gap: first shrink by a whole number to at least twice the size, which is faster and looks
    # the same (https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.Image.thumbnail).
    image.thumbnail((max_edge, max_edge), Image.Resampling.LANCZOS, reducing_gap=2.0)


def warm_up_picture() -> PreparedImage:
    """A white disc on red, 256 by 256 pixels, for requests whose answer does not matter."""
    image = Image.new("RGB", (_WARM_UP_EDGE, _WARM_UP_EDGE), (220, 20, 20))
    ImageDraw.Draw(image).ellipse((64, 64, 192, 192), fill=(255, 255, 255))
    return encode(image, _WARM_UP_EDGE)


def _draft_size(size: tuple[int, int], max_edge: int) -> tuple[int, int]:
    """Twice the size that is sent, so that scaling down in the JPEG decoder costs no sharpness."""
    scale = min(1.0, 2 * max_edge / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        return _eight_bit(image).convert("RGB")
    if image.mode == "F":
        # Floating-point TIFF files hold 0 to 1.
        return image.point(lambda value: value * 255).convert("RGB")
    if image.has_transparency_data:
        # On white: behind transparent pixels, files hold any colour, mostly black.
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    # Pillow's point() accepts a factor, not a shift: 1 / 256 keeps the upper eight bits.
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
