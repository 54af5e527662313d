"""The process behind a base URL: the command that a person typed, and why there is none."""

from __future__ import annotations

import shlex
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_setups.api.client import Client
from pytest_setups.serving.local.listener import ListenerNotFoundError, find_listener
from pytest_setups.serving.processes.server_process import ServerProcess, free_port
from pytest_setups.serving.server import wait_until_ready
from pytest_setups.tagging.request import readiness_request
from tests.conftest import entries
from tests.servers import standalone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conftest import Run
    from tests.servers.scripted import Scripted

PARENT = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[{skip}:]))"
WORKER = (
    "import multiprocessing, os, sys; sys.path.insert(0, {folder!r}); from tests.servers import standalone\n"
    "if __name__ == '__main__':\n"
    "    worker = multiprocessing.get_context('spawn').Process(target=standalone.main)\n"
    "    worker.start()\n    worker.join()\n"
)


@pytest.fixture(autouse=True)
def _logs_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with programs named vllm and uv, which stand for the real ones."""
    script(tmp_path / "vllm", Path(str(standalone.__file__)).read_text("utf-8").replace(
        "Path(__file__).parents[2]", repr(str(Path(__file__).parents[1]))))  # fmt: skip
    script(tmp_path / "uv", PARENT.format(skip=2))
    return tmp_path


def script(path: Path, text: str) -> None:
    path.write_text(f"#!{sys.executable}\n{text}", "utf-8")
    path.chmod(0o755)


@contextmanager
def running(words: list[str], port: int, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server until the end of the block; gives its base URL."""
    base_url = f"http://localhost:{port}/v1"
    process = ServerProcess(words, environment=environment)
    client = Client(base_url=base_url, api_key=None, timeout_s=20)
    try:
        wait_until_ready(client, readiness_request, 20, check_alive=process.check)
        yield base_url
    finally:
        client.close()
        process.stop()


def test_the_command_is_the_one_that_was_typed(programs: Path) -> None:
    port = free_port()
    words = [str(programs / "vllm"), "serve", "org/m", "--port", str(port), "--note", "two words"]

    with running(words, port) as base_url:
        listener = find_listener(base_url)

    assert listener.command == shlex.join(words)
    assert listener.directory == str(Path.cwd())
    assert listener.python is not None
    assert listener.python.name.startswith("python")
    assert listener.started_at is not None


@pytest.mark.parametrize(
    "shell",
    ["{uv} run {vllm}", "exec nohup {uv} run {vllm}", "{uv} run {vllm} & wait", "nice {uv} run {vllm}"],
)
def test_wrappers_are_seen_through(programs: Path, shell: str) -> None:
    port = free_port()
    vllm = f"{programs}/vllm serve org/m --port {port}"
    typed = shell.format(uv=programs / "uv", vllm=vllm)

    with running(["bash", "-c", typed], port) as base_url:
        listener = find_listener(base_url)

    assert listener.command == f"{programs}/uv run {vllm}"


def test_a_worker_that_listens_stands_for_its_parent(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "my_server.py").write_text(WORKER.format(folder=str(Path(__file__).parents[1])), "utf-8")
    words = [sys.executable, str(tmp_path / "my_server.py"), "--port", str(port)]

    with running(words, port) as base_url:
        listener = find_listener(base_url)

    assert listener.command == shlex.join(words)


def test_variables_are_taken_by_name_and_secrets_never(programs: Path) -> None:
    port = free_port()
    words = [str(programs / "vllm"), "serve", "org/m", "--port", str(port)]
    given = {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HOME": "/weights",
        "HF_TOKEN": "hf_abcdefghijkl",
        "VLLM_API_KEY": "geheim",
        "HOME_OF_MINE": "x",
    }

    with running(words, port, given) as base_url:
        variables = find_listener(base_url).variables

    kept = ("CUDA_VISIBLE_DEVICES", "VLLM_CPU_KVCACHE_SPACE", "HF_HOME")
    assert {name: variables[name] for name in kept} == {name: given[name] for name in kept}
    assert not {"HF_TOKEN", "VLLM_API_KEY", "HOME_OF_MINE", "PATH"} & set(variables)


def test_the_entry_holds_the_command_of_the_process(project: pytest.Pytester, programs: Path) -> None:
    port = free_port()
    words = [str(programs / "vllm"), "serve", "org/m", "--port", str(port), "--max-model-len", "4096"]

    with running(words, port) as base_url:
        project.runpytest("--setup-base-url", base_url, "--record").assert_outcomes(passed=11)

    (entry,) = entries(project.path).values()
    assert entry["server"]["command"] == shlex.join(words)
    assert entry["server"]["command_source"] == "process"
    assert entry["server"]["command_reason"] is None
    assert entry["server"]["flags"] == {"max-model-len": 4096}
    assert entry["server"]["ready_s"] is None
    assert entry["model"]["repo_id"] == "org/m"


def test_a_command_that_is_given_wins(project: pytest.Pytester, programs: Path) -> None:
    port = free_port()
    words = [str(programs / "vllm"), "serve", "org/m", "--port", str(port)]

    with running(words, port) as base_url:
        project.runpytest(
            "--setup-base-url", base_url, "--record", "--setup-server-command", "vllm serve x/y --seed 3"
        ).assert_outcomes(passed=11)

    (entry,) = entries(project.path).values()
    assert entry["server"]["command_source"] == "given"
    assert entry["server"]["flags"] == {"seed": 3}


def test_a_server_in_the_process_that_tests_has_no_command(run: Run, project: pytest.Pytester) -> None:
    run("--record").assert_outcomes(passed=11)

    (entry,) = entries(project.path).values()
    assert entry["server"]["command"] is None
    assert entry["server"]["command_source"] is None
    assert entry["server"]["command_reason"] == "the server runs inside the process of the tests"
    assert entry["environment"]["server"] is None


def test_another_machine_is_not_asked(server: Scripted) -> None:
    with pytest.raises(ListenerNotFoundError, match=r"^192\.0\.2\.1 is another machine$"):
        find_listener(f"http://192.0.2.1:{server.port}/v1")


def test_a_port_without_a_listener_gives_the_reason() -> None:
    with pytest.raises(ListenerNotFoundError, match="no process that can be seen from here listens on port"):
        find_listener(f"http://127.0.0.1:{free_port()}/v1")


def test_a_program_that_forwards_the_port_is_not_the_server(tmp_path: Path) -> None:
    port = free_port()
    fake = tmp_path / "ssh"
    fake.symlink_to(Path(sys.executable).resolve())
    listen = (
        f"import signal, socket; s = socket.create_server(('127.0.0.1', {port})); print(1); signal.pause()"
    )
    process = ServerProcess([str(fake), "-u", "-c", listen])
    try:
        while True:
            process.check()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        with pytest.raises(ListenerNotFoundError, match="ssh forwards the port: the server runs elsewhere"):
            find_listener(f"http://127.0.0.1:{port}/v1")
    finally:
        process.stop()


def test_what_is_found_is_the_same_for_every_address_of_this_machine(programs: Path) -> None:
    port = free_port()
    words = [str(programs / "vllm"), "serve", "org/m", "--port", str(port)]

    with running(words, port):
        listeners = [
            find_listener(f"http://{host}:{port}/v1") for host in ("localhost", "127.0.0.1", "[::1]")
        ]

    assert all(listener.command == listeners[0].command for listener in listeners)
