"""The network: a CLIP vision tower, a projector of two layers, a Qwen2 text model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, Qwen2Config, Qwen2Model

from toy_model.architecture import (
    ATTENTION_HEADS,
    CONTEXT_LENGTH,
    END_ID,
    HIDDEN_SIZE,
    IMAGE_ID,
    IMAGE_MEAN,
    IMAGE_SIZE,
    IMAGE_STD,
    INNER_SIZE,
    PAD_ID,
    PATCH_SIZE,
    TEXT_LAYERS,
    VISION_LAYERS,
    VOCABULARY_SIZE,
)

if TYPE_CHECKING:
    from torch import Tensor


def vision_config(layers: int = VISION_LAYERS) -> CLIPVisionConfig:
    """The configuration of a vision tower with `layers` layers."""
    return CLIPVisionConfig(
        hidden_size=HIDDEN_SIZE,
        intermediate_size=INNER_SIZE,
        num_hidden_layers=layers,
        num_attention_heads=ATTENTION_HEADS,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=HIDDEN_SIZE,
        hidden_act="quick_gelu",
    )


def text_config() -> Qwen2Config:
    """The configuration of the text model."""
    return Qwen2Config(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=INNER_SIZE,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=ATTENTION_HEADS,
        num_key_value_heads=ATTENTION_HEADS,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )


def _position_waves() -> Tensor:
    """Waves that encode the row and column of each patch: (IMAGE_TOKENS, HIDDEN_SIZE).

    CLIP starts from noise of 0.02, which the patch itself drowns for the first thousand steps.
    """
    edge = IMAGE_SIZE // PATCH_SIZE
    frequencies = torch.logspace(math.log10(math.pi / edge), math.log10(math.pi / 1.2), HIDDEN_SIZE // 4)
    phases = torch.arange(edge)[:, None] * frequencies
    waves = 0.4 * torch.cat([phases.sin(), phases.cos()], dim=1)
    rows = waves[:, None].expand(edge, edge, HIDDEN_SIZE // 2)
    columns = waves[None].expand(edge, edge, HIDDEN_SIZE // 2)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


class ToyVlm(nn.Module):
    """The toy model as it is trained; the token embeddings are the output layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = CLIPVisionModel(vision_config())
        self.project = nn.Sequential(
            nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE), nn.GELU(), nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE)
        )
        self.text = Qwen2Model(text_config())
        with torch.no_grad():
            self.vision.embeddings.position_embedding.weight[1:] = _position_waves()

    def see(self, pictures: Tensor) -> list[Tensor]:
        """The patch features of every layer for uint8 pictures (n, IMAGE_SIZE, IMAGE_SIZE, 3).

        Each layer gives (n, IMAGE_TOKENS, HIDDEN_SIZE); the projector reads the last.
        """
        pixels = pictures.permute(0, 3, 1, 2).float() / 255
        mean = torch.tensor(IMAGE_MEAN)[:, None, None]
        std = torch.tensor(IMAGE_STD)[:, None, None]
        hidden = self.vision.pre_layrnorm(self.vision.embeddings((pixels - mean) / std))
        features = []
        for layer in self.vision.encoder.layers:
            hidden = layer(hidden, attention_mask=None)
            features.append(hidden[:, 1:])  # CLIP's class embedding comes first
        return features

    def answer_logits(self, ids: Tensor, features: Tensor, where: Tensor) -> Tensor:
        """The logits (m, VOCABULARY_SIZE) at the m positions where `where` (n, length) is true.

        `ids` (n, length) is padded on the right. The k-th IMAGE_ID in it, in reading order, is
        replaced by the k-th patch of `features` (pictures, IMAGE_TOKENS, HIDDEN_SIZE), projected.
        """
        embedded = self.text.embed_tokens(ids)
        projected = self.project(features).reshape(-1, HIDDEN_SIZE)
        embedded = embedded.masked_scatter((ids == IMAGE_ID)[..., None], projected)
        hidden = self.text(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return nn.functional.linear(hidden[where], self.text.embed_tokens.weight)
