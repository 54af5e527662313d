"""A server of a benchmark, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_setups.serving.processes.server_process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def running_server(module: str, *arguments: object, before_port: Sequence[str] = ()) -> Iterator[str]:
    """The base URL of a module that serves on the port it is given, and prints a line once it is ready."""
    port = free_port()
    words = [*before_port, str(port), *map(str, arguments)]
    with subprocess.Popen([sys.executable, "-m", module, *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101  # PIPE was asked for
        process.stdout.readline()
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
