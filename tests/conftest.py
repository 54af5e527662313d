from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from git import Repo  # noqa: F401
from PIL import Image, ImageDraw

# pytester forgets what an inner session imported; loaded here, all of it stays one and the same.
import pytest_setups.plugin.activation
import pytest_setups.report.html_reporter  # noqa: F401
from pytest_setups import cli
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing, serve

if TYPE_CHECKING:
    from pathlib import Path

COLOURS = {"boats": "navy", "cat": "orange", "rocket": "crimson"}


@pytest.fixture(autouse=True)
def _no_inherited_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SETUP_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server in good order."""
    with serve() as scripted:
        yield scripted


def draw(path: Path, colour: str, size: tuple[int, int] = (64, 48)) -> Path:
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).ellipse((8, 8, 40, 40), fill="white")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of a user's: three sample images and nothing else."""
    # Each process of an inner session would import hypothesis, which takes a second.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    # The scripted server shares an interpreter and its lock with the client that asks it, and answers within
    # a millisecond: the client is the limit whenever the machine is busy.
    pytester.makeini("[pytest]\nsetup_baseline_allow = performance.client_delay")
    for name, colour in COLOURS.items():
        draw(pytester.path / "sample_images" / f"{name}.jpg", colour)
    return pytester


Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(project: pytest.Pytester, server: Scripted) -> Run:
    """``pytest --setup-base-url <server> ...`` in the project."""

    def run_pytest(*arguments: str) -> pytest.RunResult:
        return project.runpytest("-p", "no:cacheprovider", "--setup-base-url", server.url, *arguments)

    return run_pytest


Measured = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def measured(run: Run, project: pytest.Pytester, server: Scripted) -> Measured:
    """The measurements that a run records when the model answers like this, each to another image."""

    def measure(answers: Iterable[str | Reply], stage: str) -> list[dict[str, Any]]:
        unused = [completion(answer) if isinstance(answer, str) else answer for answer in answers]
        for number in range(len(unused)):
            draw(project.path / f"photos/{number:02}.png", f"hsl({number * 9}, 80%, 50%)")

        def chat(ask: Ask) -> Reply:
            proves_vision = ask.body["temperature"] == 0
            return unused.pop(0) if ask.stage == stage and not proves_vision else seeing(ask)

        server.chat = chat
        run("--setup-images=photos", "--setup-warmup=0", "--record", "--record-failed")
        return [line for line in recorded_measurements(project.path) if line["stage"] == stage]

    return measure


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of a project's registry by slug."""
    return {
        path.stem: json.loads(path.read_bytes())
        for path in sorted((folder / "registry/entries").glob("*.json"))
    }


def only_entry(folder: Path) -> dict[str, Any]:
    """The one entry of a project's registry."""
    (entry,) = entries(folder).values()
    return entry


def recorded_measurements(folder: Path) -> list[dict[str, Any]]:
    """The measurements in the one results file of a project's registry."""
    (path,) = (folder / "registry/results").iterdir()
    return [json.loads(line) for line in path.read_text().splitlines()]


def index_slugs(folder: Path) -> list[str]:
    found = json.loads((folder / "registry/index.json").read_bytes())
    return [row["slug"] for row in found["entries"]]


def no_traceback_of_ours(result: pytest.RunResult) -> None:
    text = "\n".join([*result.outlines, *result.errlines])
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    assert not re.search(r"pytest_setups/\S+\.py", text)


Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """``git ...`` in a new repository around ``tmp_path``."""
    return repository(tmp_path)


def repository(folder: Path) -> Git:
    """Make a git repository of a folder; the result runs ``git ...`` in it and returns what it printed."""
    environment = os.environ | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **{f"GIT_{who}_NAME": "A. Tester" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "tester@example.invalid" for who in ("AUTHOR", "COMMITTER")},
    }

    def run_git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run_git("init", "--quiet", "--initial-branch=main")
    return run_git


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # JSON is any value
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def setups(capsys: pytest.CaptureFixture[str]) -> Command:
    """``pytest-setups ...``."""

    def run_command(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        captured = capsys.readouterr()
        return Done(int(stop.value.code or 0), captured.out, captured.err)

    return run_command
