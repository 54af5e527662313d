"""The training data: views and questions about them, drawn at random from a single seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from toy_model.answers import NO_PICTURE, STAGES
from toy_model.architecture import IMAGE_ID, IMAGE_TOKENS, PAD_ID, SPECIAL_TOKENS, VOCABULARY_SIZE
from toy_model.questions import random_question
from toy_model.sample_pictures import sample_pictures
from toy_model.scenes import random_scene
from toy_model.views import sample_view, scene_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from toy_model.questions import Question
    from toy_model.views import View

_TOPIC_SHARES = {
    "caption": 0.32,
    "keywords": 0.18,
    "description": 0.18,
    "background": 0.08,
    "colour": 0.08,
    "shape": 0.08,
    "size": 0.04,
    "position": 0.04,
}
"""How often each topic is asked about, of all questions about a scene."""

_STORED_EDGE = 320
"""Longest edge of the sample pictures in memory, in pixels; views are cut out of these."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How long and how fast to train; the defaults are those of the run behind the published weights.

    `tower_*` is the training of the vision tower, the rest that of the whole model. A step takes
    `pictures` views with `questions` questions each, in batches of at most `chunk`; rates are
    learning rates, and the tower learns at `tower_share` of `rate` while the whole model is trained.
    `samples` and `tower_samples` are the shares of sample pictures among the views, `plain` the share
    of scenes without a shape, `no_picture` the share of questions that are asked without a picture.
    """

    seed: int = 7
    tower_steps: int = 1600
    tower_batch: int = 32
    tower_rate: float = 1.2e-3
    steps: int = 2200
    pictures: int = 16
    questions: int = 1
    chunk: int = 16
    rate: float = 1.2e-3
    warm_up: int = 100
    weight_decay: float = 0.02
    tower_share: float = 0.5
    samples: float = 0.35
    tower_samples: float = 0.15
    plain: float = 0.06
    no_picture: float = 0.03
    report_every: int = 200


@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """n conversations of at most `length` tokens, with m tokens of answers in them.

    `ids` (n, length) are their tokens, padded on the right; `where` (n, length) is true where the
    model is to predict the next token of an answer, and `targets` (m) are these tokens. `pictures`
    has the number of the view for each conversation with a picture.
    """

    ids: Tensor
    where: Tensor
    targets: Tensor
    pictures: list[int]


class ExampleSource:
    """Draws views and questions at random; the same plan and seed draw the same ones."""

    def __init__(self, plan: TrainingPlan, seed: int) -> None:
        self.plan = plan
        self.rng = np.random.default_rng(seed)
        self.samples = sample_pictures()
        self._pictures = [_reduced(sample.load()) for sample in self.samples]
        self._topics = list(_TOPIC_SHARES)
        self._shares = np.array(list(_TOPIC_SHARES.values()))

    def view(self) -> View:
        """A sample picture or a scene."""
        if self.rng.random() < self.plan.samples:
            return self.sample_view(int(self.rng.integers(len(self.samples))))
        return self.scene_view()

    def sample_view(self, number: int) -> View:
        """Sample picture `number`, counted from 0, prepared anew."""
        return sample_view(number, self.samples[number], self._pictures[number], self.rng)

    def scene_view(self) -> View:
        """A new scene."""
        return scene_view(random_scene(self.rng, plain=self.plan.plain), self.rng)

    def question(self, view: View, other: View) -> tuple[Question, bool]:
        """A question about `view`, and whether the picture is sent with it.

        The question may give the caption and keywords of the `other` view as context.
        """
        shown = not self.rng.random() < self.plan.no_picture
        about = view.answers if shown else NO_PICTURE
        shares = self._shares * [topic in STAGES or topic in about.words for topic in self._topics]
        topic = self._topics[self.rng.choice(len(shares), p=shares / shares.sum())]
        return random_question(topic, about, other.answers, self.rng), shown


def train_tokenizer(plan: TrainingPlan) -> Tokenizer:
    """A byte-level BPE of VOCABULARY_SIZE tokens, trained on prompts and answers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(ExampleSource(plan, plan.seed + 1)), trainer)
    return tokenizer


def _corpus(source: ExampleSource) -> list[str]:
    lines = []
    for number in range(4000):
        view = source.sample_view(number % len(source.samples)) if number % 3 else source.scene_view()
        question, _ = source.question(view, view)
        lines += [question.system or "", question.prompt, question.answer]
    return lines


def _encoded(tokenizer: Tokenizer, question: Question, *, shown: bool) -> tuple[list[int], int]:
    """The tokens of the whole conversation, and how many of them come before the answer."""
    picture = SPECIAL_TOKENS[IMAGE_ID] * IMAGE_TOKENS if shown else ""
    pieces = [picture, question.gap if shown else "", question.prompt]
    turns = f"<|im_start|>system\n{question.system}<|im_end|>\n" if question.system else ""
    turns += "<|im_start|>user\n" + "".join(pieces if question.picture_first else pieces[::-1])
    # Encoded separately, as the server does: no token may reach from the prompt into the answer.
    before = tokenizer.encode(turns + "<|im_end|>\n<|im_start|>assistant\n").ids
    return before + tokenizer.encode(question.answer + "<|im_end|>").ids, len(before)


def question_batches(tokenizer: Tokenizer, source: ExampleSource, views: Sequence[View]) -> list[TokenBatch]:
    """The planned number of questions about each view, in batches of conversations of similar length."""
    plan, rows = source.plan, []
    for number, view in enumerate(views):
        for _ in range(plan.questions):
            other = views[int(source.rng.integers(len(views)))]
            question, shown = source.question(view, other)
            rows.append((number, shown, *_encoded(tokenizer, question, shown=shown)))
    rows.sort(key=lambda row: len(row[2]))
    return [_token_batch(rows[at : at + plan.chunk]) for at in range(0, len(rows), plan.chunk)]


def _token_batch(rows: Sequence[tuple[int, bool, list[int], int]]) -> TokenBatch:
    ids = torch.full((len(rows), max(len(row[2]) for row in rows)), PAD_ID)
    where = torch.zeros_like(ids, dtype=torch.bool)
    for number, (_, _, tokens, start) in enumerate(rows):
        ids[number, : len(tokens)] = torch.tensor(tokens)
        # The first token of the answer is predicted from the token before it.
        where[number, start - 1 : len(tokens) - 1] = True
    return TokenBatch(
        ids=ids,
        where=where,
        targets=ids.roll(-1, dims=1)[where],
        pictures=[row[0] for row in rows if row[1]],
    )


def _reduced(picture: Image.Image) -> Image.Image:
    picture.thumbnail((_STORED_EDGE, _STORED_EDGE), Image.Resampling.LANCZOS)
    return picture
