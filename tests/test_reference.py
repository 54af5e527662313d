"""``--setup-reference metadata``: the model's keywords beside those that people wrote into the pictures."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest
from PIL import Image

from pytest_setups.tagging.picture_keywords import MAX_XMP_BYTES, read_keywords
from tests.conftest import Run, draw, no_traceback_of_ours, only_entry, recorded_measurements
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing

METADATA = "--setup-reference=metadata"
TAGGER = Path(__file__).parent / "taggers"


def xmp(*subjects: str, bag: str = "Bag", more: str = "", start: str = "") -> str:
    items = "".join(f"<rdf:li>{subject}</rdf:li>" for subject in subjects)
    subject = f"<dc:subject><rdf:{bag}>{items}</rdf:{bag}></dc:subject>" if subjects else ""
    return (
        f"{start}<x:xmpmeta xmlns:x='adobe:ns:meta/'>"
        "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
        "<rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/'"
        " xmlns:lr='http://ns.adobe.com/lightroom/1.0/' xmlns:digiKam='http://www.digikam.org/ns/1.0/'>"
        "<dc:title><rdf:Alt><rdf:li xml:lang='x-default'>A title</rdf:li></rdf:Alt></dc:title>"
        f"{subject}{more}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def paths(field: str, *items: str) -> str:
    return f"<{field}><rdf:Seq>{''.join(f'<rdf:li>{item}</rdf:li>' for item in items)}</rdf:Seq></{field}>"


def iptc(*keywords: bytes, utf8: bool = True) -> bytes:
    """The segment of a JPEG file that holds these keywords."""
    records = [(1, 90, b"\x1b%G")] if utf8 else []
    records += [(2, 25, keyword) for keyword in keywords]
    data = b"".join(struct.pack(">BBBH", 0x1C, *record[:2], len(record[2])) + record[2] for record in records)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)
    return segment(0xED, b"Photoshop 3.0\0" + resource)


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_segments(path: Path, *segments: bytes) -> Path:
    """Put segments into a JPEG file."""
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"".join(segments) + data[2:])
    return path


def embedded(text: str) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + text.encode())


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return draw(tmp_path / "photo.jpg", "navy")


def words(picture: Path) -> list[str]:
    return list(read_keywords(picture).words)


def test_keywords_of_iptc(picture: Path) -> None:
    with_segments(picture, iptc(b"Boote", "Brücke".encode()))
    assert words(picture) == ["Boote", "Brücke"]


def test_a_single_keyword_of_iptc(picture: Path) -> None:
    with_segments(picture, iptc(b"boat"))
    assert words(picture) == ["boat"]


def test_keywords_of_iptc_in_the_character_set_of_an_old_windows(picture: Path) -> None:
    with_segments(picture, iptc("Brücke".encode("cp1252"), b"boat", utf8=False))
    assert words(picture) == ["Brücke", "boat"]


def test_keywords_of_embedded_xmp(picture: Path) -> None:
    packet = f"<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>{xmp('boat', 'R&amp;D')}" + " " * 100
    with_segments(picture, embedded(f"{packet}<?xpacket end='w'?>"))
    assert words(picture) == ["boat", "R&D"]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".avif"])
def test_keywords_of_other_formats(suffix: str, tmp_path: Path) -> None:
    if suffix not in Image.registered_extensions():
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"photo{suffix}"
    data = xmp("boat").encode()
    image = Image.new("RGB", (16, 16))
    if suffix == ".png":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", data.decode())
        image.save(path, pnginfo=info)
    elif suffix == ".tif":
        image.save(path, tiffinfo={700: data})
    else:
        image.save(path, xmp=data)
    assert words(path) == ["boat"]


def test_the_sidecar_of_digikam(picture: Path) -> None:
    tags = paths("digiKam:TagsList", "People/Anna", "Places/Norway/Bergen", "boat")
    Path(f"{picture}.xmp").write_text(xmp("People", "Anna", "Norway", "Bergen", "boat", more=tags))
    assert words(picture) == ["Anna", "Bergen", "boat"]


def test_the_sidecar_of_darktable(picture: Path) -> None:
    tags = paths(
        "lr:hierarchicalSubject", "darktable|exported", "darktable|format|jpg", "Places|Bergen", "boat"
    )
    sidecar = xmp("darktable", "exported", "format", "jpg", "Places", "Bergen", "boat", bag="Seq", more=tags)
    Path(f"{picture}.xmp").write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{sidecar}')
    assert words(picture) == ["Bergen", "boat"]


def test_the_sidecar_of_lightroom(picture: Path) -> None:
    picture.with_suffix(".XMP").write_text(xmp("boat", more=paths("lr:hierarchicalSubject", "animal|cat")))
    assert words(picture) == ["boat", "cat"]


def test_a_sidecar_that_has_only_paths(picture: Path) -> None:
    Path(f"{picture}.xmp").write_text(xmp(more=paths("digiKam:TagsList", "People/Marie Curie", "Physics")))
    assert words(picture) == ["Marie Curie", "Physics"]


def test_a_keyword_in_several_places_counts_once(picture: Path) -> None:
    with_segments(picture, iptc(b"Boat"), embedded(xmp("boat", " boat ", "")))
    Path(f"{picture}.xmp").write_text(xmp("boat", "sea"))
    assert words(picture) == ["Boat", "sea"]


def test_a_sidecar_in_utf_16(picture: Path) -> None:
    Path(f"{picture}.xmp").write_bytes(xmp("Brücke").encode("utf-16"))
    assert words(picture) == ["Brücke"]


LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "haha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
)
HOSTILE = {
    "a bomb": (xmp("&c;", start=LAUGHS).encode(), "it has a document type, which XMP never has"),
    "another file": (
        xmp("&f;", start='<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>').encode(),
        "it has a document type*",
    ),
    "a wrong encoding": (xmp("Brücke").encode("latin-1"), "not XML: not well-formed*"),
    "an unknown encoding": (b"<?xml version='1.0' encoding='klingon'?><x/>", "not XML: *"),
    "not XML": (b"\x89PNG", "not XML: *"),
    "nothing": (b"", "not XML: no element found*"),
    "cut": (xmp("boat").encode()[:-20], "not XML: *"),
    "too large": (xmp("boat").encode() + b"\n" * MAX_XMP_BYTES, "more than the 4194304 bytes that are read"),
    "deep": (b"<x>" * 100_000, "not XML: no element found*"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_sidecar_that_cannot_be_read_is_left_out_and_named(
    case: str, run: Run, project: pytest.Pytester
) -> None:
    data, reason = HOSTILE[case]
    (project.path / "sample_images/boats.jpg.xmp").write_bytes(data)
    (project.path / "sample_images/cat.jpg.xmp").write_text(xmp("cat"))
    result = run(METADATA, "-k", "keywords")
    result.assert_outcomes(passed=3, deselected=8)
    result.stdout.fnmatch_lines([f"reference: boats.jpg.xmp: {reason}"])
    no_traceback_of_ours(result)


def test_embedded_xmp_that_cannot_be_read_is_left_out_and_named(picture: Path) -> None:
    with_segments(picture, embedded(xmp("&c;", start=LAUGHS)), iptc(b"boat"))
    read = read_keywords(picture)
    assert read.words == ("boat",)
    assert read.faults == ("the XMP in photo.jpg: it has a document type, which XMP never has",)


@pytest.mark.parametrize(
    "data", [iptc(b"boat")[:-3] + b"\xff", segment(0xED, b"Photoshop 3.0\0" + b"\x1c" * 99)]
)
def test_broken_iptc_is_left_out(data: bytes, picture: Path) -> None:
    with_segments(picture, data)
    assert len(read_keywords(picture).words) <= 1


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("no picture")
    read = read_keywords(tmp_path / "photo.jpg")
    assert read.words == ()
    assert read.faults[0].startswith("photo.jpg: its metadata cannot be read: cannot identify image file")


def test_thousands_of_keywords_are_bounded(picture: Path) -> None:
    Path(f"{picture}.xmp").write_text(xmp(*(f"word {number} {'x' * 200}" for number in range(5000))))
    read = words(picture)
    assert len(read) == 1000
    assert max(map(len, read)) <= 101


@pytest.fixture
def library(project: pytest.Pytester, server: Scripted) -> pytest.Pytester:
    """A project whose boats have keywords of people, and whose server gives its own."""
    with_segments(
        project.path / "sample_images/boats.jpg",
        iptc(b"boat", b"Nagasaki"),
        segment(0xFE, b"Boats at Nagasaki"),
        segment(0xE1, b"Exif\0\0" + exif("Boats at Nagasaki")),
    )
    (project.path / "sample_images/cat.jpg.xmp").write_text(xmp("cats", "window sill"))

    def chat(ask: Ask) -> Reply:
        if ask.stage != "keywords":
            return seeing(ask)
        return completion(json.dumps({"keywords": ["wooden boats", "cat", "windows", "sky"]}))

    server.chat = chat
    return project


def exif(description: str) -> bytes:
    metadata = Image.Exif()
    metadata[0x010E] = description
    return metadata.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.usefixtures("library")
def test_the_recall_is_shown_and_recorded(run: Run, project: pytest.Pytester) -> None:
    result = run(METADATA, "--record-failed", "--junitxml=j.xml")
    result.stdout.fnmatch_lines([
        "keywords_recall: 2 of 4 reference keywords are among the model's (0.500)",
        "reference: 4 reference keywords in 2 of 3 images, 1 without are left out",
    ])  # fmt: skip
    verification = only_entry(project.path)["verification"]
    assert verification["figures"]["keywords_recall"] == 0.5
    reference = verification["reference"]
    assert len(reference.pop("sha256")) == 64
    assert reference == {
        "source": "metadata",
        "images": 2,
        "images_without": 1,
        "keywords": 4,
        "known_to_tagger": "never",
        "faults": None,
    }
    lines = [line for line in recorded_measurements(project.path) if line["stage"] == "keywords"]
    assert {line["image"]: line["reference"] for line in lines} == {
        "boats.jpg": {"keywords": ["boat", "Nagasaki"], "missed": ["Nagasaki"]},
        "cat.jpg": {"keywords": ["cats", "window sill"], "missed": ["window sill"]},
        "rocket.jpg": None,
    }
    assert 'name="setup.keywords_recall"' in (project.path / "j.xml").read_text()


@pytest.mark.usefixtures("library")
def test_a_bound_needs_no_baseline(run: Run) -> None:
    result = run(METADATA, "--setup-fail-if=keywords_recall:0.6")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["failed: keywords_recall is below keywords_recall:0.6: 2 of 4 reference *"])
    assert run(METADATA, "--setup-fail-if=keywords_recall:0.5").ret == 0


@pytest.mark.usefixtures("library")
def test_workers_of_xdist_compare_too(run: Run) -> None:
    result = run(METADATA, "-n", "2", "-k", "keywords")
    result.stdout.fnmatch_lines(["keywords_recall: 2 of 4 reference keywords are among the model's (0.500)"])


@pytest.mark.usefixtures("library")
def test_keywords_that_are_missing_recall_nothing(run: Run, server: Scripted) -> None:
    server.chat = lambda ask: completion("No idea.") if ask.stage == "keywords" else seeing(ask)
    result = run(METADATA, "-k", "keywords")
    result.assert_outcomes(failed=3, deselected=8)
    result.stdout.fnmatch_lines(["keywords_recall: 0 of 4 reference keywords are among the model's (0.000)"])


@pytest.mark.usefixtures("library")
def test_the_model_never_receives_what_people_wrote(run: Run, server: Scripted) -> None:
    run(METADATA).assert_outcomes(passed=11)
    pictures = {ask.picture for ask in server.asks if ask.picture}
    assert len(pictures) >= 3
    for sent in filter(None, pictures):
        assert b"agasaki" not in sent
        assert b"photoshop" not in sent.lower()
        with Image.open(io.BytesIO(sent)) as image:
            assert image.format == "JPEG"
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert not image.getexif()
    bodies = "".join(json.dumps(ask.body["messages"]) for ask in server.asks)
    assert "agasaki" not in bodies
    assert "window sill" not in bodies


def test_the_entry_says_that_a_program_may_have_read_them(run: Run, library: pytest.Pytester) -> None:
    run(METADATA, "--record-failed", f"--setup-tagger-command=python3 {TAGGER}/good.py {{images}} {{output}}")
    assert only_entry(library.path)["verification"]["reference"]["known_to_tagger"] == "possibly"


def test_without_the_option_nothing_is_read(run: Run, library: pytest.Pytester) -> None:
    result = run("--record-failed")
    result.stdout.no_fnmatch_line("*reference*")
    assert only_entry(library.path)["verification"]["reference"] is None


def test_pictures_without_any_keywords_are_a_mistake(run: Run, project: pytest.Pytester) -> None:
    (project.path / "sample_images/boats.jpg.xmp").write_text("no XML")
    result = run(METADATA)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = "none of the 3 images has keywords in its metadata (IPTC, XMP, or an .xmp file beside it): *"
    result.stderr.fnmatch_lines([f"ERROR: --setup-reference: {message}; boats.jpg.xmp: not XML: *"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--setup-reference=file",), "--setup-reference: type metadata; got 'file'"),
        (
            ("--setup-fail-if=keywords_recall:0.5",),
            "--setup-fail-if keywords_recall:0.5 needs --setup-reference metadata",
        ),
    ],
)
def test_what_does_not_fit_together(arguments: tuple[str, ...], message: str, run: Run) -> None:
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


@pytest.mark.usefixtures("library")
def test_a_reference_that_was_changed_does_not_compare(run: Run, project: pytest.Pytester) -> None:
    other = ("--setup-fail-if=keywords_recall:0.1",)
    run(METADATA, "--record", "--setup-slug=first", *other).assert_outcomes(passed=11)
    (project.path / "sample_images/cat.jpg.xmp").write_text(xmp("cats"))
    result = run(METADATA, "--setup-baseline=first")
    result.stdout.re_match_lines([r"keywords_recall +- +0\.667 +other reference keywords"])
