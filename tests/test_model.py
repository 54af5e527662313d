"""The model: what the command, the server and the files say about it, and nothing else."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from pytest_setups import demo
from pytest_setups.registry.entry import Entry
from pytest_setups.serving.backends import Identity
from pytest_setups.serving.command_line.launch_command import parse_command
from pytest_setups.serving.local.gguf import GgufError, read_general
from pytest_setups.serving.local.listener import Listener
from pytest_setups.serving.local.model_files import ModelFacts, model_facts

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def facts(
    command: str,
    identity: Identity | None = None,
    *,
    local: bool = True,
    **listener: Any,
) -> ModelFacts:
    listener_of_it = Listener(command, **listener) if local else None
    return model_facts(identity or Identity(), parse_command(command), None, listener_of_it)


def folder(path: Path, config: dict[str, Any], readme: str = "") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    (path / "README.md").write_text(readme, "utf-8")
    return path


@pytest.mark.parametrize(
    ("config", "form", "quantization"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq", "awq"),
        ({"quantization_config": {"quant_method": "gptq"}}, "gptq", "gptq"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8", "fp8"),
        (
            {"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"}},
            "compressed-tensors",
            "pack-quantized",
        ),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8", "fp8"),
        ({"torch_dtype": "bfloat16"}, "bf16", None),
        ({"dtype": "float16"}, "fp16", None),
        ({"text_config": {"dtype": "bfloat16"}}, "bf16", None),
        ({"torch_dtype": "auto"}, None, None),
        ({}, None, None),
    ],
)
def test_the_format_of_a_folder(
    tmp_path: Path, config: dict[str, Any], form: str | None, quantization: str | None
) -> None:
    path = folder(tmp_path / "m", config)

    model = facts(f"vllm serve {path}")

    assert (model.path, model.format, model.quantization) == (str(path), form, quantization)


def test_what_the_command_and_the_server_say_wins_over_the_folder(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", {"quantization_config": {"quant_method": "awq"}})

    model = facts(f"vllm serve {path} --quantization awq_marlin")

    assert (model.format, model.quantization) == ("awq", "awq_marlin")


def test_a_path_is_relative_to_the_servers_directory(tmp_path: Path) -> None:
    folder(tmp_path / "weights" / "m", {"vision_config": {}, "torch_dtype": "bfloat16"})

    model = facts("vllm serve weights/m", directory=str(tmp_path))

    assert model.path == str(tmp_path / "weights" / "m")
    assert (model.repo_id, model.format, model.vision) == (None, "bf16", True)


def test_a_repository_is_found_in_the_cache_with_its_revision(tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "models--org--m"
    path = folder(cached / "snapshots" / COMMIT, {"quantization_config": {"quant_method": "gptq"}})
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(f"{COMMIT}\n", "utf-8")

    model = facts("vllm serve org/m", variables={"HF_HOME": str(tmp_path)})

    assert model == ModelFacts(
        path=str(path), repo_id="org/m", revision=COMMIT, format="gptq", quantization="gptq", vision=False
    )
    assert facts(f"vllm serve {path}").repo_id == "org/m"


def test_a_download_beside_the_cache_has_its_revision_and_its_base_model(tmp_path: Path) -> None:
    path = folder(
        tmp_path / "m-AWQ",
        {},
        f"---\nlicense: mit\nbase_model:\n- Qwen/Qwen2.5-VL-7B-Instruct\n---\nbase_model: {'x/y'}\n",
    )
    note = path / ".cache/huggingface/download/config.json.metadata"
    note.parent.mkdir(parents=True)
    note.write_text(f"{COMMIT}\netag\n1.0\n", "utf-8")

    model = facts(f"vllm serve {path}")

    assert (model.repo_id, model.revision, model.base_model) == (None, COMMIT, "Qwen/Qwen2.5-VL-7B-Instruct")


def test_files_of_another_machine_are_not_looked_for_here(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", {"torch_dtype": "bfloat16"})

    model = facts(f"vllm serve {path}", local=False)

    assert model == ModelFacts(path=str(path))
    assert facts("vllm serve org/m", local=False) == ModelFacts(repo_id="org/m")


@pytest.mark.parametrize(
    ("description", "name"),
    [("Q4_K - Medium", "Q4_K_M"), ("all F32", "F32"), ("F16", "F16"), ("IQ2_XXS - 2.0625 bpw", "IQ2_XXS"),
     ("Q2_K - Medium", "Q2_K"), ("Q8_0", "Q8_0"), ("4bit", "4bit"), ("something else", "something else")],
)  # fmt: skip
def test_quantizations_of_llama_cpp_are_named_as_people_do(description: str, name: str) -> None:
    assert facts("x", Identity(quantization=description), local=False).quantization == name


def gguf(*keys: tuple[str, int, bytes], version: int = 3, magic: bytes = b"GGUF") -> bytes:
    data = magic + struct.pack("<IQQ", version, 0, len(keys))
    for key, kind, value in keys:
        data += struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value
    return data


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def test_the_quantization_and_origin_of_a_gguf_file(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(
        gguf(
            ("general.architecture", 8, text("qwen2vl")),
            ("general.tags", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b")),
            ("qwen2vl.block_count", 4, struct.pack("<I", 28)),
            ("general.repo_url", 8, text("https://huggingface.co/unsloth/m-GGUF")),
            ("general.base_model.0.repo_url", 8, text("https://huggingface.co/org/m")),
            ("general.file_type", 4, struct.pack("<I", 15)),
            ("tokenizer.ggml.tokens", 9, b"cut off here"),
        )
    )

    model = facts(f"llama-server -m {path}")

    assert model == ModelFacts(
        path=str(path), repo_id="unsloth/m-GGUF", base_model="org/m", format="gguf", quantization="Q4_K_M"
    )


def test_the_real_file_of_the_demo_is_read() -> None:
    assert read_general(demo.MODEL)["architecture"] == "qwen2"
    assert facts(f"llama-server -m {demo.MODEL}").quantization == "F16"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        gguf(magic=b"GGML"),
        gguf(version=9),
        gguf(("general.name", 8, struct.pack("<Q", 2**62))),
        gguf(("general.name", 99, b"")),
        gguf(("general.tags", 9, struct.pack("<IQ", 0, 2**60))),
        gguf(("general.tags", 9, struct.pack("<IQ", 9, 1) * 2000)),
        gguf(("general.name", 8, text("m")))[:-1],
    ],
)
def test_a_file_that_is_not_gguf_or_broken_has_no_facts(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)

    with pytest.raises(GgufError):
        read_general(path)
    assert facts(f"llama-server -m {path}") == ModelFacts(path=str(path))


def test_paths_hosts_and_ports_do_not_change_the_fingerprint() -> None:
    def entry(place: str, port: int, context: int) -> Entry:
        command = parse_command(
            f"llama-server -m {place}/m.gguf --mmproj {place}/p.gguf --host {place}.local --port {port} "
            f"--api-key {port} --chat-template-file {place}/chat.jinja -c {context}"
        )
        return Entry.model_validate(
            {
                "model": {"served_model_name": "m", "local_path": command.model},
                "server": {
                    "backend": "llama.cpp",
                    "flags": command.flags,
                    "port": port,
                    "chat_template": command.chat_template,
                },
                "tagger": {},
                "verification": {"date_utc": "2026-01-01T00:00:00Z", "status": "success"},
            }
        )

    first = entry("/srv/models", 8080, 2048).fingerprint()

    assert entry("~/weights", 8090, 2048).fingerprint() == first
    assert entry("/srv/models", 8080, 4096).fingerprint() != first
