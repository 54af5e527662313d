"""The reply of a chat completion: one JSON document, or put together from a stream of events."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.api.errors import FaultKind, ServerError, error_text, parse_json
from pytest_setups.redaction import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_setups.redaction import Redactor

# A model that repeats itself without end writes some ten thousand characters within its token limit.
MAX_TEXT: Final = 100_000
# The bound of an entry's counts. No model has more; a server that says so counts wrongly.
MAX_TOKENS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    ``started_at`` is seconds since the epoch; the other times are seconds, ``ttft_s`` only when
    streamed; tokens are as the server counts them, None where it does not.
    """

    text: str
    reasoning: str
    finish_reason: str | None
    started_at: float
    latency_s: float
    ttft_s: float | None
    prompt_tokens: int | None
    output_tokens: int | None


def parse_reply(data: Any, latency_s: float, redactor: Redactor) -> Reply:
    """The reply in the JSON of a chat completion.

    Raises:
        ServerError: the JSON has no choice with a message.
    """
    choice = _first_choice(data.get("choices")) if isinstance(data, dict) else {}
    if not isinstance(choice.get("message"), dict):
        message = f"the answer has no choices: {one_line(json.dumps(redactor.json(data)), 200)}"
        raise ServerError(FaultKind.ANSWER, message)
    words = _text_and_reasoning(choice["message"])
    return _reply(words, choice.get("finish_reason"), data.get("usage"), latency_s)


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
        choice = _first_choice(chunk.get("choices"))
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        text, reasoning = _text_and_reasoning(choice.get("delta"))
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
        return _reply(words, self.finish_reason, self.usage, end - start, ttft_s)


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


def _reply(
    words: tuple[str, str],
    finish_reason: object,
    usage: object,
    latency_s: float,
    ttft_s: float | None = None,
) -> Reply:
    text, reasoning = words
    return Reply(
        text=printable(text, MAX_TEXT),
        reasoning=printable(reasoning, MAX_TEXT),
        finish_reason=one_line(finish_reason, 60) if isinstance(finish_reason, str) else None,
        started_at=time.time() - latency_s,
        latency_s=latency_s,
        ttft_s=ttft_s,
        prompt_tokens=_tokens(usage, "prompt_tokens"),
        output_tokens=_tokens(usage, "completion_tokens"),
    )


def _first_choice(choices: object) -> dict[str, Any]:
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return {}


def _text_and_reasoning(message: object) -> tuple[str, str]:
    if not isinstance(message, dict):
        return "", ""
    # vLLM renamed reasoning_content to reasoning; llama.cpp and SGLang keep the former.
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return _text(message.get("content")), _text(reasoning)


def _text(content: object) -> str:
    if isinstance(content, list):  # content in parts: [{"type": "text", "text": ...}]
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _tokens(usage: object, key: str) -> int | None:
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None
