"""The chat completion request that a prompt and an image become."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pytest_setups.registry.entry import Stage
from pytest_setups.serving.backends import SchemaForm
from pytest_setups.tagging.images import MIME, warm_up_picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_setups.tagging.images import PreparedImage
    from pytest_setups.tagging.keyword_schema import KeywordSchema
    from pytest_setups.tagging.prompts import Prompts

READINESS_TOKENS: Final = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What the requests of a run have in common.

    Attributes:
        models: the served name of the model that each stage asks.
        prompts: the prompts of the stages.
        parameters: the fields of the body beside model and messages, such as ``temperature``.
        stream: whether answers are streamed, without which the time to first token is not known.
        schema: the JSON schema that keywords are asked with, None without one.
        schema_form: how the server wants it.
    """

    models: Mapping[Stage, str]
    prompts: Prompts
    parameters: Mapping[str, Any]
    stream: bool = False
    schema: KeywordSchema | None = None
    schema_form: SchemaForm = SchemaForm.OPENAI

    def body(self, stage: Stage, prompt: str, image: PreparedImage | None, **changed: object) -> bytes:
        """The encoded body of one request; ``changed`` replaces parameters."""
        # Without include_usage, a streamed answer has no token counts.
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        mode = streamed if self.stream else {"stream": False}
        fields = {"model": self.models[stage], **mode, **self.parameters, **changed}
        if self.schema is not None and stage is Stage.KEYWORDS:
            fields["response_format"] = self.schema.response_format(self.schema_form)
        return encode_request(fields, prompt, self.prompts.system, image)


def encode_request(
    fields: Mapping[str, Any], prompt: str, system: str | None, image: PreparedImage | None
) -> bytes:
    """The JSON body of a chat completion.

    A field that is None is left out, so that a user's extra body can remove a parameter.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    # The JSON encoder gets this mark in place of the image: looking through 300 KiB of base64 for characters
    # to escape takes it about a millisecond.
    mark = uuid4().hex
    if image is not None:
        content.append({"type": "image_url", "image_url": {"url": mark}})
    # The text before the image, as in OpenAI's examples: some chat templates keep the order.
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
    """The body of a short request with an image, which only a server that has loaded its model answers."""
    fields = {"model": model, "max_tokens": READINESS_TOKENS, "stream": False}
    return encode_request(fields, "Describe this image in one word.", None, warm_up_picture())
