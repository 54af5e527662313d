"""A measurement: one line of a results file."""

from __future__ import annotations

import hashlib
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
)

from pytest_setups.registry.durable_files import read_bounded
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.field_redaction import TextKind
from pytest_setups.registry.parsing import EntryError, faults
from pytest_setups.registry.results import MAX_RESULTS_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_setups.registry.entry import Results

SERVER_CHECK: Final = "server"
"""The name, in failures and entries, of the check that the server answered."""
NOT_ASKED_CHECK: Final = "not-asked"
"""The name of the check that what a description is made from was there."""
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
ImageSample = tuple[str, int]
"""An image's name, and which of its samples."""


class Line(BaseModel):
    """One line of JSON, which travels on a test report or lies in a results file."""

    model_config = ConfigDict(frozen=True)


class FailedCheck(Line):
    """A check that an output did not pass."""

    check: str
    reason: Annotated[str, TextKind.FREE_TEXT]


class ExpectationResult(Line):
    """How the outputs of one sample of an image meet what is expected of it.

    ``sha256`` is of what is expected. ``met`` of the ``groups`` of words are; ``missed`` has a reason for
    each other one, ``faults`` for each word that must not be said, and for too many keywords.
    """

    sha256: str
    groups: Count
    met: Count
    missed: Annotated[tuple[str, ...], TextKind.FREE_TEXT] = ()
    faults: Annotated[tuple[str, ...], TextKind.FREE_TEXT] = ()


class OffKeyword(Line):
    """A keyword that is not a term of the vocabulary, and the term that it is near, if any."""

    keyword: Annotated[str, TextKind.FREE_TEXT]
    near: Annotated[str | None, TextKind.FREE_TEXT] = None


class VocabularyMatch(Line):
    """The keywords that are not terms of the vocabulary, whose terms have this checksum."""

    sha256: str
    off: tuple[OffKeyword, ...] = ()


class ReferenceMatch(Line):
    """The keywords that people wrote into the picture, and those of them that the model's do not contain."""

    keywords: Annotated[tuple[str, ...], TextKind.FREE_TEXT]
    missed: Annotated[tuple[str, ...], TextKind.FREE_TEXT] = ()


class Measurement(Line):
    """One (image, stage) outcome; times in seconds, None where there was no answer to time.

    ``sample`` counts the outcomes that were asked for, from 1; ``attempt`` those of one sample. Where
    only the whole image was timed, ``image_s`` says so in each of its stages; ``extra`` is what else a
    tagger command wrote of the image. The last attempt at a description carries how all three outputs of
    its image meet the ``expectations``. ``vocabulary`` and ``reference`` are of the keywords. ``waits``
    is how often a busy server asked to be asked again later; the times are those of the last request.
    ``client_delay_s`` is how late, on average, this client ran when it was due meanwhile: its own part in the
    times. ``cached_tokens`` are those of the prompt's tokens that came out of the server's cache.
    """

    kind: Literal["measurement"] = "measurement"
    image: str
    stage: Stage
    sample: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    attempt: int = 1
    passed: bool
    failures: tuple[FailedCheck, ...] = ()
    text: Annotated[str | None, TextKind.FREE_TEXT] = None
    keywords: Annotated[tuple[str, ...] | None, TextKind.FREE_TEXT] = None
    keywords_form: str | None = None
    finish_reason: Annotated[str | None, TextKind.FREE_TEXT] = None
    started_utc: AwareDatetime | None = None
    latency_s: Seconds | None = None
    ttft_s: Seconds | None = None
    prompt_tokens: Count | None = None
    cached_tokens: Count | None = None
    output_tokens: Count | None = None
    image_s: Seconds | None = None
    waits: Count | None = None
    client_delay_s: Seconds | None = None
    extra: Annotated[dict[str, JsonValue] | None, TextKind.JSON] = None
    expectations: ExpectationResult | None = None
    vocabulary: VocabularyMatch | None = None
    reference: ReferenceMatch | None = None

    @property
    def server_fault(self) -> str | None:
        """The fault of the server that came in place of an answer, None without one."""
        return next((failure.reason for failure in self.failures if failure.check == SERVER_CHECK), None)


_NO_NAMES: Final[set[str]] = set()


def compact(measurement: Measurement) -> Measurement:
    """The same measurement in a third of the memory, to be kept until the end of a run.

    Pydantic keeps with each object the names of the fields that it was given, which are not needed here.
    """
    values = vars(measurement) | {"image": sys.intern(measurement.image)}
    return Measurement.model_construct(_NO_NAMES, **values)


def read_measurements(root: Path, results: Results) -> list[Measurement]:
    """The last attempts in a results file of the registry folder ``root``.

    Raises:
        EntryError: it cannot be read, its checksum differs, or it holds no measurements.
    """
    try:
        data = read_bounded(root / results.file, MAX_RESULTS_BYTES)
        if hashlib.sha256(data).hexdigest() != results.sha256:
            message = f"{results.file}: checksum mismatch; restore the file"
            raise EntryError(message)
        # Attempts are in order of time, so that of each sample the last one remains.
        last: dict[tuple[str, Stage, int], Measurement] = {}
        for line in BytesIO(data):
            measured = compact(Measurement.model_validate_json(line))
            last[measured.image, measured.stage, measured.sample] = measured
    except OSError as error:
        message = f"{root / results.file} cannot be read: {error.strerror}"
        raise EntryError(message) from None
    except ValidationError as error:
        message = f"{results.file} does not hold measurements: {faults(error)[0]}"
        raise EntryError(message) from None
    return list(last.values())
