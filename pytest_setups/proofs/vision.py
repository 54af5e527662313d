"""The proof that the model sees: a control without a picture, and two pictures nobody could confuse.

A server that drops pictures answers HTTP 200 all the same (ollama#17501), and one with a stale cache
describes the picture before (vllm#20261).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_setups.checks.output_checks import normalised
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import control_pictures

if TYPE_CHECKING:
    from pytest_setups.api.client import Client
    from pytest_setups.api.reply import Reply
    from pytest_setups.tagging.images import PreparedImage
    from pytest_setups.tagging.request import Request


@dataclass(frozen=True, slots=True)
class VisionProof:
    """What was seen: the answers without a picture, to the disc and to the square; prompt tokens of each."""

    seen: bool
    reason: str | None
    answers: dict[str, str]
    prompt_tokens: dict[str, int | None]


def prove_vision(client: Client, request: Request) -> VisionProof:
    """Ask the caption prompt at temperature 0, where one is sent, without a picture and for two that differ.

    Raises:
        ServerError: the server did not answer one of the pictures.
    """
    disc, square = control_pictures()
    pictures = {"no picture": None, "white disc on red": disc, "yellow square on blue": square}
    replies = {name: _ask(client, request, picture) for name, picture in pictures.items()}
    tokens = {name: reply.prompt_tokens for name, reply in replies.items()}
    without, first, second = replies.values()
    reason = _blind(without, first, second)
    answers = {name: one_line(reply.text, 500) for name, reply in replies.items()}
    return VisionProof(seen=reason is None, reason=reason, answers=answers, prompt_tokens=tokens)


def _ask(client: Client, request: Request, picture: PreparedImage | None) -> Reply:
    prompt = request.prompts.of(Stage.CAPTION)
    certain = {"temperature": 0.0} if request.parameters.get("temperature") is not None else {}
    return client.chat(request.body(Stage.CAPTION, prompt, picture, **certain), stream=request.stream)


def _blind(without: Reply, first: Reply, second: Reply) -> str | None:
    for reply in (first, second):
        counted = without.prompt_tokens is not None and reply.prompt_tokens is not None
        if counted and (reply.prompt_tokens or 0) <= (without.prompt_tokens or 0):
            return (
                f"the picture is dropped: {reply.prompt_tokens} prompt tokens with it, "
                f"{without.prompt_tokens} without"
            )
    if not normalised(first.text) or not normalised(second.text):
        return "a control picture got an answer without words"
    if normalised(first.text) == normalised(second.text):
        return (
            "a white disc on red and a yellow square on blue got the same answer, "
            f"{one_line(first.text, 120)!r}: the model does not see the picture"
        )
    return None
