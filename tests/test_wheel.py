"""A wheel built from the checkout works in an empty project."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

from tests.conftest import draw, entries
from tests.servers.llama import llama_cpp

ROOT = Path(__file__).parent.parent


def call(*command: str | Path, folder: Path) -> str:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON"))
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_in_an_empty_project(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    call(*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path / "dist", ROOT, folder=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("pytest_setups-*.whl")
    top_folders = {name.split("/")[0] for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert top_folders == {"pytest_setups"}
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    call(*pip, "--python", python, "install", wheel, folder=tmp_path)
    project = tmp_path / "project"
    for name, colour in (("sea", "navy"), ("sun", "gold")):
        draw(project / f"sample_images/{name}.jpg", colour, (200, 200))
    with llama_cpp() as url:
        output = call(python, "-m", "pytest", "--setup-base-url", url, "--record", folder=project)
    assert "setup ........" in output
    assert "recorded: registry/entries/toy-vlm_llama.cpp.json" in output
    (entry,) = entries(project).values()
    assert entry["verification"]["git_reason"] == "not in a git repository"
    demo = call(
        python, "-c", "from pytest_setups import demo; print(demo.sample_images())", folder=project
    ).strip()
    assert len([path for path in Path(demo).iterdir() if path.suffix not in {".md", ".toml"}]) == 13
