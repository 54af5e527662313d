"""The built-in tagger: asks a served model for the three stages of an image."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import Sample, prepare
from pytest_setups.tagging.keywords import parse_keywords
from pytest_setups.tagging.outputs import Output
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.api.client import Client
    from pytest_setups.tagging.request import Request


class ServedTagger:
    """Asks a served model.

    Args:
        client: sends the requests.
        request: what they have in common.
        max_edge: the longest edge of a sent image, in pixels.
        at_once: the number of images that are tagged at the same time; so many are kept prepared, since
            each is sent three times.
    """

    chained = True

    def __init__(self, client: Client, request: Request, *, max_edge: int, at_once: int = 1) -> None:
        self._client = client
        self._request = request
        # Least recently used: an image is not asked for any more once `at_once` others have begun.
        self._prepared = lru_cache(maxsize=at_once)(lambda sample: prepare(sample.path, max_edge))

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """The output of one stage.

        Raises:
            ImageError: the image cannot be prepared.
            ServerError: the server failed, or did not answer in time.
        """
        prompts = self._request.prompts
        prompt = prompts.of(stage, caption, keywords)
        body = self._request.body(stage, prompt, self._prepared(sample))
        reply = self._client.chat(body, stream=self._request.stream)
        return Output(
            stage=stage,
            text=reply.text,
            keywords=parse_keywords(without_reasoning(reply.text)) if stage is Stage.KEYWORDS else None,
            reply=reply,
            # The template: what fills its placeholders may be repeated by an honest answer.
            prompt=getattr(prompts, stage.value),
            caption=caption if stage is Stage.DESCRIPTION else "",
            schema=self._request.schema if stage is Stage.KEYWORDS else None,
        )
