"""The client of an OpenAI-compatible server: one connection pool a run, one deadline a request."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

from pytest_setups.api.errors import FaultKind, ServerError, error_text, parse_json
from pytest_setups.api.reply import parse_reply
from pytest_setups.api.streaming import StreamedReply, event_data
from pytest_setups.api.transport import Transport, proxy_url
from pytest_setups.redaction import Redactor, one_line, redact_url, url_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_setups.api.reply import Reply

# A caption has some hundred bytes; a server that sends more than this is broken or hostile.
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
_CONNECTION_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON value and the headers of an answer."""

    data: Any
    headers: Mapping[str, str]


class Client:
    """A client for one server, usable from ``connections`` threads at once.

    ``redactor`` hides the API key and the passwords that this client sends, wherever the server's
    words are shown: servers and proxies echo them in errors.

    Raises:
        ServerError: the environment's proxy cannot be used.
    """

    def __init__(self, *, base_url: str, api_key: str | None, timeout_s: float, connections: int = 1) -> None:
        self.base_url = base_url
        self.timeout_s = timeout_s
        url = httpx.URL(base_url)
        self._headers = _headers(url, api_key)
        secrets = (api_key or "", *url_secrets(base_url), *url_secrets(proxy_url(url) or ""))
        self.redactor = Redactor(tuple(filter(None, secrets)))
        try:
            self._transport = Transport(url, connections)
        except (httpcore.UnsupportedProtocol, httpx.InvalidURL) as error:
            message = f"cannot connect to {redact_url(base_url)}: {self.redactor.text(str(error))}"
            raise ServerError(FaultKind.UNREACHABLE, message) from None
        self._chat_url = httpx.URL(f"{base_url}/chat/completions")

    def get(self, path: str, *, timeout_s: float | None = None, root: bool = False) -> Answer:
        """The JSON that a route answers, below the base URL or below the server's root.

        Raises:
            ServerError: no answer in time, a status other than 200, or not JSON.
        """
        url = f"{server_root(self.base_url) if root else self.base_url}{path}"
        return self._exchange_json(httpx.Request("GET", url, headers=self._headers), timeout_s)[0]

    def post(self, path: str, body: dict[str, Any], *, timeout_s: float | None = None) -> Answer:
        """The JSON that a route below the server's root answers to a JSON body.

        Raises:
            ServerError: no answer in time, a status other than 200, or not JSON.
        """
        url = f"{server_root(self.base_url)}{path}"
        return self._exchange_json(httpx.Request("POST", url, headers=self._headers, json=body), timeout_s)[0]

    def chat(self, body: bytes, *, stream: bool, timeout_s: float | None = None) -> Reply:
        """Ask for one chat completion; ``body`` is the JSON request, already encoded.

        Raises:
            ServerError: no answer in time, a status other than 200, or an answer without choices.
        """
        headers = {**self._headers, "content-type": "application/json"}
        request = httpx.Request("POST", self._chat_url, headers=headers, content=body)
        if stream:
            return self._stream_chat(request, timeout_s or self.timeout_s)
        answer, latency_s = self._exchange_json(request, timeout_s)
        return parse_reply(answer.data, latency_s, self.redactor)

    def abort(self) -> None:
        """Make requests of other threads fail at once."""
        self._transport.abort()

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def _exchange_json(self, request: httpx.Request, timeout_s: float | None) -> tuple[Answer, float]:
        """The JSON answer to a request, and the seconds from sending it to the last byte of the answer."""
        # The clock runs around the request only, not while a picture is encoded or an answer parsed.
        start = time.perf_counter()
        with self._send(request, timeout_s or self.timeout_s) as response:
            data = b"".join(_bounded(response))  # of an error too: its body says what is wrong
        latency_s = time.perf_counter() - start
        self._check_status(response, data)
        source = f"the answer of {_shown(request.url)}"
        return Answer(parse_json(data, source, self.redactor), response.headers), latency_s

    def _stream_chat(self, request: httpx.Request, timeout_s: float) -> Reply:
        start = time.perf_counter()
        streamed = StreamedReply(self.redactor)
        with self._send(request, timeout_s) as response:
            if response.status_code != httpx.codes.OK:
                self._check_status(response, b"".join(_bounded(response)))
            # StreamedReply notes when the first words come: the time to first token.
            for data in event_data(_bounded(response)):
                streamed.add(data)
        return streamed.reply(start, time.perf_counter())

    @contextmanager
    def _send(self, request: httpx.Request, timeout_s: float) -> Iterator[httpx.Response]:
        """The response to a request, to be read within what is left of ``timeout_s``."""
        try:
            with self._transport.deadline(timeout_s):
                response = self._transport.handle_request(request)
                try:
                    yield response
                finally:
                    response.close()
        except _CONNECTION_ERRORS as error:
            raise self._connection_fault(error, request, timeout_s) from None

    def _connection_fault(self, error: Exception, request: httpx.Request, timeout_s: float) -> ServerError:
        url = _shown(request.url)
        if isinstance(error, httpcore.TimeoutException):
            return ServerError(FaultKind.TIMEOUT, f"no complete answer from {url} within {timeout_s:g} s")
        reason = one_line(self.redactor.text(str(error))) or type(error).__name__
        if isinstance(error, httpcore.ConnectError):
            return ServerError(FaultKind.UNREACHABLE, f"cannot connect to {url}: {reason}")
        return ServerError(FaultKind.UNREACHABLE, f"the connection to {url} failed: {reason}")

    def _check_status(self, response: httpx.Response, data: bytes) -> None:
        if response.status_code == httpx.codes.OK:
            return
        reason = error_text(data, self.redactor)
        if response.is_redirect:
            # Not followed: the key would be sent to an address that the user did not name.
            location = self.redactor.url(response.headers.get("location", "?"))
            reason = f"it redirects to {one_line(location)}; use that address"
        message = f"HTTP {response.status_code} from {_shown(response.url)}: {reason}"
        raise ServerError(FaultKind.STATUS, message, response.status_code)


def server_root(base_url: str) -> str:
    """The server's root: the base URL without its ``/v1``."""
    return re.sub(r"/v\d+$", "", base_url)


def _headers(url: httpx.URL, api_key: str | None) -> dict[str, str]:
    # identity: a compressed stream comes in blocks, which would delay its first words.
    headers = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "pytest-setups"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    elif url.userinfo:
        flow = httpx.BasicAuth(url.username, url.password).auth_flow(httpx.Request("GET", url))
        headers["authorization"] = next(flow).headers["authorization"]
    return headers


def _shown(url: httpx.URL) -> str:
    """The URL for a person: without user and password."""
    return redact_url(str(url.copy_with(userinfo=b"")))


def _bounded(response: httpx.Response) -> Iterator[bytes]:
    total = 0
    for chunk in response.iter_raw():
        total += len(chunk)
        if total > MAX_ANSWER_BYTES:
            url = _shown(response.url)
            message = f"{url} answered more than {MAX_ANSWER_BYTES >> 20} MiB; the rest was not read"
            raise ServerError(FaultKind.ANSWER, message)
        yield chunk
