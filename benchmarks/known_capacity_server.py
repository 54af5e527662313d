"""A server of a capacity that is known exactly: ``known_capacity_server PORT SECONDS PLACES [uneven]``.

It works on as many answers at once as it has places, each for so many seconds; the others wait their turn.
With ``uneven`` these are the mean of exponentially distributed times.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Final

ANSWERS: Final = {
    b"/v1/chat/completions": {
        "object": "chat.completion",
        "model": "served",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": '{"keywords": ["boat", "river", "hills", "sky"]}',
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 12, "total_tokens": 312},
    },
    b"/v1/models": {"object": "list", "data": [{"id": "served", "object": "model", "owned_by": "benchmark"}]},
}
BODIES: Final = {path: json.dumps(answer).encode() for path, answer in ANSWERS.items()}


async def main(port: int, seconds: float, places: int, *, uneven: bool) -> None:
    """Serve until killed."""
    room, chance = asyncio.Semaphore(places), random.Random(1)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
            path = head.split(b" ", 2)[1]
            if path.endswith(b"completions"):
                async with room:
                    await asyncio.sleep(chance.expovariate(1 / seconds) if uneven else seconds)
            body = BODIES.get(path, b"{}")
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            await writer.drain()

    server = await asyncio.start_server(talk, "127.0.0.1", port, limit=1 << 22)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(
        main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), uneven=sys.argv[4:] == ["uneven"])
    )
