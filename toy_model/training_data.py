"""Where training gets its pictures and questions: drawn at random from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from toy_model import questions as texts
from toy_model import scenes as data
from toy_model.network import IMAGE_ID, IMAGE_TOKENS, PAD_ID, SPECIALS, VOCABULARY
from toy_model.training_heads import CELLS, IGNORED, NAMES, cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

_STAGE_SHARES = {
    "caption": 0.32,
    "keywords": 0.18,
    "description": 0.18,
    "background": 0.08,
    "colour": 0.08,
    "shape": 0.08,
    "size": 0.04,
    "position": 0.04,
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast to train; the numbers of one run that reached the published figures.

    `samples`, `plain` and `no_picture` are shares of the pictures; the rest are scenes.
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
class View:
    """A prepared picture (IMAGE_SIZE, IMAGE_SIZE, 3), its texts and what the heads should find.

    `cover` (IMAGE_TOKENS, cells of a patch) is 0 to 1; `classes` has a class for each head.
    """

    pixels: NDArray[np.uint8]
    texts: texts.Texts
    cover: NDArray[np.float32]
    classes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Views as tensors: pixels (n, IMAGE_SIZE, IMAGE_SIZE, 3), cover and classes as in View."""

    pixels: Tensor
    cover: Tensor
    classes: Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Token ids (n, length), where answers are predicted (n, length), and what comes next (m)."""

    ids: Tensor
    where: Tensor
    targets: Tensor
    pictures: list[int]


class Source:
    """Draws pictures and questions at random, from one seed."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.rng = np.random.default_rng(seed)
        self.samples = data.samples()
        self.originals = [_small(data.load_picture(data.SAMPLE_FOLDER / s.name)) for s in self.samples]
        self.stages = list(_STAGE_SHARES)
        self.shares = np.array(list(_STAGE_SHARES.values()))

    def view(self) -> View:
        """Draw a sample picture or a scene."""
        if data.chance(self.rng, self.plan.samples):
            return self.sample_view(int(self.rng.integers(len(self.samples))))
        return self.scene_view()

    def sample_view(self, number: int) -> View:
        """Prepare sample picture `number` in a new way."""
        return View(
            pixels=data.prepared_sample(self.originals[number], self.rng),
            texts=texts.sample_texts(self.samples[number]),
            cover=np.zeros((IMAGE_TOKENS, CELLS**2), dtype=np.float32),
            classes=(IGNORED,) * len(NAMES) + (number + 1,),
        )

    def scene_view(self) -> View:
        """Draw a scene."""
        scene = data.random_scene(self.rng, plain=self.plan.plain)
        named = [getattr(scene, name) or "none" for name in NAMES]
        found = [kinds.index(name) for kinds, name in zip(NAMES.values(), named, strict=True)]
        rendering = data.prepared_scene(scene, self.rng)
        return View(
            pixels=rendering.pixels,
            texts=texts.scene_texts(scene),
            cover=cells(rendering.cover),
            classes=(*found, 0),
        )

    def question(self, view: View, other: View) -> tuple[texts.Question, bool]:
        """Ask something about `view`; the second value tells whether the picture is sent."""
        shown = not data.chance(self.rng, self.plan.no_picture)
        about = view.texts if shown else texts.NOTHING
        shares = self.shares * [stage in texts.STAGES or stage in about.words for stage in self.stages]
        stage = self.stages[self.rng.choice(len(shares), p=shares / shares.sum())]
        return texts.random_question(stage, about, other.texts, self.rng), shown


def learn_tokens(plan: Plan) -> Tokenizer:
    """Learn a byte-level BPE of VOCABULARY tokens from prompts and answers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(Source(plan, plan.seed + 1)), trainer)
    return tokenizer


def _corpus(source: Source) -> list[str]:
    lines = []
    for number in range(4000):
        view = source.sample_view(number % len(source.samples)) if number % 3 else source.scene_view()
        question, _ = source.question(view, view)
        lines += [question.system or "", question.prompt, question.answer]
    return lines


def encoded(tokenizer: Tokenizer, question: texts.Question, *, shown: bool) -> tuple[list[int], int]:
    """Return the ids of the whole conversation, and how many of them come before the answer."""
    picture = f"{SPECIALS[IMAGE_ID] * IMAGE_TOKENS}" if shown else ""
    pieces = [picture, question.gap if shown else "", question.prompt]
    turns = f"<|im_start|>system\n{question.system}<|im_end|>\n" if question.system else ""
    turns += "<|im_start|>user\n" + "".join(pieces if question.picture_first else pieces[::-1])
    asked = tokenizer.encode(turns + "<|im_end|>\n<|im_start|>assistant\n").ids
    return asked + tokenizer.encode(question.answer + "<|im_end|>").ids, len(asked)


def batches(tokenizer: Tokenizer, source: Source, views: Sequence[View]) -> list[Batch]:
    """Ask the planned number of questions about each view, in batches of about equal length."""
    plan, rows = source.plan, []
    for number, view in enumerate(views):
        for _ in range(plan.questions):
            other = views[int(source.rng.integers(len(views)))]
            question, shown = source.question(view, other)
            rows.append((number, shown, *encoded(tokenizer, question, shown=shown)))
    rows.sort(key=lambda row: len(row[2]))
    return [_batch(rows[at : at + plan.chunk]) for at in range(0, len(rows), plan.chunk)]


def _batch(rows: Sequence[tuple[int, bool, list[int], int]]) -> Batch:
    ids = torch.full((len(rows), max(len(row[2]) for row in rows)), PAD_ID)
    where = torch.zeros_like(ids, dtype=torch.bool)
    for number, (_, _, tokens, asked) in enumerate(rows):
        ids[number, : len(tokens)] = torch.tensor(tokens)
        where[number, asked - 1 : len(tokens) - 1] = True
    return Batch(
        ids=ids,
        where=where,
        targets=ids.roll(-1, dims=1)[where],
        pictures=[row[0] for row in rows if row[1]],
    )


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((320, 320), Image.Resampling.LANCZOS)
    return picture


def stack(views: Sequence[View]) -> Seen:
    """Put views together as tensors."""
    return Seen(
        pixels=torch.from_numpy(np.stack([view.pixels for view in views])),
        cover=torch.from_numpy(np.stack([view.cover for view in views])),
        classes=torch.tensor([view.classes for view in views]),
    )
