"""The launch command: what a person typed becomes flags, a model and an address."""

from __future__ import annotations

import json
import random
import shlex

import pytest

from pytest_setups.serving.command_line.launch_command import parse_command

LAUNCH_OF_1_0 = (
    "nohup uv run vllm serve ~/ai-models/weights/existing/Qwen2.5-VL-7B-Instruct-AWQ "
    "--served-model-name qwen2.5-vl-7b-awq --host 0.0.0.0 --port 24001 --trust-remote-code "
    "--max-model-len 4096 --enforce-eager > vllm_qwen2.5_vl_7b_awq.log 2>&1 &"
)


def test_the_example_of_schema_1_0() -> None:
    command = parse_command(LAUNCH_OF_1_0)

    assert command.flags == {"max-model-len": 4096, "enforce-eager": True, "trust-remote-code": True}
    assert command.backend == "vllm"
    assert command.model == "~/ai-models/weights/existing/Qwen2.5-VL-7B-Instruct-AWQ"
    assert command.served_name == "qwen2.5-vl-7b-awq"
    assert command.base_url == "http://127.0.0.1:24001/v1"
    assert command.text == LAUNCH_OF_1_0
    assert command.arguments[:4] == ("uv", "run", "vllm", "serve")
    assert command.arguments[-1] == "--enforce-eager"


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve org/m --max-model-len 4096 --enforce-eager",
        "vllm serve --enforce-eager org/m --max-model-len=4096",
        "vllm serve --max_model_len 4096 --enforce-eager org/m",
        "/opt/venv/bin/vllm serve 'org/m' --max-model-len '4096' --enforce-eager",
        "python3 -u -m vllm.entrypoints.openai.api_server --model org/m --max-model-len 4096 --enforce-eager",
        "/opt/venv/bin/python /opt/venv/bin/vllm serve org/m --max-model-len 4096 --enforce-eager",
        "bash -c 'cd /srv && exec vllm serve org/m --max-model-len 4096 --enforce-eager'",
        'bash -lc "source venv/bin/activate; vllm serve org/m --max-model-len 4096 --enforce-eager"',
        "env A=0,1 nice uv run --with 'vllm>=0.9' -- vllm serve org/m --max-model-len 4096 --enforce-eager",
        "export A=b; timeout 600 vllm serve org/m --max-model-len 4096 --enforce-eager | tee server.log",
        "vllm serve \\\n    org/m \\\n    --max-model-len 4096 \\\n    --enforce-eager  # the big one",
        "docker run -p 8000:8000 vllm/vllm-openai:v1 --model org/m --max-model-len 4096 --enforce-eager",
        "conda run -n serving --no-capture-output vllm serve org/m --max-model-len 4096 --enforce-eager",
        "uvx --from vllm vllm serve org/m --max-model-len 4096 --enforce-eager &> log &",
        "if [ -d venv ]; then vllm serve org/m --max-model-len 4096 --enforce-eager; fi",
        "while true; do vllm serve org/m --max-model-len 4096 --enforce-eager; sleep 1; done",
        "cat > c <<'END'\nport: 1 # don't\nEND\nvllm serve org/m --max-model-len 4096 --enforce-eager",
        "serve() { exec vllm serve org/m --max-model-len 4096 --enforce-eager; }; serve",
        "vllm serve org/m --max-model-len 4096 --enforce-eager > $(date +\"$(cat 'the format')\").log",
        "(cd /srv; vllm serve org/m > log --max-model-len 4096 --enforce-eager) 2>&1 | tee -a log \\\n",
    ],
)
def test_wrappers_and_spellings_are_seen_through(text: str) -> None:
    command = parse_command(text)

    assert (command.backend, command.model) == ("vllm", "org/m")
    assert command.flags == {"max-model-len": 4096, "enforce-eager": True}
    assert command.base_url == "http://127.0.0.1:8000/v1"
    assert command.text == text


@pytest.mark.parametrize(
    ("text", "backend", "model", "base_url", "flags"),
    [
        (
            "llama-server -m m.gguf --mmproj p.gguf -c 2048 -ngl -1 -a toy -fa --jinja --port 8090",
            "llama.cpp",
            "m.gguf",
            "http://127.0.0.1:8090/v1",
            {"mmproj": "p.gguf", "ctx-size": 2048, "n-gpu-layers": -1, "flash-attn": True, "jinja": True},
        ),
        (
            "llama-server-vulkan -hf org/m-GGUF:Q4_K_M --host ::",
            "llama.cpp",
            "org/m-GGUF:Q4_K_M",
            "http://127.0.0.1:8080/v1",
            {},
        ),
        (
            "python -m sglang.launch_server --model-path org/m --host 10.0.0.5 --tp 2 --mem-fraction 0.85",
            "sglang",
            "org/m",
            "http://10.0.0.5:30000/v1",
            {"tensor-parallel-size": 2, "mem-fraction": 0.85},
        ),
        ("OLLAMA_HOST=0.0.0.0:9999 ollama serve", "ollama", None, "http://127.0.0.1:9999/v1", {}),
        (
            "lmdeploy serve api_server org/m --server-port 23334 --session-len 8192",
            "lmdeploy",
            "org/m",
            "http://127.0.0.1:23334/v1",
            {"session-len": 8192},
        ),
        (
            "text-generation-launcher --model-id org/m -p 8081 --quantize awq",
            "tgi",
            "org/m",
            "http://127.0.0.1:8081/v1",
            {"quantize": "awq"},
        ),
        (
            "trtllm-serve org/m --tp_size 2",
            "tensorrt-llm",
            "org/m",
            "http://127.0.0.1:8000/v1",
            {"tp-size": 2},
        ),
        ("lms server start -p 1235", "lmstudio", None, "http://127.0.0.1:1235/v1", {}),
        (
            "python my_server.py --model org/m --port 99 --fast",
            None,
            "org/m",
            "http://127.0.0.1:99/v1",
            {"fast": True},
        ),
        ("./my_server", None, None, None, {}),
    ],
)
def test_each_server_has_a_spelling_of_its_own(
    text: str, backend: str | None, model: str | None, base_url: str | None, flags: dict[str, object]
) -> None:
    command = parse_command(text)

    assert (command.backend, command.model, command.base_url) == (backend, model, base_url)
    assert command.flags == flags


def test_values_are_what_they_say() -> None:
    flags = parse_command(
        "vllm serve m --limit-mm-per-prompt '{\"image\": 2}' --gpu-memory-utilization 0.9 --seed 007 "
        "--revision 1234567 --allowed-origins a b --lora-modules x=/a --lora-modules y=/b "
        "--enable-prefix-caching --no-enable-log-requests --swap-space -1 --compilation-config.level 3 -O2"
    ).flags

    assert flags == {
        "limit-mm-per-prompt": {"image": 2},
        "gpu-memory-utilization": 0.9,
        "seed": "007",
        "revision": "1234567",
        "allowed-origins": ["a", "b"],
        "lora-modules": ["x=/a", "y=/b"],
        "enable-prefix-caching": True,
        "no-enable-log-requests": True,
        "swap-space": -1,
        "compilation-config.level": 3,
        "optimization-level": 2,
    }


def test_numbers_that_json_cannot_hold_stay_texts() -> None:
    huge = "1" * 400
    flags = parse_command(f'./s --a {huge} --b \'{{"x": {huge}, "y": 1e999, "z": NaN}}\' --c -0.5e3').flags

    assert flags == {"a": huge, "b": {"x": huge, "y": "1e999", "z": "NaN"}, "c": -500.0}


def test_words_are_those_that_a_shell_would_pass() -> None:
    text = 'vllm serve "a \\"b\\" c"/d\\ e\\\n\'f\' "$(cat "$(ls)")" --x \\\'y\\\' <<< z ""'

    assert parse_command(text).arguments == (
        *("vllm", "serve", 'a "b" c/d ef', '$(cat "$(ls)")', "--x", "'y'", ""),
    )


def test_a_switch_takes_no_word_for_its_value() -> None:
    command = parse_command("vllm serve --skip-special-tokens org/m --api-key S")

    assert command.model == "org/m"
    assert command.flags == {"skip-special-tokens": True, "api-key": "[hidden]"}


@pytest.mark.parametrize("port", ["9" * 5000, "99999", "0", "-1", "eight", "8e3", "\u0661"])
def test_a_port_that_cannot_be_is_none(port: str) -> None:
    assert parse_command(f"./my_server --port {port}").port is None
    published = parse_command(f"docker run -p {port}:8000 vllm/vllm-openai --model m").port
    assert published == (None if port.isdecimal() else 8000)


def test_a_port_that_a_container_publishes_is_the_port() -> None:
    command = parse_command("docker run -d -p 127.0.0.1:24001:8000 vllm/vllm-openai --model m")

    assert command.base_url == "http://127.0.0.1:24001/v1"


@pytest.mark.parametrize("text", ["vllm serve 'open", 'vllm serve "open', "vllm serve m >", "", "   ", "&"])
def test_what_cannot_be_read_keeps_its_text_and_has_no_flags(text: str) -> None:
    command = parse_command(text)

    assert command.text == text
    assert (command.flags, command.arguments, command.base_url) == ({}, (), None)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (LAUNCH_OF_1_0, True),
        ("bash -c 'vllm serve $MODEL'", True),
        ("vllm serve $MODEL", False),
        ("vllm serve m --threads $(nproc)", False),
        ("vllm serve m --threads `nproc`", False),
        ("vllm serve *.gguf", False),
        ("source venv/bin/activate && vllm serve m", False),
        ("vllm serve '$MODEL'", True),
        ("vllm serve m --threads $(echo $(nproc))", False),
        ("if true; then vllm serve m; fi", False),
        ("(vllm serve m) &", True),
        ("vllm serve my\\ model '*' \\$5 > $LOG", True),
    ],
)
def test_it_is_known_whether_a_shell_is_needed(text: str, *, plain: bool) -> None:
    assert parse_command(text).plain is plain


def test_no_secret_stays_in_the_flags() -> None:
    flags = parse_command(
        'vllm serve m --api-key sk-verysecret --hf-token hf_abcdefghijkl --x \'{"api_key": "geheim"}\' '
        "--otlp https://me:pw@host/x --max-num-batched-tokens 2048"
    ).flags

    text = json.dumps(flags)
    assert not any(secret in text for secret in ("verysecret", "abcdefghijkl", "geheim", "pw@"))
    assert flags["max-num-batched-tokens"] == 2048


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (
            "vllm serve m --skip-special-tokens --api-key S",
            {"skip-special-tokens": True, "api-key": "[hidden]"},
        ),
        ("vllm serve m --api-key S1,S2", {"api-key": "[hidden]"}),
        ("vllm serve m --api-key S1 S2", {"api-key": "[hidden]"}),
        ("vllm serve --api-key S1 S2", {"api-key": "[hidden]"}),
        ("my-server -k S -u ann:S -p 8000:8000", {"k": "[hidden]", "u": "[hidden]", "p": "8000:8000"}),
        ("my-server -pS3cret --auth S", {"p[hidden]": True, "auth": "[hidden]"}),
        ("my-server --header 'Authorization: Token S'", {"header": "Authorization: Token [hidden]"}),
        ('my-server --x \'{"keys": ["S"], "max_tokens": 5}\'', {"x": {"keys": "[hidden]", "max_tokens": 5}}),
        ("my-server --x https://h/?X-Amz-Signature=S", {"x": "https://h/?X-Amz-Signature=[hidden]"}),
        ("llama-server -hft S -ctk q8_0", {"hf-token": "[hidden]", "cache-type-k": "q8_0"}),
    ],
)
def test_whatever_may_be_a_secret_is_hidden_in_the_flags(text: str, flags: dict[str, object]) -> None:
    command = parse_command(text)

    assert command.flags == flags
    assert command.model in {None, "m"}


def test_any_flags_come_back_as_they_were_given() -> None:
    choice = random.Random(4)
    letters = "abc -_=.,:;&|<>()'\"\\{}[]$#~/é\n"
    for _ in range(300):
        given = {
            f"flag-{number}": choice.choice(
                [
                    True,
                    choice.randint(-(10**6), 10**6),
                    round(choice.uniform(-9, 9), 3),
                    {"name": [1, None, "x y"]},
                    "x" + "".join(choice.choices(letters, k=8)),
                ]
            )
            for number in range(5)
        }
        words = ["llama-server", "--port", "81"]
        for name, value in given.items():
            text = value if isinstance(value, str) else json.dumps(value)
            words += [f"--{name}"] if value is True else [f"--{name}={text}"]
        command = parse_command(f"{shlex.join(words)} > log 2>&1 &")
        assert command.flags == given, shlex.join(words)
        assert command.arguments == tuple(words)


def test_any_text_is_read_without_an_error() -> None:
    choice = random.Random(5)
    pieces = [
        *"'\"&|>()\\=\n   ",
        "vllm",
        "serve",
        "bash",
        "-c",
        "--port",
        "2>&1",
        "$(",
        "-m",
        "python",
        "docker",
    ]
    pieces += ["run", "--", "-", "uv", "env", "A=b", "cd"]
    for _ in range(3000):
        text = "".join(choice.choices(pieces, k=choice.randint(1, 14)))
        assert parse_command(text).text == text
