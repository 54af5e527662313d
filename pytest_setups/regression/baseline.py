"""The baseline: the earlier entry that a run is compared with, and whether the two can be compared."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.differences import Incompatibility, image_hashes, incompatibilities, summary
from pytest_setups.registry.durable_files import read_bounded
from pytest_setups.registry.entry import Entry, Stage
from pytest_setups.registry.measurement import Measurement, read_measurements
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.registry.timeline import date_order, future_date, readable_entries
from pytest_setups.regression.bounds import judge_times
from pytest_setups.regression.comparison import Comparison, compare
from pytest_setups.regression.levels import judge_levels
from pytest_setups.regression.performance_comparison import performance_rows, unmeasured_bounds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pytest_setups.regression.bounds import Bound

LATEST: Final = "latest"


class BaselineError(Exception):
    """There is no such baseline, or it cannot be compared; the message says why and what to type."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """An earlier entry with its measurements.

    Attributes:
        name: its slug or its path.
        entry: the entry.
        measurements: the last attempts of its results file.
        skipped: a line for each entry that would have come first, but whose date is in the future.
    """

    name: str
    entry: Entry
    measurements: Sequence[Measurement]
    skipped: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """What a run must pass: a baseline with bounds.

    Attributes:
        baseline: what the run is compared with.
        bounds: how much worse each figure may be.
        allowed: dotted names of fields that may differ.
        option: the option that allows a difference, for messages.
    """

    baseline: Baseline
    bounds: Sequence[Bound] = ()
    allowed: Sequence[str] = ()
    option: str = "--setup-baseline-allow"

    def check(self, entry: Entry) -> None:
        """Check that an entry, as far as it is known, can be compared with the baseline.

        Raises:
            BaselineError: it cannot; the message names every difference that is not allowed.
        """
        self._refuse(entry, self._incompatibilities(entry))

    def compare(
        self, entry: Entry, measurements: Sequence[Measurement], name: str = "this run"
    ) -> Comparison:
        """Compare measurements with the baseline's; times only under the same conditions.

        Raises:
            BaselineError: the entries cannot be compared, or one lacks answers.
        """
        reasons = self._incompatibilities(entry)
        self._refuse(entry, reasons)
        # Only pictures with the same name and the same bytes are paired.
        same = dict(image_hashes(self.baseline.entry).items() & image_hashes(entry).items()).keys()
        if not same:
            message = f"not comparable with {self.baseline.name}: the two have no picture in common"
            raise BaselineError(message)
        before, after = (
            [measured for measured in side if measured.image in same]
            for side in (self.baseline.measurements, measurements)
        )
        _require_all_answers(self.baseline.name, same, before)
        _require_all_answers(name, same, after)
        untimed = self._untimed(reasons)
        compared = compare(before, after, self.bounds, untimed=untimed)
        # Each by itself, and of all its pictures: what a run says of itself is the same without a baseline.
        levels = judge_levels(measurements, self.bounds, self.baseline.measurements)
        earlier, later = self.baseline.entry.performance, entry.performance
        rows = performance_rows(earlier, later, self.bounds, timed=not untimed)
        return replace(
            compared,
            rows=[*compared.rows, *rows],
            unmeasured=[*compared.unmeasured, *unmeasured_bounds(earlier, later, self.bounds)],
            levels=levels,
        )

    def _refuse(self, entry: Entry, reasons: Sequence[Incompatibility]) -> None:
        # Without a bound on times, other hardware or concurrency only hides the changes of times.
        timed = judge_times(self.bounds)
        fatal = [reason for reason in reasons if _is_fatal(reason, timed=timed)]
        if fatal:
            names = " ".join(f"{self.option} {reason.name}" for reason in fatal[:3])
            message = (
                f"not comparable with {self.baseline.name}: {summary(fatal)}{_hint(entry, fatal)}; "
                f"to compare all the same: {names}"
            )
            raise BaselineError(message)

    def _untimed(self, reasons: Sequence[Incompatibility]) -> str:
        """Why times do not compare, empty where they do."""
        timed = [reason for reason in reasons if reason.timed]
        names = " ".join(f"{self.option} {reason.name}" for reason in timed if reason.measured)
        return f"{summary(timed)}{f'; to compare all the same: {names}' if names else ''}"

    def _incompatibilities(self, entry: Entry) -> list[Incompatibility]:
        before = self.baseline.entry
        reasons = [*incompatibilities(before, entry)]
        # A failed attempt may be compared with, where the user allows that difference by its name.
        if before.verification.status != "success":
            failed = Incompatibility("verification.status", before.verification.status, "success")
            reasons.insert(0, failed)
        return _unless_allowed(reasons, self.allowed)


def load_baseline(registry: Registry, name: str) -> Baseline:
    """The baseline of that slug, or in that entry file of another registry.

    Raises:
        BaselineError: there is none, it cannot be read, or it holds no measurements.
    """
    try:
        root, entry = _from_file(Path(name)) if is_path(name) else (registry.root, registry.find(name))
        return _with_measurements(root, name, entry)
    except EntryError as error:
        message = f"{name} cannot be a baseline: {error}"
        raise BaselineError(message) from None
    except RegistryError as error:
        raise BaselineError(str(error)) from None
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror}"
        raise BaselineError(message) from None


def latest_baseline(
    registry: Registry, entry: Entry, allowed: Sequence[str] = (), *, timed: bool = False
) -> Baseline:
    """The newest successful entry of the same setup with the same images, but for allowed differences.

    Entries that cannot be read, have no results or are dated in the future are skipped.

    Args:
        registry: where to look.
        entry: what will be compared.
        allowed: dotted names of fields that may differ.
        timed: whether times must be comparable too.

    Raises:
        BaselineError: there is none; the message says how the nearest entry differs.
    """
    skipped: list[str] = []
    nearest: tuple[str, list[Incompatibility]] | None = None
    for slug, candidate in _successes(registry):
        reasons = _unless_allowed(incompatibilities(candidate, entry), allowed)
        reasons = [reason for reason in reasons if _is_fatal(reason, timed=timed)]
        if reasons:
            nearest = (slug, reasons) if nearest is None or len(reasons) < len(nearest[1]) else nearest
        elif date := future_date(candidate):
            skipped.append(f"skipped {slug}: its date, {date}, is in the future")
        else:
            with contextlib.suppress(EntryError):
                return replace(_with_measurements(registry.root, slug, candidate), skipped=skipped)
    raise BaselineError("; ".join([*_no_latest(registry, entry, nearest), *skipped]))


def is_path(name: str) -> bool:
    """Whether a baseline is named by the path of its file, and not by its slug."""
    return name.endswith(".json") or "/" in name or "\\" in name


def _successes(registry: Registry) -> list[tuple[str, Entry]]:
    """The successful entries, the newest first."""
    try:
        slugs = registry.slugs()
    except RegistryError as error:
        raise BaselineError(str(error)) from None
    entries = sorted(readable_entries(registry, slugs), key=date_order, reverse=True)
    return [(slug, entry) for slug, entry in entries if entry.verification.status == "success"]


def _no_latest(
    registry: Registry, entry: Entry, nearest: tuple[str, list[Incompatibility]] | None
) -> Iterator[str]:
    yield f"no success of this setup with these images in {registry.root}: record one first"
    if nearest is not None:
        slug, reasons = nearest
        yield f"the nearest, {slug}, differs in {summary(reasons)}{_hint(entry, reasons)}"
        yield f"to compare all the same: --setup-baseline-allow {reasons[0].name}"


def _require_all_answers(name: str, images: Collection[str], measurements: Iterable[Measurement]) -> None:
    required = {(image, stage) for image in images for stage in Stage}
    missing = required - {
        (measured.image, measured.stage) for measured in measurements if measured.sample == 1
    }
    if missing:
        message = f"not comparable: the results of {name} lack {len(missing)} of {len(required)} answers"
        raise BaselineError(message)


def _is_fatal(reason: Incompatibility, *, timed: bool) -> bool:
    """Whether nothing is compared; ``timed`` says that times are to be judged."""
    # What shows only after the run must not waste it: its bounds on words are judged, those on times are not.
    return not reason.timed or (timed and not reason.measured)


def _hint(entry: Entry, reasons: Sequence[Incompatibility]) -> str:
    """Flags that differ may only be unknown, where the server's command is."""
    if entry.server.command is not None or not any(r.name.startswith("server.flags") for r in reasons):
        return ""
    return " (the command of this server is not known here: give it with --setup-server-command)"


def _unless_allowed(reasons: Iterable[Incompatibility], allowed: Sequence[str]) -> list[Incompatibility]:
    return [
        reason
        for reason in reasons
        if not any(reason.name == name or reason.name.startswith(f"{name}.") for name in allowed)
    ]


def _from_file(path: Path) -> tuple[Path, Entry]:
    """The registry folder that an entry file lies in, and the entry."""
    # os.path.expanduser leaves "~nosuchuser" as it is; pathlib's raises RuntimeError.
    full = Path(os.path.expanduser(path)).absolute()
    return full.parent.parent, Entry.from_json(read_bounded(full))


def _with_measurements(root: Path, name: str, entry: Entry) -> Baseline:
    results = entry.verification.results
    if results is None:
        message = "it names no results file, so there are no answers to compare: record it again"
        raise EntryError(message)
    return Baseline(name, entry, read_measurements(root, results))
