"""The heads that train the vision tower; they are not exported.

They read the patches of several layers: early layers mark what the shape covers, middle layers where
a patch lies on the shape, and the last layer draws a miniature of the shape and names its attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from toy_model.architecture import HIDDEN_SIZE, IMAGE_SIZE, PATCH_SIZE
from toy_model.views import CELLS, CLASSES, UNKNOWN_CLASS

if TYPE_CHECKING:
    from torch import Tensor

    from toy_model.views import ViewTensors

_ON_SHAPE = 0.12
"""A patch is on the shape where the shape covers more than this share of it."""

_OUTLINE_LAYERS = (0, 1)
_PLACE_LAYERS = (1, 2)
"""The layers whose patches mark what the shape covers, and where they lie on it."""

_MINIATURE = 9
"""Cells in a row of the miniature of the shape that every patch on it learns to draw."""

_EVERYWHERE = ("background", "picture")
"""What every patch names; the other attributes are named by the patches on the shape."""


class TrainingHeads(nn.Module):
    """A head for each attribute of a scene, one for the sample picture, and those for outline and place."""

    def __init__(self, sample_count: int) -> None:
        super().__init__()
        self.names = (*CLASSES, "picture")
        self.sizes = [*map(len, CLASSES.values()), sample_count + 1]
        self.norm = nn.LayerNorm(HIDDEN_SIZE)
        self.linear = nn.Linear(HIDDEN_SIZE, sum(self.sizes))
        self.outlines = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(HIDDEN_SIZE), nn.Linear(HIDDEN_SIZE, CELLS**2))
            for _ in _OUTLINE_LAYERS
        )
        self.places = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(HIDDEN_SIZE), nn.Linear(HIDDEN_SIZE, 3)) for _ in _PLACE_LAYERS
        )
        self.miniature = nn.Sequential(nn.LayerNorm(HIDDEN_SIZE), nn.Linear(HIDDEN_SIZE, _MINIATURE**2))

    def forward(self, features: list[Tensor], views: ViewTensors) -> tuple[Tensor, Tensor]:
        """The loss, and the share of the pictures that each head names correctly (names).

        `features` has (n, IMAGE_TOKENS, HIDDEN_SIZE) of every layer of the tower.
        """
        on_shape = (views.cover.mean(-1) > _ON_SHAPE).float()
        # Where the shape covers no patch enough, and in sample pictures, all patches count.
        on_shape = torch.where(on_shape.any(1, keepdim=True), on_shape, 1.0)
        losses, shares = [], []
        logits = self.linear(self.norm(features[-1])).split(self.sizes, dim=-1)
        for name, classes, head in zip(self.names, views.classes.T, logits, strict=True):
            weights = torch.ones_like(on_shape) if name in _EVERYWHERE else on_shape
            loss, share = _class_loss(head, classes, weights)
            # The shape is learnt last, long after colours and positions.
            losses.append(2 * loss if name == "shape" else loss)
            shares.append(share)
        layers = self._outline_loss(features, views) + self._place_loss(features, views.cover)
        return 2 * torch.stack(losses).mean() + layers, torch.stack(shares)

    def _place_loss(self, features: list[Tensor], cover: Tensor) -> Tensor:
        on_shape = cover.mean(-1) > _ON_SHAPE
        places, miniatures = _places_and_miniatures(cover)
        losses = [
            nn.functional.smooth_l1_loss(head(features[at][on_shape]), places[on_shape])
            for at, head in zip(_PLACE_LAYERS, self.places, strict=True)
        ]
        wanted = miniatures[:, None].expand(*on_shape.shape, _MINIATURE**2)[on_shape]
        drawn = self.miniature(features[-1][on_shape])
        losses.append(2 * nn.functional.binary_cross_entropy_with_logits(drawn, wanted))
        return torch.stack(losses).nan_to_num().sum()

    def _outline_loss(self, features: list[Tensor], views: ViewTensors) -> Tensor:
        scenes = views.classes[:, -1] == 0
        losses = [
            nn.functional.binary_cross_entropy_with_logits(head(features[at][scenes]), views.cover[scenes])
            for at, head in zip(_OUTLINE_LAYERS, self.outlines, strict=True)
        ]
        return 1.5 * torch.stack(losses).nan_to_num().sum()


def _class_loss(logits: Tensor, classes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the share of correct classes, over the pictures whose class is known.

    `logits` is (n, IMAGE_TOKENS, classes), weighted by `weights` (n, IMAGE_TOKENS); `classes` is (n).
    """
    known = classes != UNKNOWN_CLASS
    weights = weights[known] / weights[known].sum(1, keepdim=True)
    pooled = (logits[known].log_softmax(-1) * weights[..., None]).sum(1)
    loss = nn.functional.nll_loss(pooled, classes[known]).nan_to_num()
    return loss, (pooled.argmax(-1) == classes[known]).float().mean().nan_to_num()


def _places_and_miniatures(cover: Tensor) -> tuple[Tensor, Tensor]:
    """Where each patch lies on the shape, with the size of the shape, and a miniature of the shape.

    `cover` is (n, IMAGE_TOKENS, CELLS squared). Places are (n, IMAGE_TOKENS, 3): the distance down
    and right from the shape's centre of mass, in units of twice its root mean square radius, and the
    logarithm of that radius in patches. Miniatures are (n, _MINIATURE squared) and reach 0.8 units
    from the centre to every side.
    """
    whole = _joined(cover)
    edge, count = IMAGE_SIZE // PATCH_SIZE, whole.shape[-1]
    grid = _grid((torch.arange(count) + 0.5) / CELLS)
    mass = whole.sum((1, 2)).clamp_min(1e-3)[:, None]
    centre = (whole[..., None] * grid).sum((1, 2)) / mass
    squares = (grid - centre[:, None, None]).square().sum(-1)
    unit = 2 * ((whole * squares).sum((1, 2))[:, None] / mass).clamp_min(1e-3).sqrt()
    patches = (_grid(torch.arange(edge)) + 0.5).flatten(0, 1)
    places = (patches - centre[:, None]) / unit[:, None]
    size = (unit / 2).log()[:, None].expand(*places.shape[:2], 1)
    across = _grid(torch.linspace(-0.8, 0.8, _MINIATURE)).flip(-1)
    where = (centre.flip(-1)[:, None, None] + unit[:, None, None] * across) * 2 / edge - 1
    small = nn.functional.grid_sample(whole[:, None], where, align_corners=False)
    return torch.cat([places, size], dim=-1), small.flatten(1)


def _joined(cover: Tensor) -> Tensor:
    """The cells of all patches (n, IMAGE_TOKENS, CELLS squared) as one square of cells per picture."""
    edge = IMAGE_SIZE // PATCH_SIZE
    cells_apart = cover.reshape(-1, edge, edge, CELLS, CELLS).transpose(2, 3)
    return cells_apart.reshape(-1, edge * CELLS, edge * CELLS)


def _grid(steps: Tensor) -> Tensor:
    """Row and column of every crossing of `steps`: (len(steps), len(steps), 2)."""
    return torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
