"""Train the toy model from nothing: `python -m toy_model.train --out DIR`.

First the vision tower alone learns to tell what a picture holds. Its early layers mark what the
shape covers, its middle layers where each patch lies on the shape; in its last layer the patches on
the shape name the shape, its colour, size and position, and every patch names the background, or
which sample picture it is. The heads that do so are dropped afterwards. Then the whole model learns
to answer questions about pictures.
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

from toy_model import scenes as data
from toy_model.network import ToyVlm
from toy_model.training_data import Batch, Plan, Seen, Source, batches, learn_tokens, stack
from toy_model.training_heads import Heads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

_T = TypeVar("_T")
_EVALUATION_SEED = 1_000_003


def _ahead(make: Callable[[], _T], count: int) -> Iterator[_T]:
    """Yield what `make` returns `count` times, made one step ahead in another thread."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(make)
        for _ in range(count):
            ready = coming.result()
            coming = pool.submit(make)
            yield ready


def _optimiser(plan: Plan, groups: Sequence[tuple[nn.Module, float]]) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [{"params": list(part.parameters()), "lr": rate, "peak": rate} for part, rate in groups],
        betas=(0.9, 0.98),
        weight_decay=plan.weight_decay,
    )


def _step(optimiser: torch.optim.AdamW, step: int, steps: int, warm_up: int) -> None:
    """Follow the gradients at the rate of this step: a linear warm-up, then half a cosine."""
    done = max(0, step - warm_up) / max(1, steps - warm_up)
    factor = min(1, (step + 1) / warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
        nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def train_tower(model: ToyVlm, heads: Heads, plan: Plan, log: Log) -> None:
    """Teach the vision tower to name what a picture holds."""
    source = Source(replace(plan, samples=plan.tower_samples), plan.seed + 2)
    optimiser = _optimiser(plan, [(model.vision, plan.tower_rate), (heads, plan.tower_rate)])
    rights = []
    draw = partial(_draw_seen, source, plan.tower_batch)
    for step, seen in enumerate(_ahead(draw, plan.tower_steps)):
        loss, right = heads(model.see(seen.pixels), seen)
        loss.backward()
        _step(optimiser, step, plan.tower_steps, plan.warm_up)
        rights.append(right)
        if (step + 1) % plan.report_every == 0:
            shares = zip(heads.names, torch.stack(rights).mean(0).tolist(), strict=True)
            named = " ".join(f"{name} {100 * share:.0f}" for name, share in shares)
            log.line(f"tower {step + 1} loss {loss.item():.3f} right in 100: {named}")
            rights.clear()


def train_whole(model: ToyVlm, heads: Heads, tokenizer: Tokenizer, plan: Plan, log: Log) -> None:
    """Teach the whole model to answer; the heads keep the tower on its way."""
    source = Source(plan, plan.seed + 3)
    groups = [(model.vision, plan.rate * plan.tower_share), (heads, plan.rate)]
    optimiser = _optimiser(plan, [*groups, (model.project, plan.rate), (model.text, plan.rate)])
    recent = []
    draw = partial(_draw_batches, source, tokenizer, plan.pictures)
    for step, (seen, parts) in enumerate(_ahead(draw, plan.steps)):
        features = model.see(seen.pixels)
        named, _ = heads(features, seen)
        total = sum(len(part.targets) for part in parts)
        losses = [_answer_loss(model, part, features[-1]) for part in parts]
        answered = torch.stack(losses).sum() / total
        (answered + 0.2 * named).backward()
        _step(optimiser, step, plan.steps, plan.warm_up)
        recent.append(answered.item())
        if (step + 1) % plan.report_every == 0:
            mean = sum(recent) / len(recent)
            log.line(f"whole {step + 1} loss {mean:.4f} exact in 100: {exact(model, tokenizer, plan)}")
            log.keep(model)
            recent.clear()
    log.keep(model)


def _draw_seen(source: Source, count: int) -> Seen:
    return stack([source.view() for _ in range(count)])


def _draw_batches(source: Source, tokenizer: Tokenizer, count: int) -> tuple[Seen, list[Batch]]:
    views = [source.view() for _ in range(count)]
    return stack(views), batches(tokenizer, source, views)


def _answer_loss(model: ToyVlm, part: Batch, features: Tensor) -> Tensor:
    logits = model.answer_logits(part.ids, features[part.pictures], part.where)
    return nn.functional.cross_entropy(logits, part.targets, reduction="sum")


@torch.no_grad()
def exact(model: ToyVlm, tokenizer: Tokenizer, plan: Plan, count: int = 96) -> str:
    """Return how many answers in 100 greedy decoding would give word for word."""
    source = Source(plan, _EVALUATION_SEED)
    kinds = {
        "scenes": [source.scene_view() for _ in range(count)],
        "samples": [source.sample_view(number % len(source.samples)) for number in range(count)],
    }
    shares = []
    for kind, views in kinds.items():
        features = model.see(stack(views).pixels)[-1]
        parts = batches(tokenizer, source, views)
        right = torch.cat([_exact_rows(model, part, features) for part in parts])
        shares.append(f"{kind} {100 * right.float().mean():.0f}")
    return " ".join(shares)


def _exact_rows(model: ToyVlm, part: Batch, features: Tensor) -> Tensor:
    logits = model.answer_logits(part.ids, features[part.pictures], part.where)
    wrong = torch.zeros(len(part.ids)).index_add_(
        0, part.where.nonzero()[:, 0], (logits.argmax(-1) != part.targets).float()
    )
    return wrong == 0


class Log:
    """Prints lines with the seconds since the start, and keeps checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.log").unlink(missing_ok=True)

    def line(self, text: str) -> None:
        """Print `text` and append it to train.log."""
        stamped = f"{time.perf_counter() - self.start:6.0f} s  {text}"
        print(stamped, flush=True)
        with (self.folder / "train.log").open("a", encoding="utf-8") as stream:
            stream.write(stamped + "\n")

    def keep(self, model: ToyVlm) -> None:
        """Write the weights to model.pt."""
        temporary = self.folder / "model.pt.part"
        torch.save(model.state_dict(), temporary)
        temporary.replace(self.folder / "model.pt")


def train(folder: Path, plan: Plan, threads: int) -> None:
    """Run `plan` and leave tokenizer.json, model.pt and train.log in `folder`."""
    torch.manual_seed(plan.seed)
    torch.set_num_threads(threads)
    log = Log(folder)
    log.line(f"{plan}")
    tokenizer = learn_tokens(plan)
    tokenizer.save(str(folder / "tokenizer.json"))
    model, heads = ToyVlm(), Heads(len(data.samples()))
    log.line(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    train_tower(model, heads, plan, log)
    train_whole(model, heads, tokenizer, plan, log)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m toy_model.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint and log")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    arguments = parser.parse_args()
    train(arguments.out, Plan(), arguments.threads)


if __name__ == "__main__":
    main()
