"""A server that reads a request and answers the same each time: ``instant_server PORT DELAY_SECONDS``."""

from __future__ import annotations

import asyncio
import json
import sys

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
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)


async def main(port: int, delay_s: float) -> None:
    """Serve until killed."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
            await asyncio.sleep(delay_s)
            writer.write(HEAD + ANSWER)
            await writer.drain()

    server = await asyncio.start_server(talk, "127.0.0.1", port, limit=1 << 22)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
