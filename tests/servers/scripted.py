"""A real HTTP server whose answers a test writes."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers.sight import seen

SUBJECTS = (
    "boat",
    "cat",
    "rocket",
    "mountain",
    "flower",
    "camera",
    "house",
    "moon",
    "river",
    "coffee",
    "star",
)
PLACES = ("a harbour", "a window", "a launch pad", "a valley", "a garden", "a field", "a table", "a dark sky")
LIGHTS = (
    "morning",
    "evening",
    "noon",
    "winter",
    "summer",
    "stormy",
    "foggy",
    "golden",
    "blue",
    "pale",
    "harsh",
)


@dataclass(frozen=True)
class Ask:
    """One chat request as the server got it."""

    body: dict[str, Any]
    headers: dict[str, str]
    number: int

    @property
    def prompt(self) -> str:
        return "".join(part.get("text", "") for part in self._parts)

    @property
    def picture(self) -> bytes | None:
        urls = [part["image_url"]["url"] for part in self._parts if part["type"] == "image_url"]
        return base64.b64decode(urls[0].split(",", 1)[1]) if urls else None

    @property
    def stage(self) -> str:
        lowered = self.prompt.lower()
        if "array named keywords" in lowered:
            return "keywords"
        return "description" if "caption:" in lowered else "caption"

    @property
    def _parts(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = self.body["messages"][-1]["content"]
        return content


@dataclass(frozen=True)
class Reply:
    """One HTTP answer; ``die_after`` cuts the connection after so many bytes of the body."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    die_after: int | None = None


def words(ask: Ask) -> str:
    """What a model that sees would say: words that depend on the picture."""
    digest = hashlib.sha256(repr(seen(ask.picture) if ask.picture else "").encode()).digest()
    subject, place, light = (
        many[byte % len(many)] for many, byte in zip((SUBJECTS, PLACES, LIGHTS), digest, strict=False)
    )
    number = int.from_bytes(digest[3:6])
    if ask.stage == "keywords":
        return json.dumps({"keywords": [subject, place, light, f"frame {number}", "photograph"]})
    caption = f"A {subject} rests near {place} in frame {number}."
    return (
        caption if ask.stage == "caption" else f"{caption} The {light} light falls from the left. It is calm."
    )


def completion(
    text: str | None,
    *,
    prompt_tokens: int | None = 100,
    finish_reason: str | None = "stop",
    **message: object,
) -> Reply:
    """A chat completion with this text."""
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": 12,
        "total_tokens": (prompt_tokens or 0) + 12,
    }
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "finish_reason": finish_reason,
    }
    data = {"object": "chat.completion", "model": "served", "choices": [choice]}
    return as_json(data | ({"usage": usage} if prompt_tokens is not None else {}))


def as_json(data: object, status: int = 200) -> Reply:
    return Reply(json.dumps(data).encode(), status)


def seeing(ask: Ask) -> Reply:
    """A server in good order."""
    return completion(words(ask), prompt_tokens=100 + (200 if ask.picture else 0))


def models(*names: str, owned_by: str = "vllm") -> dict[str, Any]:
    listed = [{"id": name, "object": "model", "owned_by": owned_by, "root": name} for name in names]
    return {"object": "list", "data": listed}


Answer = Reply | Iterable[bytes]


@dataclass
class Scripted:
    """The server and what it got; ``chat`` may be changed while it runs."""

    chat: Callable[[Ask], Answer] = seeing
    routes: dict[str, Reply | Callable[[], Reply]] = field(default_factory=dict)
    asks: list[Ask] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0
    asked: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def hang(self) -> None:
        """Keep a request waiting until the test is over."""
        self.closing.wait()

    def stop_answering(self, *, from_request: int) -> None:
        """Hang at this chat request and every later one, counted from 0."""
        answered = self.chat

        def chat(ask: Ask) -> Answer:
            if ask.number >= from_request:
                self.hang()
            return answered(ask)

        self.chat = chat

    def answer(self, body: bytes, headers: dict[str, str]) -> Answer:
        with self.lock:
            ask = Ask(json.loads(body), headers, len(self.asks))
            self.asks.append(ask)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.asked.set()
        try:
            return self.chat(ask)
        finally:
            with self.lock:
                self.at_once -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    scripted: Scripted

    def do_GET(self) -> None:
        self.scripted.heads.append({key.lower(): value for key, value in self.headers.items()})
        found = self.scripted.routes.get(self.path, Reply(b'{"detail":"Not Found"}', 404))
        self._send(found if isinstance(found, Reply) else found())

    def do_POST(self) -> None:
        self.scripted.connections.add(self.client_address[1])
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path.startswith("/api/"):
            self.do_GET()
            return
        if self.path not in {"/v1/chat/completions", *self.scripted.routes}:
            self._send(Reply(b'{"detail":"Not Found"}', 404))
            return
        answer = self.scripted.answer(body, {key.lower(): value for key, value in self.headers.items()})
        self._send(answer) if isinstance(answer, Reply) else self._stream(answer)

    def log_message(self, *args: object) -> None:
        pass

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("content-type", reply.content_type)
        self.send_header("content-length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body[: reply.die_after])
        self.wfile.flush()
        self.close_connection = self.close_connection or reply.die_after is not None

    def _stream(self, events: Iterable[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


@contextmanager
def serve(**script: Any) -> Iterator[Scripted]:
    """Run a scripted server on a free port; it lists the model ``served`` unless told otherwise."""
    scripted = Scripted(**script)
    scripted.routes.setdefault("/v1/models", as_json(models("served")))
    scripted.routes.setdefault("/version", as_json({"version": "0.32.0"}))
    handler = type("Handler", (_Handler,), {"scripted": scripted})
    server = _Server(("127.0.0.1", scripted.port), handler)
    scripted.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        scripted.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def events(text: str, *, usage: bool = True) -> Iterator[bytes]:
    """A streamed completion, a word an event."""
    for number, word in enumerate(text.split(" ")):
        yield _event({"choices": [{"index": 0, "delta": {"content": f"{' ' if number else ''}{word}"}}]})
    yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage:
        yield _event({"choices": [], "usage": {"prompt_tokens": 300, "completion_tokens": 12}})
    yield b"data: [DONE]\n\n"


def _event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
