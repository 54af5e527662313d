"""What differs between two entries, and whether they can be compared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.redaction import one_line, redact
from pytest_setups.registry.documents import leaves
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.field_redaction import public_document
from pytest_setups.registry.parsing import json_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue

    from pytest_setups.registry.entry import Entry

MOST_LISTED: Final = 5
MAX_VALUE_TEXT: Final = 1000
INCIDENTAL: Final = frozenset({
    "model.local_path", "notes", "server.command", "server.command_reason", "server.command_source",
    "server.port", "server.ready_s", "server.started_at", "server.working_directory", "tagger.api_key_env",
    "tagger.base_url", "tagger.command",
})  # fmt: skip
"""Where a setup ran and how it was started: this differs between any two runs of an unchanged setup.

Of the two commands, everything that affects behaviour is also in ``server.flags`` and the tagger's settings.
"""
CACHE_TOLERANCE: Final = 0.1
"""How far two shares that came out of a cache may lie apart. Overlapping requests change them a little."""
STAGE_FIGURES: Final = ("mean_s", "p50_s", "p95_s", "max_s", "ttft_p50_s", "output_tokens_per_s")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs: its JSON path, both values, and whether it decides behaviour."""

    path: str
    a: Any
    b: Any
    decides: bool

    @property
    def name(self) -> str:
        """The field's dotted name."""
        return self.path.removeprefix("$.")

    @property
    def is_incidental(self) -> bool:
        """Whether it says nothing about the setup itself."""
        return self.name in INCIDENTAL


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """A reason why two entries cannot be compared: a field by its dotted name, and both values.

    ``timed`` says that it concerns only figures in time, ``measured`` that it is known only when both have
    been measured.
    """

    name: str
    a: Any
    b: Any
    timed: bool = False
    measured: bool = False

    def __str__(self) -> str:
        """The field and both values, on one line."""
        return f"{self.name} ({value_text(self.a)} -> {value_text(self.b)})"


@dataclass(frozen=True, slots=True)
class OutcomeDifference:
    """One outcome side by side; ``change`` is (b - a) / a of comparable figures, None otherwise."""

    name: str
    a: Any
    b: Any
    change: float | None


@dataclass(frozen=True, slots=True)
class EntryComparison:
    """Two entries side by side.

    Attributes:
        differences: the settings, versions and hardware that differ, those that decide behaviour first.
        incidental: other fields that differ, which say nothing about the setup: see ``INCIDENTAL``.
        outcomes: status and figures.
        not_comparable: why the figures cannot be compared, None where they can.
    """

    differences: list[Difference]
    incidental: list[Difference]
    outcomes: list[OutcomeDifference]
    not_comparable: str | None


def compare_entries(a: Entry, b: Entry) -> EntryComparison:
    """What changed between two setups, and their outcomes side by side."""
    differences = sorted(_differences(a, b), key=lambda difference: (not difference.decides, difference.path))
    reason = summary(list(incompatibilities(a, b))) or None
    return EntryComparison(
        differences=[difference for difference in differences if not difference.is_incidental],
        incidental=[difference for difference in differences if difference.is_incidental],
        outcomes=_outcome_differences(a, b, rated=reason is None),
        not_comparable=reason,
    )


def incompatibilities(a: Entry, b: Entry) -> Iterator[Incompatibility]:
    """The reasons why two entries cannot be compared: different setups, images or conditions.

    Times can be compared only with equal concurrency and on the same hardware. Hardware that is unknown on
    both sides counts as the same.
    """
    yield from _setup_incompatibilities(a, b)
    images_a, images_b = image_hashes(a), image_hashes(b)
    # Entries without a list of images, as hand-written ones, are never comparable.
    if images_a != images_b or not images_a:
        texts = _images_text(images_a, images_b), _images_text(images_b, images_a)
        yield Incompatibility("verification.images", *texts)
    concurrency = a.performance.concurrency, b.performance.concurrency
    if concurrency[0] != concurrency[1]:
        yield Incompatibility("performance.concurrency", *concurrency, timed=True)
    hardware_a, hardware_b = _hardware(a), _hardware(b)
    for name in sorted(hardware_a.keys() | hardware_b.keys()):
        values = hardware_a.get(name), hardware_b.get(name)
        if values[0] != values[1]:
            yield Incompatibility(f"environment.server.{name}", *values, timed=True)
    yield from _cache_incompatibilities(a, b)
    limits = _client_limit(a), _client_limit(b)
    if any(limits):
        before, after = (limit or "not the limit" for limit in limits)
        yield Incompatibility("performance.client_delay", before, after, timed=True, measured=True)


def _client_limit(entry: Entry) -> str | None:
    """How far the client was the limit, None where it was not or where that is unknown."""
    delay = entry.performance.client_delay
    if delay is None or not delay.limited:
        return None
    return f"the limit: {delay.mean_s * 1000:.1f} ms late, {delay.share:.1%} of the mean time"


def _cache_incompatibilities(a: Entry, b: Entry) -> Iterator[Incompatibility]:
    """The caches of which one run had more than the other: what a cache has is not computed again."""
    known = _known_pictures(a), _known_pictures(b)
    if known[0] is not None and known[1] is not None:
        if abs(known[0].share - known[1].share) > CACHE_TOLERANCE:
            yield _cache_incompatibility("pictures_cached", str(known[0]), str(known[1]))
        return
    shares_a, shares_b = _cache_shares(a), _cache_shares(b)
    for name in shares_a.keys() & shares_b.keys():
        if abs(shares_a[name] - shares_b[name]) > CACHE_TOLERANCE:
            yield _cache_incompatibility(name, f"{shares_a[name]:.0%} hits", f"{shares_b[name]:.0%} hits")


def _cache_incompatibility(name: str, a: str, b: str) -> Incompatibility:
    return Incompatibility(f"performance.server_counters.{name}", a, b, timed=True, measured=True)


@dataclass(frozen=True, slots=True)
class _KnownPictures:
    """How many of the pictures the server knew before a run asked about them."""

    cached: int
    pictures: int

    @property
    def share(self) -> float:
        return self.cached / self.pictures

    def __str__(self) -> str:
        return f"{self.cached} of {self.pictures}"


def _known_pictures(entry: Entry) -> _KnownPictures | None:
    counters = entry.performance.server_counters
    if counters is None or not counters.pictures or counters.pictures_cached is None:
        return None
    return _KnownPictures(counters.pictures_cached, counters.pictures)


def _cache_shares(entry: Entry) -> dict[str, float]:
    """The share of hits in each cache that the server counts."""
    counters = entry.performance.server_counters
    if counters is None:
        return {}
    counts = {
        "prefix_cache": (counters.prefix_cache_hits, counters.prefix_cache_queries),
        "multimodal_cache": (counters.multimodal_cache_hits, counters.multimodal_cache_queries),
    }
    return {name: hits / queries for name, (hits, queries) in counts.items() if hits is not None and queries}


def _setup_incompatibilities(a: Entry, b: Entry) -> Iterator[Incompatibility]:
    deciding = [difference for difference in _differences(a, b) if difference.decides]
    for difference in sorted(deciding, key=lambda difference: difference.path):
        yield Incompatibility(difference.name, difference.a, difference.b)
    # A field that is null on one side and absent on the other has no value to show.
    if not deciding and a.fingerprint() != b.fingerprint():
        yield Incompatibility("fingerprint", a.fingerprint(), b.fingerprint())


def summary(reasons: Sequence[Incompatibility]) -> str:
    """The first reasons on one line; empty without any."""
    more = f", and {len(reasons) - MOST_LISTED} more" if len(reasons) > MOST_LISTED else ""
    return f"{', '.join(map(str, reasons[:MOST_LISTED]))}{more}"


def _differences(a: Entry, b: Entry) -> Iterator[Difference]:
    deciding_a, deciding_b = _leaves(a.deciding()), _leaves(b.deciding())
    leaves_a, leaves_b = _leaves(_settings(a)), _leaves(_settings(b))
    for path in leaves_a.keys() | leaves_b.keys():
        value_a, value_b = leaves_a.get(path), leaves_b.get(path)
        if value_a != value_b:
            yield Difference(path, value_a, value_b, deciding_a.get(path) != deciding_b.get(path))


def _settings(entry: Entry) -> dict[str, Any]:
    return public_document(entry, exclude={"verification", "performance", "schema_version"})


def _leaves(document: object) -> dict[str, Any]:
    """Every value in a document that is not null, by its JSON path."""
    return {json_path(path): value for path, value in leaves(document) if value is not None}


def image_hashes(entry: Entry) -> dict[str, str | None]:
    """The sha256 of each picture that an entry was made with, by name."""
    return {image.name: image.sha256 for image in entry.verification.images or ()}


def _images_text(images: dict[str, str | None], others: dict[str, str | None]) -> str:
    """How many images, and which are not among the others."""
    own = sorted(name for name, sha256 in images.items() if others.get(name, "") != sha256)
    return f"{len(images)} images" + (f", with {', '.join(own[:MOST_LISTED])}" if own else "")


def _hardware(entry: Entry) -> dict[str, JsonValue]:
    """What decides how fast a server may be: its processor and GPUs, without drivers and memory."""
    server = (entry.environment or {}).get("server")
    if not isinstance(server, dict):
        return {}
    gpus = server.get("gpus")
    gpu_names = [gpu.get("name") for gpu in gpus if isinstance(gpu, dict)] if isinstance(gpus, list) else None
    hardware = {name: server.get(name) for name in ("machine", "cpu", "cores", "threads")}
    return {name: value for name, value in {**hardware, "gpus": gpu_names}.items() if value is not None}


def value_text(value: object) -> str:
    """A value on one line, bounded and without secrets; ``none`` where there is none."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Redaction takes time; what lies beyond the limit is not shown anyway.
    return one_line(redact(text[:MAX_VALUE_TEXT]), 80)


def _outcomes(entry: Entry) -> dict[str, Any]:
    verification, performance = entry.verification, entry.performance
    outcomes: dict[str, Any] = {
        "status": verification.status,
        "failure_reason": verification.failure_reason,
        "date_utc": verification.date_utc.isoformat().replace("+00:00", "Z"),
        "git_commit": verification.git_commit,
        "images_processed": verification.images_processed,
        "concurrency": performance.concurrency,
        "avg_latency_s": performance.avg_latency_s,
        "images_per_s": performance.images_per_s,
    }
    for stage in Stage:
        figures = (performance.stages or {}).get(stage)
        outcomes |= {f"{stage}.{name}": getattr(figures, name, None) for name in STAGE_FIGURES}
    return outcomes | (verification.figures or {})


def _figure_bases(entry: Entry) -> dict[str, str | None]:
    """What the figures of one run were measured against, by checksum: only the same ones compare."""
    verification = entry.verification
    vocabulary = verification.vocabulary.sha256 if verification.vocabulary else None
    return {
        "coverage": verification.expectations.sha256 if verification.expectations else None,
        "off_vocabulary": vocabulary,
        "near_vocabulary": vocabulary,
        "keywords_recall": verification.reference.sha256 if verification.reference else None,
    }


def _outcome_differences(a: Entry, b: Entry, *, rated: bool) -> list[OutcomeDifference]:
    """The outcomes that one of the entries has; ``rated`` says that their change means something."""
    outcomes_a, outcomes_b = _outcomes(a), _outcomes(b)
    bases_a, bases_b = _figure_bases(a), _figure_bases(b)
    others = {name for name, basis in bases_a.items() if basis != bases_b[name]}
    values = {name: (outcomes_a.get(name), outcomes_b.get(name)) for name in outcomes_a | outcomes_b}
    return [
        OutcomeDifference(
            name, a_value, b_value, _change(a_value, b_value) if rated and name not in others else None
        )
        for name, (a_value, b_value) in values.items()
        if a_value is not None or b_value is not None
    ]


def _change(a: Any, b: Any) -> float | None:
    return (b - a) / a if isinstance(a, float) and isinstance(b, float) and a > 0 else None
