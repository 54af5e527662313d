"""Streamed replies: server-sent events put together, and the time to first token (TTFT)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.api import finish_reasons
from pytest_setups.api.errors import FaultKind, ServerError, error_text, parse_json, refuse_stated_error
from pytest_setups.api.event_stream import DONE, ERROR, Event, read_events, split_start
from pytest_setups.api.reply import first_choice, make_reply, parse_reply, text_and_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_setups.api.reply import Reply
    from pytest_setups.redaction import Redactor

# How the body of a JSON answer or of a page begins: no field of an event does.
_UNSTREAMED: Final = (b"{", b"[", b"<")


@dataclass(slots=True)
class StreamedReply:
    """A streamed reply so far; ``first_at`` is the ``time.perf_counter()`` at which its first words arrived.

    ``arrived_at`` is the time at which what was read last arrived.
    """

    redactor: Redactor
    arrived_at: Callable[[], float]
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Any = None
    first_at: float | None = None
    done: bool = False
    body: bytes | None = None

    def read(self, chunks: Iterator[bytes]) -> None:
        """Take the bytes of a stream, up to ``[DONE]`` or to their end.

        Raises:
            ServerError: an event is an error, or not JSON.
        """
        start, read = split_start(chunks)
        if start in _UNSTREAMED:
            # A server that does not know `stream` gives its whole answer at once; others an error or a page.
            self.body = b"".join(chain(read, chunks))
            return
        for event in read_events(chain(read, chunks)):
            self._add(event)

    def reply(self, start: float, end: float) -> Reply:
        """The reply of a request that took from ``start`` to ``end``, in ``time.perf_counter()``.

        Raises:
            ServerError: the stream ended too early.
        """
        if self.body is not None:
            answer = parse_json(self.body, "the answer to a streamed request", self.redactor)
            return parse_reply(answer, end - start, self.redactor)
        text = "".join(self.text)
        # Some servers send no [DONE]; a finish reason ends the answer too.
        if not self.done and self.finish_reason is None:
            message = f"the stream ended without a finish reason after {len(text)} characters"
            raise ServerError(FaultKind.UNFINISHED, message)
        ttft_s = None if self.first_at is None else self.first_at - start
        words = text, "".join(self.reasoning)
        return make_reply(words, self.finish_reason, self.usage, end - start, ttft_s)

    def _add(self, event: Event) -> None:
        if event.name == ERROR:
            error = error_text(event.data.encode(), self.redactor)
            raise ServerError(FaultKind.ANSWER, f"the server ended the stream with an error: {error}")
        self.done = event.data == DONE
        if self.done or not event.data.strip():  # empty data keeps a connection alive
            return
        for piece in _pieces(event.data):
            self._add_chunk(parse_json(piece.encode(), "an event of the stream", self.redactor))

    def _add_chunk(self, chunk: object) -> None:
        refuse_stated_error(chunk, self.redactor)
        if not isinstance(chunk, dict):
            shown = error_text(json.dumps(chunk).encode(), self.redactor)
            raise ServerError(FaultKind.ANSWER, f"an event of the stream is not a JSON object: {shown}")
        # Usage comes with the last event (stream_options.include_usage), some servers send it with each.
        self.usage = chunk.get("usage") or self.usage
        choice = first_choice(chunk.get("choices"))
        self.finish_reason = finish_reasons.canonical(choice.get("finish_reason")) or self.finish_reason
        text, reasoning = text_and_reasoning(choice.get("delta"))
        self.text.append(text)
        self.reasoning.append(reasoning)
        # The first event of most servers holds only the role: the first words count.
        if self.first_at is None and (text or reasoning):
            self.first_at = self.arrived_at()


def _pieces(data: str) -> list[str]:
    """The JSON values in an event: one, except from servers that leave out the empty lines between events."""
    lines = data.split("\n")
    if len(lines) == 1:
        return lines
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return [line for line in lines if line.strip()]
    return [data]
