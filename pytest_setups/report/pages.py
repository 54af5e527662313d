"""What a report says, as data: gathered from a run or from the registry, before any markup."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.entry import Stage
from pytest_setups.registry.measurement import Measurement, read_measurements
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.timeline import date_order
from pytest_setups.regression.baseline import BaselineError, Gate, is_path, load_baseline
from pytest_setups.report import comparison_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_setups.registry.entry import Entry
    from pytest_setups.registry.store import Registry
    from pytest_setups.regression.baseline import Baseline
    from pytest_setups.regression.comparison import Comparison

THUMBNAIL_EDGE: Final = 320


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """One row of a comparison, its cells as `comparison_text.COLUMNS`; ``good`` is None if not judged."""

    cells: Sequence[str]
    good: bool | None = None


@dataclass(frozen=True, slots=True)
class ImageResult:
    """One picture with the last attempt at each stage; ``thumbnail`` is a ``data:`` URL of a JPEG."""

    name: str
    stages: Mapping[str, Measurement]
    thumbnail: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every stage was measured and populated."""
        return len(self.stages) == len(Stage) and all(found.passed for found in self.stages.values())


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on one page.

    ``standing`` is success, failed or incomplete and ``reason`` says why. ``slug`` is None where nothing
    was recorded. ``history`` are the entries of the same setup by date. ``comparison`` is empty where
    there is no baseline, and ``baseline`` says which it is; ``before`` are its measurements, and
    ``changes`` what else changed since.
    """

    standing: str
    reason: str
    entry: Entry
    slug: str | None = None
    measurements: Sequence[Measurement] = ()
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[tuple[str, Entry]] = ()
    baseline: str | None = None
    comparison: Sequence[ComparedRow] = ()
    before: Sequence[Measurement] = ()
    changes: Sequence[str] = ()
    notices: Sequence[str] = ()

    @property
    def images(self) -> list[ImageResult]:
        """The pictures: first those with a failed stage, then by name.

        Of several samples of a stage the first is shown, or the first that failed.
        """
        found: dict[str, dict[str, Measurement]] = {}
        for measurement in sorted(self.measurements, key=lambda one: (one.passed, one.sample)):
            found.setdefault(measurement.image, {}).setdefault(measurement.stage, measurement)
        images = [ImageResult(name, stages, self.thumbnails.get(name)) for name, stages in found.items()]
        return sorted(images, key=lambda image: (image.passed, image.name))


@dataclass(frozen=True, slots=True)
class SiteData:
    """A whole registry: rows of its index, a page for each entry by slug, and what cannot be read."""

    rows: Sequence[Mapping[str, object]]
    pages: Mapping[str, ReportData]
    unreadable: Mapping[str, str]


def with_comparison(data: ReportData, baseline: Baseline, compared: Comparison) -> ReportData:
    """The page with the comparison with a baseline."""
    return replace(
        data,
        baseline=comparison_text.headline(baseline, compared),
        comparison=[
            ComparedRow(cells, comparison_text.is_good(cells[-1])) for cells in comparison_text.rows(compared)
        ],
        before=baseline.measurements,
        changes=comparison_text.changes(baseline.entry, data.entry),
    )


def entry_data(
    registry: Registry,
    slug: str,
    entry: Entry,
    *,
    pictures: Mapping[str, Path],
    history: Sequence[tuple[str, Entry]],
) -> ReportData:
    """The page of one entry.

    ``pictures`` are sample files by name, shown where they are those that the entry was made with.
    """
    measurements, notice = _measurements(registry, entry)
    known = {image.name: image.sha256 for image in entry.verification.images or ()}
    names = {measurement.image for measurement in measurements} & pictures.keys()
    same = {name: pictures[name] for name in names if known.get(name) == _sha256(pictures[name])}
    data = ReportData(
        standing=entry.verification.status,
        reason=entry.verification.failure_reason or "",
        entry=entry,
        slug=slug,
        measurements=measurements,
        thumbnails=thumbnails(same),
        history=history,
        notices=[notice] if notice else [],
    )
    return _beside_its_baseline(registry, data)


def _beside_its_baseline(registry: Registry, data: ReportData) -> ReportData:
    """The page with the comparison with the entry's baseline, where that is in the registry."""
    name = data.entry.verification.baseline
    if name is None or is_path(name) or not data.measurements:
        return data
    try:
        baseline = load_baseline(registry, name)
        return with_comparison(data, baseline, Gate(baseline).compare(data.entry, data.measurements))
    except BaselineError as error:
        return replace(data, notices=[*data.notices, str(error)])


def site_data(registry: Registry, pictures: Mapping[str, Path]) -> SiteData:
    """The pages of every entry that can be read.

    Raises:
        RegistryError: the registry cannot be read.
    """
    found = registry.rows()
    unreadable = dict(found.unreadable)
    loaded: dict[str, Entry] = {}
    histories: dict[str, list[tuple[str, Entry]]] = defaultdict(list)
    for slug in (str(row["slug"]) for row in found.rows):
        try:
            loaded[slug] = registry.load(slug)
        except EntryError as error:
            unreadable[slug] = str(error)
        else:
            histories[loaded[slug].fingerprint()].append((slug, loaded[slug]))
    for history in histories.values():
        history.sort(key=date_order)
    pages = {
        slug: entry_data(registry, slug, entry, pictures=pictures, history=histories[entry.fingerprint()])
        for slug, entry in loaded.items()
    }
    return SiteData([row for row in found.rows if row["slug"] in pages], pages, unreadable)


def pictures_of(paths: Iterable[Path]) -> dict[str, Path]:
    """Sample files by name; none of no paths.

    Raises:
        ImageError: a path does not exist, or there are no pictures.
    """
    from pytest_setups.tagging.images import find_samples

    given = list(paths)
    return {sample.name: sample.path for sample in find_samples(given)} if given else {}


def thumbnails(pictures: Mapping[str, Path]) -> dict[str, str]:
    """Small JPEG pictures as ``data:`` URLs; one that cannot be read is left out."""
    found = {name: _thumbnail(path) for name, path in pictures.items()}
    return {name: url for name, url in found.items() if url is not None}


@lru_cache(maxsize=1024)
def _thumbnail(path: Path) -> str | None:
    from pytest_setups.tagging.images import MIME, ImageError, prepare

    try:
        prepared = prepare(path, THUMBNAIL_EDGE)
    except ImageError:
        return None
    return f"data:{MIME};base64,{prepared.base64.decode('ascii')}"


@lru_cache(maxsize=1024)
def _sha256(path: Path) -> str | None:
    from pytest_setups.tagging.images import ImageError, file_sha256

    try:
        return file_sha256(path)
    except ImageError:
        return None


def _measurements(registry: Registry, entry: Entry) -> tuple[list[Measurement], str | None]:
    """The last attempts in the entry's results file, or why there are none."""
    results = entry.verification.results
    if results is None:
        return [], "The entry names no results file, so there are figures but no answers."
    try:
        return read_measurements(registry.root, results), None
    except EntryError as error:
        return [], f"{error}: so there are figures but no answers."
