"""The server programs, as tables: how each spells its model, name, port and short options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Program:
    """One server program.

    Option names are long ones without dashes.

    Attributes:
        backend: the kind of server, None when it is not known.
        names: of the program's file.
        modules: what ``python -m`` runs.
        images: of containers, without registry and tag.
        after: the words between the program and its arguments, such as ``serve``.
        positional: whether the first word that is not an option is the model.
        model: options that name the model; likewise ``served_name``, ``host`` and ``chat_template``.
        port: where it listens unless an option says otherwise.
        spellings: short options and aliases by the one name that is kept.
        switches: options that take no value; those that begin with enable, disable, no or skip are known.
        environment: variables by the options that they stand for.
    """

    backend: str | None
    names: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    positional: bool = False
    model: tuple[str, ...] = ("model",)
    served_name: tuple[str, ...] = ("served-model-name",)
    host: tuple[str, ...] = ("host",)
    chat_template: tuple[str, ...] = ("chat-template",)
    port: int | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    switches: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)


# Each server's own argument parser: vllm/engine/arg_utils.py, sglang/srt/server_args.py, llama.cpp's
# common/arg.cpp, lmdeploy/cli/serve.py, TGI's launcher/src/main.rs, tensorrt_llm/commands/serve.py.
_VLLM_SPELLINGS: Final = {
    "tp": "tensor-parallel-size",
    "pp": "pipeline-parallel-size",
    "dp": "data-parallel-size",
    "dcp": "decode-context-parallel-size",
    "q": "quantization",
    "O": "optimization-level",
    "n": "nnodes",
    "r": "node-rank",
}
# Only switches that a model's name may follow need to be known: vllm serve --enforce-eager MODEL.
_VLLM_SWITCHES: Final = frozenset(
    {"enforce-eager", "trust-remote-code", "skip-tokenizer-init", "calculate-kv-scales"}
)
_SGLANG_SPELLINGS: Final = {
    "tp": "tensor-parallel-size",
    "tp-size": "tensor-parallel-size",
    "dp": "data-parallel-size",
    "dp-size": "data-parallel-size",
    "pp": "pipeline-parallel-size",
    "pp-size": "pipeline-parallel-size",
    "ep": "expert-parallel-size",
    "ep-size": "expert-parallel-size",
}
_LLAMA_SPELLINGS: Final = {
    "m": "model",
    "mu": "model-url",
    "mm": "mmproj",
    "mmu": "mmproj-url",
    "a": "alias",
    "c": "ctx-size",
    "b": "batch-size",
    "ub": "ubatch-size",
    "n": "predict",
    "n-predict": "predict",
    "np": "parallel",
    "t": "threads",
    "tb": "threads-batch",
    "C": "cpu-mask",
    "Cr": "cpu-range",
    "ngl": "n-gpu-layers",
    "gpu-layers": "n-gpu-layers",
    "sm": "split-mode",
    "ts": "tensor-split",
    "mg": "main-gpu",
    "dev": "device",
    "ot": "override-tensor",
    "cmoe": "cpu-moe",
    "ncmoe": "n-cpu-moe",
    "fa": "flash-attn",
    "ctk": "cache-type-k",
    "ctv": "cache-type-v",
    "kvu": "kv-unified",
    "nkvo": "no-kv-offload",
    "cb": "cont-batching",
    "nocb": "no-cont-batching",
    "hf": "hf-repo",
    "hfr": "hf-repo",
    "hff": "hf-file",
    "hft": "hf-token",
    "s": "seed",
    "v": "verbose",
    "lv": "log-verbosity",
    "verbosity": "log-verbosity",
    "to": "timeout",
    "temperature": "temp",
}
_LLAMA_SWITCHES: Final = frozenset({
    "cpu-moe", "kv-unified", "cont-batching", "verbose", "jinja", "mlock", "metrics", "slots", "props",
    "embeddings", "reranking", "offline", "swa-full", "perf", "check-tensors", "context-shift", "webui", "ui",
})  # fmt: skip

PROGRAMS: Final = (
    Program(
        "vllm",
        names=("vllm",),
        after=("serve",),
        positional=True,
        port=8000,
        spellings=_VLLM_SPELLINGS,
        switches=_VLLM_SWITCHES,
    ),
    Program(
        "vllm",
        modules=("vllm.entrypoints.openai.api_server",),
        images=("vllm/vllm-openai", "vllm-openai"),
        port=8000,
        spellings=_VLLM_SPELLINGS,
        switches=_VLLM_SWITCHES,
    ),
    Program(
        "sglang",
        names=("sglang",),
        after=("serve",),
        model=("model-path", "model"),
        port=30000,
        spellings=_SGLANG_SPELLINGS,
        switches=frozenset({"trust-remote-code", "skip-tokenizer-init", "is-embedding", "log-requests"}),
    ),
    Program(
        "sglang",
        modules=("sglang.launch_server",),
        model=("model-path", "model"),
        port=30000,
        spellings=_SGLANG_SPELLINGS,
        switches=frozenset({"trust-remote-code", "skip-tokenizer-init", "is-embedding", "log-requests"}),
    ),
    Program(
        "llama.cpp",
        names=("llama-server",),
        modules=("pytest_setups.demo.llama_server",),
        images=("ggml-org/llama.cpp", "ggerganov/llama.cpp"),
        model=("model", "hf-repo", "model-url"),
        served_name=("alias",),
        chat_template=("chat-template", "chat-template-file"),
        port=8080,
        spellings=_LLAMA_SPELLINGS,
        switches=_LLAMA_SWITCHES,
        environment={"LLAMA_ARG_MODEL": "model", "LLAMA_ARG_PORT": "port", "LLAMA_ARG_HOST": "host"},
    ),
    # Ollama loads models when they are asked for: no option names one.
    Program(
        "ollama",
        names=("ollama",),
        images=("ollama/ollama",),
        after=("serve",),
        port=11434,
        environment={"OLLAMA_HOST": "host"},
    ),
    Program(
        "lmdeploy",
        names=("lmdeploy",),
        modules=("lmdeploy",),
        images=("openmmlab/lmdeploy",),
        after=("serve", "api_server"),
        positional=True,
        served_name=("model-name",),
        host=("server-name",),
        port=23333,
        spellings={"server-port": "port"},
    ),
    Program(
        "tgi",
        names=("text-generation-launcher",),
        images=("huggingface/text-generation-inference",),
        model=("model-id",),
        host=("hostname",),
        port=3000,
        spellings={"p": "port"},
        switches=frozenset({"trust-remote-code"}),
        environment={"MODEL_ID": "model-id", "PORT": "port", "HOSTNAME": "hostname"},
    ),
    Program("lmstudio", names=("lms",), after=("server", "start"), host=("bind",), port=1234,
            spellings={"p": "port"}),
    Program(
        "tensorrt-llm",
        names=("trtllm-serve",),
        positional=True,
        port=8000,
        spellings={"tp": "tp-size"},
        switches=frozenset({"trust-remote-code"}),
    ),
    Program("litellm", names=("litellm",), port=4000),
)  # fmt: skip

# A server of the user's own: the usual names are worth a try.
UNKNOWN_PROGRAM: Final = Program(None, model=("model", "model-path", "model-id"))

# Programs that only start another: their options with a value, and how many words that are not options
# come before that program (timeout 600 PROGRAM).
WRAPPERS: Final[Mapping[str, tuple[frozenset[str], int]]] = {
    "nohup": (frozenset(), 0),
    "setsid": (frozenset(), 0),
    "exec": (frozenset({"-a"}), 0),
    "time": (frozenset({"-f", "-o"}), 0),
    "command": (frozenset(), 0),
    "env": (frozenset({"-u", "--unset", "-C", "--chdir"}), 0),
    "nice": (frozenset({"-n", "--adjustment"}), 0),
    "ionice": (frozenset({"-c", "-n", "--class", "--classdata"}), 0),
    "stdbuf": (frozenset({"-i", "-o", "-e"}), 0),
    "timeout": (frozenset({"-k", "-s", "--kill-after", "--signal"}), 1),
    "taskset": (frozenset(), 1),
    "numactl": (frozenset({"-C", "-N", "-m", "-i", "-p"}), 0),
    "sudo": (frozenset({"-u", "-g", "--user", "--group"}), 0),
    "uvx": (frozenset({"--from", "--with", "-p", "--python", "--index", "--index-url"}), 0),
}
RUNNERS: Final[Mapping[str, frozenset[str]]] = {  # <runner> run [options] <program>
    "uv": frozenset({
        "--project", "--directory", "--with", "--extra", "--group", "--python", "-p", "--env-file",
        "--index", "--index-url", "--only-group", "--package", "--with-requirements", "--no-group",
        "--no-extra", "--with-editable", "--index-strategy", "--torch-backend",
    }),
    "poetry": frozenset({"-C", "-P", "--directory", "--project"}),
    "pdm": frozenset({"-p", "--project"}),
    "pipenv": frozenset({"--python"}),
    "hatch": frozenset({"-e", "--env"}),
    "conda": frozenset({"-n", "--name", "-p", "--prefix", "--cwd"}),
    "mamba": frozenset({"-n", "--name", "-p", "--prefix", "--cwd"}),
    "micromamba": frozenset({"-n", "--name", "-p", "--prefix", "--cwd"}),
    "pixi": frozenset({"-e", "--environment", "--manifest-path"}),
}  # fmt: skip
# Dropped before a launch: the server must stay a child of its supervisor, or nothing could stop it.
DETACHING: Final = frozenset({"nohup", "setsid"})
SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})
PYTHON_OPTIONS_WITH_VALUE: Final = frozenset({"-X", "-W"})
CONTAINERS: Final = frozenset({"docker", "podman", "nerdctl"})
