"""Server faults, and what an answer says that is not the one asked for.

Messages are redacted here, before they are cut: a cut could leave half a secret, which nobody would
recognise later.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from pytest_setups.redaction import Redactor

# An error's reason stands at its beginning; a traceback or a page may be megabytes.
_MAX_READ: Final = 20_000


# Ids of requests, numbers of tokens, seconds; the status of an HTTP answer is kept.
_NUMBERS: Final = re.compile(r"(?<!HTTP )\b[0-9a-fA-F-]*\d[0-9a-fA-F.-]*\b")

# A server that dies breaks the connections that are open, and refuses those that follow.
_NO_CONNECTION: Final = re.compile(r"(?:cannot connect to|the connection to) .*", re.DOTALL)


class FaultKind(StrEnum):
    """What kind of fault a server showed."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    STATUS = "status"
    ANSWER = "answer"
    UNFINISHED = "unfinished"
    STOPPED = "stopped"
    """Nothing was asked: the server had stopped answering before."""


class ServerError(Exception):
    """A server fault; the message, without secrets, holds what the server did or answered.

    ``retry_after_s`` is how long the server asked to wait before the request is sent again, and ``waits`` how
    often it had asked that and was asked again.
    """

    def __init__(
        self, kind: FaultKind, message: str, status: int | None = None, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        self.waits = 0


def fault_key(message: str) -> str:
    """What messages of the same fault have in common: all but numbers, and how a connection failed."""
    return _NUMBERS.sub("#", _NO_CONNECTION.sub("no connection", message))


def parse_json(data: bytes, source: str, redactor: Redactor) -> Any:
    """The JSON value in an answer.

    Raises:
        ServerError: it is not JSON; the message names the ``source``.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # RecursionError: brackets nested some thousand deep
        message = f"{source} is not JSON ({len(data)} bytes): {error_text(data, redactor)}"
        raise ServerError(FaultKind.ANSWER, message) from None


def refuse_stated_error(answer: object, redactor: Redactor) -> None:
    """Refuse an answer that states an error, with HTTP 200 and whatever stands beside it.

    Raises:
        ServerError: it does; the message holds the error.
    """
    if not isinstance(answer, dict):
        return
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    # OpenRouter puts the error of one choice into it.
    inner = choice.get("error") if isinstance(choice, dict) else None
    # vLLM before 0.10 and older FastChat: {"object": "error", "message": ...}; FastAPI: {"detail": ...}.
    is_error = answer.get("object") == "error" or answer.get("type") == "error"
    is_bare = "choices" not in answer and (answer.get("detail") or isinstance(answer.get("message"), str))
    if answer.get("error") or inner or is_error or is_bare:
        stated = {"error": answer.get("error") or inner} | {k: answer.get(k) for k in ("message", "detail")}
        text = error_text(json.dumps(stated).encode(), redactor)
        raise ServerError(FaultKind.ANSWER, f"the server answered with an error: {text}")


def error_text(data: bytes, redactor: Redactor) -> str:
    """The error in an answer: ``error.message``, ``error``, ``detail``, a page's title, or its text."""
    text = data[:_MAX_READ].decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _page_title(text, redactor) or one_line(redactor.text(text), 300) or "no text"
    # OpenAI: {"error": {"message": ...}}; older vLLM: {"message": ...}; FastAPI: {"detail": ...}.
    for key in ("error", "message", "detail"):
        while isinstance(value, dict) and value.get(key):
            value = value[key]
    return one_line(redactor.text(value) if isinstance(value, str) else json.dumps(redactor.json(value)), 500)


def _page_title(text: str, redactor: Redactor) -> str | None:
    """An HTML page by its title, as gateways answer; None for any other text."""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
    if title:
        return f"an HTML page titled {one_line(redactor.text(title[1]), 100)!r}"
    return "an HTML page" if re.match(r"\s*<(!doctype|html)", text, re.IGNORECASE) else None
