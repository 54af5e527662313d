"""The entry: the immutable JSON record of one attempt at a setup, schema 1.1.

Schema 1.1 is schema 1.0 with the names and meanings of all fields unchanged, plus optional fields. Entries
written by hand load, and unknown fields survive.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError

from pytest_setups.redaction import one_line
from pytest_setups.registry.entry_fields import (
    Amount,
    CommandText,
    Count,
    EntryPart,
    ExactText,
    FreeText,
    JsonObject,
    Name,
    OptionalJsonObject,
    PathText,
    Sha256,
    UrlText,
)
from pytest_setups.registry.field_redaction import TextKind
from pytest_setups.registry.load_records import (
    CapacityRecord,
    ClientDelayRecord,
    EnergyRecord,
    ServerCountersRecord,
    SoakRecord,
)
from pytest_setups.registry.parsing import EntryError, faults, json_sha256, parse_json

SCHEMA_VERSION: Final = "1.1"
VERSION_PATTERN: Final = r"1(\.[0-9]+)?"
SLUG_PATTERN: Final = r"[a-z0-9][a-z0-9._-]{0,199}"
RESULTS_PATTERN: Final = rf"results/{SLUG_PATTERN}\.jsonl"

PATH_START: Final = r"(?:~|\.{0,2}/|[A-Za-z]:[\\/])"
_PATH: Final = re.compile(rf"{PATH_START}[^\n]*")
DECIDING_MODEL_FIELDS: Final = {"repo_id", "served_model_name", "format", "quantization"}
DECIDING_TAGGER_FIELDS: Final = {
    "models", "max_new_tokens", "temperature", "top_p", "seed", "prompts", "image", "stream", "extra_body",
    "program", "structured", "language",
}  # fmt: skip
# Fields that were added later: entries without them keep their fingerprints.
LATER_TAGGER_FIELDS: Final = ("program", "structured", "language")
# Where a server listens, logs and keeps its keys, and what it counts, changes no answer.
HOST_FLAGS: Final = frozenset({
    "host", "port", "api-key", "api-key-file", "hf-token", "log-file", "log-level", "uvicorn-log-level",
    "download-dir", "slot-save-path", "ssl-keyfile", "ssl-certfile", "ssl-key-file", "ssl-cert-file",
    "metrics", "enable-metrics", "disable-log-stats", "enable-prompt-tokens-details", "enable-cache-report",
})  # fmt: skip

Status = Literal["success", "failed"]
CommandSource = Literal["given", "process", "launched", "entry"]


class Stage(StrEnum):
    """Caption, keywords or description, in the order in which they are asked."""

    CAPTION = "caption"
    KEYWORDS = "keywords"
    DESCRIPTION = "description"


def _text_date(value: object) -> object:
    # Pydantic would take a number for the seconds since 1970.
    if isinstance(value, int | float):
        raise PydanticCustomError("text_date", "a date is text such as 2025-10-01T00:00:00Z")
    return value


def _inside_results(value: str) -> str:
    # An entry from elsewhere must not make this package read or hash other files.
    if re.fullmatch(RESULTS_PATTERN, value) is None:
        message = (
            f"{one_line(value, 80)!r} is not results/<slug>.jsonl: a results file lies in the registry itself"
        )
        raise ValueError(message)
    return value


UtcDate = Annotated[AwareDatetime, BeforeValidator(_text_date, json_schema_input_type=AwareDatetime)]
ResultsPath = Annotated[
    str, AfterValidator(_inside_results), Field(json_schema_extra={"pattern": f"^{RESULTS_PATTERN}$"})
]


class ModelRecord(EntryPart):
    """The model that was served."""

    repo_id: Annotated[Name | None, TextKind.FREE_TEXT] = None
    local_path: PathText = None
    served_model_name: Annotated[Name, TextKind.FREE_TEXT]
    format: FreeText = None
    quantization: FreeText = None
    vision: bool | None = None
    revision: FreeText = None
    base_model: FreeText = None
    digest: FreeText = None


class ServerRecord(EntryPart):
    """The server and its configuration.

    ``command_source`` is where the command comes from, ``command_reason`` why there is none.
    ``context_length`` is in tokens. ``ready_s`` is the seconds from the start to the first real answer.
    ``started_at``, ``working_directory`` and ``variables`` are those of the server's process.
    """

    backend: Name
    command: CommandText = None
    port: int | None = None
    flags: JsonObject = Field(default_factory=dict)
    chat_template: ExactText = None
    version: Annotated[Name | None, TextKind.FREE_TEXT] = None
    command_source: CommandSource | None = None
    command_reason: FreeText = None
    context_length: Count | None = None
    started_at: UtcDate | None = None
    working_directory: PathText = None
    variables: Annotated[dict[str, str] | None, TextKind.JSON] = None
    ready_s: Amount | None = None


class PromptSet(EntryPart):
    """The prompts as they were sent; ``profile`` is the built-in profile's name or the file's."""

    profile: PathText = None
    system: ExactText = None
    caption: ExactText = None
    keywords: ExactText = None
    description: ExactText = None


class ImagePreparation(EntryPart):
    """How pictures were prepared: ``max_edge`` in pixels, ``quality`` as JPEG quality."""

    max_edge: int | None = None
    format: str | None = None
    quality: int | None = None


class StructuredRecord(EntryPart):
    """The JSON schema that keywords were asked with, in ``response_format`` as it was sent.

    The terms of a vocabulary, which the schema lists in ``enum``, are left out: they are those of the
    vocabulary with the checksum ``vocabulary_sha256``, None where any string was allowed.
    """

    response_format: JsonObject
    vocabulary_sha256: Sha256 | None = None
    vocabulary_terms: Count | None = None


class TaggerRecord(EntryPart):
    """The tagger: its invocation and every sampling parameter that it sent.

    ``program`` names a tagger that is not the built-in one: an external command with its placeholders,
    or the class of a Python tagger. Of such a tagger only what it was given is known. ``api_key_env`` is
    the name of the environment variable whose API key was sent. ``language`` holds the ISO 639-1 code of
    the language that each stage was asked for, where one was.
    """

    command: CommandText = None
    base_url: UrlText = None
    api_key_env: str | None = None
    models: Annotated[dict[Stage, str], TextKind.JSON] = Field(default_factory=dict)
    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    prompts: PromptSet | None = None
    image: ImagePreparation | None = None
    concurrency: int | None = None
    stream: bool | None = None
    extra_body: OptionalJsonObject = None
    program: CommandText = None
    structured: StructuredRecord | None = None
    language: dict[Stage, str] | None = None


class ImageRef(EntryPart):
    """One sample image: its name in the run and the sha256 of the file's bytes."""

    name: str
    sha256: str | None = None


class Results(EntryPart):
    """The results file: its path relative to the registry, sha256 of its bytes, number of lines."""

    file: ResultsPath
    sha256: Sha256
    lines: Count


class ExpectationsRecord(EntryPart):
    """What was expected of the images, and how much of it was met.

    ``sha256`` is of what was expected of all of them: of two entries with the same one, the shares of groups
    met compare. ``images`` is the number of images of which words were expected, ``groups`` the number of
    groups of words in all samples of them, and ``met`` how many were met.
    """

    sha256: str
    images: Count
    groups: Count
    met: Count


class VocabularyRecord(EntryPart):
    """The vocabulary that keywords were compared with: its file's name, the number of its terms.

    ``sha256`` is of the terms: sorted, one a line, in UTF-8.
    """

    file: PathText = None
    sha256: Sha256
    terms: Count


class ReferenceRecord(EntryPart):
    """The keywords of people that the model's were compared with.

    ``sha256`` is of all of them with their pictures. ``images`` is the number of pictures that have any,
    ``images_without`` of those that were left out, and ``keywords`` the number of all. ``known_to_tagger``
    is ``never`` where the pictures were sent to the server without their metadata, and ``possibly`` where a
    program was given the files.
    """

    source: Literal["metadata"]
    sha256: Sha256
    images: Count
    images_without: Count
    keywords: Count
    known_to_tagger: Literal["never", "possibly"]
    faults: Annotated[list[str] | None, TextKind.FREE_TEXT] = None


class Verification(EntryPart):
    """What was proved, when, and from which commit.

    ``from_entry`` is the slug of the entry that was verified again, ``baseline`` the slug or path of the
    entry it was compared with. ``figures`` are the figures of this run by itself, such as the share of
    answers that needed another attempt.
    """

    date_utc: UtcDate
    git_commit: str | None = None
    images_processed: Count | None = None
    status: Status
    failure_reason: FreeText = None
    git_dirty: bool | None = None
    git_reason: FreeText = None
    images: list[ImageRef] | None = None
    vision: OptionalJsonObject = None
    checks: list[str] | None = None
    results: Results | None = None
    from_entry: str | None = None
    baseline: PathText = None
    vocabulary: VocabularyRecord | None = None
    reference: ReferenceRecord | None = None
    figures: dict[str, Amount] | None = None
    expectations: ExpectationsRecord | None = None


class StagePerformance(EntryPart):
    """Latencies of one stage in seconds; ``n`` is the number of answers measured."""

    n: Count
    mean_s: Amount | None = None
    p50_s: Amount | None = None
    p95_s: Amount | None = None
    max_s: Amount | None = None
    ttft_p50_s: Amount | None = None
    output_tokens_per_s: Amount | None = None


class ImagePerformance(EntryPart):
    """Seconds of whole images, all three stages together; ``n`` is the number of their samples timed."""

    n: Count
    mean_s: Amount | None = None
    p50_s: Amount | None = None
    p95_s: Amount | None = None
    max_s: Amount | None = None


class Performance(EntryPart):
    """``avg_latency_s`` is the mean seconds one image takes, all three stages together.

    ``repeat`` is the number of samples taken of every stage of every image. What was measured beside the
    answers of the run follows, each where it was.
    """

    avg_latency_s: Amount | None = None
    images_per_s: Amount | None = None
    concurrency: Count | None = None
    repeat: Count | None = None
    stages: dict[Stage, StagePerformance] | None = None
    image: ImagePerformance | None = None
    client_delay: ClientDelayRecord | None = None
    capacity: CapacityRecord | None = None
    server_counters: ServerCountersRecord | None = None
    energy: EnergyRecord | None = None
    soak: SoakRecord | None = None


class Entry(EntryPart):
    """One entry; load it with :meth:`from_json`. The file on disk is never edited."""

    schema_version: Annotated[str, Field(json_schema_extra={"pattern": f"^{VERSION_PATTERN}$"})] = (
        SCHEMA_VERSION
    )
    model: ModelRecord
    server: ServerRecord
    tagger: TaggerRecord
    verification: Verification
    notes: FreeText = None
    performance: Performance = Field(default_factory=Performance)
    environment: OptionalJsonObject = None

    @field_validator("schema_version")
    @classmethod
    def _readable(cls, value: str) -> str:
        if re.fullmatch(VERSION_PATTERN, value) is None:
            message = (
                f"schema version {value[:20]!r} cannot be read: this package reads 1.x; upgrade pytest-setups"
            )
            raise ValueError(message)
        return value

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read an entry.

        Raises:
            EntryError: it is not JSON, too large, nested too deeply, of a schema other than 1.x, or a field
                is not valid; the message names the JSON path of each fault.
        """
        return cls.from_document(parse_json(data))

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Make an entry of parsed JSON; raises EntryError like ``from_json``."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise EntryError(*faults(error)) from None

    def to_json(self) -> bytes:
        """The entry as UTF-8 JSON with two spaces of indentation and a final newline."""
        document = self.model_dump(mode="json")
        return f"{json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()

    def fingerprint(self) -> str:
        """Sha256 (hex) of the canonical JSON of what decides behaviour.

        Model identity, backend, flags, sampling parameters, prompts and image preparation count;
        versions, hosts, ports, paths, dates, notes, timings and the names of prompt profiles do not.
        """
        return json_sha256(self.deciding())

    def deciding(self) -> dict[str, Any]:
        """What decides behaviour: the fields that the fingerprint is made of, nested as in the entry."""
        server = self.server
        tagger = self.tagger.model_dump(mode="json", include=DECIDING_TAGGER_FIELDS)
        if tagger["prompts"]:
            tagger["prompts"].pop("profile")  # a name: the prompts themselves count
        for name in LATER_TAGGER_FIELDS:
            if tagger[name] is None:
                del tagger[name]
        return {
            "model": self.model.model_dump(include=DECIDING_MODEL_FIELDS),
            "server": {
                "backend": server.backend,
                "flags": {k: _portable(v) for k, v in server.flags.items() if k not in HOST_FLAGS},
                "chat_template": _portable(server.chat_template),
            },
            "tagger": tagger,
        }


def _portable(value: JsonValue) -> JsonValue:
    """The value with paths cut to their last part, which is the same on every machine."""
    if isinstance(value, str) and _PATH.fullmatch(value):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return [_portable(item) for item in value] if isinstance(value, list) else value


def json_schema() -> dict[str, Any]:
    """The JSON Schema of an entry, for editors and CI systems."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Entry.model_json_schema()}
