"""The real llama.cpp server with the toy model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_setups import demo
from pytest_setups.api.client import Client
from pytest_setups.serving.processes.server_process import ServerProcess, free_port
from pytest_setups.serving.server import wait_until_ready
from pytest_setups.tagging.request import readiness_request


def need_llama_cpp() -> None:
    """Skip where the demo extra is not installed, but never in CI."""
    if find_spec("xllamacpp") is None:
        if os.environ.get("CI"):
            pytest.fail("the llama.cpp server is not installed: pip install -e '.[dev]'")
        pytest.skip("the llama.cpp server is not installed: pip install -e '.[dev]'")


@contextmanager
def llama_cpp(*options: str, folder: Path = demo.HERE) -> Iterator[str]:
    """Serve the toy model, or the pair of files of the same names in ``folder``; gives the base URL."""
    need_llama_cpp()
    port = free_port()
    command = [word.replace(str(demo.HERE), str(folder)) for word in demo.command(port, None)]
    process = ServerProcess([*command, *options])
    url = f"http://127.0.0.1:{port}/v1"
    client = Client(base_url=url, api_key=None, timeout_s=30)
    try:
        wait_until_ready(
            client, readiness_request, 60, model=demo.SERVED_MODEL_NAME, check_alive=process.check
        )
        yield url
    finally:
        client.close()
        process.stop()
