"""The numbers that the network, its training data and its export formats must agree on."""

from __future__ import annotations

IMAGE_SIZE = 96
"""Edge of the square picture that enters the vision tower, in pixels."""

PATCH_SIZE = 12
"""Edge of a patch, in pixels."""

IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2
"""Patches of a picture; the text model reads each as one token."""

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's normalisation of red, green and blue between 0 and 1, which every server knows."""

PAD_COLOUR = (122, 116, 104)
"""The colour that llama.cpp and LlavaImageProcessor pad a picture with: CLIP's mean in sRGB."""

HIDDEN_SIZE = 128
INNER_SIZE = 384
ATTENTION_HEADS = 4
VISION_LAYERS = 4
TEXT_LAYERS = 3
VOCABULARY_SIZE = 1536
CONTEXT_LENGTH = 2048
"""The longest conversation, in tokens."""

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>")
PAD_ID, START_ID, END_ID, IMAGE_ID = range(4)
"""The ids of the special tokens: the tokenizer numbers them first, in this order."""
