"""A server whose every answer takes a known time: ``timed_server PORT MEAN_SECONDS constant|exponential``.

``GET /log`` says when each request of a photo arrived and when its answer was written. Photos are told from
the small pictures of the vision proof by their size; only these are looked at.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import zlib
from typing import Final

SMALLEST_PHOTO: Final = 60_000
SUBJECTS: Final = ("boat", "cat", "rocket", "mountain", "flower", "camera", "house", "moon", "river", "star")
HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


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
    """The server, and its log of photos: seconds at which each arrived and was answered."""

    def __init__(self, mean_s: float, *, exponential: bool) -> None:
        from tests.servers.scripted import models

        self.log: list[tuple[float, float]] = []
        self._listed = json.dumps(models("served")).encode()
        self._mean_s = mean_s
        self._exponential = exponential
        self._chance = random.Random(1)

    async def answer(self, line: bytes, body: bytes, arrived: float) -> bytes | None:
        """The answer to a request whose head arrived then, as soon as it is due."""
        if line.startswith(b"GET"):
            if b"/log" in line:
                return json.dumps(self.log).encode()
            return self._listed if b"/models" in line else None
        if len(body) < SMALLEST_PHOTO:
            return completion(self._small(body))
        due = arrived + (self._chance.expovariate(1 / self._mean_s) if self._exponential else self._mean_s)
        data = completion(photo_words(body))
        await asyncio.sleep(due - time.perf_counter())
        self.log.append((arrived, time.perf_counter()))
        return data

    def _small(self, body: bytes) -> str:
        from tests.servers.scripted import Ask, words

        return words(Ask(json.loads(body), {}, 0))


async def main(port: int, mean_s: float, times: str) -> None:
    """Serve until killed."""
    server = Server(mean_s, exponential=times == "exponential")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            arrived = time.perf_counter()
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
            data = await server.answer(head.partition(b"\r\n")[0], body, arrived)
            writer.write(NOT_FOUND if data is None else HEAD % len(data) + data)
            await writer.drain()

    listening = await asyncio.start_server(talk, "127.0.0.1", port, limit=1 << 22)
    print("ready", flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
