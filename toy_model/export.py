"""Export a trained toy model: `python -m toy_model.export --checkpoint DIR --out DIR`.

Writes `toy-vlm.gguf` and `mmproj-toy-vlm.gguf` for llama.cpp, and `hf/`, a folder that transformers
and vLLM load. Both store matrices as F16, so both hold the same numbers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import gguf
import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import LlavaConfig

from toy_model import architecture
from toy_model.companions import MMPROJ_FILE, TEXT_FILE
from toy_model.network import text_config, vision_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

_CHAT_TEMPLATE = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{%- if m['content'] is string -%}{{ m['content'] }}{%- else -%}"
    "{%- for c in m['content'] -%}{%- if c['type'] == 'text' -%}{{ c['text'] }}"
    "{%- else -%}{{ 'PICTURE' }}{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
"""ChatML in Jinja; PICTURE stands for the mark of a picture, which differs between servers."""

# The names of transformers, and llama.cpp's: in a text layer, in a vision layer, before the vision layers.
_TEXT_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_VISION_NAMES = {
    "layer_norm1": "ln1",
    "layer_norm2": "ln2",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
_EMBEDDING_NAMES = {
    "embeddings.class_embedding": "v.class_embd",
    "embeddings.patch_embedding.weight": "v.patch_embd.weight",
    "pre_layrnorm.weight": "v.pre_ln.weight",  # "layrnorm" is how transformers spells it
    "pre_layrnorm.bias": "v.pre_ln.bias",
}


def load_weights(folder: Path) -> Weights:
    """The weights in model.pt of `folder` as float32 arrays, by their names in ToyVlm."""
    state = torch.load(folder / "model.pt", weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in state.items()}


def chat_template(picture: str) -> str:
    """The ChatML template with `picture` as the mark of a picture."""
    return _CHAT_TEMPLATE.replace("PICTURE", picture)


def write_text_gguf(weights: Weights, tokenizer: Mapping[str, Any], path: Path) -> None:
    """Write the text model and its tokenizer for llama.cpp."""
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("toy-vlm")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(architecture.CONTEXT_LENGTH)
    writer.add_embedding_length(architecture.HIDDEN_SIZE)
    writer.add_block_count(architecture.TEXT_LAYERS)
    writer.add_feed_forward_length(architecture.INNER_SIZE)
    writer.add_head_count(architecture.ATTENTION_HEADS)
    writer.add_head_count_kv(architecture.ATTENTION_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(architecture.VOCABULARY_SIZE)
    _add_tokenizer(writer, tokenizer)
    _add(writer, "token_embd.weight", weights["text.embed_tokens.weight"])
    _add(writer, "output_norm.weight", weights["text.norm.weight"])
    _add_blocks(writer, weights, "text.layers", "blk", _TEXT_NAMES)
    _finish(writer)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Mapping[str, Any]) -> None:
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    kinds = [
        gguf.TokenType.CONTROL if name in architecture.SPECIAL_TOKENS else gguf.TokenType.NORMAL
        for name, _ in vocabulary
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([name for name, _ in vocabulary])
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(architecture.START_ID)
    writer.add_eos_token_id(architecture.END_ID)
    writer.add_pad_token_id(architecture.PAD_ID)
    writer.add_add_bos_token(value=False)
    writer.add_chat_template(chat_template("<__media__>"))


def write_vision_gguf(weights: Weights, path: Path) -> None:
    """Write the vision tower and the projector for llama.cpp."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_name("toy-vlm-mmproj")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_clip_has_vision_encoder(value=True)
    writer.add_clip_projector_type("mlp")
    writer.add_vision_projection_dim(architecture.HIDDEN_SIZE)
    writer.add_vision_image_size(architecture.IMAGE_SIZE)
    writer.add_vision_patch_size(architecture.PATCH_SIZE)
    writer.add_vision_embedding_length(architecture.HIDDEN_SIZE)
    writer.add_vision_feed_forward_length(architecture.INNER_SIZE)
    writer.add_vision_block_count(architecture.VISION_LAYERS)
    writer.add_vision_head_count(architecture.ATTENTION_HEADS)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean(architecture.IMAGE_MEAN)
    writer.add_vision_image_std(architecture.IMAGE_STD)
    writer.add_array("clip.vision.feature_layer", [architecture.VISION_LAYERS])
    for name, renamed in _EMBEDDING_NAMES.items():
        _add(writer, renamed, weights[f"vision.{name}"])
    # llama.cpp appends the class embedding to the patches, where CLIP puts it before them: its
    # position is stored last, too.
    positions = np.roll(weights["vision.embeddings.position_embedding.weight"], -1, axis=0)
    _add(writer, "v.position_embd.weight", positions, as_float32=True)
    _add_blocks(writer, weights, "vision.encoder.layers", "v.blk", _VISION_NAMES)
    for number in (0, 2):
        for kind in ("weight", "bias"):
            _add(writer, f"mm.{number}.{kind}", weights[f"project.{number}.{kind}"])
    _finish(writer)


def _add_blocks(
    writer: gguf.GGUFWriter, weights: Weights, prefix: str, new: str, names: Mapping[str, str]
) -> None:
    for name, array in weights.items():
        if not name.startswith(f"{prefix}."):
            continue
        number, rest = name.removeprefix(f"{prefix}.").split(".", 1)
        part, kind = rest.rsplit(".", 1)
        _add(writer, f"{new}.{number}.{names[part]}.{kind}", array)


def _add(writer: gguf.GGUFWriter, name: str, array: NDArray[np.float32], *, as_float32: bool = False) -> None:
    stored = _half(array)
    writer.add_tensor(name, stored.astype(np.float32) if as_float32 or array.ndim == 1 else stored)


def _half(array: NDArray[np.float32]) -> NDArray[np.float16]:
    return np.ascontiguousarray(array.astype(np.float16))


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def hugging_face_weights(weights: Weights) -> dict[str, NDArray[np.float16]]:
    """`weights` by the names that vLLM and transformers read.

    Llava reads the last layer but one of its tower, so one more layer of zeros is stored: it is
    loaded, and its output is not used. Nor is that of the last layer norm.
    """
    renamed = {}
    for name, array in weights.items():
        # vLLM wants `vision_tower.vision_model.*`, where transformers 5 itself writes `vision_tower.*`.
        new = name.replace("vision.", "vision_tower.vision_model.", 1) if name[0] == "v" else name
        if name.startswith("text."):
            new = name.replace("text.", "language_model.model.", 1)
        new = new.replace("project.0.", "multi_modal_projector.linear_1.")
        new = new.replace("project.2.", "multi_modal_projector.linear_2.")
        renamed[new] = _half(array)
    first, unused = "encoder.layers.0.", f"encoder.layers.{architecture.VISION_LAYERS}."
    zeros = {
        name.replace(first, unused): np.zeros_like(array)
        for name, array in renamed.items()
        if f"vision_model.{first}" in name
    }
    return renamed | zeros


def hugging_face_config() -> LlavaConfig:
    """The Llava configuration of the exported folder."""
    return LlavaConfig(
        vision_config=vision_config(architecture.VISION_LAYERS + 1),
        text_config=text_config(),
        image_token_index=architecture.IMAGE_ID,
        image_seq_length=architecture.IMAGE_TOKENS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        multimodal_projector_bias=True,
        tie_word_embeddings=True,
        architectures=["LlavaForConditionalGeneration"],
    )


def write_hugging_face(weights: Weights, tokenizer: str, folder: Path) -> None:
    """Write the folder that transformers and vLLM load."""
    folder.mkdir(parents=True, exist_ok=True)
    hugging_face_config().save_pretrained(folder)
    save_file(hugging_face_weights(weights), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    (folder / "chat_template.jinja").write_text(chat_template("<image>"), encoding="utf-8")
    for name, table in _hugging_face_tables().items():
        (folder / name).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _hugging_face_tables() -> dict[str, dict[str, Any]]:
    edge = {"height": architecture.IMAGE_SIZE, "width": architecture.IMAGE_SIZE}
    return {
        "generation_config.json": {"eos_token_id": architecture.END_ID, "pad_token_id": architecture.PAD_ID},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": architecture.CONTEXT_LENGTH,
            "extra_special_tokens": {"image_token": "<image>"},
        },
        "processor_config.json": {
            "processor_class": "LlavaProcessor",
            "image_token": "<image>",
            "patch_size": architecture.PATCH_SIZE,
            "vision_feature_select_strategy": "default",
            "num_additional_image_tokens": 1,
        },
        "preprocessor_config.json": {
            "image_processor_type": "LlavaImageProcessor",
            "processor_class": "LlavaProcessor",
            "do_convert_rgb": True,
            "do_pad": True,
            "do_resize": True,
            "size": {"shortest_edge": architecture.IMAGE_SIZE},
            "resample": 2,
            "do_center_crop": True,
            "crop_size": edge,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": architecture.IMAGE_MEAN,
            "image_std": architecture.IMAGE_STD,
        },
    }


def export(checkpoint: Path, folder: Path) -> None:
    """Write the model in the folder `checkpoint` to `folder` in every format."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = load_weights(checkpoint)
    tokenizer = (checkpoint / "tokenizer.json").read_text(encoding="utf-8")
    write_text_gguf(weights, json.loads(tokenizer), folder / TEXT_FILE)
    write_vision_gguf(weights, folder / MMPROJ_FILE)
    write_hugging_face(weights, tokenizer, folder / "hf")


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(prog="python -m toy_model.export", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="what train wrote to")
    parser.add_argument("--out", type=Path, required=True, help="where the GGUF pair and hf/ go")
    arguments = parser.parse_args()
    export(arguments.checkpoint, arguments.out)


if __name__ == "__main__":
    main()
