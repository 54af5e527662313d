"""A GGUF pair served by llama.cpp, and the requests that it answers."""

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
"""The longest answer that is waited for; none that the model is taught has more than 74 tokens."""

_CONTEXT_TOKENS = "2048"
_TIMEOUT_S = 30.0
_POLL_S = 0.01


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """A prompt with a picture or without, and where the picture stands in the message."""

    prompt: str
    picture: Image.Image | None
    system: str | None = None
    picture_first: bool = True

    def messages(self, picture_part: Callable[[Image.Image], dict[str, Any]]) -> list[dict[str, Any]]:
        """The chat messages; `picture_part` makes the content part of the picture."""
        parts: list[dict[str, Any]] = [{"type": "text", "text": self.prompt}]
        if self.picture is not None:
            parts.insert(0 if self.picture_first else 1, picture_part(self.picture))
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, {"role": "user", "content": parts}]


class ServedModel:
    """A served model that answers at temperature 0; `seconds` has the time of every answer."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.seconds: list[float] = []

    def answer(self, request: ChatRequest) -> str:
        """The answer to `request`, which may be empty.

        Raises:
            httpx.HTTPError: the server answers with an error, or not within 30 seconds.
        """
        messages = request.messages(_data_url_part)
        body = {"temperature": 0, "max_tokens": MAX_TOKENS, "messages": messages}
        start = time.perf_counter()
        response = self.client.post("/v1/chat/completions", json=body)
        self.seconds.append(time.perf_counter() - start)
        return str(response.raise_for_status().json()["choices"][0]["message"]["content"])


@contextmanager
def serve_model(pair: Path) -> Iterator[ServedModel]:
    """The model of the GGUF pair in the folder `pair`, served until the context ends.

    Raises:
        RuntimeError: the server ends or is not healthy within 30 seconds.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "pytest_setups.demo.llama_server", "--port", str(port)]
    command += ["-m", str(pair / TEXT_FILE), "--mmproj", str(pair / MMPROJ_FILE), "-c", _CONTEXT_TOKENS]
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=silent, stderr=silent) as process:
        try:
            url = _healthy(f"http://127.0.0.1:{port}", process)
            with httpx.Client(base_url=url, timeout=_TIMEOUT_S) as client:
                yield ServedModel(client)
        finally:
            process.terminate()


def _healthy(url: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health").is_success:
                return url
        except httpx.TransportError:
            pass
        time.sleep(_POLL_S)
    raise RuntimeError(
        "the llama.cpp server did not start: install it with `pip install 'pytest-setups[demo]'`"
    )


def _data_url_part(picture: Image.Image) -> dict[str, Any]:
    encoded = base64.b64encode(_compressed(picture, JPEG_QUALITY).getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}}


def as_jpeg(picture: Image.Image, quality: int = JPEG_QUALITY) -> Image.Image:
    """`picture` after JPEG compression at `quality`, 1 to 95."""
    return Image.open(_compressed(picture, quality)).convert("RGB")


def _compressed(picture: Image.Image, quality: int) -> io.BytesIO:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    buffer.seek(0)
    return buffer
