"""Why an answer ended: which finish reasons mean that it is whole.

OpenAI names five; servers and gateways have more. A reason that says the generation failed is a fault of the
server, whatever text came with it (vllm#57082: an aborted generation ends with ``abort``, HTTP 200 and
``[DONE]``). Truncation and content filters are left to the checks, under one name each.

Without a reason, the text must show that it ended. Honest servers that give none: vllm-mlx#628,
llama-cpp-python#735 and sglang#4550 for streamed answers that end well. Others give none when they broke off:
Ollama when it cancels a generation (ollama#17836), LMDeploy when it aborts one (xtuner#1755), watsonx by its
documentation. Two things distinguish them: an answer that broke off mostly stops in the middle of a sentence
or of JSON; and the server gives a reason with its other answers.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from pytest_setups.api.errors import FaultKind, ServerError
from pytest_setups.redaction import one_line

LENGTH: Final = "length"
CONTENT_FILTER: Final = "content_filter"
# By server: OpenAI and most others; Together; TGI; TGI and Anthropic; Anthropic behind gateways
# (litellm#12481); Cohere.
_NATURAL: Final = frozenset({"stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete"})
_SYNONYMS: Final = {
    "max_tokens": LENGTH,  # Anthropic, Gemini
    "model_length": LENGTH,  # Mistral
    "model_context_window_exceeded": LENGTH,  # Anthropic
    "safety": CONTENT_FILTER,  # Gemini, as the next three
    "recitation": CONTENT_FILTER,
    "blocklist": CONTENT_FILTER,
    "prohibited_content": CONTENT_FILTER,
    "refusal": CONTENT_FILTER,  # Anthropic
    "sensitive": CONTENT_FILTER,  # Zhipu
}
# From vLLM and SGLang (abort, error), TensorRT-LLM, OpenRouter, Together, watsonx, Zhipu and DeepSeek.
_FAILED: Final = frozenset(
    {
        "error",
        "abort",
        "aborted",
        "cancelled",
        "canceled",
        "timeout",
        "time_limit",
        "failed",
        "network_error",
        "insufficient_system_resource",
    }
)
_TOOLS: Final = frozenset({"tool_calls", "function_call", "tool_use"})
# Of punctuation, what announces that more follows.
_OPEN_ENDS: Final = frozenset(",;:，；：、،؛・·&/@#\\")


def canonical(finish_reason: object) -> str | None:
    """The reason on one line, under the one name that checks look for; None where there is none."""
    # Ollama gave an empty one with each piece of a stream (ollama#4357).
    if not isinstance(finish_reason, str) or not finish_reason.strip():
        return None
    key = _key(finish_reason)
    return _SYNONYMS.get(key, LENGTH if key == LENGTH else one_line(finish_reason, 60))


def is_natural(finish_reason: str | None) -> bool:
    """Whether the reason says that the model ended its answer."""
    return finish_reason is not None and _key(finish_reason) in _NATURAL


def require_end(text: str, finish_reason: str | None, *, others_have_reasons: bool = False) -> None:
    """Refuse an answer that did not end.

    Args:
        text: the answer.
        finish_reason: the reason that came with it.
        others_have_reasons: whether the server gave natural reasons with other answers of this kind.

    Raises:
        ServerError: the generation failed, called a tool, or broke off.
    """
    reason, key = finish_reason, _key(finish_reason or "")
    if key in _NATURAL or key in {LENGTH, CONTENT_FILTER}:
        return
    if key in _TOOLS:
        raise _unfinished(f"the model called a tool in place of an answer: finish reason {reason!r}")
    if key in _FAILED:
        raise _unfinished(f"the server ended the answer with finish reason {reason!r}{_after(text)}")
    given = f"finish reason {reason!r}" if reason else "no finish reason"
    if not is_whole(text):
        raise _unfinished(f"the answer broke off: {given}{_after(text)}")
    if reason is None and others_have_reasons:
        raise _unfinished(f"the answer broke off: {given}, which other answers have{_after(text)}")


def is_whole(text: str) -> bool:
    """Whether the text ends as sentences and JSON end: with punctuation or a symbol, every bracket closed."""
    text = text.strip().rstrip("\ufe0f")  # the mark after an emoji that says it is shown in colour
    if not text or text.count("```") % 2 or any(text.count(a) > text.count(b) for a, b in ("{}", "[]")):
        return False
    # Po . ! ? 。 and the like, Pe and Pf closing brackets and quotes, So and Sk emoji and their colours.
    return unicodedata.category(text[-1]) in {"Po", "Pe", "Pf", "So", "Sk"} and text[-1] not in _OPEN_ENDS


def _key(finish_reason: str) -> str:
    return finish_reason.strip().casefold().replace("-", "_")


def _after(text: str) -> str:
    if not text.strip():
        return ", without text"
    end = one_line(text[-80:], 60)
    return f", after {len(text)} characters that end {end!r}"


def _unfinished(message: str) -> ServerError:
    return ServerError(FaultKind.UNFINISHED, message)
