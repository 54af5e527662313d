"""The contents of pages as data, gathered from a run or from the registry; `html` renders them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.entry import Stage
from pytest_setups.registry.measurement import Measurement, read_measurements
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.timeline import date_order
from pytest_setups.regression.baseline import BaselineError, Gate, is_path, load_baseline
from pytest_setups.regression.levels import judge_levels
from pytest_setups.report import comparison_text, library_text, server_counters_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_setups.registry.entry import Entry
    from pytest_setups.registry.store import Registry
    from pytest_setups.regression.baseline import Baseline
    from pytest_setups.regression.comparison import Comparison
    from pytest_setups.regression.levels import FigureLevel
    from pytest_setups.regression.pictures import PictureChange

THUMBNAIL_EDGE: Final = 320


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """One row of a comparison.

    ``cells`` are those of `comparison_text.COLUMNS`; ``good`` is None where nothing was judged.
    """

    cells: Sequence[str]
    good: bool | None = None


@dataclass(frozen=True, slots=True)
class ImageResult:
    """One picture with the last attempt at each stage."""

    name: str
    stages: Mapping[str, Measurement]

    @property
    def passed(self) -> bool:
        """Whether every stage was measured and populated."""
        return len(self.stages) == len(Stage) and all(
            measurement.passed for measurement in self.stages.values()
        )


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on one page.

    ``standing`` is success, failed or incomplete and ``reason`` says why. ``slug`` is None where nothing
    was recorded. ``history`` are the entries of the same setup by date. ``comparison`` is empty where
    there is no baseline, and ``baseline`` says which it is; ``before`` are its measurements, and
    ``changes`` what else changed since. ``levels`` are the figures of the run by itself, and
    ``pictures`` those whose answers changed since the baseline, the least similar first.
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
    levels: Sequence[FigureLevel] = ()
    pictures: Sequence[PictureChange] = ()

    @property
    def off_vocabulary(self) -> list[str]:
        """The most frequent keywords off the vocabulary, a line at most."""
        return list(library_text.off_vocabulary(self.measurements))

    @property
    def server_counters(self) -> list[str]:
        """What the server counted during the run, in sentences."""
        return list(server_counters_text.sentences(self.entry.performance.server_counters))

    @property
    def doubts(self) -> list[str]:
        """What of it puts the times in doubt."""
        return list(server_counters_text.doubts(self.entry.performance.server_counters))

    @property
    def images(self) -> list[ImageResult]:
        """The pictures: first those with a failed stage, then by name.

        Of several samples of a stage the first is shown, or the first that failed.
        """
        worst_first = sorted(
            self.measurements, key=lambda measurement: (measurement.passed, measurement.sample)
        )
        by_image: dict[str, dict[str, Measurement]] = {}
        for measurement in worst_first:
            by_image.setdefault(measurement.image, {}).setdefault(measurement.stage, measurement)
        images = [ImageResult(name, stages) for name, stages in by_image.items()]
        return sorted(images, key=lambda image: (image.passed, image.name))


@dataclass(frozen=True, slots=True)
class SiteData:
    """A whole registry: the rows of its index, the page of each entry by slug, and why others have none."""

    rows: Sequence[Mapping[str, object]]
    pages: Mapping[str, ReportData]
    unreadable: Mapping[str, str]


def with_comparison(data: ReportData, baseline: Baseline, comparison: Comparison) -> ReportData:
    """The page, and on it the comparison of its entry with a baseline."""
    return replace(
        data,
        baseline=comparison_text.headline(baseline, comparison),
        comparison=[
            ComparedRow(cells, comparison_text.is_good(cells[-1]))
            for cells in comparison_text.rows(comparison)
        ],
        before=baseline.measurements,
        pictures=comparison.pictures,
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

    ``pictures`` are sample files by name. A file is shown only where its checksum is that of the entry: it
    may have been edited or replaced since.
    """
    measurements, notice = _measurements(registry, entry)
    checksums = {image.name: image.sha256 for image in entry.verification.images or ()}
    names = {measurement.image for measurement in measurements} & pictures.keys()
    unchanged = {name: pictures[name] for name in names if checksums.get(name) == _sha256(pictures[name])}
    data = ReportData(
        standing=entry.verification.status,
        reason=entry.verification.failure_reason or "",
        entry=entry,
        slug=slug,
        measurements=measurements,
        thumbnails=Thumbnails(unchanged),
        history=history,
        notices=[notice] if notice else [],
        levels=judge_levels(measurements, ()),
    )
    return _with_own_baseline(registry, data)


def _with_own_baseline(registry: Registry, data: ReportData) -> ReportData:
    """The page, compared with the baseline that its entry names, where that is in the registry."""
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
    index = registry.rows()
    unreadable = dict(index.unreadable)
    loaded: dict[str, Entry] = {}
    histories: dict[str, list[tuple[str, Entry]]] = defaultdict(list)
    for slug in (str(row["slug"]) for row in index.rows):
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
    return SiteData([row for row in index.rows if row["slug"] in pages], pages, unreadable)


def pictures_of(paths: Iterable[Path]) -> dict[str, Path]:
    """The sample files at these paths, by name; empty without paths.

    Raises:
        ImageError: a path does not exist, or there are no pictures.
    """
    from pytest_setups.tagging.images import find_samples

    given = list(paths)
    return {sample.name: sample.path for sample in find_samples(given)} if given else {}


class Thumbnails(Mapping[str, str]):
    """Small JPEG pictures as ``data:`` URLs, each made when a page shows it; those that cannot be read lack.

    Args:
        pictures: the files by the name of the picture.
    """

    def __init__(self, pictures: Mapping[str, Path]) -> None:
        self._pictures = pictures

    def __getitem__(self, name: str) -> str:
        """The picture of that name."""
        url = _thumbnail(self._pictures[name])
        if url is None:
            raise KeyError(name)
        return url

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._pictures)

    def __len__(self) -> int:
        """How many pictures there may be."""
        return len(self._pictures)


# A site shows the same pictures on the page of every entry.
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
        return [], "The entry names no results file, so its figures are shown without answers."
    try:
        return read_measurements(registry.root, results), None
    except EntryError as error:
        return [], f"{error}, so the figures are shown without answers."
