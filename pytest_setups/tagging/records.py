"""What an external tagger writes: JSON lines, a record a picture, as imageworks' Personal Tagger does."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final

from pytest_setups.redaction import one_line, printable, redact, redact_json
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.keywords import Keywords, as_keywords

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

MAX_LINE_BYTES: Final = 1024 * 1024
MAX_TEXT: Final = 100_000
MAX_EXTRA: Final = 16_384
MAX_FAULTS: Final = 5
MAX_DEPTH: Final = 20
MAX_SECONDS: Final = 1e9
_JUDGED: Final = frozenset({"image", "caption", "keywords", "description", "duration_seconds"})
_NOTE: Final = re.compile(r"\b(caption|keyword|description)s?_(?:error|empty)\b")


@dataclass(frozen=True, slots=True)
class Record:
    """What a tagger wrote of one picture; ``faults`` are its own words on a stage that went wrong.

    ``seconds`` is how long the picture took, None where that is not told; ``extra`` is all else it wrote.
    """

    caption: str
    keywords: Keywords
    description: str
    faults: Mapping[Stage, str]
    seconds: float | None
    extra: Mapping[str, Any]

    def text(self, stage: Stage) -> str:
        """The output of a stage as text."""
        texts = {Stage.CAPTION: self.caption, Stage.DESCRIPTION: self.description}
        return texts.get(stage, ", ".join(self.keywords.words))


@dataclass(slots=True)
class Records:
    """The records by sample name, and what is wrong: with single pictures, and with the output itself."""

    by_name: dict[str, Record] = field(default_factory=dict)
    spoilt: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class _RecordError(ValueError):
    """A line that is no record; the message says why."""


def read_records(path: Path, names: Collection[str], secrets: tuple[str | None, ...] = ()) -> Records:
    """The records of the pictures with these names in a file of JSON lines, ``secrets`` hidden.

    Faults are told, never raised: no such file, a line that is no record, one of an unknown picture,
    and two of the same one, of which neither counts.
    """
    reader = _Reader(_Tails(names), secrets)
    records = reader.records
    try:
        with path.open("rb") as file:
            for number, line in _lines(file):
                reader.take(line, number)
    except FileNotFoundError:
        records.faults.append("it wrote no {output}")
    except OSError as error:
        records.faults.append(f"its {{output}} cannot be read: {error.strerror}")
    else:
        if not reader.lines and not records.faults:
            records.faults.append("its {output} holds no records")
    _spoil_doubled(records, reader.lines)
    left_out = len(records.faults) - MAX_FAULTS
    if left_out > 0:
        records.faults[MAX_FAULTS:] = [f"and {left_out} more faults"]
    return records


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not blank with its number; None for one that is too long to be read."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) <= MAX_LINE_BYTES:
            if line.strip():
                yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield number, None


@dataclass(slots=True)
class _Reader:
    """Reads one line after the other; ``lines`` are the numbers of the lines by the picture they are of."""

    tails: _Tails
    secrets: tuple[str | None, ...]
    records: Records = field(default_factory=Records)
    lines: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def take(self, line: bytes | None, number: int) -> None:
        """Take one line."""
        try:
            found = _object(line, self.secrets)
            name = self.tails.name(found.get("image"))
        except _RecordError as error:
            self.records.faults.append(f"line {number} {error}")
            return
        self.lines[name].append(number)
        try:
            # Redacted before anything is cut: a cut could leave half a secret, which nothing recognises.
            self.records.by_name[name] = _record(redact_json(found, *self.secrets))
        except _RecordError as error:
            self.records.spoilt[name] = f"line {number} {error}"


def _spoil_doubled(records: Records, lines: Mapping[str, list[int]]) -> None:
    for name, numbers in lines.items():
        if len(numbers) > 1:
            where = " and ".join(map(str, numbers[:MAX_FAULTS]))
            records.spoilt[name] = f"{len(numbers)} records of this picture: lines {where}"
            records.by_name.pop(name, None)


def _object(line: bytes | None, secrets: tuple[str | None, ...]) -> dict[str, Any]:
    if line is None:
        message = f"is longer than {MAX_LINE_BYTES >> 20} MiB"
        raise _RecordError(message)
    try:
        found = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        said = one_line(redact(line[:2000].decode("utf-8", "replace"), *secrets), 80)
        message = f"is not JSON: {said!r}"
        raise _RecordError(message) from None
    if not isinstance(found, dict):
        message = "is not a JSON object"
        raise _RecordError(message)
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


class _Tails:
    """Finds the sample that a record's ``image`` names: its name, or any path that ends with it."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = {_folded(name): name for name in names}
        self._bare: dict[str, set[str]] = defaultdict(set)
        for name in names:
            self._bare[_folded(PurePosixPath(name).name)].add(name)

    def name(self, image: object) -> str:
        """The sample's name.

        Raises:
            _RecordError: no text, an unknown picture, or a name that several have.
        """
        if not isinstance(image, str) or not image.strip():
            message = "has no 'image' with a name or path"
            raise _RecordError(message)
        parts = _folded(image).replace("\\", "/").split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            if tail in self._names:
                return self._names[tail]
        several = sorted(self._bare.get(parts[-1], ())) if len(parts) == 1 else []
        shown = one_line(image, 120)
        message = f"names a picture that was not given: {shown!r}"
        if several:
            message = f"names {shown!r}, which is one of {', '.join(several[:3])}"
        raise _RecordError(message)


def _folded(name: str) -> str:
    """One spelling of letters with accents, which file systems write in two ways."""
    return unicodedata.normalize("NFC", name)


def _record(found: Mapping[str, Any]) -> Record:
    return Record(
        caption=_text(found, "caption"),
        keywords=_keywords(found.get("keywords")),
        description=_text(found, "description"),
        faults=_own_faults(found.get("notes")),
        seconds=_seconds(found.get("duration_seconds")),
        extra=_extra({key: value for key, value in found.items() if key not in _JUDGED}),
    )


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        message = f"has a {key!r} that is no text: {one_line(json.dumps(value), 60)}"
        raise _RecordError(message)
    return printable(value, MAX_TEXT)


def _keywords(value: object) -> Keywords:
    items = [] if value is None else value
    if not isinstance(items, list) or not all(isinstance(item, str | dict) for item in items):
        shown = one_line(json.dumps(value), 60)
        message = f"has 'keywords' that are no list of texts or of {{keyword, score}}: {shown}"
        raise _RecordError(message)
    return as_keywords([_plain(item) for item in items])


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_SECONDS:
        return float(value)
    message = f"has a 'duration_seconds' that is no number of seconds: {one_line(json.dumps(value), 60)}"
    raise _RecordError(message)


def _own_faults(notes: object) -> dict[Stage, str]:
    """What notes say of failed stages (``caption_error: HTTP 500``); harmless notes say nothing here."""
    text = "; ".join(str(note) for note in notes) if isinstance(notes, list) else str(notes or "")
    text = redact(printable(text))
    marks = list(_NOTE.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    stages = {"caption": Stage.CAPTION, "keyword": Stage.KEYWORDS, "description": Stage.DESCRIPTION}
    said: dict[Stage, str] = {}
    for mark, end in zip(marks, ends, strict=False):
        words = one_line(text[mark.start() : end].strip(" ;,|\n"))
        stage = stages[mark[1]]
        said[stage] = f"{said[stage]}; {words}" if stage in said else words
    return said


def _extra(fields: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = _plain(fields)
    size = len(json.dumps(kept))
    if size <= MAX_EXTRA:
        return kept
    return {"not_kept": f"{size} characters of {one_line(', '.join(kept), 200)}"}


def _plain(value: Any, depth: int = 0) -> Any:
    """The value with printable texts without secrets, cut where it is nested too deeply."""
    if isinstance(value, str):
        return redact(printable(value))
    if depth > MAX_DEPTH or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, dict):
        return {one_line(str(key), 120): _plain(part, depth + 1) for key, part in value.items()}
    return [_plain(part, depth + 1) for part in value] if isinstance(value, list) else value
