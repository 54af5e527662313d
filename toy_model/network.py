"""The network: a CLIP vision tower, a projector of two layers, a Qwen2 text model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, Qwen2Config, Qwen2Model

from toy_model.scenes import IMAGE_SIZE

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 12
IMAGE_TOKENS = (IMAGE_SIZE // PATCH) ** 2
HIDDEN = 128
INNER = 384
HEADS = 4
VISION_LAYERS = 4
TEXT_LAYERS = 3
VOCABULARY = 1536
CONTEXT = 2048
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)

PAD_ID, START_ID, END_ID, IMAGE_ID = range(4)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>")


def vision_config(layers: int = VISION_LAYERS) -> CLIPVisionConfig:
    """Return the settings of a vision tower with `layers` layers."""
    return CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
        projection_dim=HIDDEN,
        hidden_act="quick_gelu",
    )


def text_config() -> Qwen2Config:
    """Return the settings of the text model."""
    return Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )


def _places() -> Tensor:
    """Return waves that tell each patch its row and column (IMAGE_TOKENS, HIDDEN).

    CLIP's own start, noise of 0.02, is drowned by the patch itself for the first thousand steps.
    """
    edge = IMAGE_SIZE // PATCH
    frequencies = torch.logspace(math.log10(math.pi / edge), math.log10(math.pi / 1.2), HIDDEN // 4)
    phases = torch.arange(edge)[:, None] * frequencies
    waves = 0.4 * torch.cat([phases.sin(), phases.cos()], dim=1)
    rows = waves[:, None].expand(edge, edge, HIDDEN // 2)
    columns = waves[None].expand(edge, edge, HIDDEN // 2)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


class ToyVlm(nn.Module):
    """The toy model as it is trained; the embeddings are tied to the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = CLIPVisionModel(vision_config())
        self.project = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN))
        self.text = Qwen2Model(text_config())
        with torch.no_grad():
            self.vision.embeddings.position_embedding.weight[1:] = _places()

    def see(self, pictures: Tensor) -> list[Tensor]:
        """Turn uint8 pictures (n, height, width, 3) into patch features of every layer.

        Each layer gives (n, IMAGE_TOKENS, HIDDEN); the projector reads the last.
        """
        pixels = pictures.permute(0, 3, 1, 2).float() / 255
        mean = torch.tensor(IMAGE_MEAN)[:, None, None]
        std = torch.tensor(IMAGE_STD)[:, None, None]
        hidden = self.vision.pre_layrnorm(self.vision.embeddings((pixels - mean) / std))
        features = []
        for layer in self.vision.encoder.layers:
            hidden = layer(hidden, attention_mask=None)
            features.append(hidden[:, 1:])
        return features

    def answer_logits(self, ids: Tensor, features: Tensor, where: Tensor) -> Tensor:
        """Return the logits (m, VOCABULARY) at the m places where `where` (n, length) is true.

        `ids` (n, length) is padded on the right; each IMAGE_ID in it, in reading order, stands for
        one row of `features` (rows, IMAGE_TOKENS, HIDDEN), which the projector has yet to see.
        """
        embedded = self.text.embed_tokens(ids)
        seen = self.project(features).reshape(-1, HIDDEN)
        embedded = embedded.masked_scatter((ids == IMAGE_ID)[..., None], seen)
        hidden = self.text(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return nn.functional.linear(hidden[where], self.text.embed_tokens.weight)
