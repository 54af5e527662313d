"""A server whose every answer takes a known time: ``timed_server PORT MEAN_SECONDS constant|exponential``.

``GET /log`` says when the first byte of each request of a photo arrived, by the kernel's clock, and when its
answer was written: seconds since the epoch. What a client reports beyond that is its own. A
request is for a photo if it is large; the small pictures of the vision proof are decoded.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import threading
import time
import zlib
from typing import Final

SMALLEST_PHOTO: Final = 60_000
SUBJECTS: Final = ("boat", "cat", "rocket", "mountain", "flower", "camera", "house", "moon", "river", "star")
HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
SO_TIMESTAMPNS: Final = 35
TIMESPEC: Final = struct.Struct("@ll")
PIECE: Final = 1 << 20


def photo_words(body: bytes) -> str:
    """Words that differ from photo to photo, and cost next to nothing."""
    before, _, after = body.rpartition(b";base64,")
    number = zlib.crc32(after)
    subject = SUBJECTS[number % len(SUBJECTS)]
    if b"array named keywords" in before.lower():
        return json.dumps({"keywords": [subject, f"frame {number}", "window", "morning", "photograph"]})
    caption = f"A {subject} rests near a window in frame {number}."
    return (
        f"{caption} The light falls from the left. It is calm." if b"caption:" in before.lower() else caption
    )


def completion(text: str) -> bytes:
    """A chat completion."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 300, "completion_tokens": 12}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


class Server:
    """The server, and its log of photos: when each began to arrive and was answered."""

    def __init__(self, mean_s: float, *, exponential: bool) -> None:
        from tests.servers.scripted import models

        self.log: list[tuple[float, float]] = []
        self._listed = json.dumps(models("served")).encode()
        self._mean_s = mean_s
        self._exponential = exponential
        self._chance = random.Random(1)

    def talk(self, connection: socket.socket) -> None:
        """Answer the requests of a connection until it is closed."""
        connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (received := _request(connection)) is not None:
            data = self._answer(*received)
            connection.sendall(NOT_FOUND if data is None else HEAD % len(data) + data)

    def _answer(self, head: bytes, body: bytes, arrived: float) -> bytes | None:
        line = head.partition(b"\r\n")[0]
        if line.startswith(b"GET"):
            if b"/log" in line:
                return json.dumps(self.log).encode()
            return self._listed if b"/models" in line else None
        if len(body) < SMALLEST_PHOTO:
            return completion(_small(body))
        due = arrived + (self._chance.expovariate(1 / self._mean_s) if self._exponential else self._mean_s)
        data = completion(photo_words(body))
        time.sleep(max(due - time.time(), 0.0))
        self.log.append((arrived, time.time()))
        return data


def _request(connection: socket.socket) -> tuple[bytes, bytes, float] | None:
    """The head and body of the next request, and when it began to arrive; None once the connection ends."""
    arrived, data = _receive(connection)
    while data and b"\r\n\r\n" not in data:
        data += _receive(connection)[1]
    head, _, start = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = (int(lengths[0].split(b":")[1]) if lengths else 0) - len(start)
    pieces = [start]
    while left > 0:
        pieces.append(_receive(connection)[1])
        left -= len(pieces[-1])
    return (head, b"".join(pieces), arrived) if data else None


def _receive(connection: socket.socket) -> tuple[float, bytes]:
    try:
        data, ancillary, _, _ = connection.recvmsg(PIECE, socket.CMSG_SPACE(TIMESPEC.size))
    except ConnectionError:
        return 0.0, b""
    for _, kind, value in ancillary:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = TIMESPEC.unpack_from(value)
            return seconds + nanoseconds / 1e9, data
    return time.time(), data


def _small(body: bytes) -> str:
    from tests.servers.scripted import Ask, words

    return words(Ask(json.loads(body), {}, 0))


def main(port: int, mean_s: float, times: str) -> None:
    """Serve until killed."""
    server = Server(mean_s, exponential=times == "exponential")
    listening = socket.create_server(("127.0.0.1", port), backlog=256)
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=server.talk, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
