"""The keywords that people wrote into a picture: IPTC, XMP, and the ``.xmp`` files beside it.

XMP is read with the expat parser of the standard library. Documents that could declare entities are refused,
which is what defusedxml does (no release since 2021), and sizes are bounded.
"""

from __future__ import annotations

import io
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.parsers.expat import ExpatError, ParserCreate

from PIL import Image, IptcImagePlugin

from pytest_setups.redaction import one_line
from pytest_setups.tagging.keywords import MAX_KEYWORD_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

MAX_XMP_BYTES: Final = 4 * 1024 * 1024
"""darktable keeps every edit with its masks in a sidecar; those of real pictures are below 1 MiB."""
MAX_KEYWORDS: Final = 1000
SIDECAR_SUFFIXES: Final = (".xmp", ".XMP")

_SUBJECT: Final = "http://purl.org/dc/elements/1.1/ subject"
# Paths such as Places|Bergen (Lightroom, darktable, digiKam) and Places/Bergen (digiKam).
_PATHS: Final = {
    "http://ns.adobe.com/lightroom/1.0/ hierarchicalSubject": "|",
    "http://www.digikam.org/ns/1.0/ TagsList": "/",
}
_ITEM: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns# li"
# Tags that the programs themselves attach: darktable|exported, darktable|format|jpg.
_INTERNAL: Final = frozenset({"darktable", "_digikam_internal_tags_"})
_IPTC_KEYWORDS: Final = (2, 25)
_IPTC_CHARACTER_SET: Final = (1, 90)
_IPTC_UTF8: Final = b"\x1b%G"
# What Pillow raises for broken files and, where warnings are errors, for odd ones.
_PILLOW_ERRORS: Final = (
    OSError, ValueError, ArithmeticError, SyntaxError, EOFError, LookupError, TypeError, MemoryError, Warning,
    Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PictureKeywords:
    """The keywords of a picture, and a line for each place where they could not be read."""

    words: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class _XmpError(Exception):
    """XMP that is not read; the message says why."""


def read_keywords(picture: Path) -> PictureKeywords:
    """The keywords in a picture and in its sidecars, distinct regardless of case, in order.

    Sidecars are named ``photo.jpg.xmp`` (digiKam, darktable) or ``photo.xmp`` (Lightroom).
    """
    flat: list[str] = []
    paths: list[Sequence[str]] = []
    faults: list[str] = []
    for place, xmp in (*_embedded(picture, flat, faults), *_sidecars(picture, faults)):
        try:
            fields = _xmp_fields(xmp)
        except _XmpError as error:
            faults.append(f"{place}: {error}")
        else:
            flat += fields[_SUBJECT]
            paths += [path.split(mark) for name, mark in _PATHS.items() for path in fields[name]]
    return PictureKeywords(tuple(_distinct(_keywords(flat, paths)))[:MAX_KEYWORDS], tuple(faults))


def _embedded(picture: Path, flat: list[str], faults: list[str]) -> Iterator[tuple[str, bytes]]:
    """The XMP inside a picture; its IPTC keywords go to ``flat``."""
    try:
        with Image.open(picture) as image:
            flat += _iptc_keywords(IptcImagePlugin.getiptcinfo(image) or {})
            xmp = image.info.get("xmp")
    except _PILLOW_ERRORS as error:
        faults.append(f"{picture.name}: its metadata cannot be read: {one_line(str(error), 200)}")
        return
    if isinstance(xmp, bytes) and xmp.strip(b"\0 \r\n\t"):
        yield f"the XMP in {picture.name}", xmp


def _iptc_keywords(info: Mapping[tuple[int, int], bytes | list[bytes]]) -> Iterator[str]:
    values = info.get(_IPTC_KEYWORDS, [])
    is_utf8 = info.get(_IPTC_CHARACTER_SET) == _IPTC_UTF8
    for value in values if isinstance(values, list) else [values]:
        try:
            yield value.decode()
        except UnicodeDecodeError:
            # Many programs write the character set of their machine and do not say which.
            yield value.decode(errors="replace") if is_utf8 else value.decode("cp1252", errors="replace")


def _sidecars(picture: Path, faults: list[str]) -> Iterator[tuple[str, bytes]]:
    """The sidecars of a picture that exist, by name."""
    names = [f"{stem}{suffix}" for stem in (picture.name, picture.stem) for suffix in SIDECAR_SUFFIXES]
    for sidecar in (picture.with_name(name) for name in names):
        try:
            if sidecar.is_file():
                with sidecar.open("rb") as file:
                    yield sidecar.name, file.read(MAX_XMP_BYTES + 1)
        except OSError as error:
            faults.append(f"{sidecar.name}: cannot be read: {error.strerror}")


def _xmp_fields(xmp: bytes) -> Mapping[str, list[str]]:
    """The items of the fields that hold keywords, by the name of the field with its namespace."""
    if len(xmp) > MAX_XMP_BYTES:
        message = f"more than the {MAX_XMP_BYTES} bytes that are read"
        raise _XmpError(message)
    reader = _XmpReader()
    try:
        reader.parse(_unpadded(xmp))
    except ExpatError as error:
        message = f"not XML: {error}"
        raise _XmpError(message) from None
    # Of expat: an encoding that it does not know.
    except (ValueError, LookupError) as error:
        message = f"not XML: {one_line(str(error), 200)}"
        raise _XmpError(message) from None
    return reader.fields


def _unpadded(xmp: bytes) -> bytes:
    """XMP without the zeros that some programs leave room with; in UTF-16 they are halves of characters."""
    return xmp if xmp.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else xmp.rstrip(b"\0")


class _XmpReader:
    """Collects the items of the fields that hold keywords while expat reads."""

    def __init__(self) -> None:
        self.fields: defaultdict[str, list[str]] = defaultdict(list)
        self._field: str | None = None
        self._item: list[str] | None = None

    def parse(self, xmp: bytes) -> None:
        parser = ParserCreate(namespace_separator=" ")
        parser.StartDoctypeDeclHandler = self._refuse_document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.ParseFile(io.BytesIO(xmp))

    def _refuse_document_type(self, *_: Any) -> None:
        # XMP never has one, and all attacks that multiply text begin with one.
        message = "it has a document type, which XMP never has"
        raise _XmpError(message)

    def _start(self, name: str, _: object) -> None:
        if name == _SUBJECT or name in _PATHS:
            self._field = name
        elif name == _ITEM and self._field is not None and len(self.fields[self._field]) < MAX_KEYWORDS:
            self._item = []

    def _text(self, text: str) -> None:
        if self._item is not None:
            self._item.append(text)

    def _end(self, name: str) -> None:
        if name == _ITEM and self._field is not None and self._item is not None:
            self.fields[self._field].append("".join(self._item))
            self._item = None
        elif name == self._field:
            self._field = None


def _keywords(flat: Iterable[str], paths: Iterable[Sequence[str]]) -> Iterator[str]:
    """The plain keywords and the last parts of the paths.

    Not the other parts of the paths, where the plain keywords repeat them: they are categories such as
    ``Places`` in ``Places|Bergen``. Nor what programs attach themselves.
    """
    leaves: list[str] = []
    others: set[str] = set()
    for path in paths:
        parts = [part.strip() for part in path]
        if parts[0].casefold() in _INTERNAL:
            others.update(map(str.casefold, parts))
        else:
            others.update(map(str.casefold, parts[:-1]))
            leaves.append(parts[-1])
    categories = others - {leaf.casefold() for leaf in leaves}
    yield from (word for word in flat if word.strip().casefold() not in categories)
    yield from leaves


def _distinct(words: Iterable[str]) -> Iterable[str]:
    distinct: dict[str, str] = {}
    for word in words:
        cleaned = re.sub(r"\s+", " ", one_line(word, MAX_KEYWORD_LENGTH)).strip()
        if cleaned:
            distinct.setdefault(cleaned.casefold(), cleaned)
    return distinct.values()
