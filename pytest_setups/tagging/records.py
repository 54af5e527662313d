"""The output of a tagger command: JSON lines, one record an image.

The form is that of imageworks' Personal Tagger; ``tests/answers/personal-tagger.jsonl`` is a real output.
What other taggers add is kept with the results.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_setups.api.reply import MAX_TEXT
from pytest_setups.redaction import one_line, printable, redact, redact_json
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.keywords import Keywords, as_keywords

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

# Records have a few KiB. A line is parsed as a whole, so its length bounds the memory.
MAX_LINE_BYTES: Final = 1024 * 1024
# What a tagger adds of each image goes into a results file, which is kept in git.
MAX_EXTRA: Final = 16_384
MAX_EXTRA_TEXT: Final = 4_000
MAX_FAULTS: Final = 5
MAX_DEPTH: Final = 20
MAX_SECONDS: Final = 1e9
# Personal Tagger notes a failed stage as ``caption_error: ...`` or ``keywords_empty``, among other notes.
_STAGE_NOTE: Final = re.compile(r"\b(caption|keyword|description)s?_(?:error|empty)\b")
_NOTED_STAGES: Final = {
    "caption": Stage.CAPTION,
    "keyword": Stage.KEYWORDS,
    "description": Stage.DESCRIPTION,
}


@dataclass(frozen=True, slots=True)
class Record:
    """What a tagger wrote of one image.

    Attributes:
        caption: the caption, empty where it wrote none; so is ``description``.
        keywords: the keywords in order.
        description: the description.
        faults: what its notes say of stages that failed.
        seconds: how long the image took, None where it does not say.
        extra: all other fields, bounded.
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
    """The records by sample name.

    ``rejected`` says by sample name why an image has no valid record; ``faults`` is what is wrong with the
    output as a whole.
    """

    by_name: dict[str, Record] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class RecordFields(BaseModel):
    """The fields of a line that are judged; a description completes "must be" in the message of a fault."""

    # Strict: a caption 5 is a fault of the tagger, not the text "5".
    model_config = ConfigDict(strict=True, extra="allow")

    caption: Annotated[str | None, Field(description="a string")] = None
    keywords: Annotated[
        list[str | dict[str, Any]] | None,
        Field(description="a list of strings or of objects {keyword, score}"),
    ] = None
    description: Annotated[str | None, Field(description="a string")] = None
    duration_seconds: Annotated[
        Annotated[float, Field(ge=0, lt=MAX_SECONDS)] | None, Field(description="a number of seconds")
    ] = None


class _RecordError(ValueError):
    """A line that is not a valid record; the message completes "line 5"."""


def read_records(path: Path, names: Collection[str], secrets: tuple[str | None, ...] = ()) -> Records:
    """The records in a file of JSON lines, without secrets.

    Nothing is raised: a file that cannot be read and lines that are not records are faults, and of two
    records of one image neither counts.

    Args:
        path: the file.
        names: the names of the sample images that the tagger was given.
        secrets: values that are hidden.
    """
    reader = _RecordReader(names, secrets)
    try:
        with path.open("rb") as file:
            for number, line in _numbered_lines(file):
                reader.take(number, line)
    except FileNotFoundError:
        return Records(faults=["{output} was not written"])
    except OSError as error:
        reader.records.faults.append(f"{{output}} cannot be read: {error.strerror}")
    return reader.finish()


def _numbered_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not blank with its number, from 1; None for a line that is too long to be read."""
    number = 0
    # With a limit: a file without line ends must not be read as a whole.
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) <= MAX_LINE_BYTES:
            if line.strip():
                yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield number, None


class _RecordReader:
    """Collects records and faults, line by line."""

    def __init__(self, names: Collection[str], secrets: tuple[str | None, ...]) -> None:
        self.records = Records()
        self._names = _SampleNames(names)
        self._secrets = secrets
        self._lines_by_name: dict[str, list[int]] = defaultdict(list)

    def take(self, number: int, line: bytes | None) -> None:
        """Read one line."""
        try:
            document = _parse_line(line, self._secrets)
            name = self._names.find(document.pop("image", None))
        except _RecordError as error:
            self.records.faults.append(f"line {number} {error}")
            return
        self._lines_by_name[name].append(number)
        try:
            self.records.by_name[name] = _record(document, self._secrets)
        except _RecordError as error:
            self.records.rejected[name] = f"line {number}: {error}"

    def finish(self) -> Records:
        """The records, once all lines are read."""
        records = self.records
        if not self._lines_by_name and not records.faults:
            records.faults.append("{output} contains no records")
        for name, numbers in self._lines_by_name.items():
            # Which of them is right cannot be known; a tagger may have appended to what it wrote before.
            if len(numbers) > 1:
                lines = " and ".join(map(str, numbers[:MAX_FAULTS]))
                records.rejected[name] = f"{len(numbers)} records of this image: lines {lines}"
                records.by_name.pop(name, None)
        omitted = len(records.faults) - MAX_FAULTS
        if omitted > 0:
            records.faults[MAX_FAULTS:] = [f"and {omitted} more faults"]
        return records


class _SampleNames:
    """Finds the sample that a record's ``image`` means: its name, or any path that ends with it."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = {_composed(name): name for name in names}
        self._names_by_file: dict[str, set[str]] = defaultdict(set)
        for name in names:
            self._names_by_file[_composed(PurePosixPath(name).name)].add(name)

    def find(self, image: object) -> str:
        """The sample's name.

        Raises:
            _RecordError: not a path, an image that is not a sample, or a name that several samples have.
        """
        if not isinstance(image, str) or not image.strip():
            raise _RecordError("has no 'image' with a name or path")
        # Taggers on Windows write backslashes.
        parts = _composed(image).replace("\\", "/").split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            if tail in self._names:
                return self._names[tail]
        shown = one_line(image, 120)
        candidates = sorted(self._names_by_file.get(parts[-1], ())) if len(parts) == 1 else []
        if candidates:
            raise _RecordError(f"names {shown!r}, which may be {' or '.join(candidates[:3])}: write the path")
        raise _RecordError(f"names an image that is not in {{images}}: {shown!r}")


def _composed(name: str) -> str:
    """One spelling of letters with accents: macOS writes file names decomposed, Linux as they were typed."""
    return unicodedata.normalize("NFC", name)


def _parse_line(line: bytes | None, secrets: tuple[str | None, ...]) -> dict[str, Any]:
    if line is None:
        raise _RecordError(f"is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        # utf-8-sig: PowerShell writes a byte order mark.
        document = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        shown = one_line(redact(line[:2000].decode("utf-8", "replace"), *secrets), 80)
        raise _RecordError(f"is not JSON: {shown!r}") from None
    if not isinstance(document, dict):
        raise _RecordError("is not a JSON object")
    return document


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads although JSON does not have them."""
    raise ValueError(name)


def _record(document: dict[str, Any], secrets: tuple[str | None, ...]) -> Record:
    # Secrets are hidden before any text is cut: a cut could leave half of one, which nobody recognises.
    document = _printable(redact_json(_bounded(document), *secrets), MAX_TEXT)
    try:
        fields = RecordFields.model_validate(document)
    except ValidationError as error:
        # Faults inside a list are named by the field that holds it, with its value.
        name = str(error.errors()[0]["loc"][0])
        expected = RecordFields.model_fields[name].description
        shown = one_line(json.dumps(document[name]), 60)
        raise _RecordError(f"{name!r} must be {expected}, got {shown}") from None
    extra = fields.model_extra or {}
    return Record(
        caption=fields.caption or "",
        keywords=as_keywords(fields.keywords or []),
        description=fields.description or "",
        faults=_stage_faults(extra.get("notes")),
        seconds=fields.duration_seconds,
        extra=_bounded_extra(extra),
    )


def _stage_faults(notes: object) -> dict[Stage, str]:
    """What notes say of failed stages, such as ``caption_error: HTTP 500``; other notes are left out."""
    text = "; ".join(str(note) for note in notes) if isinstance(notes, list) else str(notes or "")
    # A note ends where the next one begins: semicolons, bars and line ends are seen between them.
    marks = list(_STAGE_NOTE.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    faults: dict[Stage, str] = {}
    for mark, end in zip(marks, ends, strict=False):
        note = one_line(text[mark.start() : end].strip(" ;,|\n"))
        stage = _NOTED_STAGES[mark[1]]
        faults[stage] = f"{faults[stage]}; {note}" if stage in faults else note
    return faults


def _bounded_extra(extra: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = _printable(extra, MAX_EXTRA_TEXT)
    size = len(json.dumps(kept))
    if size <= MAX_EXTRA:
        return kept
    return {"not_kept": f"{size} characters of {one_line(', '.join(kept), 200)}"}


def _bounded(value: Any, depth: int = 0) -> Any:
    """The JSON value without what results files cannot hold: deep nesting, and numbers such as 1e400."""
    if depth > MAX_DEPTH or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, dict):
        return {key: _bounded(part, depth + 1) for key, part in value.items()}
    return [_bounded(part, depth + 1) for part in value] if isinstance(value, list) else value


def _printable(value: Any, limit: int) -> Any:
    """The JSON value with printable texts, each cut at ``limit`` characters."""
    if isinstance(value, str):
        return printable(value, limit)
    if isinstance(value, dict):
        return {one_line(str(key), 120): _printable(part, limit) for key, part in value.items()}
    return [_printable(part, limit) for part in value] if isinstance(value, list) else value
