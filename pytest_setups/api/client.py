"""The client of an OpenAI-compatible server: one connection pool a run, one deadline a request."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

from pytest_setups.api.circuit_breaker import CircuitBreaker, probe_body
from pytest_setups.api.client_delay import DelayWatch
from pytest_setups.api.errors import FaultKind, ServerError, error_text, parse_json
from pytest_setups.api.finish_reasons import is_natural, require_end
from pytest_setups.api.proxies import ServerProxy
from pytest_setups.api.reply import parse_reply
from pytest_setups.api.request_log import RequestLog
from pytest_setups.api.retry_after import retry_after_s
from pytest_setups.api.streaming import StreamedReply
from pytest_setups.api.transport import Transport
from pytest_setups.redaction import Redactor, one_line, redact_url, url_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_setups.api.reply import Reply

# A caption has some hundred bytes; a server that sends more than this is broken or hostile.
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
# After [DONE] a server closes the body in the same moment, or leaves the connection open for good.
DRAIN_S: Final = 0.1
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

    ``log`` holds when its chat requests ended. ``redactor`` hides the API key and the passwords that this
    client sends, wherever the server's words are shown: servers and proxies echo them in errors.

    Raises:
        ServerError: the environment's proxy cannot be used.
    """

    def __init__(self, *, base_url: str, api_key: str | None, timeout_s: float, connections: int = 1) -> None:
        self.base_url = base_url
        self.timeout_s = timeout_s
        self.log = RequestLog()
        url = httpx.URL(base_url)
        self._headers = _headers(url, api_key)
        proxy = ServerProxy.of(url)
        secrets = (api_key or "", *url_secrets(base_url), *url_secrets(proxy.url if proxy else ""))
        self.redactor = Redactor(tuple(filter(None, secrets)))
        self._proxy = proxy
        self._via = f", through {proxy}," if proxy else ""
        self._aborted = threading.Event()
        self._breaker = CircuitBreaker()
        self._delays = DelayWatch()
        # For answers in one piece and for streams: whether the server gave any of them a natural reason.
        self._gives_reasons = {False: False, True: False}
        try:
            self._transport = Transport(url, connections, proxy)
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

    def get_text(self, path: str, *, timeout_s: float, max_bytes: int) -> str:
        """The text that a route below the server's root answers; bytes that are not UTF-8 are replaced.

        Raises:
            ServerError: no answer in time, a status other than 200, or more than ``max_bytes``.
        """
        url = f"{server_root(self.base_url)}{path}"
        with self._send(httpx.Request("GET", url, headers=self._headers), timeout_s) as response:
            data = b"".join(_bounded(response, max_bytes))
        self._check_status(response, data)
        return data.decode(errors="replace")

    def chat(
        self, body: bytes, *, stream: bool, timeout_s: float | None = None, may_wait: bool = True
    ) -> Reply:
        """Ask for one chat completion; ``body`` is the JSON request, already encoded.

        A busy server that says when to ask again (429 or 503 with ``Retry-After``) is asked again then,
        within the deadline of the request. Nothing else is repeated. Where ``may_wait`` is false, the request
        only finds out whether the server is ready: it is not repeated, and ``trip`` does not depend on it.

        Raises:
            ServerError: no answer in time, a status other than 200, an error in place of an answer, or an
                answer that did not end; or the server had stopped answering before (``trip``).
        """
        request = self._chat_request(body)
        seconds = timeout_s or self.timeout_s
        if may_wait:
            self.check()
        try:
            reply = self._chat_when_free(request, seconds, stream=stream, may_wait=may_wait)
        except ServerError as error:
            if may_wait:
                self._count(error, body, seconds)
            raise
        self._breaker.answered()
        return reply

    def trip(self, reason: str) -> None:
        """Make requests under way and every later one fail at once, with this reason.

        This happens without a call as soon as three requests in a row got no answer (a missed deadline, a
        refused or broken connection) and a small chat request after them, with the same deadline, got none
        either. Any answer, also an error, begins the count anew. Another process that finds the server gone
        passes its reason on with this method.
        """
        self._breaker.open(reason)
        self.abort()

    def check(self) -> None:
        """Check that the server is still asked, before any work for a request.

        Raises:
            ServerError: it had stopped answering (``trip``).
        """
        if (fault := self._breaker.fault) is not None:
            raise fault

    @property
    def given_up(self) -> str | None:
        """Why the server is not asked any more (``trip``), None while it is."""
        fault = self._breaker.fault
        return None if fault is None else str(fault)

    def abort(self) -> None:
        """Make requests of other threads fail at once."""
        self._aborted.set()
        self._transport.abort()

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def _exchange_json(self, request: httpx.Request, timeout_s: float | None) -> tuple[Answer, float]:
        """The JSON answer to a request, and the seconds from sending it to the last byte of the answer."""
        with self._send(request, timeout_s or self.timeout_s) as response:
            data = b"".join(_bounded(response))  # of an error too: its body says what is wrong
            # From the first byte sent to the last one that arrived: no encoding, no queueing, no parsing.
            latency_s = self._transport.arrived_at - self._transport.sent_at
        self._check_status(response, data)
        source = f"the answer of {_shown(request.url)}"
        return Answer(parse_json(data, source, self.redactor), response.headers), latency_s

    def _chat_request(self, body: bytes) -> httpx.Request:
        headers = {**self._headers, "content-type": "application/json"}
        return httpx.Request("POST", self._chat_url, headers=headers, content=body)

    def _chat_once(self, request: httpx.Request, timeout_s: float, *, stream: bool) -> Reply:
        with self._delays.during_request() as delay:
            if stream:
                reply = self._stream_chat(request, timeout_s)
            else:
                answer, latency_s = self._exchange_json(request, timeout_s)
                reply = parse_reply(answer.data, latency_s, self.redactor)
        started_at = time.time() - (time.perf_counter() - self._transport.sent_at)
        reply = replace(reply, started_at=started_at, client_delay_s=delay.mean_s)
        try:
            require_end(reply.text, reply.finish_reason, others_have_reasons=self._gives_reasons[stream])
        except ServerError as error:
            # It quotes the answer, in which a server may echo what it was sent.
            raise ServerError(error.kind, self.redactor.text(str(error))) from None
        if is_natural(reply.finish_reason):
            self._gives_reasons[stream] = True
        return reply

    def _chat_when_free(
        self, request: httpx.Request, seconds: float, *, stream: bool, may_wait: bool
    ) -> Reply:
        """The reply, waiting as often and as long as the server asks."""
        deadline, left_s, waits = time.perf_counter() + seconds, seconds, 0
        while True:
            try:
                reply = self._chat_once(request, left_s, stream=stream)
            except ServerError as error:
                self.log.unanswered.append(time.time())
                error.waits = waits
                if error.retry_after_s is None or not may_wait:
                    raise
                self._breaker.answered()
                self._wait(error, deadline - time.perf_counter())
                left_s = deadline - time.perf_counter()
                waits += 1
            else:
                self.log.answered.append((time.time(), reply.prompt_tokens))
                return replace(reply, waits=waits)

    def _count(self, error: ServerError, body: bytes, timeout_s: float) -> None:
        """Count a request that failed, and give the server up where a probe says so."""
        if self._aborted.is_set():
            return

        def probe() -> None:
            request = self._chat_request(probe_body(body))
            self._chat_when_free(request, timeout_s, stream=False, may_wait=False)

        if self._breaker.failed(error, probe):
            self.abort()

    def _wait(self, error: ServerError, left_s: float) -> None:
        """Wait as long as the server asked.

        Raises:
            ServerError: the deadline comes first, or the client is aborted.
        """
        asked_s = error.retry_after_s or 0.0
        if asked_s >= left_s:
            message = (
                f"{error}; it asks to try again in {asked_s:g} s, and {max(left_s, 0):.3g} s of the "
                "request's time are left (--setup-timeout)"
            )
            late = ServerError(error.kind, message, error.status)
            late.waits = error.waits
            raise late from None
        if self._aborted.wait(asked_s):
            raise self._breaker.fault or ServerError(FaultKind.UNREACHABLE, "aborted") from None

    def _stream_chat(self, request: httpx.Request, timeout_s: float) -> Reply:
        streamed = StreamedReply(self.redactor, lambda: self._transport.arrived_at)
        with self._send(request, timeout_s) as response:
            chunks = _bounded(response)
            if response.status_code != httpx.codes.OK:
                self._check_status(response, b"".join(chunks))
            # StreamedReply notes when the first words come: the time to first token.
            streamed.read(chunks)
            start, end = self._transport.sent_at, self._transport.arrived_at
            if streamed.done:
                self._drain(chunks)
        return streamed.reply(start, end)

    def _drain(self, chunks: Iterator[bytes]) -> None:
        """Read the end of a body, without which the connection could not be used again."""
        with suppress(ServerError, *_CONNECTION_ERRORS), self._transport.deadline(DRAIN_S):
            for _ in chunks:
                pass

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
        if (fault := self._breaker.fault) is not None:
            return fault  # cut, not failed by itself
        url = _shown(request.url)
        if isinstance(error, httpcore.TimeoutException):
            message = f"no complete answer from {url}{self._via} within {round(timeout_s, 3):g} s"
            return ServerError(FaultKind.TIMEOUT, message)
        reason = one_line(self.redactor.text(str(error))) or type(error).__name__
        # A client that has a proxy connects to nothing else.
        if self._proxy is not None and isinstance(error, (httpcore.ConnectError, httpcore.ProxyError)):
            message = (
                f"cannot connect to {self._proxy}, on the way to {url}: {reason}; to connect directly, add "
                f"{self._proxy.host} to NO_PROXY"
            )
            return ServerError(FaultKind.UNREACHABLE, message)
        if isinstance(error, httpcore.ConnectError):
            return ServerError(FaultKind.UNREACHABLE, f"cannot connect to {url}: {reason}")
        return ServerError(FaultKind.UNREACHABLE, f"the connection to {url}{self._via} failed: {reason}")

    def _check_status(self, response: httpx.Response, data: bytes) -> None:
        if response.status_code == httpx.codes.OK:
            return
        reason = error_text(data, self.redactor)
        if response.is_redirect:
            # Not followed: the key would be sent to an address that the user did not name.
            location = self.redactor.url(response.headers.get("location", "?"))
            reason = f"it redirects to {one_line(location)}; use that address"
        message = f"HTTP {response.status_code} from {_shown(response.url)}{self._via}: {reason}"
        wait_s = retry_after_s(response.status_code, response.headers)
        raise ServerError(FaultKind.STATUS, message, response.status_code, retry_after_s=wait_s)


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


def _bounded(response: httpx.Response, max_bytes: int = MAX_ANSWER_BYTES) -> Iterator[bytes]:
    total = 0
    for chunk in response.iter_raw():
        total += len(chunk)
        if total > max_bytes:
            url = _shown(response.url)
            message = f"{url} answered more than {max_bytes >> 20} MiB; the rest was not read"
            raise ServerError(FaultKind.ANSWER, message)
        yield chunk
