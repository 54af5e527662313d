"""Edits of entries that git knows of, in folders whose names git, GitPython or a shell treat specially."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pytest_setups.registry.git_repository import git_state
from tests.conftest import Command, Git, repository
from tests.recorders import SLUG, record

NAMES = (
    "Übersicht", "登録", 'quo"te', "it's", "tab\tname", "line\nend", "back\\slash", "sp ace",
    "$HOME", "${HOME}", "~", ":colon", ":(top)magic", "[a]*?", "-dash",
)  # fmt: skip


@pytest.fixture(params=NAMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a special name in a git repository; commands run in the repository."""
    monkeypatch.chdir(tmp_path)
    if os.name == "nt" and set(request.param) & set('"\t\n\\:*?'):
        pytest.skip("Windows has no such names")
    return tmp_path / str(request.param)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return repository(tmp_path)


def commit_all(git: Git) -> str:
    git("add", "--all")
    git("commit", "--quiet", "--message", "change")
    return git("rev-parse", "HEAD").strip()


def edit(root: Path) -> None:
    path = root / "entries" / f"{SLUG}.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"notes": "nicer"}))


def unchanged_faults(setups: Command, root: Path) -> list[str]:
    faults: list[dict[str, Any]] = setups("validate", "--json", "--registry", str(root)).json["faults"]
    return [fault["message"] for fault in faults if fault["check"] == "unchanged"]


def follow(fault: str) -> None:
    """Type the command that a fault names."""
    subprocess.run(["sh", "-c", fault.partition("put it back: ")[2]], check=True)


def test_a_committed_edit_is_reported_and_the_advice_undoes_it(
    folder: Path, git: Git, setups: Command
) -> None:
    root = folder / "registry"
    record(root)
    added = commit_all(git)
    assert unchanged_faults(setups, root) == []
    edit(root)
    edited = commit_all(git)

    (fault,) = unchanged_faults(setups, root)

    assert fault.startswith(f"edited in {edited[:12]}; put it back: git checkout {added[:12]} -- ")
    follow(fault)
    commit_all(git)
    assert unchanged_faults(setups, root) == []


def test_an_edit_before_the_commit_is_reported_with_the_command_that_undoes_it(
    folder: Path, git: Git, setups: Command
) -> None:
    root = folder / "registry"
    record(root)
    commit_all(git)
    edit(root)

    (fault,) = unchanged_faults(setups, root)

    assert fault.startswith("edited, not committed; put it back: git restore --source=HEAD ")
    follow(fault)
    assert unchanged_faults(setups, root) == []


def test_a_renamed_and_a_deleted_entry_are_reported(folder: Path, git: Git, setups: Command) -> None:
    root = folder / "registry"
    record(root)
    record(root, slug="second")
    commit_all(git)
    (root / "entries" / f"{SLUG}.json").rename(root / "entries" / "better.json")
    renamed = commit_all(git)
    (root / "entries" / "second.json").unlink()
    deleted = commit_all(git)

    first, second = unchanged_faults(setups, root)

    assert first == (f"renamed from {SLUG}.json in {renamed[:12]}; entries keep their names: rename it back")
    assert second.startswith(f"deleted in {deleted[:12]}; put it back: git checkout ")


def test_the_commit_is_known_and_changes_in_the_registry_do_not_count(folder: Path, git: Git) -> None:
    root = folder / "registry"
    record(root)
    (folder / "code.py").write_text("")
    commit = commit_all(git)
    edit(root)
    state = git_state(folder, apart_from=root)
    (folder / "code.py").write_text("changed = True")

    assert (state.commit, state.dirty, state.reason) == (commit, False, None)
    assert git_state(folder, apart_from=root).dirty is True
