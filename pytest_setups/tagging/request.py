"""The chat completion that a prompt and a picture become."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pytest_setups.tagging.images import MIME, control_pictures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_setups.registry.entry import Stage
    from pytest_setups.tagging.images import PreparedImage
    from pytest_setups.tagging.prompts import Prompts

READINESS_TOKENS: Final = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What every request carries: the model of each stage, the prompts and the sampling parameters."""

    models: Mapping[Stage, str]
    prompts: Prompts
    parameters: Mapping[str, Any]
    stream: bool = False

    def body(self, stage: Stage, prompt: str, image: PreparedImage | None, **changed: object) -> bytes:
        """The encoded body of one request; ``changed`` replaces parameters."""
        streaming = {"stream": True, "stream_options": {"include_usage": True}}
        how = streaming if self.stream else {"stream": False}
        fields = {"model": self.models[stage], **how, **self.parameters, **changed}
        return encode_request(fields, prompt, self.prompts.system, image)


def encode_request(
    fields: Mapping[str, Any], prompt: str, system: str | None, image: PreparedImage | None
) -> bytes:
    """The JSON body of a chat completion; the picture's base64 is spliced in, not encoded again.

    A field that is None is left out, so that an extra body can remove one.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    mark = uuid4().hex
    if image is not None:
        content.append({"type": "image_url", "image_url": {"url": mark}})
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    body = {"messages": messages} | {key: value for key, value in fields.items() if value is not None}
    encoded = json.dumps(body, ensure_ascii=False).encode()
    if image is None:
        return encoded
    before, after = encoded.rsplit(mark.encode(), 1)
    return b"".join((before, f"data:{MIME};base64,".encode(), image.base64, after))


def readiness_request(model: str) -> bytes:
    """The body of a short request with a picture, which only a server that is ready can answer."""
    fields = {"model": model, "max_tokens": READINESS_TOKENS, "stream": False}
    return encode_request(fields, "Describe this image in one word.", None, control_pictures()[0])
