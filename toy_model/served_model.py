"""Ask a GGUF pair something through a real llama.cpp server."""

from __future__ import annotations

import base64
import io
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image

from toy_model.companions import MMPROJ_FILE, TEXT_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JPEG_QUALITY = 90
MAX_TOKENS = 200
_PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request: a picture (or none) with a prompt."""

    prompt: str
    picture: Image.Image | None
    system: str | None = None
    picture_first: bool = True

    def messages(self, show: Callable[[Image.Image], dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the chat messages; `show` makes the content part of the picture."""
        parts: list[dict[str, Any]] = [{"type": "text", "text": self.prompt}]
        if self.picture is not None:
            parts.insert(0 if self.picture_first else 1, show(self.picture))
        head = [{"role": "system", "content": self.system}] if self.system else []
        return [*head, {"role": "user", "content": parts}]


class Model:
    """A served model that answers greedily."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.seconds: list[float] = []

    def answer(self, ask: Ask) -> str:
        """Return the answer to `ask`, and keep the seconds it took in `seconds`."""
        body = {"temperature": 0, "max_tokens": MAX_TOKENS, "messages": ask.messages(_data_url)}
        start = time.perf_counter()
        response = self.client.post("/v1/chat/completions", json=body)
        self.seconds.append(time.perf_counter() - start)
        return str(response.raise_for_status().json()["choices"][0]["message"]["content"])


@contextmanager
def serving(pair: Path, *, threads: int = 1) -> Iterator[str]:
    """Serve the GGUF pair in `pair` through llama.cpp; yield the base URL once it is healthy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "pytest_setups.demo.llama_server", "--port", str(port)]
    command += ["-m", str(pair / TEXT_FILE), "--mmproj", str(pair / MMPROJ_FILE)]
    command += ["-c", "2048", "-t", str(threads)]
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=silent, stderr=silent) as process:
        try:
            yield _healthy(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()


@contextmanager
def answering(pair: Path) -> Iterator[Model]:
    """Serve the GGUF pair in `pair`; yield the model that answers."""
    with serving(pair) as url, httpx.Client(base_url=url, timeout=_PATIENCE_S) as client:
        yield Model(client)


def _healthy(url: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health").is_success:
                return url
        except httpx.TransportError:
            pass
        time.sleep(0.01)
    message = "llama.cpp did not start; is the extra `demo` installed?"
    raise RuntimeError(message)


def _data_url(picture: Image.Image) -> dict[str, Any]:
    encoded = base64.b64encode(_compressed(picture, JPEG_QUALITY).getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}}


def as_jpeg(picture: Image.Image, quality: int = JPEG_QUALITY) -> Image.Image:
    """Return what JPEG compression leaves of `picture`."""
    return Image.open(_compressed(picture, quality)).convert("RGB")


def _compressed(picture: Image.Image, quality: int) -> io.BytesIO:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    buffer.seek(0)
    return buffer
