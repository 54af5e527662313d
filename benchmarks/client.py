"""What the client costs: CPU of one request, and of preparing a picture.

Run with ``python -m benchmarks.client``. The CPU is that of this process alone; the server is another
one, and bare httpx with a ready-made body is measured in turn with ours.
"""

from __future__ import annotations

import base64
import os
import statistics
import time
from typing import TYPE_CHECKING, Final

import httpx

from benchmarks.running_server import running_server
from pytest_setups.api.client import Client
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import PreparedImage, encode
from pytest_setups.tagging.prompts import load_prompts
from pytest_setups.tagging.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

PICTURE_BYTES: Final = 300 * 1024
REQUESTS: Final = 200
ROUNDS: Final = 15


def instant_server(delay_s: float = 0.0) -> AbstractContextManager[str]:
    """A server in another process that answers every request the same after ``delay_s`` seconds."""
    return running_server("benchmarks.instant_server", delay_s)


def request() -> Request:
    """The request of a run with default settings."""
    parameters = {"max_tokens": 256, "temperature": 0.2, "top_p": 0.9}
    return Request(dict.fromkeys(Stage, "model"), load_prompts("default"), parameters)


def picture() -> PreparedImage:
    """A picture of 300 KiB."""
    return PreparedImage(base64.b64encode(os.urandom(PICTURE_BYTES)), 1024, 768)


def cpu_per_request() -> None:
    """Print milliseconds of CPU per request: ours, with the body spliced for each, and bare httpx."""
    with instant_server() as url, httpx.Client(timeout=30) as bare:
        image, asking = picture(), request()
        prompt = asking.prompts.caption
        ready = asking.body(Stage.CAPTION, prompt, image)
        headers = {"content-type": "application/json"}
        ours = Client(base_url=url, api_key=None, timeout_s=30)
        rivals: dict[str, Callable[[], object]] = {
            "bare httpx, ready-made body": lambda: bare.post(
                f"{url}/chat/completions", content=ready, headers=headers
            ).json(),
            "pytest-setups, body spliced": lambda: ours.chat(
                asking.body(Stage.CAPTION, prompt, image), stream=False
            ),
        }
        figures: dict[str, list[float]] = {name: [] for name in rivals}
        for _ in range(ROUNDS):
            for name, ask in rivals.items():
                figures[name].append(_cpu_ms(ask))
        ours.close()
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, value in medians.items():
        print(f"{name}: {value:.3f} ms CPU per request (median of {ROUNDS} rounds of {REQUESTS})")
    httpx_ms, ours_ms = medians.values()
    print(f"ratio: {ours_ms / httpx_ms:.2f} (goal: at most 1.25)")


def _cpu_ms(ask: Callable[[], object]) -> float:
    start = time.process_time()
    for _ in range(REQUESTS):
        ask()
    return (time.process_time() - start) / REQUESTS * 1000


def preparation() -> None:
    """Print milliseconds that encoding one picture of 1024 pixels takes."""
    from PIL import Image

    image = Image.effect_noise((1024, 768), 50).convert("RGB")
    start = time.process_time()
    for _ in range(20):
        encode(image, 1024)
    print(f"encoding one picture of 1024 x 768: {(time.process_time() - start) / 20 * 1000:.1f} ms CPU")


if __name__ == "__main__":
    cpu_per_request()
    preparation()
