"""A launch: the server is started, verified and stopped, whatever happens in between."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_setups.serving.processes.server_process import free_port
from tests.conftest import entries, no_traceback_of_ours
from tests.servers import standalone

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.scripted import Scripted

PROGRAM = shlex.join([sys.executable, str(standalone.__file__)])
GONE_WITHIN_S = 15
IN_SHELL = shlex.join(["bash", "-c", "vllm serve $MODEL --x '{\"a\": 1}'"])


@pytest.fixture(autouse=True)
def _logs_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def command(tmp_path: Path, port: int) -> str:
    """The standalone server, which writes its process id down."""
    return f"{PROGRAM} serve org/m --port {port} --pids {tmp_path / 'pids'}"


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text("utf-8").split()]


def assert_gone(folder: Path) -> None:
    """Nothing that wrote its process id down lives on."""
    processes = [psutil.Process(pid) for pid in pids(folder) if psutil.pid_exists(pid)]
    assert pids(folder)
    assert psutil.wait_procs(processes, GONE_WITHIN_S)[1] == []


def launch(project: pytest.Pytester, command: str, *more: str) -> pytest.RunResult:
    return project.runpytest("-p", "no:cacheprovider", "--setup-launch", command, *more)


def test_a_server_is_started_verified_recorded_and_stopped(
    project: pytest.Pytester, tmp_path: Path, command: str, port: int
) -> None:
    typed = f"VLLM_MARK=7 nohup {command} --max-model-len 4096 --enforce-eager > server.log 2>&1 &"
    result = launch(project, typed, "--record")

    result.assert_outcomes(passed=11)
    (entry,) = entries(project.path).values()
    server = entry["server"]
    assert server["command"] == typed
    assert server["command_source"] == "launched"
    assert server["flags"] == {"max-model-len": 4096, "enforce-eager": True, "pids": str(tmp_path / "pids")}
    assert server["port"] == port
    assert 0 < server["ready_s"] < 30
    assert server["working_directory"] == str(project.path)
    assert server["variables"]["VLLM_MARK"] == "7"
    assert entry["tagger"]["base_url"] == f"http://127.0.0.1:{port}/v1"
    assert entry["environment"]["server"]["python"] == ".".join(map(str, sys.version_info[:3]))
    result.stdout.fnmatch_lines(
        [f"setups: starting: {typed}".replace("[", "[[]"), "setups: its log is *", "setups: ready after *"]
    )
    assert not (project.path / "server.log").exists()
    assert_gone(tmp_path)


@pytest.mark.parametrize("habit", ["--fork", "--fork --stubborn"])
def test_no_habit_of_a_server_leaves_an_orphan(
    project: pytest.Pytester, tmp_path: Path, command: str, habit: str
) -> None:
    launch(project, f"{command} {habit}").assert_outcomes(passed=11)

    assert_gone(tmp_path)


def test_a_server_within_a_shell_of_the_users_is_stopped_too(
    project: pytest.Pytester, tmp_path: Path, command: str, port: int
) -> None:
    typed = f"bash -c 'X=1; {command} & wait $!'"
    launch(project, typed, "--setup-base-url", f"http://127.0.0.1:{port}/v1").assert_outcomes(passed=11)

    assert_gone(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_tests_are_ended(
    project: pytest.Pytester, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    fifo = tmp_path / "asked"
    os.mkfifo(fifo)
    words = [
        sys.executable,
        "-m",
        "pytest",
        "--setup-launch",
        f"{command} --fork --hang {fifo}",
        "--setup-warmup",
        "0",
    ]
    tests = subprocess.Popen(words, cwd=project.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    fifo.open().close()

    tests.send_signal(number)
    tests.wait(GONE_WITHIN_S)

    assert_gone(tmp_path)


def test_a_usage_error_after_the_start_stops_the_server(
    project: pytest.Pytester, tmp_path: Path, command: str
) -> None:
    result = launch(project, command, "--setup-model", "other")

    result.stderr.fnmatch_lines(
        ["ERROR: the server does not list the caption model 'other'; it serves served"]
    )
    no_traceback_of_ours(result)
    assert_gone(tmp_path)


def test_a_server_that_dies_fails_the_tests_with_the_end_of_its_log(
    project: pytest.Pytester, tmp_path: Path, command: str
) -> None:
    result = launch(project, f"{command} --api-key opaqueopaque --die", "--record-failed")

    result.assert_outcomes(failed=11)
    result.stdout.fnmatch_lines(
        ["*the server exited (exit status 1); its log * ends with:", "*loading the weights",
         "*argv: *|--api-key|[[]hidden]|--die", "*CUDA out of memory: api_key=[[]hidden]"]
    )  # fmt: skip
    (log,) = tmp_path.glob("pytest-setups-server-*.log")
    assert "CUDA out of memory" in log.read_text("utf-8")
    (entry,) = entries(project.path).values()
    assert "CUDA out of memory" in entry["verification"]["failure_reason"]
    assert entry["server"]["command"] == f"{command} --api-key [hidden] --die"
    assert "verysecretvalue" not in result.stdout.str() + str(entry)
    assert "opaqueopaque" not in result.stdout.str() + str(entry)


def test_a_signal_without_a_name_is_reported_by_its_number(project: pytest.Pytester, port: int) -> None:
    url = f"http://127.0.0.1:{port}/v1"
    result = launch(project, f"bash -c 'kill -{signal.SIGRTMIN + 1} $$'", "--setup-base-url", url)

    result.assert_outcomes(failed=11)
    result.stdout.fnmatch_lines([f"*the server exited (killed by signal {signal.SIGRTMIN + 1}); its log *"])
    no_traceback_of_ours(result)


def test_the_log_of_a_server_is_bounded_and_keeps_both_ends(
    project: pytest.Pytester, tmp_path: Path, command: str
) -> None:
    launch(project, f"{command} --chatty --die", "-k", "models").assert_outcomes(failed=1, deselected=10)

    (log,) = tmp_path.glob("pytest-setups-server-*.log")
    lines = log.read_text("utf-8").splitlines()
    assert log.stat().st_size < 20 * 2**20
    assert lines[0] == "loading the weights"
    assert lines[-1].startswith("CUDA out of memory")
    assert any(line.startswith("[pytest-setups cut ") for line in lines)


def test_a_server_that_is_late_fails_the_tests_and_is_stopped(
    project: pytest.Pytester, tmp_path: Path, command: str
) -> None:
    result = launch(project, f"{command} --never", "--setup-launch-timeout", "1")

    result.assert_outcomes(failed=11)
    result.stdout.fnmatch_lines(
        ["*not ready after 1 s: cannot connect to *its log * ends with:", "*loading the weights"]
    )
    assert_gone(tmp_path)


def test_the_port_must_be_free_first(project: pytest.Pytester, server: Scripted) -> None:
    result = launch(project, f"{PROGRAM} --port {server.port}")

    instead = f"stop that server, choose another port, or verify it with --setup-base-url {server.url}"
    result.stderr.fnmatch_lines(
        [f"ERROR: port {server.port} is already in use by process {os.getpid()} (*); {instead}"]
    )
    assert server.asks == []


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("no-such-server --port 1", "no-such-server cannot be started: No such file or directory"),
        ("vllm serve 'm", "the command cannot be parsed, a quote may be open: vllm serve 'm"),
        (
            "vllm serve $MODEL --x '{\"a\": 1}'",
            f"the command needs a shell: type --setup-launch {shlex.quote(IN_SHELL)}",
        ),
        ("python server.py", "the command does not specify a port: add --setup-base-url *"),
        ("cd /no/such/folder && x --port 1", "x cannot be started: the directory /no/such/folder: *"),
        (
            "A_TOKEN=[hidden] vllm serve m --api-key [hidden]",
            (
                "the command was recorded without the secret in A_TOKEN, --api-key: fill it in and type "
                "--setup-launch 'A_TOKEN=SECRET vllm serve m --api-key SECRET'"
            ),
        ),
    ],
)
def test_a_command_that_cannot_be_started_is_a_usage_error(
    project: pytest.Pytester, typed: str, message: str
) -> None:
    result = launch(project, typed)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    no_traceback_of_ours(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--setup-launch"], "--setup-launch needs a command, or --setup-from SLUG *"),
        (["--setup-launch", "x", "--setup-demo"], "--setup-demo starts its own server: *"),
        (["--setup-launch", "x", "--setup-launch-timeout", "0"], "--setup-launch-timeout: * greater than 0*"),
        (
            ["--setup-launch", "vllm serve m --port 5", "--setup-base-url", "http://localhost:6/v1"],
            "the command listens on port 5, but the base URL is http://localhost:6/v1: leave one out",
        ),
    ],
)
def test_options_that_do_not_fit_are_a_usage_error(
    project: pytest.Pytester, arguments: list[str], message: str
) -> None:
    result = project.runpytest("-p", "no:cacheprovider", *arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_with_workers_the_controller_launches_once(
    project: pytest.Pytester, tmp_path: Path, command: str
) -> None:
    launch(project, command, "-n", "2", "--record").assert_outcomes(passed=11)

    assert len(pids(tmp_path)) == 1
    assert_gone(tmp_path)


def test_a_key_in_the_command_reaches_the_server_and_nothing_else(
    project: pytest.Pytester, tmp_path: Path, command: str
) -> None:
    result = launch(project, f"{command} --api-key geheimgeheim", "--record")

    result.assert_outcomes(passed=11)
    (entry,) = entries(project.path).values()
    assert entry["server"]["flags"]["api-key"] == "[hidden]"
    assert "--api-key [hidden]" in entry["server"]["command"]
    assert "geheim" not in result.stdout.str() + str(entry)
    assert_gone(tmp_path)


def test_progress_is_shown_on_a_terminal_only(project: pytest.Pytester, command: str) -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "pytest", "--setup-launch", f"{command} --late 1", "-k", "models"]
    tests = subprocess.Popen(words, cwd=project.path, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # Linux says so when the other side is closed
        pass
    tests.wait(GONE_WITHIN_S)
    os.close(ours)

    assert re.search(rb"setups: \d+ s: loading the weights", shown)
    assert re.search(rb"setups: ready after \d+\.\d s", shown)


def test_the_demo_names_what_to_install_when_the_processor_lacks_instructions(
    project: pytest.Pytester, tmp_path: Path
) -> None:
    program = tmp_path / "llama-server"
    program.write_text(f"#!{sys.executable}\nimport os\nos.kill(os.getpid(), 4)\n", "utf-8")
    program.chmod(0o755)

    result = project.runpytest("--setup-demo", f"--setup-demo-server={program}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: *llama-server cannot run on this processor: install the portable server*"]
    )
