"""Preparing pictures: whatever a photo folder holds becomes an upright RGB JPEG."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path

import pytest
from PIL import Image

from pytest_setups.tagging.images import ImageError, PreparedImage, control_pictures, find_samples, prepare

SAMPLES = Path(__file__).parent.parent / "sample_images"


def decoded(prepared: PreparedImage) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(prepared.base64)))
    image.load()
    return image


@pytest.mark.parametrize("sample", find_samples([SAMPLES]), ids=lambda sample: sample.name)
def test_every_sample_becomes_an_rgb_jpeg(sample: object) -> None:
    path: Path = sample.path  # type: ignore[attr-defined]
    prepared = prepare(path, 256)
    image = decoded(prepared)
    assert (image.format, image.mode) == ("JPEG", "RGB")
    assert max(image.size) == 256
    assert image.size == (prepared.width, prepared.height)
    shades = {shade for _, shade in image.convert("L").getcolors() or ()}
    assert len(shades) > 60, "the picture was lost on the way"


def test_there_are_thirteen_samples() -> None:
    assert len(find_samples([SAMPLES])) == 13


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (80, 40), "black")
    image.paste("red", (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = decoded(prepare(tmp_path / "turned.jpg", 1024))
    assert upright.size == (40, 80)
    assert near(upright.getpixel((20, 5)), (255, 0, 0))
    assert near(upright.getpixel((20, 70)), (0, 0, 0))


def near(pixel: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 40 for a, b in zip(pixel, colour, strict=True))


@pytest.mark.parametrize(
    ("mode", "fill", "suffix", "expected"),
    [
        ("L", 200, "png", (200, 200, 200)),
        ("1", 1, "png", (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), "png", (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), "png", (255, 255, 255)),
        ("LA", (10, 0), "png", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "jpg", (254, 0, 0)),
        ("I;16", 51_400, "tif", (200, 200, 200)),
        ("I;16", 51_400, "png", (200, 200, 200)),
        ("F", 0.5, "tif", (127, 127, 127)),
        ("RGB", (0, 128, 0), "webp", (0, 128, 0)),
        ("RGB", (0, 128, 0), "gif", (0, 128, 0)),
        ("RGB", (0, 128, 0), "bmp", (0, 128, 0)),
    ],
)
def test_every_mode_becomes_rgb(
    mode: str, fill: float | tuple[int, ...], suffix: str, expected: tuple[int, int, int], tmp_path: Path
) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new(mode, (40, 40), fill).save(path)
    assert near(decoded(prepare(path, 1024)).getpixel((20, 20)), expected)


def test_a_palette_with_transparency_stands_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (0, 0, 20, 40))
    image.save(tmp_path / "palette.png", transparency=0)
    prepared = decoded(prepare(tmp_path / "palette.png", 1024))
    assert near(prepared.getpixel((5, 20)), (0, 255, 0))
    assert near(prepared.getpixel((35, 20)), (255, 255, 255))


def test_small_pictures_are_not_enlarged(tmp_path: Path) -> None:
    Image.new("RGB", (1, 3), "red").save(tmp_path / "tiny.png")
    prepared = prepare(tmp_path / "tiny.png", 1024)
    assert (prepared.width, prepared.height) == (1, 3)


def test_a_large_jpeg_is_scaled_in_its_decoder_without_losing_its_proportions(tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((6000, 4000)).convert("RGB").save(tmp_path / "large.jpg")
    prepared = prepare(tmp_path / "large.jpg", 512)
    assert (prepared.width, prepared.height) == (512, 341)


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size (PNG specification, 11.2.2 IHDR)."""
    header = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\x08\x02\x00\x00\x00"
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = [
        len(part[4:]).to_bytes(4) + part + zlib.crc32(part).to_bytes(4) for part in (header, data, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_panorama_of_two_lines(tmp_path: Path) -> None:
    Image.new("RGB", (9000, 2), "red").save(tmp_path / "line.jpg")
    prepared = prepare(tmp_path / "line.jpg", 1024)
    assert (prepared.width, prepared.height) == (1024, 1)


def test_decompression_bombs_are_refused_by_name(tmp_path: Path) -> None:
    for size in (14_200, 60_000):
        (tmp_path / "bomb.png").write_bytes(png_header(size, size))
        with pytest.raises(ImageError, match=r"bomb\.png is a decompression bomb"):
            prepare(tmp_path / "bomb.png", 512)


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff\xe0 not really", png_header(50, 50)])
def test_unreadable_pictures_say_which(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"^broken\.png "):
        prepare(tmp_path / "broken.png", 512)


def test_a_picture_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg cannot be read: No such file"):
        prepare(tmp_path / "gone.jpg", 512)


def test_the_control_pictures_differ() -> None:
    disc, square = control_pictures()
    assert near(decoded(disc).getpixel((128, 128)), (255, 255, 255))
    assert near(decoded(square).getpixel((10, 10)), (20, 40, 220))
