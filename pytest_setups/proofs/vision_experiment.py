"""The experiment of the vision proof: coded pictures, asked about in two rounds."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.api.errors import ServerError
from pytest_setups.checks.output_checks import failures
from pytest_setups.checks.texts import normalised_answer
from pytest_setups.proofs.coded_pictures import (
    ON_ONE_BACKGROUND,
    PictureView,
    draw_codes,
    draw_shift,
    render,
)
from pytest_setups.proofs.two_views import TwoViews
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.outputs import Output
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.api.client import Client
    from pytest_setups.api.reply import Reply
    from pytest_setups.proofs.coded_pictures import PictureCode
    from pytest_setups.tagging.images import PreparedImage
    from pytest_setups.tagging.request import Request

PICTURES: Final = 8
"""In one experiment. Six are too few: with them, a server that answers for the right picture one time in
three passed in 2 of 60 runs."""
MAX_ANSWER: Final = 300
"""Characters of an answer that are kept as evidence."""
# Edge in pixels and JPEG quality. A model that sees takes both for one picture; all bytes and pixels differ.
_FIRST_VIEW: Final = (320, 92)
_SECOND_VIEW: Final = (448, 80)


@dataclass(frozen=True)
class Experiment:
    """Two rounds of questions about the same coded pictures.

    Attributes:
        seed: what the pictures, their views and the order of the second round were drawn from.
        codes: what the pictures show, in the order of the first round.
        second_order: the pictures' numbers in the order of the second round.
        first: the replies about the first views, by picture.
        second: the replies about the second views, by picture.
        without: the words of the answer to the same question without a picture.
        prompt: the question.
    """

    seed: int
    codes: Sequence[PictureCode]
    second_order: Sequence[int]
    first: Sequence[Reply]
    second: Sequence[Reply]
    without: str
    prompt: str

    @cached_property
    def views(self) -> TwoViews:
        """The answers as the statistics take them."""
        first, second = (
            [without_reasoning(reply.text) for reply in replies] for replies in (self.first, self.second)
        )
        return TwoViews(first, second, self.second_order, frozenset(self.faults))

    @cached_property
    def faults(self) -> dict[int, str]:
        """Why an answer about a picture says nothing of it, by the picture's number."""
        return {
            number: fault
            for replies in (self.second, self.first)
            for number, reply in enumerate(replies)
            if (fault := self._fault(reply)) is not None
        }

    def _fault(self, reply: Reply) -> str | None:
        output = Output(stage=Stage.CAPTION, text=reply.text, reply=reply, prompt=self.prompt)
        failure = next(iter(failures(output)), None)
        if failure is not None:
            return f"{failure.check}: {failure.reason}"
        if normalised_answer(reply.text) == self.without:
            return f"it is the answer without a picture: {one_line(reply.text, 120)!r}"
        return None

    def evidence(self) -> dict[str, Any]:
        """The experiment as an entry keeps it; answers, tokens and similarities are listed by picture."""
        rounds = list(zip(self.first, self.second, strict=True))
        return {
            "seed": self.seed,
            "codes": [str(code) for code in self.codes],
            "second_order": list(self.second_order),
            "answers": [[one_line(reply.text, MAX_ANSWER) for reply in pair] for pair in rounds],
            "prompt_tokens": [[reply.prompt_tokens for reply in pair] for pair in rounds],
            "similarities": [[round(value, 1) for value in row] for row in self.views.similarities],
            "p_value": self.views.p_value,
            "recognised": len(self.views.recognised),
        }


@dataclass(frozen=True, slots=True)
class Examiner:
    """Asks a server the questions of the experiment: the prompt for captions.

    Attributes:
        client: asks the server.
        request: what every request carries.
        at_once: how many questions of the second round are asked at the same time. Those of the first are
            asked one after the other: a server that mixes up requests cannot mix up both rounds alike.
    """

    client: Client
    request: Request
    at_once: int = 1

    def ask_without_picture(self) -> Reply | None:
        """The reply to the question without a picture; None where the server refuses it.

        Raises:
            ServerError: the server cannot be reached, or did not answer in time.
        """
        try:
            return self._ask(None)
        except ServerError as error:
            # Some servers insist on a picture; what else is wrong shows with one.
            if error.status is None:
                raise
            return None

    def run(self, seed: int, without: Reply | None) -> Experiment:
        """Draw the pictures, and ask about both their views.

        Raises:
            ServerError: the server failed.
        """
        chance = random.Random(seed)
        codes = draw_codes(chance, PICTURES // ON_ONE_BACKGROUND)
        order = _second_order(chance)
        first = [render(code, PictureView(*_FIRST_VIEW, draw_shift(chance))) for code in codes]
        second = [render(code, PictureView(*_SECOND_VIEW, draw_shift(chance))) for code in codes]
        replies = [self._ask(picture) for picture in first]
        later = dict(zip(order, self._ask_at_once([second[number] for number in order]), strict=True))
        return Experiment(
            seed=seed,
            codes=codes,
            second_order=order,
            first=replies,
            second=[later[number] for number in range(PICTURES)],
            without=normalised_answer(without.text) if without else "",
            prompt=self._prompt,
        )

    @property
    def _prompt(self) -> str:
        return self.request.prompts.of(Stage.CAPTION)

    def _ask_at_once(self, pictures: Sequence[PreparedImage]) -> list[Reply]:
        if self.at_once == 1:
            return [self._ask(picture) for picture in pictures]
        with ThreadPoolExecutor(min(self.at_once, PICTURES), thread_name_prefix="setup-vision") as pool:
            try:
                return list(pool.map(self._ask, pictures))
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                if not isinstance(error, ServerError):  # Ctrl-C does not wait for the requests under way
                    self.client.abort()
                raise

    def _ask(self, picture: PreparedImage | None) -> Reply:
        # Temperature 0: chance must not make two answers differ. A user may have removed the parameter, for a
        # server that refuses it.
        request = self.request
        greedy = {"temperature": 0.0} if request.parameters.get("temperature") is not None else {}
        return self.client.chat(
            request.body(Stage.CAPTION, self._prompt, picture, **greedy), stream=request.stream
        )


def _second_order(chance: random.Random) -> list[int]:
    """An order in which no picture follows the same picture as in the first round.

    Otherwise a server that is stale by one would answer both views of that picture alike.
    """
    order = list(range(PICTURES))
    while any(later == earlier + 1 for earlier, later in pairwise(order)):
        chance.shuffle(order)
    return order
