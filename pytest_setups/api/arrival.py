"""When bytes arrived, by the kernel's clock, and not when a thread of this process came to read them.

With many requests at once, and with other programs on the same machine, a thread is woken some milliseconds
after its answer has arrived. Linux notes the time of each packet (socket(7), SO_TIMESTAMPNS; for TCP, the
time of the last byte that is read). Elsewhere, and under TLS, whose records are read inside OpenSSL, it is
the time of reading.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time
from typing import Final

import httpcore

# asm-generic/socket.h; Python has no name for it. The message holds a struct timespec of two longs.
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@ll")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size) if hasattr(socket, "CMSG_SPACE") else 0


class ArrivalReader:
    """Reads from a connection, and knows when what it read arrived."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    def of(cls, stream: httpcore.NetworkStream) -> ArrivalReader | None:
        """The reader of a connection, None where the kernel's times cannot be had."""
        connection = stream.get_extra_info("socket")
        if sys.platform != "linux" or not isinstance(connection, socket.socket):
            return None
        if isinstance(connection, ssl.SSLSocket):
            return None
        try:
            connection.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        except OSError:  # sandboxes that imitate a kernel, such as gVisor
            return None
        return cls(connection)

    def read(self, max_bytes: int, timeout: float | None) -> tuple[bytes, float]:
        """Some bytes and the ``time.perf_counter()`` at which the last of them arrived.

        Raises:
            httpcore.ReadTimeout: nothing came within ``timeout`` seconds.
            httpcore.ReadError: the connection failed.
        """
        try:
            self._connection.settimeout(timeout)
            data, ancillary, _, _ = self._connection.recvmsg(max_bytes, _ANCILLARY_BYTES)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error
        now, age = time.perf_counter(), 0.0
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(value) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(value)
                age = time.time() - seconds - nanoseconds / 1e9
        return data, now - max(age, 0.0)
