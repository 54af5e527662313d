"""The proof that the model sees: two control pictures get different answers and cost prompt tokens.

A server that drops pictures answers with HTTP 200 (ollama#17501), and one with a stale cache describes the
picture of another request (vllm#20261).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.output_checks import normalised
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import control_pictures

if TYPE_CHECKING:
    from pytest_setups.api.client import Client
    from pytest_setups.api.reply import Reply
    from pytest_setups.tagging.images import PreparedImage
    from pytest_setups.tagging.request import Request

# The names of the three questions, as entries record them.
NO_PICTURE: Final = "no picture"
DISC: Final = "white disc on red"
SQUARE: Final = "yellow square on blue"


@dataclass(frozen=True, slots=True)
class VisionProof:
    """The result of the experiment, with its evidence.

    Attributes:
        seen: whether the model sees.
        reason: why it does not, None where it does.
        answers: the beginning of the answer to each of the three questions.
        prompt_tokens: the prompt tokens of each, None where the server does not count them.
    """

    seen: bool
    reason: str | None
    answers: dict[str, str]
    prompt_tokens: dict[str, int | None]


def prove_vision(client: Client, request: Request) -> VisionProof:
    """Ask the caption prompt without a picture and with each of the two control pictures.

    Raises:
        ServerError: the server failed, as text-only servers do when they are sent a picture.
    """
    disc, square = control_pictures()
    pictures = {NO_PICTURE: None, DISC: disc, SQUARE: square}
    replies = {name: _ask(client, request, picture) for name, picture in pictures.items()}
    reason = _reason_not_seen(replies[NO_PICTURE], replies[DISC], replies[SQUARE])
    return VisionProof(
        seen=reason is None,
        reason=reason,
        answers={name: one_line(reply.text, 500) for name, reply in replies.items()},
        prompt_tokens={name: reply.prompt_tokens for name, reply in replies.items()},
    )


def _ask(client: Client, request: Request, picture: PreparedImage | None) -> Reply:
    prompt = request.prompts.of(Stage.CAPTION)
    # Temperature 0: chance must not make two answers differ. A user may have removed the parameter, for a
    # server that refuses it.
    greedy = {"temperature": 0.0} if request.parameters.get("temperature") is not None else {}
    return client.chat(request.body(Stage.CAPTION, prompt, picture, **greedy), stream=request.stream)


def _reason_not_seen(without: Reply, disc: Reply, square: Reply) -> str | None:
    # A picture that reaches the model costs prompt tokens; one that is dropped costs none.
    for tokens in (disc.prompt_tokens, square.prompt_tokens):
        if tokens is not None and without.prompt_tokens is not None and tokens <= without.prompt_tokens:
            return (
                f"the picture is dropped: {tokens} prompt tokens with it, {without.prompt_tokens} without it"
            )
    # Compared as words: a stale picture gets the same answer, perhaps in other case or punctuation.
    disc_words, square_words = normalised(disc.text), normalised(square.text)
    if not disc_words or not square_words:
        return "the answer to a control picture has no words"
    if disc_words == square_words:
        return (
            f"a {DISC} and a {SQUARE} got the same answer, {one_line(disc.text, 120)!r}: "
            "the model does not see the picture"
        )
    return None
