"""What the vision tower is trained with, and loses at export.

Heads on the patches of several layers: the early ones mark what the shape covers, the middle ones
where a patch lies on the shape, and the last one draws a miniature of the shape and names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from toy_model import scenes as data
from toy_model.network import HIDDEN, PATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from toy_model.training_data import Seen

IGNORED = -100
"""The class of what is not known of a picture."""

CELLS = 4
"""A patch has this many cells in a row and in a column, each of which the shape covers or not."""

NAMES: Mapping[str, Sequence[str]] = {
    "background": tuple(data.COLOURS),
    "colour": ("none", *data.COLOURS),
    "shape": ("none", *data.SHAPES),
    "size": ("none", *data.SIZES),
    "position": ("none", *data.POSITIONS),
}
"""What is named of a scene; one more head names the sample picture, class 0 being a scene."""

_ON_SHAPE = 0.12
"""The least share of a patch that the shape covers for the patch to be on the shape."""

_OUTLINE_LAYERS = (0, 1)
_PLACE_LAYERS = (1, 2)
_MINIATURE = 9
"""Cells in a row of the miniature of the shape that every patch on it learns to draw."""

_EVERYWHERE = ("background", "picture")


class Heads(nn.Module):
    """What the vision tower is trained with, and loses at export."""

    def __init__(self, sample_count: int) -> None:
        super().__init__()
        self.names = (*NAMES, "picture")
        self.sizes = [*map(len, NAMES.values()), sample_count + 1]
        self.norm = nn.LayerNorm(HIDDEN)
        self.linear = nn.Linear(HIDDEN, sum(self.sizes))
        self.outlines = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, CELLS**2)) for _ in _OUTLINE_LAYERS
        )
        self.places = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, 3)) for _ in _PLACE_LAYERS
        )
        self.miniature = nn.Sequential(nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, _MINIATURE**2))

    def forward(self, features: list[Tensor], seen: Seen) -> tuple[Tensor, Tensor]:
        """Return the loss, and what share of the pictures each head (heads) names rightly."""
        on_shape = (seen.cover.mean(-1) > _ON_SHAPE).float()
        on_shape = torch.where(on_shape.any(1, keepdim=True), on_shape, 1.0)
        named, right = [], []
        logits = self.linear(self.norm(features[-1])).split(self.sizes, dim=-1)
        for name, wanted, head in zip(self.names, seen.classes.T, logits, strict=True):
            weights = torch.ones_like(on_shape) if name in _EVERYWHERE else on_shape
            loss, share = _named(head, wanted, weights)
            named.append(2 * loss if name == "shape" else loss)
            right.append(share)
        layers = self._outline(features, seen) + self._place(features, seen.cover)
        return 2 * torch.stack(named).mean() + layers, torch.stack(right)

    def _place(self, features: list[Tensor], cover: Tensor) -> Tensor:
        on_shape = cover.mean(-1) > _ON_SHAPE
        places, miniatures = _on_shape(cover)
        losses = [
            nn.functional.smooth_l1_loss(head(features[at][on_shape]), places[on_shape])
            for at, head in zip(_PLACE_LAYERS, self.places, strict=True)
        ]
        wanted = miniatures[:, None].expand(*on_shape.shape, _MINIATURE**2)[on_shape]
        drawn = self.miniature(features[-1][on_shape])
        losses.append(2 * nn.functional.binary_cross_entropy_with_logits(drawn, wanted))
        return torch.stack(losses).nan_to_num().sum()

    def _outline(self, features: list[Tensor], seen: Seen) -> Tensor:
        scenes = seen.classes[:, -1] == 0
        losses = [
            nn.functional.binary_cross_entropy_with_logits(head(features[at][scenes]), seen.cover[scenes])
            for at, head in zip(_OUTLINE_LAYERS, self.outlines, strict=True)
        ]
        return 1.5 * torch.stack(losses).nan_to_num().sum()


def _named(logits: Tensor, wanted: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and the share of right names over the pictures whose class is known.

    `logits` (n, IMAGE_TOKENS, classes) counts with `weights` (n, IMAGE_TOKENS); `wanted` is (n).
    """
    known = wanted != IGNORED
    weights = weights[known] / weights[known].sum(1, keepdim=True)
    pooled = (logits[known].log_softmax(-1) * weights[..., None]).sum(1)
    loss = nn.functional.nll_loss(pooled, wanted[known]).nan_to_num()
    return loss, (pooled.argmax(-1) == wanted[known]).float().mean().nan_to_num()


def _on_shape(cover: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each patch lies on the shape with its size, and a miniature of the shape.

    `cover` is (n, IMAGE_TOKENS, cells). Places (n, IMAGE_TOKENS, 3) count down and right from the
    shape's centre of mass, in units of twice its root mean square radius, then comes the logarithm
    of that radius in patches. Miniatures (n, _MINIATURE squared) reach 0.8 units to every side.
    """
    whole = _joined(cover)
    edge, count = data.IMAGE_SIZE // PATCH, whole.shape[-1]
    grid = _grid((torch.arange(count) + 0.5) / CELLS)
    mass = whole.sum((1, 2)).clamp_min(1e-3)[:, None]
    centre = (whole[..., None] * grid).sum((1, 2)) / mass
    away = (grid - centre[:, None, None]).square().sum(-1)
    unit = 2 * ((whole * away).sum((1, 2))[:, None] / mass).clamp_min(1e-3).sqrt()
    patches = (_grid(torch.arange(edge)) + 0.5).flatten(0, 1)
    places = (patches - centre[:, None]) / unit[:, None]
    size = (unit / 2).log()[:, None].expand(*places.shape[:2], 1)
    across = _grid(torch.linspace(-0.8, 0.8, _MINIATURE)).flip(-1)
    where = (centre.flip(-1)[:, None, None] + unit[:, None, None] * across) * 2 / edge - 1
    small = nn.functional.grid_sample(whole[:, None], where, align_corners=False)
    return torch.cat([places, size], dim=-1), small.flatten(1)


def _joined(cover: Tensor) -> Tensor:
    """Put the cells of all patches (n, IMAGE_TOKENS, cells) together as one square for each."""
    edge = data.IMAGE_SIZE // PATCH
    cells_apart = cover.reshape(-1, edge, edge, CELLS, CELLS).transpose(2, 3)
    return cells_apart.reshape(-1, edge * CELLS, edge * CELLS)


def _grid(steps: Tensor) -> Tensor:
    """Return row and column of every crossing of `steps`: (len, len, 2)."""
    return torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)


def cells(cover: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average `cover` (IMAGE_SIZE, IMAGE_SIZE) over cells: (IMAGE_TOKENS, cells of a patch)."""
    edge, size = data.IMAGE_SIZE // PATCH, PATCH // CELLS
    apart = cover.reshape(edge, CELLS, size, edge, CELLS, size)
    blocks: NDArray[np.float32] = apart.mean((2, 5))
    return blocks.transpose(0, 2, 1, 3).reshape(edge * edge, CELLS**2)
