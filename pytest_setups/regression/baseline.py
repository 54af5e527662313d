"""The baseline: the earlier entry that a run is compared with, and what keeps the two from comparing."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.differences import Obstacle, by_date, images_of, load_all, obstacles, told
from pytest_setups.registry.entry import Entry, Stage
from pytest_setups.registry.files import read_bounded
from pytest_setups.registry.measurement import Measurement, read_measurements
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.regression.bounds import judge_times
from pytest_setups.regression.comparison import Comparison, compare

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

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
        self._refuse(entry, self._obstacles(entry))

    def _refuse(self, entry: Entry, met: Sequence[Obstacle]) -> None:
        found = [one for one in met if not one.timed or judge_times(self.bounds)]
        if found:
            names = " ".join(f"{self.option} {one.name}" for one in found[:3])
            message = (
                f"not comparable with {self.baseline.name}: {told(found)}{_hint(entry, found)}; "
                f"to compare all the same: {names}"
            )
            raise BaselineError(message)

    def compare(
        self, entry: Entry, measurements: Sequence[Measurement], name: str = "this run"
    ) -> Comparison:
        """Compare measurements with the baseline's; times only where nothing forbids it.

        Raises:
            BaselineError: the entries do not compare, or one lacks answers.
        """
        found = self._obstacles(entry)
        self._refuse(entry, found)
        same = dict(images_of(self.baseline.entry).items() & images_of(entry).items()).keys()
        if not same:
            message = f"not comparable with {self.baseline.name}: the two have no picture in common"
            raise BaselineError(message)
        before, after = (
            [one for one in measured if one.image in same]
            for measured in (self.baseline.measurements, measurements)
        )
        _check_whole(self.baseline.name, same, before)
        _check_whole(name, same, after)
        untimed = told([one for one in found if one.timed])
        return compare(before, after, self.bounds, untimed=untimed)

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
    except EntryError as error:
        message = f"{name} is no baseline: {error}"
        raise BaselineError(message) from None
    except RegistryError as error:
        raise BaselineError(str(error)) from None
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror}"
        raise BaselineError(message) from None


def latest_baseline(
    registry: Registry, entry: Entry, allowed: Sequence[str] = (), *, timed: bool = False
) -> Baseline:
    """The newest success of the same setup with the same images, but for what is allowed to differ.

    With ``timed``, times must compare as well. Entries that cannot be read, or have no results, are
    passed over.

    Raises:
        BaselineError: there is none; the message says how the nearest entry differs.
    """
    try:
        slugs = registry.slugs()
    except RegistryError as error:
        raise BaselineError(str(error)) from None
    nearest: tuple[str, list[Obstacle]] | None = None
    for slug, other in sorted(load_all(registry, slugs), key=by_date, reverse=True):
        if other.verification.status != "success":
            continue
        found = [one for one in _unless_allowed(obstacles(other, entry), allowed) if timed or not one.timed]
        if found:
            nearest = (slug, found) if nearest is None or len(found) < len(nearest[1]) else nearest
            continue
        with contextlib.suppress(EntryError):
            return _with_measurements(registry.root, slug, other)
    message = f"no success of this setup with these images in {registry.root}: record one first"
    if nearest is not None:
        slug, found = nearest
        message += f"; the nearest, {slug}, differs in {told(found)}{_hint(entry, found)}"
        message += f"; to compare all the same: --setup-baseline-allow {found[0].name}"
    raise BaselineError(message)


def is_path(name: str) -> bool:
    """Whether a baseline is named by the path of its file, and not by its slug."""
    return name.endswith(".json") or "/" in name or "\\" in name


def _check_whole(name: str, images: Collection[str], measured: Sequence[Measurement]) -> None:
    wanted = {(image, stage) for image in images for stage in Stage}
    lacking = wanted - {(one.image, one.stage) for one in measured if one.sample == 1}
    if lacking:
        message = f"not comparable: the results of {name} lack {len(lacking)} of {len(wanted)} answers"
        raise BaselineError(message)


def _hint(entry: Entry, found: Sequence[Obstacle]) -> str:
    unknown = entry.server.command is None and any(one.name.startswith("server.flags") for one in found)
    hint = " (the command of this server is not known here: give it with --setup-server-command)"
    return hint if unknown else ""


def _unless_allowed(found: Iterable[Obstacle], allowed: Sequence[str]) -> list[Obstacle]:
    return [
        one
        for one in found
        if not any(one.name == name or one.name.startswith(f"{name}.") for name in allowed)
    ]


def _from_file(path: Path) -> tuple[Path, Entry]:
    """The registry folder that an entry file lies in, and the entry."""
    home = os.path.expanduser(path)
    full = Path(home).absolute()
    return full.parent.parent, Entry.from_json(read_bounded(full))


def _with_measurements(root: Path, name: str, entry: Entry) -> Baseline:
    results = entry.verification.results
    if results is None:
        message = "it names no results file, so there is nothing to compare answers with: record it again"
        raise EntryError(message)
    return Baseline(name, entry, read_measurements(root, results))
