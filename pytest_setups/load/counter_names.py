"""What each backend calls its counters, as a table: a new backend is a row.

The names are those of ``Reading``: with ``_`` for the colon, which SGLang gave up in 0.5.4, and with
``_total`` at the end of every counter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Names = tuple[str, ...]
"""What one counter is called in different versions, the newest first."""


@dataclass(frozen=True, slots=True)
class CounterNames:
    """The counters of one backend.

    Attributes:
        backend: its name.
        prefix: what all its metrics begin with.
        sums: by the field of the record, the counters that make it up, added together.
        finished: by the reason, the counter of requests that ended for it.
        finished_label: the label that names the reason, where one counter has them all.
        kv_cache: the gauge of the share of the KV cache in use.
        configuration: the gauge whose labels are settings.
        switch: how the server is started with these metrics, empty where it always has them.
    """

    backend: str
    prefix: str
    sums: Mapping[str, tuple[Names, ...]]
    finished: Mapping[str, Names] = field(default_factory=dict)
    finished_label: str = ""
    kv_cache: Names = ()
    configuration: str = ""
    switch: str = ""


UNFINISHED: Final = frozenset({"abort", "aborted"})
"""The reasons of requests whose client had left."""

COUNTER_NAMES: Final = (
    # https://docs.vllm.ai/en/latest/usage/metrics.html; recorded from vLLM 0.32. The older names are those of
    # its first engine.
    CounterNames(
        "vllm",
        prefix="vllm_",
        sums={
            "prompt_tokens": (("vllm_prompt_tokens_total",),),
            "output_tokens": (("vllm_generation_tokens_total",),),
            "prefix_cache_queries": (
                ("vllm_prefix_cache_queries_total", "vllm_gpu_prefix_cache_queries_total"),
            ),
            "prefix_cache_hits": (("vllm_prefix_cache_hits_total", "vllm_gpu_prefix_cache_hits_total"),),
            "multimodal_cache_queries": (("vllm_mm_cache_queries_total",),),
            "multimodal_cache_hits": (("vllm_mm_cache_hits_total",),),
            "preemptions": (("vllm_num_preemptions_total",),),
            "queue_s": (("vllm_request_queue_time_seconds_sum",),),
            "prefill_s": (("vllm_request_prefill_time_seconds_sum",),),
            "decode_s": (("vllm_request_decode_time_seconds_sum",),),
        },
        finished={"": ("vllm_request_success_total",)},
        finished_label="finished_reason",
        kv_cache=("vllm_kv_cache_usage_perc", "vllm_gpu_cache_usage_perc"),
        configuration="vllm_cache_config_info",
        switch="without --disable-log-stats",
    ),
    # https://docs.sglang.io/references/production_metrics.html and
    # python/sglang/srt/observability/metrics_collector.py: prompt tokens include the cached ones, and
    # num_retractions is a histogram, of requests.
    CounterNames(
        "sglang",
        prefix="sglang_",
        sums={
            "prompt_tokens": (("sglang_prompt_tokens_total",),),
            "output_tokens": (("sglang_generation_tokens_total",),),
            "prefix_cache_queries": (("sglang_prompt_tokens_total",),),
            "prefix_cache_hits": (("sglang_cached_tokens_total",),),
            "preemptions": (("sglang_num_retractions_sum",),),
            "queue_s": (("sglang_queue_time_seconds_sum",),),
        },
        finished={
            "finished": ("sglang_num_requests_total",),
            "aborted": ("sglang_num_aborted_requests_total",),
        },
        kv_cache=("sglang_token_usage",),
        switch="with --enable-metrics",
    ),
    # tools/server/server-context.cpp; recorded from build 10434. It counts no requests; the tokens of prompts
    # are without the cached ones.
    CounterNames(
        "llama.cpp",
        prefix="llamacpp_",
        sums={
            "prompt_tokens": (
                ("llamacpp_prompt_tokens_total",),
                ("llamacpp_prompt_tokens_cached_total",),
            ),
            "output_tokens": (("llamacpp_tokens_predicted_total",),),
            "prefix_cache_queries": (
                ("llamacpp_prompt_tokens_total",),
                ("llamacpp_prompt_tokens_cached_total",),
            ),
            "prefix_cache_hits": (("llamacpp_prompt_tokens_cached_total",),),
            "prefill_s": (("llamacpp_prompt_seconds_total",),),
            "decode_s": (("llamacpp_tokens_predicted_seconds_total",),),
        },
        kv_cache=("llamacpp_kv_cache_usage_ratio",),
        switch="with --metrics",
    ),
    # https://huggingface.co/docs/text-generation-inference/reference/metrics; its times of prefill and decode
    # are those of batches, which do not add up to times of requests.
    CounterNames(
        "tgi",
        prefix="tgi_",
        sums={
            "prompt_tokens": (("tgi_request_input_length_sum",),),
            "output_tokens": (("tgi_request_generated_tokens_sum",),),
            "queue_s": (("tgi_request_queue_duration_sum",),),
        },
        finished={"success": ("tgi_request_success_total",), "failure": ("tgi_request_failure_total",)},
    ),
)


def names_of(backend: str) -> CounterNames | None:
    """The row of a backend, None where it publishes no counters that are known."""
    return next((names for names in COUNTER_NAMES if names.backend == backend), None)
