"""The client of an OpenAI-compatible server: one connection pool a run, one deadline a request."""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpcore
import httpx

from pytest_setups.api.transport import Transport
from pytest_setups.redaction import one_line, printable, redact, redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
MAX_TEXT: Final = 100_000
_BROKEN: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
)


class FaultKind(StrEnum):
    """What kind of fault a server showed."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    STATUS = "status"
    ANSWER = "answer"


class ServerError(Exception):
    """A server fault; the message says what the server did or said, without secrets."""

    def __init__(self, kind: FaultKind, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    ``started_at`` is seconds since the epoch; the other times are seconds, ``ttft_s`` only when
    streamed; tokens are counted by the server, where it does.
    """

    text: str
    reasoning: str
    finish_reason: str | None
    started_at: float
    latency_s: float
    ttft_s: float | None
    prompt_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON answer to a GET and its headers."""

    data: Any
    headers: Mapping[str, str]


class Client:
    """A client for one server, usable from ``connections`` threads at once.

    Raises:
        ServerError: the environment's proxy cannot be used.
    """

    def __init__(self, *, base_url: str, api_key: str | None, timeout_s: float, connections: int = 1) -> None:
        self.base_url = base_url
        self.timeout_s = timeout_s
        self._api_key = api_key
        url = httpx.URL(base_url)
        try:
            self._transport = Transport(url, connections)
        except (httpcore.UnsupportedProtocol, httpx.InvalidURL) as error:
            message = f"{redact_url(base_url)} cannot be asked: {error}"
            raise ServerError(FaultKind.UNREACHABLE, message) from None
        self._headers = _headers(url, api_key)
        self._chat_url = httpx.URL(f"{base_url}/chat/completions")

    def get(self, path: str, *, timeout_s: float | None = None, root: bool = False) -> Answer:
        """The JSON that a route answers, below the base URL or below the server's root.

        Raises:
            ServerError: no answer in time, a status other than 200, or no JSON.
        """
        url = f"{server_root(self.base_url) if root else self.base_url}{path}"
        request = httpx.Request("GET", url, headers=self._headers)
        data, headers, _ = self._exchange(request, timeout_s or self.timeout_s)
        return Answer(_as_json(data, url), headers)

    def post(self, path: str, body: dict[str, Any], *, timeout_s: float | None = None) -> Answer:
        """The JSON that a route below the server's root answers to a JSON body.

        Raises:
            ServerError: no answer in time, a status other than 200, or no JSON.
        """
        url = f"{server_root(self.base_url)}{path}"
        request = httpx.Request("POST", url, headers=self._headers, json=body)
        data, headers, _ = self._exchange(request, timeout_s or self.timeout_s)
        return Answer(_as_json(data, url), headers)

    def chat(self, body: bytes, *, stream: bool, timeout_s: float | None = None) -> Reply:
        """Ask for one chat completion; ``body`` is the JSON request, already encoded.

        Raises:
            ServerError: no answer in time, a status other than 200, or an answer without choices.
        """
        headers = {**self._headers, "content-type": "application/json"}
        request = httpx.Request("POST", self._chat_url, headers=headers, content=body)
        if stream:
            return self._chat_streamed(request, timeout_s or self.timeout_s)
        data, _, latency_s = self._exchange(request, timeout_s or self.timeout_s)
        return parse_reply(_as_json(data, str(self._chat_url)), latency_s)

    def abort(self) -> None:
        """Make requests of other threads fail at once."""
        self._transport.abort()

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def _exchange(self, request: httpx.Request, timeout_s: float) -> tuple[bytes, httpx.Headers, float]:
        start = time.perf_counter()
        with self._sent(request, timeout_s) as response:
            data = b"".join(_bounded(response))
        latency_s = time.perf_counter() - start
        self._check_status(response, data)
        return data, response.headers, latency_s

    def _chat_streamed(self, request: httpx.Request, timeout_s: float) -> Reply:
        start = time.perf_counter()
        gathered = _Gathered()
        with self._sent(request, timeout_s) as response:
            if response.status_code != httpx.codes.OK:
                self._check_status(response, b"".join(_bounded(response)))
            for event in _events(response):
                if gathered.add(event) and gathered.first_at is None:
                    gathered.first_at = time.perf_counter()
        return gathered.reply(start, time.perf_counter())

    @contextmanager
    def _sent(self, request: httpx.Request, timeout_s: float) -> Iterator[httpx.Response]:
        """The response to a request, to be read within what is left of ``timeout_s``."""
        try:
            with self._transport.deadline(timeout_s):
                response = self._transport.handle_request(request)
                try:
                    yield response
                finally:
                    response.close()
        except _BROKEN as error:
            raise self._fault(error, request, timeout_s) from None

    def _fault(self, error: Exception, request: httpx.Request, timeout_s: float) -> ServerError:
        where = redact_url(str(request.url))
        if isinstance(error, httpcore.TimeoutException):
            return ServerError(FaultKind.TIMEOUT, f"no complete answer from {where} within {timeout_s:g} s")
        if isinstance(error, httpcore.ConnectError):
            return ServerError(FaultKind.UNREACHABLE, f"nobody answers at {where}: {error}")
        said = one_line(redact(str(error), self._api_key)) or type(error).__name__
        return ServerError(FaultKind.UNREACHABLE, f"{where} broke off its answer: {said}")

    def _check_status(self, response: httpx.Response, data: bytes) -> None:
        if response.status_code == httpx.codes.OK:
            return
        where, said = redact_url(str(response.url)), redact(error_text(data), self._api_key)
        if response.is_redirect:
            said = f"it redirects to {redact_url(response.headers.get('location', '?'))}; use that address"
        message = f"HTTP {response.status_code} from {where}: {said}"
        raise ServerError(FaultKind.STATUS, message, response.status_code)


@dataclass(slots=True)
class _Gathered:
    """A streamed answer so far; ``first_at`` is when its first words came."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Any = None
    first_at: float | None = None
    complete: bool = False

    def add(self, event: str) -> bool:
        """Take one event; True when it brought words."""
        if event == "[DONE]":
            self.complete = True
            return False
        chunk = _as_json(event.encode(), "the stream")
        if not isinstance(chunk, dict) or chunk.get("error"):
            message = f"the server broke off the stream: {error_text(event.encode())}"
            raise ServerError(FaultKind.ANSWER, message)
        self.usage = chunk.get("usage") or self.usage
        choice = _first(chunk.get("choices"))
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        text, reasoning = _words(choice.get("delta"))
        self.text += text
        self.reasoning += reasoning
        return bool(text or reasoning)

    def reply(self, start: float, end: float) -> Reply:
        if not self.complete and self.finish_reason is None:
            message = f"the stream ended without a finish reason after {len(self.text)} characters"
            raise ServerError(FaultKind.ANSWER, message)
        return Reply(
            text=printable(self.text, MAX_TEXT),
            reasoning=printable(self.reasoning, MAX_TEXT),
            finish_reason=_text_or_none(self.finish_reason),
            started_at=time.time() - (end - start),
            latency_s=end - start,
            ttft_s=None if self.first_at is None else self.first_at - start,
            prompt_tokens=_tokens(self.usage, "prompt_tokens"),
            output_tokens=_tokens(self.usage, "completion_tokens"),
        )


def _headers(url: httpx.URL, api_key: str | None) -> dict[str, str]:
    headers = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "pytest-setups"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    elif url.userinfo:
        flow = httpx.BasicAuth(url.username, url.password).auth_flow(httpx.Request("GET", url))
        headers["authorization"] = next(flow).headers["authorization"]
    return headers


def server_root(base_url: str) -> str:
    """The server's root: the base URL without its ``/v1``."""
    return re.sub(r"/v\d+$", "", base_url)


def parse_reply(data: Any, latency_s: float) -> Reply:
    """The reply in the JSON of a chat completion.

    Raises:
        ServerError: the JSON holds no choice with a message.
    """
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(_first(choices).get("message"), dict):
        message = f"the answer holds no choices: {one_line(json.dumps(data), 200)}"
        raise ServerError(FaultKind.ANSWER, message)
    choice = _first(choices)
    text, reasoning = _words(choice["message"])
    return Reply(
        text=printable(text, MAX_TEXT),
        reasoning=printable(reasoning, MAX_TEXT),
        finish_reason=_text_or_none(choice.get("finish_reason")),
        started_at=time.time() - latency_s,
        latency_s=latency_s,
        ttft_s=None,
        prompt_tokens=_tokens(data.get("usage"), "prompt_tokens"),
        output_tokens=_tokens(data.get("usage"), "completion_tokens"),
    )


def error_text(data: bytes) -> str:
    """What an error answer says: ``error.message``, ``error``, ``detail``, a page's title, or its text."""
    text = data[:20_000].decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        if title or re.match(r"\s*<(!doctype|html)", text, re.IGNORECASE):
            return f"an HTML page{f' titled {one_line(title[1], 100)!r}' if title else ''}"
        return one_line(text, 300) or "no text"
    for key in ("error", "message", "detail"):
        while isinstance(said, dict) and said.get(key):
            said = said[key]
    return one_line(said if isinstance(said, str) else json.dumps(said), 500)


def _events(response: httpx.Response) -> Iterator[str]:
    """The data of each server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    rest = b""
    for chunk in _bounded(response):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from _data(lines)
    yield from _data([rest])


def _data(lines: list[bytes]) -> Iterator[str]:
    for line in lines:
        if line.startswith(b"data:"):
            yield line[5:].strip().decode("utf-8", "replace")


def _bounded(response: httpx.Response) -> Iterator[bytes]:
    total = 0
    for chunk in response.iter_raw():
        total += len(chunk)
        if total > MAX_ANSWER_BYTES:
            where = redact_url(str(response.url))
            message = f"{where} answered more than {MAX_ANSWER_BYTES >> 20} MiB: not read further"
            raise ServerError(FaultKind.ANSWER, message)
        yield chunk


def _as_json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        address = redact_url(where) if urlsplit(where).scheme else where
        message = f"{address} answered no JSON but {len(data)} bytes: {error_text(data)}"
        raise ServerError(FaultKind.ANSWER, message) from None


def _first(choices: object) -> dict[str, Any]:
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return {}


def _words(message: object) -> tuple[str, str]:
    if not isinstance(message, dict):
        return "", ""
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return _text(message.get("content")), _text(reasoning)


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _text_or_none(value: object) -> str | None:
    return one_line(value, 60) if isinstance(value, str) else None


def _tokens(usage: object, key: str) -> int | None:
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
