"""The baseline: the earlier entry that a run is compared with, and what keeps the two from comparing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.measurement import Measurement, read_measurements
from pytest_setups.registry.differences import Obstacle, obstacles, told
from pytest_setups.registry.entry import Entry
from pytest_setups.registry.files import read_bounded
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.regression.compare import Compared, compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_setups.regression.bounds import Bound

LATEST: Final = "latest"


class BaselineError(Exception):
    """There is no such baseline, or it does not compare; the message says what differs and what to type."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """An earlier entry with its measurements; ``name`` is its slug or its path."""

    name: str
    entry: Entry
    measurements: Sequence[Measurement]


@dataclass(frozen=True, slots=True)
class Gate:
    """A baseline, the bounds to judge by, and the differences that are allowed, by dotted name.

    ``option`` is what allows a difference.
    """

    baseline: Baseline
    bounds: Sequence[Bound] = ()
    allowed: Sequence[str] = ()
    option: str = "--setup-baseline-allow"

    def check(self, entry: Entry) -> None:
        """See that an entry, as far as it is known, compares with the baseline.

        Raises:
            BaselineError: it does not; the message names every difference that is not allowed.
        """
        found = [one for one in self._obstacles(entry) if not one.timed or self._judges_time]
        if found:
            names = " ".join(f"{self.option} {one.name}" for one in found[:3])
            message = (
                f"not comparable with {self.baseline.name}: {told(found)}; to compare all the same: {names}"
            )
            raise BaselineError(message)

    def compare(self, entry: Entry, measurements: Sequence[Measurement]) -> Compared:
        """Compare measurements with the baseline's; times only where nothing forbids it.

        Raises:
            BaselineError: the entries do not compare.
        """
        self.check(entry)
        timed = not any(one.timed for one in self._obstacles(entry))
        return compare(self.baseline.measurements, measurements, self.bounds, timed=timed)

    @property
    def _judges_time(self) -> bool:
        return any(bound.timed for bound in self.bounds)

    def _obstacles(self, entry: Entry) -> list[Obstacle]:
        before = self.baseline.entry
        found = obstacles(before, entry)
        if before.verification.status != "success":
            failed = Obstacle("verification.status", before.verification.status, "success")
            found = itertools.chain([failed], found)
        return _unless_allowed(found, self.allowed)


def load_baseline(registry: Registry, name: str) -> Baseline:
    """The baseline of that slug, or in that entry file of another registry.

    Raises:
        BaselineError: there is none, it cannot be read, or it holds no measurements.
    """
    try:
        root, entry = _from_file(Path(name)) if is_path(name) else (registry.root, registry.find(name))
        return _with_measurements(root, name, entry)
    except (RegistryError, EntryError) as error:
        raise BaselineError(str(error)) from None
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror}"
        raise BaselineError(message) from None


def latest_baseline(registry: Registry, entry: Entry, allowed: Sequence[str] = ()) -> Baseline:
    """The newest success of the same setup with the same images, but for what is allowed to differ.

    Raises:
        BaselineError: there is none; the message says how the nearest entry differs.
    """
    try:
        slugs = [str(row["slug"]) for row in registry.rows().rows if row["status"] == "success"]
        found = [(slug, registry.load(slug)) for slug in slugs]
    except (RegistryError, EntryError) as error:
        raise BaselineError(str(error)) from None
    found.sort(key=lambda pair: (pair[1].verification.date_utc, pair[0]))
    differing = [
        (slug, other, [one for one in _unless_allowed(obstacles(other, entry), allowed) if not one.timed])
        for slug, other in found
    ]
    fitting = [(slug, other) for slug, other, differences in differing if not differences]
    if not fitting:
        message = f"no success of this setup with these images in {registry.root}: record one first"
        if differing:
            slug, _, fewest = min(reversed(differing), key=lambda one: len(one[2]))
            message += f"; the nearest, {slug}, differs in {told(fewest)}"
        raise BaselineError(message)
    slug, newest = fitting[-1]
    try:
        return _with_measurements(registry.root, slug, newest)
    except EntryError as error:
        raise BaselineError(str(error)) from None


def is_path(name: str) -> bool:
    """Whether a baseline is named by the path of its file, and not by its slug."""
    return name.endswith(".json") or "/" in name or "\\" in name


def _unless_allowed(found: Iterable[Obstacle], allowed: Sequence[str]) -> list[Obstacle]:
    return [
        one
        for one in found
        if not any(one.name == name or one.name.startswith(f"{name}.") for name in allowed)
    ]


def _from_file(path: Path) -> tuple[Path, Entry]:
    """The registry folder that an entry file lies in, and the entry."""
    full = path.expanduser().absolute()
    return full.parent.parent, Entry.from_json(read_bounded(full))


def _with_measurements(root: Path, name: str, entry: Entry) -> Baseline:
    results = entry.verification.results
    if results is None:
        message = (
            f"{name} names no results file, so there is nothing to compare answers with: record it again"
        )
        raise EntryError(message)
    return Baseline(name, entry, read_measurements(root, results))
