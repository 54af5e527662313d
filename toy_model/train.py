"""Train the toy model from scratch: `python -m toy_model.train --out DIR`.

First only the vision tower is trained. Heads on its early layers mark what the shape covers, heads on
its middle layers where each patch lies on the shape; in its last layer the patches on the shape name
the shape, its colour, size and position, and every patch names the background or the sample picture.
Then the whole model learns to answer questions about pictures, with the heads still attached; the
export leaves them out.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from toy_model.network import ToyVlm
from toy_model.sample_pictures import sample_pictures
from toy_model.training_data import ExampleSource, TrainingPlan, question_batches, train_tokenizer
from toy_model.training_heads import TrainingHeads
from toy_model.views import stack_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

    from toy_model.training_data import TokenBatch
    from toy_model.views import ViewTensors

_T = TypeVar("_T")
_EVALUATION_SEED = 1_000_003
"""A seed that training does not draw from."""


def _prefetched(make: Callable[[], _T], count: int) -> Iterator[_T]:
    """`count` results of `make`, each made in another thread while the one before it is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(make)
        for _ in range(count):
            ready = following.result()
            following = pool.submit(make)
            yield ready


def _optimiser(plan: TrainingPlan, groups: Sequence[tuple[nn.Module, float]]) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [{"params": list(part.parameters()), "lr": rate, "peak": rate} for part, rate in groups],
        betas=(0.9, 0.98),
        weight_decay=plan.weight_decay,
    )


def _step(optimiser: torch.optim.AdamW, step: int, steps: int, warm_up: int) -> None:
    """One optimiser step at the rate for `step`: a linear warm-up, then half a cosine to 2 % of the peak."""
    done = max(0, step - warm_up) / max(1, steps - warm_up)
    factor = min(1, (step + 1) / warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
        nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def train_tower(model: ToyVlm, heads: TrainingHeads, plan: TrainingPlan, log: TrainingLog) -> None:
    """Train the vision tower to name what a picture shows."""
    source = ExampleSource(replace(plan, samples=plan.tower_samples), plan.seed + 2)
    optimiser = _optimiser(plan, [(model.vision, plan.tower_rate), (heads, plan.tower_rate)])
    shares = []
    draw = partial(_draw_views, source, plan.tower_batch)
    for step, views in enumerate(_prefetched(draw, plan.tower_steps)):
        loss, named = heads(model.see(views.pixels), views)
        loss.backward()
        _step(optimiser, step, plan.tower_steps, plan.warm_up)
        shares.append(named)
        if (step + 1) % plan.report_every == 0:
            means = zip(heads.names, torch.stack(shares).mean(0).tolist(), strict=True)
            report = " ".join(f"{name} {100 * share:.0f}" for name, share in means)
            log.write(f"tower {step + 1} loss {loss.item():.3f} right in 100: {report}")
            shares.clear()


def train_whole(
    model: ToyVlm, heads: TrainingHeads, tokenizer: Tokenizer, plan: TrainingPlan, log: TrainingLog
) -> None:
    """Train the whole model to answer; the heads stay, so that the tower keeps what it has learnt."""
    source = ExampleSource(plan, plan.seed + 3)
    groups = [(model.vision, plan.rate * plan.tower_share), (heads, plan.rate)]
    optimiser = _optimiser(plan, [*groups, (model.project, plan.rate), (model.text, plan.rate)])
    recent = []
    draw = partial(_draw_batches, source, tokenizer, plan.pictures)
    for step, (views, parts) in enumerate(_prefetched(draw, plan.steps)):
        features = model.see(views.pixels)
        heads_loss, _ = heads(features, views)
        total = sum(len(part.targets) for part in parts)
        losses = [_answer_loss(model, part, features[-1]) for part in parts]
        answered = torch.stack(losses).sum() / total
        (answered + 0.2 * heads_loss).backward()
        _step(optimiser, step, plan.steps, plan.warm_up)
        recent.append(answered.item())
        if (step + 1) % plan.report_every == 0:
            mean = sum(recent) / len(recent)
            exact = _exact_share(model, tokenizer, plan)
            log.write(f"whole {step + 1} loss {mean:.4f} exact in 100: {exact}")
            log.save_weights(model)
            recent.clear()
    log.save_weights(model)


def _draw_views(source: ExampleSource, count: int) -> ViewTensors:
    return stack_views([source.view() for _ in range(count)])


def _draw_batches(
    source: ExampleSource, tokenizer: Tokenizer, count: int
) -> tuple[ViewTensors, list[TokenBatch]]:
    views = [source.view() for _ in range(count)]
    return stack_views(views), question_batches(tokenizer, source, views)


def _answer_loss(model: ToyVlm, part: TokenBatch, features: Tensor) -> Tensor:
    logits = model.answer_logits(part.ids, features[part.pictures], part.where)
    return nn.functional.cross_entropy(logits, part.targets, reduction="sum")


@torch.no_grad()
def _exact_share(model: ToyVlm, tokenizer: Tokenizer, plan: TrainingPlan, count: int = 96) -> str:
    """How many answers in 100 greedy decoding would give word for word, of scenes and sample pictures."""
    source = ExampleSource(plan, _EVALUATION_SEED)
    kinds = {
        "scenes": [source.scene_view() for _ in range(count)],
        "samples": [source.sample_view(number % len(source.samples)) for number in range(count)],
    }
    shares = []
    for kind, views in kinds.items():
        features = model.see(stack_views(views).pixels)[-1]
        parts = question_batches(tokenizer, source, views)
        right = torch.cat([_exact_rows(model, part, features) for part in parts])
        shares.append(f"{kind} {100 * right.float().mean():.0f}")
    return " ".join(shares)


def _exact_rows(model: ToyVlm, part: TokenBatch, features: Tensor) -> Tensor:
    logits = model.answer_logits(part.ids, features[part.pictures], part.where)
    wrong = torch.zeros(len(part.ids)).index_add_(
        0, part.where.nonzero()[:, 0], (logits.argmax(-1) != part.targets).float()
    )
    return wrong == 0


class TrainingLog:
    """The folder of a training run: train.log with the seconds since the start, and the weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.log").unlink(missing_ok=True)

    def write(self, text: str) -> None:
        """Print `text` and append it to train.log."""
        stamped = f"{time.perf_counter() - self.start:6.0f} s  {text}"
        print(stamped, flush=True)
        with (self.folder / "train.log").open("a", encoding="utf-8") as stream:
            stream.write(stamped + "\n")

    def save_weights(self, model: ToyVlm) -> None:
        """Replace model.pt by the weights of `model`; a reader never sees half of them."""
        temporary = self.folder / "model.pt.part"
        torch.save(model.state_dict(), temporary)
        temporary.replace(self.folder / "model.pt")


def train(folder: Path, plan: TrainingPlan, threads: int) -> None:
    """Train as `plan` says; the results are tokenizer.json, model.pt and train.log in `folder`."""
    torch.manual_seed(plan.seed)
    torch.set_num_threads(threads)
    log = TrainingLog(folder)
    log.write(f"{plan}")
    tokenizer = train_tokenizer(plan)
    tokenizer.save(str(folder / "tokenizer.json"))
    model, heads = ToyVlm(), TrainingHeads(len(sample_pictures()))
    log.write(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    train_tower(model, heads, plan, log)
    train_whole(model, heads, tokenizer, plan, log)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m toy_model.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint and log")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    arguments = parser.parse_args()
    train(arguments.out, TrainingPlan(), arguments.threads)


if __name__ == "__main__":
    main()
