"""A server that answers at once: ``instant_server PORT DELAY_SECONDS [seeing]``.

It answers the same each time, or with ``seeing`` what each picture is like, as a whole run needs it: every
tenth description ends with a word of its own, so that two runs differ.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = json.dumps(
    {
        "choices": [
            {
                "message": {"role": "assistant", "content": '{"keywords": ["boat", "river", "hills"]}'},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 12},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
CHANGED_SHARE: Final = 0.1
WORDS: Final = ("evening", "morning", "midday", "autumn", "winter")


def same(_: bytes, __: bytes) -> bytes:
    """The same answer each time."""
    return ANSWER


def seeing() -> Callable[[bytes, bytes], bytes | None]:
    """A function that answers a request, given its first line and its body, by what the picture shows.

    What it returns is None where nothing is there.
    """
    from tests.servers.scripted import Ask, as_json, models, words

    listed = as_json(models("served")).body
    chance = random.Random()

    def answer(line: bytes, body: bytes) -> bytes | None:
        if line.startswith(b"GET"):
            return listed if b"/models" in line else None
        ask = Ask(json.loads(body), {}, 0)
        text = words(ask)
        if ask.stage == "description" and chance.random() < CHANGED_SHARE:
            text = f"{text} It is {chance.choice(WORDS)}."
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 300 if ask.picture else 40, "completion_tokens": 12}
        return json.dumps({"choices": [choice], "usage": usage}).encode()

    return answer


async def main(port: int, delay_s: float, answer: Callable[[bytes, bytes], bytes | None]) -> None:
    """Serve until killed."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
            if delay_s:
                await asyncio.sleep(delay_s)
            data = answer(head.partition(b"\r\n")[0], body)
            writer.write(NOT_FOUND if data is None else HEAD % len(data) + data)
            await writer.drain()

    server = await asyncio.start_server(talk, "127.0.0.1", port, limit=1 << 22)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), seeing() if sys.argv[3:] == ["seeing"] else same))
