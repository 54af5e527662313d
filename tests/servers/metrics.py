"""The recorded ``/metrics`` of real servers, counting the requests of a scripted one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.scripted import Ask, Reply, Scripted, seeing

ANSWERS = Path(__file__).parents[1] / "answers"


@dataclass
class Metrics:
    """``/metrics`` as a backend answered it; ``add`` counts on from there."""

    backend: str
    added: dict[str, float] = field(default_factory=dict)
    asked: int = 0

    def add(self, **amounts: float) -> None:
        """Count: ``add(vllm_prompt_tokens_total=300)``; the reason of a request is a part of the name."""
        for name, amount in amounts.items():
            self.added[name] = self.added.get(name, 0) + amount

    def serve(self, server: Scripted) -> None:
        """Let a server have this route."""
        server.routes["/metrics"] = self.reply

    def reply(self) -> Reply:
        self.asked += 1
        lines = (ANSWERS / f"{self.backend}-metrics.txt").read_text("utf-8").splitlines()
        text = "".join(f"{self._counted(line)}\n" for line in lines)
        return Reply(text.encode(), content_type="text/plain; version=1.0.0; charset=utf-8")

    def _counted(self, line: str) -> str:
        name, _, value = line.rpartition(" ")
        short = re.sub(r"\{.*", "", name).replace(":", "_", 1)
        reason = re.search(r'finished_reason="(\w+)"', name)
        amount = self.added.get(f"{short}_{reason[1]}" if reason else short)
        return line if line.startswith("#") or amount is None else f"{name} {float(value) + amount}"


def vllm(server: Scripted) -> Metrics:
    """Let a scripted server count as vLLM does."""
    metrics = Metrics("vllm")
    metrics.serve(server)

    def chat(ask: Ask) -> Reply:
        reply = seeing(ask)
        metrics.add(
            vllm_request_success_total_stop=1,
            vllm_prompt_tokens_total=300,
            vllm_generation_tokens_total=12,
            vllm_prefix_cache_queries_total=300,
            vllm_mm_cache_queries_total=1,
            vllm_request_queue_time_seconds_sum=0.25,
        )
        return reply

    server.chat = chat
    return metrics
