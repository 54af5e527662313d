"""The ``/metrics`` of a scripted server: what a real one answered, counting on from there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.scripted import Ask, Reply, Scripted, seeing

ANSWERS = Path(__file__).parents[1] / "answers"
CACHED = 250
"""Tokens of each prompt: the picture."""


@dataclass
class Metrics:
    """A text of metrics, and what is added to their values since.

    Metrics are named with ``_`` for the colon; one with a reason has it at the end of its name.
    """

    text: str
    added: dict[str, float] = field(default_factory=dict)
    asked: int = 0

    @classmethod
    def recorded(cls, backend: str) -> Metrics:
        return cls((ANSWERS / f"{backend}-metrics.txt").read_text("utf-8"))

    def add(self, **amounts: float) -> None:
        for name, amount in amounts.items():
            self.added[name] = self.added.get(name, 0) + amount

    def reply(self) -> Reply:
        self.asked += 1
        text = "".join(f"{self._counted(line)}\n" for line in self.text.splitlines())
        return Reply(text.encode(), content_type="text/plain; version=1.0.0; charset=utf-8")

    def _counted(self, line: str) -> str:
        name, _, value = line.rpartition(" ")
        short = re.sub(r"\{.*", "", name).replace(":", "_", 1)
        reason = re.search(r'finished_reason="(\w+)"', name)
        amount = self.added.get(f"{short}_{reason[1]}" if reason else short)
        return line if line.startswith("#") or amount is None else f"{name} {float(value) + amount}"


@dataclass
class Vllm:
    """Lets a scripted server count and cache as vLLM does: a picture that it was sent before costs less."""

    server: Scripted
    metrics: Metrics = field(default_factory=lambda: Metrics.recorded("vllm"))
    known: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.server.routes["/metrics"] = self.metrics.reply
        self.server.chat = self.chat

    def chat(self, ask: Ask) -> Reply:
        picture = ask.picture
        hit = picture is not None and picture in self.known
        with self.server.lock:
            self.metrics.add(
                vllm_request_success_total_stop=1,
                vllm_prompt_tokens_total=300 if picture else 100,
                vllm_generation_tokens_total=12,
                vllm_prefix_cache_queries_total=300 if picture else 100,
                vllm_prefix_cache_hits_total=CACHED if hit else 0,
                vllm_mm_cache_queries_total=picture is not None,
                vllm_mm_cache_hits_total=hit,
                vllm_request_queue_time_seconds_sum=0.25,
                vllm_request_decode_time_seconds_sum=0.5,
            )
        if picture is not None:
            self.known.add(picture)
        return seeing(ask)
