"""The check that a results file matches its entry."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.redaction import one_line
from pytest_setups.registry.durable_files import open_regular
from pytest_setups.registry.parsing import EntryError, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.entry import Entry, Results

MAX_RESULTS_BYTES: Final = 1024 * 1024 * 1024
MAX_LINE_BYTES: Final = 4 * 1024 * 1024
MAX_LINE_FAULTS: Final = 10


@dataclass(slots=True)
class _Tally:
    """What the lines add up to.

    ``last`` has, by (image, stage, sample), the last attempt: its number, whether it passed, whether timed.
    """

    lines: int = 0
    sha256: str = ""
    last: dict[tuple[str, str, int], tuple[int, bool, bool]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def results_faults(root: Path, entry: Entry) -> list[str]:
    """How the results file in the registry ``root`` differs from its entry; empty where none is named."""
    results = entry.verification.results
    if results is None:
        return []
    try:
        tally = _read(f"{os.fspath(root)}/{results.file}")
    except FileNotFoundError:
        return [f"$.verification.results.file: {results.file} is missing; restore the file"]
    except OSError as error:
        return [f"$.verification.results.file: {results.file} cannot be read: {error.strerror}"]
    except EntryError as error:
        return [f"$.verification.results.file: {results.file}: {error}"]
    return [
        *_file_faults(results, tally),
        *tally.faults,
        *_image_faults(entry, tally),
        *_stage_faults(entry, tally),
        *_status_faults(entry, tally),
    ]


def _read(path: str) -> _Tally:
    if Path(path).parent.is_symlink():
        message = "its folder is a symbolic link: a registry keeps its files itself"
        raise EntryError(message)
    tally, digest = _Tally(), hashlib.sha256()
    name = "/".join(path.rsplit("/", 2)[1:])
    with os.fdopen(open_regular(path), "rb") as file:
        # Line by line: a results file may have a gigabyte, and memory must not grow with it.
        while line := file.readline(MAX_LINE_BYTES + 1):
            digest.update(line)
            tally.lines += line.endswith(b"\n")
            if len(tally.faults) < MAX_LINE_FAULTS:
                _count(tally, line, name)
    tally.sha256 = digest.hexdigest()
    return tally


def _count(tally: _Tally, line: bytes, name: str) -> None:
    try:
        measured: Any = parse_json(line, MAX_LINE_BYTES)
        key = (measured["image"], measured["stage"], measured.get("sample") or 1)
        attempt = (measured.get("attempt") or 1, measured["passed"], measured.get("latency_s") is not None)
        if attempt[0] >= tally.last.get(key, (0,))[0]:
            tally.last[key] = attempt
    except EntryError as error:
        tally.faults.append(f"{name} line {tally.lines}: {error}")
    except (KeyError, TypeError, AttributeError):
        tally.faults.append(f"{name} line {tally.lines}: not a measurement with image, stage and passed")


def _file_faults(results: Results, tally: _Tally) -> Iterator[str]:
    if tally.sha256 != results.sha256:
        yield f"$.verification.results.sha256: {results.file}: checksum mismatch; restore the file"
    if tally.lines != results.lines:
        yield f"$.verification.results.lines: {results.lines}, but {results.file} has {tally.lines}"


def _image_faults(entry: Entry, tally: _Tally) -> Iterator[str]:
    images, processed = entry.verification.images, entry.verification.images_processed
    measured = {image for image, _, _ in tally.last}
    if processed not in {None, len(measured)}:
        yield f"$.verification.images_processed: {processed}, but the results have {len(measured)}"
    if images is not None:
        unmatched = sorted(measured.symmetric_difference(image.name for image in images))
        yield from (
            f"$.verification.images: {one_line(name, 80)!r} is in only one of entry and results"
            for name in unmatched[:MAX_LINE_FAULTS]
        )


def _stage_faults(entry: Entry, tally: _Tally) -> Iterator[str]:
    # Figures are of answers that were timed, also of those that did not pass their checks.
    answered = Counter(stage for (_, stage, _), (_, _, timed) in tally.last.items() if timed)
    for stage, figures in (entry.performance.stages or {}).items():
        if figures.n != answered[stage]:
            yield f"$.performance.stages.{stage}.n: {figures.n}, but the results have {answered[stage]}"


def _status_faults(entry: Entry, tally: _Tally) -> Iterator[str]:
    """Measurements that contradict a success."""
    if entry.verification.status != "success":
        return
    failed = sorted(key for key, (_, passed, _) in tally.last.items() if passed is not True)
    for image, stage, _ in failed[:MAX_LINE_FAULTS]:
        where = f"{one_line(image, 80)!r} did not pass {one_line(stage, 80)}"
        yield f"$.verification.status: success, but {where}"
