"""Prepared pictures with all that is known of them, as the vision tower and its training heads need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from toy_model.answers import sample_answers, scene_answers
from toy_model.architecture import IMAGE_SIZE, IMAGE_TOKENS, PATCH_SIZE
from toy_model.sample_pictures import prepared_sample
from toy_model.scenes import COLOURS, POSITIONS, SHAPES, SIZES, prepared_scene

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

    from toy_model.answers import Answers
    from toy_model.sample_pictures import SamplePicture
    from toy_model.scenes import Scene

CLASSES: Mapping[str, Sequence[str]] = {
    "background": tuple(COLOURS),
    "colour": ("none", *COLOURS),
    "shape": ("none", *SHAPES),
    "size": ("none", *SIZES),
    "position": ("none", *POSITIONS),
}
"""The classes of each attribute of a scene, in the order of their numbers."""

UNKNOWN_CLASS = -100
"""The class of an attribute that is not known of a picture; it adds nothing to the loss."""

CELLS = 4
"""A patch has this many cells in a row and in a column; each has its share that the shape covers."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A prepared picture (IMAGE_SIZE, IMAGE_SIZE, 3) with its answers and what its heads are to name.

    `cover` (IMAGE_TOKENS, CELLS squared) is the share of each cell that the shape covers, 0 to 1.
    `classes` has one class per attribute, then the number of the sample picture: 0 for a scene.
    """

    pixels: NDArray[np.uint8]
    answers: Answers
    cover: NDArray[np.float32]
    classes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ViewTensors:
    """n views as tensors.

    `pixels` is uint8 (n, IMAGE_SIZE, IMAGE_SIZE, 3), `cover` float (n, IMAGE_TOKENS, CELLS squared),
    `classes` integer (n, attributes + 1), each as in :class:`View`.
    """

    pixels: Tensor
    cover: Tensor
    classes: Tensor


def scene_view(scene: Scene, rng: np.random.Generator) -> View:
    """`scene` rendered and prepared at random."""
    names = [getattr(scene, attribute) or "none" for attribute in CLASSES]
    classes = [kinds.index(name) for kinds, name in zip(CLASSES.values(), names, strict=True)]
    rendering = prepared_scene(scene, rng)
    return View(
        pixels=rendering.pixels,
        answers=scene_answers(scene),
        cover=_cell_cover(rendering.cover),
        classes=(*classes, 0),
    )


def sample_view(number: int, sample: SamplePicture, picture: Image.Image, rng: np.random.Generator) -> View:
    """A sample picture prepared at random; `number` counts the sample pictures from 0."""
    return View(
        pixels=prepared_sample(picture, rng),
        answers=sample_answers(sample),
        cover=np.zeros((IMAGE_TOKENS, CELLS**2), dtype=np.float32),
        classes=(UNKNOWN_CLASS,) * len(CLASSES) + (number + 1,),
    )


def stack_views(views: Sequence[View]) -> ViewTensors:
    """`views` as tensors, in their order."""
    return ViewTensors(
        pixels=torch.from_numpy(np.stack([view.pixels for view in views])),
        cover=torch.from_numpy(np.stack([view.cover for view in views])),
        classes=torch.tensor([view.classes for view in views]),
    )


def _cell_cover(cover: NDArray[np.float32]) -> NDArray[np.float32]:
    """The means of `cover` (IMAGE_SIZE, IMAGE_SIZE) over each cell: (IMAGE_TOKENS, CELLS squared)."""
    edge, size = IMAGE_SIZE // PATCH_SIZE, PATCH_SIZE // CELLS
    apart = cover.reshape(edge, CELLS, size, edge, CELLS, size)
    blocks: NDArray[np.float32] = apart.mean((2, 5))
    return blocks.transpose(0, 2, 1, 3).reshape(edge * edge, CELLS**2)
