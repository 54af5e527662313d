"""Server-sent events, as the standard says and as servers really send them.

https://html.spec.whatwg.org/multipage/server-sent-events.html: UTF-8, an optional byte order mark, lines that
end with LF, CR or CRLF, and an empty line after each event, whose ``data:`` lines are joined by line ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ERROR: Final = "error"
DONE: Final = "[DONE]"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, empty for a message, and its data."""

    name: str
    data: str


@dataclass(slots=True)
class _Pending:
    """The lines so far of an event."""

    name: str = ""
    data: list[str] = field(default_factory=list)

    def take(self) -> Iterator[Event]:
        """The event, where there are any lines."""
        if self.data or self.name:
            yield Event(self.name, "\n".join(self.data))
        self.name, self.data = "", []


def read_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events in the bytes of a stream, up to and including the one whose data is ``[DONE]``.

    The chunks may end anywhere, within a character or a line end too. Bytes after ``[DONE]`` are not read.
    """
    pending = _Pending()
    for line in _lines(chunks):
        key, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ").decode("utf-8", "replace")
        if not line:
            yield from pending.take()
        elif key == b"data" and value.strip() == DONE:
            # At once: some servers leave out the empty line after it, and leave the connection open.
            yield from pending.take()
            yield Event("", DONE)
            return
        elif key == b"data":
            pending.data.append(value)
        elif key == b"event":
            pending.name = value.strip()
        elif key == b"error":  # a field of its own, in llama.cpp before September 2025 (llama.cpp#16109)
            yield Event(ERROR, value)
        elif line.startswith(b"{"):  # an error that was passed on without `data:` (lemonade#2826)
            yield Event("", line.decode("utf-8", "replace"))
        # What remains are comments that keep the connection alive (": ping"), numbers of events, and noise.
    # The standard drops an event without an empty line after it; many servers end the stream that way.
    yield from pending.take()


def split_start(chunks: Iterator[bytes]) -> tuple[bytes, list[bytes]]:
    """The first byte of the body that is no space, empty where there is none, and the chunks up to it."""
    read = []
    for chunk in chunks:
        read.append(chunk)
        if text := chunk.lstrip():
            return text[:1], read
    return b"", read


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    first = True
    for line in _raw_lines(chunks):
        yield line.removeprefix(_BYTE_ORDER_MARK) if first else line
        first = False


def _raw_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    pieces: list[bytes] = []  # of a line that has not ended: adding bytes to bytes would be quadratic
    ended_by_return = False
    for arrived in chunks:
        if not arrived:
            continue
        chunk = arrived.removeprefix(b"\n") if ended_by_return else arrived
        ended_by_return = arrived.endswith(b"\r")
        first, *others = _LINE_END.split(chunk)
        pieces.append(first)
        for line in others:
            yield b"".join(pieces)
            pieces = [line]
    if any(pieces):
        yield b"".join(pieces)
