"""The real llama.cpp server with a model that really sees."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import COLOURS, entries, index_slugs, no_traceback_of_ours
from tests.servers.llama import llama_cpp, need_llama_cpp

SAMPLES = Path(__file__).parent.parent / "sample_images"


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    with llama_cpp() as url:
        yield url


@pytest.fixture
def own_project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]")
    need_llama_cpp()
    return pytester


def test_the_demo_twice_gives_two_entries(own_project: pytest.Pytester) -> None:
    for _ in range(2):
        result = own_project.runpytest("--setup-demo", "--record")
        result.assert_outcomes(passed=54)
        result.stdout.fnmatch_lines(
            [
                "setups: http://127.0.0.1:* (llama.cpp *), model toy-vlm, 13 images, concurrency 1",
                "recorded: *",
            ]
        )
    found = entries(own_project.path)
    assert index_slugs(own_project.path) == list(found)
    assert len(found) == 2
    for entry in found.values():
        assert entry["verification"]["status"] == "success"
        assert entry["server"]["command_source"] == "launched"
        assert "toy-vlm.gguf --mmproj" in entry["server"]["command"]
        assert entry["server"]["backend"] == "llama.cpp"
        assert entry["model"]["format"] == "gguf"
        assert entry["model"]["quantization"] == "F16"
        vision = entry["verification"]["vision"]
        tokens = [count for pair in vision["experiments"][0]["prompt_tokens"] for count in pair]
        assert vision["without_picture"]["prompt_tokens"] < min(tokens)


def test_the_demo_names_what_it_sees(own_project: pytest.Pytester) -> None:
    own_project.runpytest("--setup-demo", "--record", "-n", "2").assert_outcomes(passed=54)
    lines = (own_project.path / "registry/results/toy-vlm_llama.cpp.jsonl").read_text().splitlines()
    captions = {
        line["image"]: line["text"].lower() for line in map(json.loads, lines) if line["stage"] == "caption"
    }
    assert "boat" in captions["nagasaki-boats.jpg"]
    assert "rocket" in captions["rocket-launch-exif-rotated.jpg"]
    assert "coffee" in captions["coffee-cmyk.jpg"]
    assert len(captions) == 13


def test_the_demo_selected_records_nothing_and_says_why(own_project: pytest.Pytester) -> None:
    result = own_project.runpytest("--setup-demo", "-k", "caption", "--record")
    result.assert_outcomes(passed=13, deselected=41)
    result.stdout.fnmatch_lines(
        ["not recorded: test_models did not run; test_vision did not run; 26 of 39 *"]
    )
    assert entries(own_project.path) == {}


def test_the_demos_server_is_stopped(own_project: pytest.Pytester) -> None:
    result = own_project.runpytest("--setup-demo", "-k", "models")
    header = next(line for line in result.outlines if line.startswith("setups: http"))
    port = header.split("127.0.0.1:")[1].split("/")[0]
    assert not [p for p in psutil.process_iter(["cmdline"]) if port in (p.info["cmdline"] or ())]


def test_own_pictures_in_the_demo(own_project: pytest.Pytester) -> None:
    folder = own_project.path / "sample_images"
    folder.mkdir()
    shutil.copy(SAMPLES / "chelsea-cat-alpha.png", folder)
    own_project.runpytest("--setup-demo").assert_outcomes(passed=5)


def test_a_running_llama_server(pytester: pytest.Pytester, llama: str) -> None:
    pytester.makeini("[pytest]")
    arguments = ["--setup-base-url", llama, f"--setup-images={SAMPLES}", "--setup-stream", "--record"]
    result = pytester.runpytest(*arguments)
    result.assert_outcomes(passed=54)
    entry = entries(pytester.path)["toy-vlm_llama.cpp"]
    assert entry["performance"]["stages"]["description"]["ttft_p50_s"] > 0
    assert entry["server"]["command"] is None or entry["server"]["command_source"] != "given"


def test_context_overflow_is_told(project: pytest.Pytester, llama: str) -> None:
    project.makefile(".toml", long=f'caption = "{"word " * 3000}"\nkeywords = "x"\ndescription = "x"')
    result = project.runpytest(
        "--setup-base-url", llama, "--setup-prompts=long.toml", "-k", "caption and cat"
    )
    result.stdout.fnmatch_lines(["server: HTTP 400 from *exceeds the available context size (2048 tokens)*"])


def test_a_text_only_server(project: pytest.Pytester) -> None:
    with llama_cpp("--mmproj", "") as url:
        result = project.runpytest("--setup-base-url", url, "--record")
    result.assert_outcomes(passed=1, failed=1 + 3 * len(COLOURS))
    result.stdout.fnmatch_lines(["HTTP 500 from *: image input is not supported*"])
    assert entries(project.path) == {}


def test_an_api_key(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    with llama_cpp("--api-key", "opensesame123") as url:
        result = project.runpytest("--setup-base-url", url, "-k", "vision")
        result.stdout.fnmatch_lines(["*HTTP 401 from *: Invalid API Key"])
        monkeypatch.setenv("LLAMA_KEY", "opensesame123")
        result = project.runpytest("--setup-base-url", url, "-k", "vision", "--setup-api-key-env=LLAMA_KEY")
        result.assert_outcomes(passed=1, deselected=10)


def program(path: Path, body: str) -> str:
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_server_that_this_processor_cannot_run(own_project: pytest.Pytester) -> None:
    illegal = program(
        own_project.path / "llama-server", "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    )
    result = own_project.runpytest("--setup-demo", f"--setup-demo-server={illegal}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = "ERROR: * cannot run on this processor: install the portable server with `pip install *"
    result.stderr.fnmatch_lines([message])
    no_traceback_of_ours(result)


def test_a_server_that_dies_shows_the_end_of_its_log(own_project: pytest.Pytester) -> None:
    dying = program(own_project.path / "llama-server", "print('no such model'); raise SystemExit(7)")
    result = own_project.runpytest("--setup-demo", f"--setup-demo-server={dying}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the server exited (exit status 7); *", "no such model"])


def test_a_server_that_is_not_there(own_project: pytest.Pytester) -> None:
    result = own_project.runpytest("--setup-demo", "--setup-demo-server=llama-nowhere")
    result.stderr.fnmatch_lines(
        ["ERROR: --setup-demo-server: no program 'llama-nowhere' that can be run; install *"]
    )


def test_a_llama_server_on_path_is_preferred(
    own_project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(own_project.path / "llama-server", "print('the one on PATH'); raise SystemExit(1)")
    monkeypatch.setenv("PATH", f"{own_project.path}:{os.environ['PATH']}")
    result = own_project.runpytest("--setup-demo")
    result.stderr.fnmatch_lines(["the one on PATH"])
