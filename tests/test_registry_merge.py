from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_setups import cli
from pytest_setups.registry.store import Registry
from pytest_setups.registry.validation import index_faults, validate
from tests.recorders import SLUG, record

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Git


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "registry"


def commit_all(git: Git, message: str) -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", message)


def record_on_branch(git: Git, branch: str, root: Path, slug: str) -> None:
    git("checkout", "--quiet", "-B", branch, "base")
    record(root, slug=slug)
    commit_all(git, branch)


@pytest.fixture(params=["new", "small", "large"])
def base(request: pytest.FixtureRequest, git: Git, root: Path) -> None:
    """A commit from which branches start: without a registry, with a small one, with a larger one."""
    git("commit", "--quiet", "--allow-empty", "--message", "nothing yet")
    for number in range({"new": 0, "small": 1, "large": 5}[request.param]):
        record(root, slug=f"model-{number}_vllm")
    if root.exists():
        commit_all(git, "a registry")
    git("branch", "base")


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("qwen_vllm", "qwen-2_vllm"),
        ("zebra_vllm", "zulu_vllm"),
        ("alpha_vllm", "beta_vllm"),
        ("alpha_vllm", "zulu_vllm"),
    ],
)
def test_two_branches_that_record_merge_without_a_conflict(
    git: Git, root: Path, ours: str, theirs: str
) -> None:
    record_on_branch(git, "theirs", root, theirs)
    record_on_branch(git, "ours", root, ours)

    git("merge", "--quiet", "--no-edit", "theirs")

    assert git("status", "--porcelain") == ""
    registry = Registry(root)
    assert {ours, theirs} <= set(registry.slugs())
    with pytest.raises(SystemExit, match="0"):
        cli.main(["index", "--registry", str(root)])
    assert validate(registry).faults == []


@pytest.mark.usefixtures("base")
def test_the_next_recording_mends_a_merged_index_as_well(git: Git, root: Path) -> None:
    record_on_branch(git, "theirs", root, "zebra_vllm")
    record_on_branch(git, "ours", root, "zulu_vllm")
    git("merge", "--quiet", "--no-edit", "theirs")

    record(root)

    registry = Registry(root)
    assert index_faults(registry, registry.rows().rows) == []


def test_the_same_setup_recorded_again_on_two_branches_merges(git: Git, root: Path) -> None:
    record(root)
    commit_all(git, "one entry")
    git("branch", "base")
    record_on_branch(git, "theirs", root, SLUG)
    record_on_branch(git, "ours", root, SLUG)

    git("merge", "--quiet", "--no-edit", "theirs")

    registry = Registry(root)
    registry.rebuild_index()
    assert len(registry.slugs()) == 3
    assert validate(registry).faults == []


def test_one_name_given_on_two_branches_leaves_whole_files_to_choose_from(git: Git, root: Path) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "nothing yet")
    git("branch", "base")
    for branch, version in (("theirs", "0.11.0"), ("ours", "0.12.0")):
        git("checkout", "--quiet", "-B", branch, "base")
        record(root, server={"version": version})
        commit_all(git, branch)
    with pytest.raises(AssertionError, match="CONFLICT"):
        git("merge", "--quiet", "--no-edit", "theirs")
    registry = Registry(root)
    assert registry.load(SLUG).server.version == "0.12.0"
    assert [fault for fault in validate(registry, history=False).faults if fault.check != "index"] == []

    git("checkout", "--theirs", "--", f"registry/entries/{SLUG}.json", f"registry/results/{SLUG}.jsonl")
    registry.rebuild_index()
    commit_all(git, "merge")

    assert registry.load(SLUG).server.version == "0.11.0"
    assert validate(registry).faults == []


def test_line_ends_of_windows_do_not_reach_the_registry(git: Git, root: Path, tmp_path: Path) -> None:
    record(root)
    commit_all(git, "one entry")

    git("-c", "core.autocrlf=true", "clone", "--quiet", "-c", "core.autocrlf=true", str(tmp_path), "clone")

    report = validate(Registry(tmp_path / "clone" / "registry"))
    assert report.entries == 1
    assert report.faults == []


def test_what_a_recording_leaves_behind_is_not_committed(git: Git, root: Path) -> None:
    record(root)
    for folder in (root, root / "entries", root / "results"):
        (folder / ".0123abcd.1@host.tmp").touch()

    git("add", "--all")

    assert sorted(git("diff", "--cached", "--name-only").split()) == [
        "registry/.gitattributes",
        "registry/.gitignore",
        f"registry/entries/{SLUG}.json",
        "registry/index.json",
        f"registry/results/{SLUG}.jsonl",
    ]


def test_changed_git_files_are_not_overwritten(root: Path) -> None:
    root.mkdir()
    (root / ".gitattributes").write_text("")

    record(root)

    assert (root / ".gitattributes").read_text() == ""
