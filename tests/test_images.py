"""What a server is sent: whatever a photo folder holds becomes an upright RGB JPEG."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run, no_traceback_of_ours
from tests.servers.scripted import Scripted
from tests.taggers import SAMPLES

CAPTIONS_ONLY = ("-k", "caption", "--setup-warmup=0")
Sent = Callable[..., dict[str, Image.Image]]


@pytest.fixture
def photos(project: pytest.Pytester) -> Path:
    """An empty folder of photos."""
    return project.mkdir("photos")


@pytest.fixture
def sent(run: Run, server: Scripted, photos: Path) -> Sent:
    """The pictures that a server is sent for the captions of a folder's images, by the name of the image."""

    def send(folder: Path = photos, *, max_edge: int = 1024) -> dict[str, Image.Image]:
        names = sorted(path.name for path in folder.iterdir() if path.suffix not in {".md", ".toml"})
        result = run(*CAPTIONS_ONLY, f"--setup-images={folder}", f"--setup-max-edge={max_edge}")
        assert result.parseoutcomes()["passed"] == len(names)
        return dict(zip(names, [decoded(ask.picture) for ask in server.asks], strict=True))

    return send


def decoded(picture: bytes | None) -> Image.Image:
    image = Image.open(io.BytesIO(picture or b""))
    image.load()
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


def colour(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """The colour of a pixel, rounded to what JPEG keeps."""
    pixel = image.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return tuple(round(value / 51) * 51 for value in pixel)


def test_every_sample_image_becomes_an_rgb_jpeg(sent: Sent) -> None:
    pictures = sent(SAMPLES, max_edge=256)
    assert len(pictures) == 13
    assert {max(image.size) for image in pictures.values()} == {256}
    shades = {name: len(image.convert("L").getcolors() or ()) for name, image in pictures.items()}
    assert min(shades.values()) > 60, "a picture lost its contents on the way"


def test_exif_orientation_is_applied(sent: Sent, photos: Path) -> None:
    image = Image.new("RGB", (80, 40), "black")
    image.paste("red", (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(photos / "turned.jpg", exif=exif, quality=95)
    upright = sent()["turned.jpg"]
    assert upright.size == (40, 80)
    assert colour(upright, 20, 5) == (255, 0, 0)
    assert colour(upright, 20, 70) == (0, 0, 0)


COLOURS: dict[str, tuple[str, float | tuple[int, ...], tuple[int, int, int]]] = {
    "grey.png": ("L", 204, (204, 204, 204)),
    "black-and-white.png": ("1", 1, (255, 255, 255)),
    "opaque.png": ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
    "transparent.png": ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
    "grey-transparent.png": ("LA", (10, 0), (255, 255, 255)),
    "print.jpg": ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    "sixteen-bit.tif": ("I;16", 52_428, (204, 204, 204)),
    "sixteen-bit.png": ("I;16", 52_428, (204, 204, 204)),
    "sixteen-bit.ppm": ("I;16", 52_428, (204, 204, 204)),
    "floats.tif": ("F", 0.6, (153, 153, 153)),
    "web.webp": ("RGB", (0, 153, 0), (0, 153, 0)),
    "animation.gif": ("RGB", (0, 153, 0), (0, 153, 0)),
    "bitmap.bmp": ("RGB", (0, 153, 0), (0, 153, 0)),
}


def test_every_kind_of_picture_keeps_its_colour(sent: Sent, photos: Path) -> None:
    for name, (mode, fill, _) in COLOURS.items():
        Image.new(mode, (40, 40), fill).save(photos / name)
    colours = {name: colour(image, 20, 20) for name, image in sent().items()}
    assert colours == {name: expected for name, (_, _, expected) in COLOURS.items()}


def test_a_palette_with_transparency_stands_on_white(sent: Sent, photos: Path) -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (0, 0, 20, 40))
    image.save(photos / "palette.png", transparency=0)
    picture = sent()["palette.png"]
    assert colour(picture, 5, 20) == (0, 255, 0)
    assert colour(picture, 35, 20) == (255, 255, 255)


def test_pictures_are_scaled_down_in_proportion_and_never_up(sent: Sent, photos: Path) -> None:
    Image.new("RGB", (1, 3), "red").save(photos / "tiny.png")
    Image.new("RGB", (9000, 2), "red").save(photos / "panorama.jpg")
    Image.linear_gradient("L").resize((6000, 4000)).convert("RGB").save(photos / "large.jpg")
    sizes = {name: image.size for name, image in sent(max_edge=512).items()}
    assert sizes == {"tiny.png": (1, 3), "panorama.jpg": (512, 1), "large.jpg": (512, 341)}


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size (PNG specification, 11.2.2 IHDR)."""
    header = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\x08\x02\x00\x00\x00"
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = [
        len(part[4:]).to_bytes(4) + part + zlib.crc32(part).to_bytes(4) for part in (header, data, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


BROKEN = {
    "bomb.png": (png_header(14_200, 14_200), "is a decompression bomb: more pixels than Pillow opens"),
    "larger-bomb.png": (png_header(60_000, 60_000), "is a decompression bomb: more pixels than Pillow opens"),
    "empty.jpg": (b"", "is not an image that Pillow can read"),
    "text.jpg": (b"text", "is not an image that Pillow can read"),
    "header.jpg": (b"\xff\xd8\xff\xe0 not really", "cannot be read: *"),
    "truncated.png": (png_header(50, 50), "cannot be read: *"),
}


def test_a_picture_that_cannot_be_read_fails_its_test_by_name(
    run: Run, server: Scripted, photos: Path
) -> None:
    for name, (content, _) in BROKEN.items():
        (photos / name).write_bytes(content)
    result = run(*CAPTIONS_ONLY, "--setup-images=photos")
    assert result.parseoutcomes()["failed"] == len(BROKEN)
    result.stdout.fnmatch_lines_random([f"image: {name} {reason}" for name, (_, reason) in BROKEN.items()])
    no_traceback_of_ours(result)
    assert server.asks == []


def test_a_picture_that_is_deleted_during_the_run(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        def pytest_collection_finish(session):
            (session.config.rootpath / "sample_images/cat.jpg").unlink()
        """
    )
    result = run(*CAPTIONS_ONLY)
    result.stdout.fnmatch_lines(["image: cat.jpg cannot be read: No such file or directory"])
    assert result.parseoutcomes()["failed"] == 1
