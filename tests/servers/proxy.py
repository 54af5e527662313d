"""A proxy that stands before a real server and makes its answers slower."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

import httpx


@dataclass
class Proxy:
    """``slowdown`` is the share of an answer's own time that is added to it."""

    url: str
    slowdown: float = 0.0


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """Stand before the server with this base URL."""
    before = Proxy("")
    with httpx.Client(timeout=60, base_url=upstream.removesuffix("/v1")) as client:
        handler = type("Handler", (_Handler,), {"proxy": before, "client": client})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        before.url = f"http://127.0.0.1:{server.server_address[1]}{urlsplit(upstream).path}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield before
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    proxy: ClassVar[Proxy]
    client: ClassVar[httpx.Client]

    def do_GET(self) -> None:
        self._answer(self.client.get(self.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        start = time.perf_counter()
        answer = self.client.post(self.path, content=body, headers={"content-type": "application/json"})
        time.sleep(self.proxy.slowdown * (time.perf_counter() - start))
        self._answer(answer)

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, answer: httpx.Response) -> None:
        self.send_response(answer.status_code)
        self.send_header("content-type", answer.headers.get("content-type", ""))
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)
        self.wfile.flush()
