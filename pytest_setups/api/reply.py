"""The reply of a chat completion: its text, reasoning, times and token counts."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.api import finish_reasons
from pytest_setups.api.errors import FaultKind, ServerError, refuse_stated_error
from pytest_setups.redaction import one_line, printable

if TYPE_CHECKING:
    from pytest_setups.redaction import Redactor

# A model that repeats itself without end writes some ten thousand characters within its token limit.
MAX_TEXT: Final = 100_000
# The bound of an entry's counts. No model has more; a server that says so counts wrongly.
MAX_TOKENS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    ``started_at`` is seconds since the epoch; the other times are seconds, ``ttft_s`` only when
    streamed; tokens are as the server counts them, None where it does not. ``waits`` is how often the
    request was sent again, after as long as the server asked to wait; times are those of the last attempt.
    ``client_delay_s`` is how late, on average, the client ran meanwhile, None where that was not seen.
    ``cached_tokens`` are those of the prompt that came out of the server's cache.
    """

    text: str
    reasoning: str
    finish_reason: str | None
    started_at: float
    latency_s: float
    ttft_s: float | None
    prompt_tokens: int | None
    output_tokens: int | None
    waits: int = 0
    client_delay_s: float | None = None
    cached_tokens: int | None = None


def parse_reply(data: Any, latency_s: float, redactor: Redactor) -> Reply:
    """The reply in the JSON of a chat completion.

    Raises:
        ServerError: the JSON states an error, or has no choice with a message.
    """
    refuse_stated_error(data, redactor)
    choice = first_choice(data.get("choices")) if isinstance(data, dict) else {}
    if not isinstance(choice.get("message"), dict):
        message = f"the answer has no choices: {one_line(json.dumps(redactor.json(data)), 200)}"
        raise ServerError(FaultKind.ANSWER, message)
    words = text_and_reasoning(choice["message"])
    return make_reply(words, choice.get("finish_reason"), data.get("usage"), latency_s)


def make_reply(
    words: tuple[str, str],
    finish_reason: object,
    usage: object,
    latency_s: float,
    ttft_s: float | None = None,
) -> Reply:
    """The reply made of its parts; lengths and counts are bounded."""
    text, reasoning = words
    # Servers that do not count say 0: every prompt has tokens, and so has every text.
    prompt_tokens, output_tokens = _tokens(usage, "prompt_tokens"), _tokens(usage, "completion_tokens")
    return Reply(
        text=printable(text, MAX_TEXT),
        reasoning=printable(reasoning, MAX_TEXT),
        finish_reason=finish_reasons.canonical(finish_reason),
        started_at=time.time() - latency_s,
        latency_s=latency_s,
        ttft_s=ttft_s,
        prompt_tokens=prompt_tokens or None,
        output_tokens=None if output_tokens == 0 and (text or reasoning) else output_tokens,
        cached_tokens=_tokens(_details(usage), "cached_tokens"),
    )


def first_choice(choices: object) -> dict[str, Any]:
    """The first choice of an answer, empty where there is none."""
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return {}


def text_and_reasoning(message: object) -> tuple[str, str]:
    """The text and the reasoning of a message or of a piece of one."""
    if not isinstance(message, dict):
        return "", ""
    # vLLM renamed reasoning_content to reasoning; llama.cpp and SGLang keep the former.
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return _text(message.get("content")), _text(reasoning)


def _text(content: object) -> str:
    if isinstance(content, list):  # content in parts: [{"type": "text", "text": ...}]
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _details(usage: object) -> object:
    # llama.cpp always has them, vLLM with --enable-prompt-tokens-details, SGLang with --enable-cache-report.
    return usage.get("prompt_tokens_details") if isinstance(usage, dict) else None


def _tokens(usage: object, key: str) -> int | None:
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None
