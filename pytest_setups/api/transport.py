"""An httpx transport with one deadline for a whole request, which can be aborted from another thread.

The transport of httpx limits each read and each write; a server that sends one byte a second passes every
such limit, and vLLM was seen to hang that way (vllm#17972). Only asyncio could cancel a request from
outside, and the rest of a run is synchronous. Connections, TLS and HTTP itself are httpcore's.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import httpcore
import httpx

from pytest_setups.api.arrival import ArrivalReader

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from pytest_setups.api.proxies import ServerProxy


class _Request(threading.local):
    """The request that this thread is making.

    When it must have ended, whether it had to connect, when its first byte was written, and when what was
    read last arrived, the times in ``time.perf_counter()``.
    """

    deadline: float = float("inf")
    connected: bool = False
    sent_at: float | None = None
    arrived_at: float = 0.0


class _Clock:
    """The time that is left to each thread's request; none once aborted."""

    def __init__(self) -> None:
        self.request = _Request()
        self.aborted = False

    def left(self) -> float | None:
        if self.aborted:
            raise httpcore.NetworkError("aborted")
        remaining = self.request.deadline - time.perf_counter()
        if remaining <= 0:
            raise httpcore.ReadTimeout
        return None if remaining == float("inf") else remaining


class _Stream(httpcore.NetworkStream):
    """A connection whose every read and write may take what is left of the request's time."""

    def __init__(self, inner: httpcore.NetworkStream, backend: _Backend) -> None:
        self._inner = inner
        self._backend = backend
        self._arrivals = ArrivalReader.of(inner)
        backend.streams.add(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        clock = self._backend.clock
        if self._arrivals is None:
            data = self._inner.read(max_bytes, clock.left())
            clock.request.arrived_at = time.perf_counter()
        else:
            data, arrived_at = self._arrivals.read(max_bytes, clock.left())
            # The kernel's clock is that of the wall, which may be set while an answer is under way.
            clock.request.arrived_at = max(arrived_at, clock.request.sent_at or 0.0)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        request = self._backend.clock.request
        if request.sent_at is None:
            request.sent_at = time.perf_counter()
        unsliced = memoryview(buffer)  # the inner stream slices what is left: a copy each time if bytes
        self._inner.write(unsliced, self._backend.clock.left())  # type: ignore[arg-type]

    def close(self) -> None:
        self._backend.streams.discard(self)
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        self._backend.streams.discard(self)
        inner = self._inner.start_tls(ssl_context, server_hostname, self._backend.clock.left())
        # What was written so far asked a proxy for a tunnel: the request itself is yet to be sent.
        self._backend.clock.request.sent_at = None
        return _Stream(inner, self._backend)

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)

    def shut_down(self) -> None:
        connection = self._inner.get_extra_info("socket")
        if isinstance(connection, socket.socket):
            # shutdown, not close: it wakes a thread that waits in recv, and the thread then closes.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Backend(httpcore.NetworkBackend):
    """Opens the connections, and knows those that are open."""

    def __init__(self) -> None:
        self.clock = _Clock()
        self.streams: set[_Stream] = set()
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        self.clock.request.connected = True
        stream = self._inner.connect_tcp(host, port, self.clock.left(), local_address, socket_options)
        return _Stream(stream, self)


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class Transport(httpx.BaseTransport):
    """Connections to one server, through a proxy where there is one."""

    def __init__(self, url: httpx.URL, connections: int, proxy: ServerProxy | None) -> None:
        self._backend = _Backend()
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context() if url.scheme == "https" else None,
            proxy=proxy.connection() if proxy else None,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=4.0,  # uvicorn, below vLLM and SGLang, closes idle connections after 5 s
            network_backend=self._backend,
        )

    @contextlib.contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Let every request of this thread end within ``seconds``, or raise httpcore.TimeoutException."""
        self._backend.clock.request.deadline = time.perf_counter() + seconds
        try:
            yield
        finally:
            self._backend.clock.request.deadline = float("inf")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; once more when the connection it was sent on had been closed by the server.

        Servers close a connection after some time or some number of requests (llama.cpp: 100); a
        request sent at that very moment was not read (RFC 9112, 9.3.1).
        """
        url = request.url
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            response = self._exchange(sent)
        except (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError):
            if self._backend.clock.request.connected:
                raise
            response = self._exchange(sent)
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
            request=request,
        )

    @property
    def sent_at(self) -> float:
        """The ``time.perf_counter()`` at which the first byte of this thread's last request was written.

        Later than the call: threads wait for each other in the connection pool, and a connection may have
        to be opened first. Neither is the server's time.
        """
        sent_at = self._backend.clock.request.sent_at
        return time.perf_counter() if sent_at is None else sent_at

    @property
    def arrived_at(self) -> float:
        """The ``time.perf_counter()`` at which what this thread read last arrived."""
        return self._backend.clock.request.arrived_at

    def abort(self) -> None:
        """Cut every connection and make no new one, so that requests of other threads fail at once."""
        self._backend.clock.aborted = True
        for stream in tuple(self._backend.streams):
            stream.shut_down()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _exchange(self, request: httpcore.Request) -> httpcore.Response:
        state = self._backend.clock.request
        state.connected, state.sent_at = False, None
        return self._pool.handle_request(request)
