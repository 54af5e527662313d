"""Streamed replies: server-sent events put together, and the time to first token (TTFT)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_setups.api.errors import FaultKind, ServerError, error_text, parse_json
from pytest_setups.api.reply import first_choice, make_reply, text_and_reasoning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_setups.api.reply import Reply
    from pytest_setups.redaction import Redactor


@dataclass(slots=True)
class StreamedReply:
    """A streamed reply so far; ``first_at`` is the ``time.perf_counter()`` of its first words."""

    redactor: Redactor
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Any = None
    first_at: float | None = None
    complete: bool = False

    def add(self, event: str) -> None:
        """Take the data of one event.

        Raises:
            ServerError: it is an error, or not JSON.
        """
        if event == "[DONE]":
            self.complete = True
            return
        chunk = parse_json(event.encode(), "an event of the stream", self.redactor)
        if not isinstance(chunk, dict) or chunk.get("error"):
            error = error_text(event.encode(), self.redactor)
            raise ServerError(FaultKind.ANSWER, f"the server ended the stream with an error: {error}")
        # Usage comes with the last event (stream_options.include_usage), some servers send it with each.
        self.usage = chunk.get("usage") or self.usage
        choice = first_choice(chunk.get("choices"))
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        text, reasoning = text_and_reasoning(choice.get("delta"))
        self.text.append(text)
        self.reasoning.append(reasoning)
        # The first event of most servers holds only the role: the first words count.
        if self.first_at is None and (text or reasoning):
            self.first_at = time.perf_counter()

    def reply(self, start: float, end: float) -> Reply:
        """The reply of a request that took from ``start`` to ``end``, in ``time.perf_counter()``.

        Raises:
            ServerError: the stream ended too early.
        """
        text = "".join(self.text)
        if not self.complete and self.finish_reason is None:
            message = f"the stream ended without a finish reason after {len(text)} characters"
            raise ServerError(FaultKind.ANSWER, message)
        ttft_s = None if self.first_at is None else self.first_at - start
        words = text, "".join(self.reasoning)
        return make_reply(words, self.finish_reason, self.usage, end - start, ttft_s)


def event_data(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    rest = b""
    for chunk in chunks:  # which may end anywhere, within a character too
        *lines, rest = (rest + chunk).split(b"\n")
        yield from _data(lines)
    yield from _data([rest])


def _data(lines: list[bytes]) -> Iterator[str]:
    for line in lines:
        # Others are comments that keep the connection alive (": ping"), names and numbers of events.
        if line.startswith(b"data:"):
            yield line[5:].strip().decode("utf-8", "replace")
