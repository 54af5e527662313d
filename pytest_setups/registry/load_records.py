"""What a run measures beside its answers, as an entry keeps it.

A figure that could not be measured is None, and the reason stands beside it: never a zero.
"""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field

from pytest_setups.registry.entry_fields import Amount, Change, Count, EntryPart, FreeText, Name
from pytest_setups.registry.field_redaction import TextKind

JOULES_OF_KWH: Final = 3_600_000


class ClientDelayRecord(EntryPart):
    """This client's own part in the latencies that it measured.

    ``mean_s`` is how late, on average, the process that asked ran when it was due, and ``share`` that of the
    mean time to first token, or of the mean latency where answers are not streamed. Where it is ``limited``,
    the latencies are not the server's.
    """

    mean_s: Amount
    share: Amount
    limited: bool


class CapacityLevel(EntryPart):
    """One number of images at once: how many were tagged, and their figures while the load was steady.

    Of ``images``, ``failures`` had no answer in one of their stages, and ``unpopulated`` one that a check of
    outputs refuses. ``margin`` is how far the true throughput may be from the measured one, as a share of it,
    on either side with a confidence of about 97 %. ``client_limited`` says whether this package and not the
    server was the limit, where that is known. ``reason`` is that of the first failure.
    """

    at_once: Count
    images: Count
    failures: Count
    unpopulated: Count | None = None
    images_per_s: Amount | None = None
    margin: Amount | None = None
    p50_s: Amount | None = None
    p95_s: Amount | None = None
    client_limited: bool | None = None
    reason: FreeText = None


class CapacityRecord(EntryPart):
    """How many images a second the server tags at each number of images at once.

    ``given`` are the numbers at once that were to be measured, None where they were searched for.
    ``knee`` is the least number at once whose throughput is within 5 % of the greatest, and ``images_per_s``
    the throughput there. ``slo_level`` is the largest number at once that keeps the service level ``slo``;
    where ``slo_at_least``, no larger number was measured, and a larger one may keep it too. ``recommended``
    is the smaller of knee and ``slo_level``. At that, a ``library`` of so many photographs takes ``hours``;
    with a confidence of about 97 % each not fewer than ``hours_low`` and not more than ``hours_high``.
    """

    levels: list[CapacityLevel] | None = None
    given: list[Count] | None = None
    knee: Count | None = None
    images_per_s: Amount | None = None
    slo: FreeText = None
    slo_level: Count | None = None
    slo_at_least: bool | None = None
    recommended: Count | None = None
    library: Count | None = None
    hours: Amount | None = None
    hours_low: Amount | None = None
    hours_high: Amount | None = None
    reason: FreeText = None


class ServerCountersRecord(EntryPart):
    """What the server counted while the run was measured: differences of its own counters.

    ``reason`` says why there are no figures at all, ``missing`` why one of them is None. ``restarted``
    says that the server was started again between the two readings. ``span_s`` is the
    seconds between the two readings. ``finished`` is the number of requests that ended, by the server's
    reasons; ``own_requests`` those of this run, and ``requests_of_others`` what is left,
    at least; ``prompt_tokens_of_others`` is the same in tokens of their prompts. Tokens of the prefix
    cache are tokens of prompts; the multimodal cache counts pictures. ``queue_s``, ``prefill_s`` and
    ``decode_s`` are the seconds of all requests together. ``kv_cache_max`` is the highest share in use in
    ``readings`` during the span. ``pictures`` is the number of different pictures that were sent, and
    ``pictures_cached`` how many of them the server knew before this run asked about them. ``configuration``
    is what the server says of its caches.
    """

    reason: FreeText = None
    restarted: bool | None = None
    missing: Annotated[dict[str, str] | None, TextKind.JSON] = None
    span_s: Amount | None = None
    finished: dict[Name, Count] | None = None
    own_requests: Count | None = None
    requests_of_others: Count | None = None
    prompt_tokens_of_others: Count | None = None
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None
    prefix_cache_queries: Count | None = None
    prefix_cache_hits: Count | None = None
    multimodal_cache_queries: Count | None = None
    multimodal_cache_hits: Count | None = None
    pictures: Count | None = None
    pictures_cached: Count | None = None
    preemptions: Count | None = None
    queue_s: Amount | None = None
    prefill_s: Amount | None = None
    decode_s: Amount | None = None
    kv_cache_max: Annotated[float, Field(ge=0, le=1)] | None = None
    readings: Count | None = None
    configuration: Annotated[dict[str, str] | None, TextKind.JSON] = None


class EnergySourceRecord(EntryPart):
    """What the GPUs or the processors drew: ``reason`` is why that is not known.

    ``devices`` are those that were measured, or could not be.
    """

    joules: Amount | None = None
    mean_watts: Amount | None = None
    devices: list[str] | None = None
    reason: FreeText = None


class EnergyRecord(EntryPart):
    """What the server's machine drew in the measured span, idle power included.

    ``joules`` and ``mean_watts`` are of the measured sources together; they are None where a GPU could not be
    measured. ``joules_per_image`` is the energy of the span divided by ``images``, the pictures that were
    measured in it. ``peak_gpu_memory_mib`` is of all processes, ``peak_server_gpu_memory_mib`` of the
    server's. ``price_kwh`` and ``cost_per_1000_images`` are in the user's currency. ``remarks`` say what else
    is included.
    """

    span_s: Amount | None = None
    images: Count | None = None
    joules: Amount | None = None
    mean_watts: Amount | None = None
    joules_per_image: Amount | None = None
    gpu: EnergySourceRecord | None = None
    cpu: EnergySourceRecord | None = None
    peak_gpu_memory_mib: Amount | None = None
    peak_server_gpu_memory_mib: Amount | None = None
    memory_reason: FreeText = None
    price_kwh: Amount | None = None
    cost_per_1000_images: Amount | None = None
    remarks: list[str] | None = None
    reason: FreeText = None

    def of_images(self, images: int) -> Self:
        """The record with what one of these images took; none of them where the energy is not known."""
        if self.joules is None or not images:
            return self.model_copy(update={"images": images})
        each = self.joules / images
        cost = None if self.price_kwh is None else each * 1000 / JOULES_OF_KWH * self.price_kwh
        figures = {
            "images": images,
            "joules_per_image": round(each, 3),
            "cost_per_1000_images": None if cost is None else round(cost, 6),
        }
        return self.model_copy(update=figures)


class SoakMemoryRecord(EntryPart):
    """What the processes of the server held, without memory of GPUs and pages of files.

    ``mib_per_image`` is the rise from one image to the next, which is in the interval from ``low`` to
    ``high`` with the soak's ``confidence``. ``is_leak`` says whether a rise is proved that matters and
    lasts. ``cache`` is a cache of the server that fills meanwhile, ``cache_mib`` what it may take,
    ``cache_off`` the setting without it.
    """

    start_mib: Amount
    end_mib: Amount
    mib_per_image: Change | None = None
    low: Change | None = None
    high: Change | None = None
    is_leak: bool | None = None
    cache: FreeText = None
    cache_off: FreeText = None
    cache_mib: Amount | None = None


class SoakLatencyRecord(EntryPart):
    """Seconds of an image, its three answers together: the medians of the first and of the last quarter.

    ``share_per_image`` is the rise from one image to the next, as a share; ``is_rising`` says whether a
    rise is proved that matters and lasts.
    """

    start_s: Amount
    end_s: Amount
    share_per_image: Change | None = None
    low: Change | None = None
    high: Change | None = None
    is_rising: bool | None = None


class SoakSeries(EntryPart):
    """The soak over time: at most some 200 points, each with the medians of the images before it.

    ``image`` is the number of images that had been tagged, ``seconds`` how long that had taken.
    """

    image: list[Count]
    seconds: list[Amount]
    memory_mib: list[Amount | None]
    latency_s: list[Amount | None]


class SoakRecord(EntryPart):
    """How the server's memory and latency changed while it tagged pictures for a long time, each a new one.

    ``reason`` says why the soak ended early. ``left_out`` of the ``images`` came first and are not in the
    slopes. ``checks`` has the number of outputs that each check refused, and ``first_failure`` the first of
    them. The reasons of memory and latency say why they have no slope.
    """

    reason: FreeText = None
    duration_s: Amount | None = None
    images: Count | None = None
    failed_images: Count | None = None
    checks: dict[Name, Count] | None = None
    first_failure: FreeText = None
    left_out: Count | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    memory: SoakMemoryRecord | None = None
    memory_reason: FreeText = None
    latency: SoakLatencyRecord | None = None
    latency_reason: FreeText = None
    series: SoakSeries | None = None
