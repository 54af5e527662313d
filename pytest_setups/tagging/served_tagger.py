"""The built-in tagger: asks a served model for the three stages of an image."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.images import ImageError
from pytest_setups.tagging.keywords import parse_keywords
from pytest_setups.tagging.outputs import Output
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_setups.api.client import Client
    from pytest_setups.tagging.images import PreparedImage, Sample
    from pytest_setups.tagging.request import Request


class _LastPicture(threading.local):
    """The picture that this thread sent last, or why it cannot be prepared."""

    sample: Sample | None = None
    picture: PreparedImage | ImageError


class ServedTagger:
    """Asks a served model.

    Args:
        client: sends the requests.
        request: what they have in common.
        prepare: gives the picture of a sample that is sent; it raises ImageError where there is none.
    """

    chained = True

    def __init__(self, client: Client, request: Request, prepare: Callable[[Sample], PreparedImage]) -> None:
        self._client = client
        self._request = request
        self._prepare = prepare
        self._last = _LastPicture()

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """The output of one stage.

        Raises:
            ImageError: the image cannot be prepared.
            ServerError: the server failed, or did not answer in time.
        """
        self._client.check()  # before a picture is prepared for nothing
        prompts = self._request.prompts
        prompt = prompts.of(stage, caption, keywords)
        body = self._request.body(stage, prompt, self._picture(sample))
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

    def _picture(self, sample: Sample) -> PreparedImage:
        """The picture of a sample, prepared once for its three stages, which one thread asks for in turn."""
        last = self._last
        if last.sample != sample:
            last.sample, last.picture = sample, self._prepared(sample)
        if isinstance(last.picture, ImageError):
            raise last.picture
        return last.picture

    def _prepared(self, sample: Sample) -> PreparedImage | ImageError:
        try:
            return self._prepare(sample)
        except ImageError as error:
            return error
