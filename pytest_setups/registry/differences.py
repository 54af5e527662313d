"""What differs between entries, and which entries are one setup over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.registry.parsing import EntryError, json_path
from pytest_setups.registry.store import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.entry import Entry
    from pytest_setups.registry.store import Registry

STAGE_FIGURES: Final = ("mean_s", "p50_s", "p95_s", "max_s", "ttft_p50_s", "output_tokens_per_s")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs: its JSON path, both values, and whether it decides behaviour."""

    path: str
    a: Any
    b: Any
    decides: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome side by side; ``change`` is (b - a) / a of comparable figures, None otherwise."""

    name: str
    a: Any
    b: Any
    change: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two entries side by side; ``not_comparable`` says why their figures prove nothing, None if they may."""

    differences: list[Difference]
    outcomes: list[Outcome]
    not_comparable: str | None


def compare_entries(a: Entry, b: Entry) -> Comparison:
    """What changed between two setups, and their outcomes side by side."""
    differences = sorted(_differences(a, b), key=lambda found: (not found.decides, found.path))
    reason = _why_not_comparable(a, b, differences)
    outcomes_a, outcomes_b = _outcomes(a), _outcomes(b)
    names = [name for name in outcomes_a if outcomes_a[name] is not None or outcomes_b[name] is not None]
    rows = [_outcome(name, outcomes_a[name], outcomes_b[name], rated=reason is None) for name in names]
    return Comparison(differences, rows, reason)


def history_of(registry: Registry, slug: str) -> list[tuple[str, Entry]]:
    """Every readable entry with the fingerprint of this one, by date.

    Raises:
        RegistryError: there is no entry of that slug.
        EntryError: it cannot be read.
    """
    entry = registry.load(slug)
    fingerprint = entry.fingerprint()
    alike = (entry.model.served_model_name, entry.server.backend)
    rows = registry.rows().rows
    candidates = [row["slug"] for row in rows if (row["served_model_name"], row["backend"]) == alike]
    found = [
        (name, other) for name, other in _load_all(registry, candidates) if other.fingerprint() == fingerprint
    ]
    return sorted(found, key=lambda pair: (pair[1].verification.date_utc, pair[0]))


def _load_all(registry: Registry, slugs: list[str]) -> Iterator[tuple[str, Entry]]:
    for slug in slugs:
        try:
            yield slug, registry.load(slug)
        except (EntryError, RegistryError):
            continue


def _differences(a: Entry, b: Entry) -> Iterator[Difference]:
    deciding_a, deciding_b = _leaves(a.deciding()), _leaves(b.deciding())
    leaves_a, leaves_b = _leaves(_settings(a)), _leaves(_settings(b))
    for path in leaves_a.keys() | leaves_b.keys():
        value_a, value_b = leaves_a.get(path), leaves_b.get(path)
        if value_a != value_b:
            yield Difference(path, value_a, value_b, deciding_a.get(path) != deciding_b.get(path))


def _settings(entry: Entry) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude={"verification", "performance", "schema_version"})


def _leaves(value: object, path: tuple[str | int, ...] = ()) -> dict[str, Any]:
    """Every value in a document that is not null, by its JSON path."""
    if isinstance(value, dict) and value:
        parts = [_leaves(child, (*path, str(name))) for name, child in value.items()]
        return {key: leaf for part in parts for key, leaf in part.items()}
    return {} if value is None else {json_path(path): value}


def _why_not_comparable(a: Entry, b: Entry, differences: list[Difference]) -> str | None:
    if a.fingerprint() != b.fingerprint():
        deciding = [found.path.removeprefix("$.") for found in differences if found.decides]
        return f"these are different setups, by {', '.join(deciding[:3])}"
    images_a, images_b = a.verification.images, b.verification.images
    if images_a is None or images_b is None:
        return "an entry does not say which images it was made with"
    if {(image.name, image.sha256) for image in images_a} != {(i.name, i.sha256) for i in images_b}:
        return "they were made with different images"
    if a.performance.concurrency != b.performance.concurrency:
        return "they were made with different concurrency"
    return None


def _outcomes(entry: Entry) -> dict[str, Any]:
    verification, performance = entry.verification, entry.performance
    found: dict[str, Any] = {
        "status": verification.status,
        "failure_reason": verification.failure_reason,
        "date_utc": verification.date_utc.isoformat().replace("+00:00", "Z"),
        "git_commit": verification.git_commit,
        "images_processed": verification.images_processed,
        "concurrency": performance.concurrency,
        "avg_latency_s": performance.avg_latency_s,
        "images_per_s": performance.images_per_s,
    }
    for stage in ("caption", "keywords", "description"):
        figures = (performance.stages or {}).get(stage)
        found |= {f"{stage}.{name}": getattr(figures, name, None) for name in STAGE_FIGURES}
    return found


def _outcome(name: str, a: Any, b: Any, *, rated: bool) -> Outcome:  # noqa: ANN401  # JSON values
    measured = rated and isinstance(a, float) and isinstance(b, float) and a > 0
    return Outcome(name, a, b, (b - a) / a if measured else None)
