"""What the server counted during a run, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.registry.load_records import ServerCountersRecord
    from pytest_setups.run.result import RunResult

TIMES: Final = (("queue_s", "queued"), ("prefill_s", "prefill"), ("decode_s", "decode"))
_OF_OTHERS: Final = " from other clients during the run, which may have made it slower"


def lines(result: RunResult) -> Iterator[str]:
    """The lines of a terminal; none where the server shows no counters."""
    yield from (f"server: {line}" for line in sentences(result.performance.server_counters))


def sentences(counters: ServerCountersRecord | None) -> Iterator[str]:
    """The figures: requests and their times, then caches and memory; none where there are no figures."""
    if counters is None:
        return
    parts = (_requests(counters), "; ".join(_caches(counters)))
    yield from filter(None, parts)


def doubts(counters: ServerCountersRecord | None) -> Iterator[str]:
    """What makes times say less of the setup: a warm cache, requests from other clients, a restart."""
    if counters is None:
        return
    if counters.restarted:
        yield f"the server's counters are not used: {one_line(counters.reason or '', 300)}"
    if counters.pictures_cached:
        known = f"{counters.pictures_cached} of {counters.pictures} pictures"
        yield f"{known} were in the server's cache before this run: its times are those of a warm cache"
    if counters.requests_of_others:
        requests = (
            "1 request" if counters.requests_of_others == 1 else f"{counters.requests_of_others} requests"
        )
        yield f"the server finished {requests}{_OF_OTHERS}"
    elif counters.requests_of_others is None and counters.prompt_tokens_of_others:
        tokens = f"{counters.prompt_tokens_of_others:,} prompt tokens"
        yield f"the server worked on {tokens}{_OF_OTHERS}"


def _requests(counters: ServerCountersRecord) -> str:
    counts = {reason: count for reason, count in (counters.finished or {}).items() if count}
    finished = sum(counts.values())
    seconds = {label: getattr(counters, field) for field, label in TIMES}
    known = {label: value for label, value in seconds.items() if value is not None}
    if not finished:
        times = ", ".join(f"{label} {value:.3f} s" for label, value in known.items())
        return f"{times}, all requests together" if times else ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    times = ", ".join(f"{label} {value / finished:.3f} s" for label, value in known.items())
    return f"{finished} requests finished ({reasons}){f'; each on average: {times}' if times else ''}"


def _caches(counters: ServerCountersRecord) -> Iterator[str]:
    if counters.prefix_cache_queries and counters.prefix_cache_hits is not None:
        share = counters.prefix_cache_hits / counters.prefix_cache_queries
        yield f"{share:.0%} of {counters.prefix_cache_queries:,} prompt tokens out of the prefix cache"
    if counters.multimodal_cache_queries and counters.multimodal_cache_hits is not None:
        share = counters.multimodal_cache_hits / counters.multimodal_cache_queries
        yield f"{share:.0%} of {counters.multimodal_cache_queries:,} pictures out of the multimodal cache"
    if counters.kv_cache_max is not None:
        yield f"at most {counters.kv_cache_max:.0%} of the KV cache in use"
    if counters.preemptions:
        yield f"{counters.preemptions} preemption{'' if counters.preemptions == 1 else 's'}"
