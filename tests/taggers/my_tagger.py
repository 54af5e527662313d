"""A tagging library of a user's own, which knows nothing of pytest."""

from __future__ import annotations

import base64
import json
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class PictureClient:
    """Asks a server about pictures."""

    base_url: str
    model: str

    def ask(self, picture: Path, prompt: str) -> str:
        url = f"data:image/jpeg;base64,{base64.b64encode(picture.read_bytes()).decode()}"
        content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
        messages = [{"role": "user", "content": content}]
        body = {"model": self.model, "messages": messages, "max_tokens": 99, "temperature": 0}
        request = urllib.request.Request(
            f"{self.base_url}/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            text: str = json.load(response)["choices"][0]["message"]["content"]
        return text
