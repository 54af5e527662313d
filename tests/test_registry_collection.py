from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.recorders import SLUG, record

ENTRY = f"registry/entries/{SLUG}.json"


@pytest.fixture
def root(pytester: pytest.Pytester) -> Path:
    root = pytester.path / "registry"
    record(root)
    return root


@pytest.mark.parametrize(
    ("argument", "items"),
    [
        ("registry", 6),
        ("registry/entries", 3),
        (ENTRY, 3),
        (f"{ENTRY}::schema", 1),
        ("registry/index.json::index", 1),
        (f"registry/results/{SLUG}.jsonl", 1),
    ],
)
def test_what_is_given_is_collected(pytester: pytest.Pytester, root: Path, argument: str, items: int) -> None:
    assert root.exists()
    result = pytester.runpytest("--collect-only", "-q", argument)

    assert sum("::" in line for line in result.outlines) == items


@pytest.mark.parametrize("arguments", [(), (".",)])
def test_a_registry_that_is_not_given_is_not_collected(
    pytester: pytest.Pytester, root: Path, arguments: tuple[str, ...]
) -> None:
    assert root.exists()
    pytester.makepyfile(
        "import sys\ndef test_light():\n"
        "    assert not {'pydantic', 'git', 'httpx', 'PIL', 'rich', 'typer'} & set(sys.modules)"
    )

    result = pytester.runpytest_subprocess("-p", "no:anyio", *arguments)

    result.assert_outcomes(passed=1)


def test_the_ini_file_can_ask_for_every_registry(pytester: pytest.Pytester, root: Path) -> None:
    assert root.exists()
    pytester.makeini("[pytest]\nsetup_collect_registry = true")

    pytester.runpytest().assert_outcomes(passed=4, skipped=2)


def test_a_switch_in_the_ini_file_must_be_yes_or_no(pytester: pytest.Pytester, root: Path) -> None:
    assert root.exists()
    pytester.makeini("[pytest]\nsetup_collect_registry = perhaps")

    result = pytester.runpytest()

    result.stderr.fnmatch_lines(["ERROR: setup_collect_registry in tox.ini: 'perhaps' is neither*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_folder_of_another_kind_keeps_its_tests(pytester: pytest.Pytester) -> None:
    folder = pytester.path / "registry"
    (folder / "entries").mkdir(parents=True)
    (folder / "index.json").write_text("[]")
    (folder / "entries" / "test_entries.py").write_text("def test_own(): pass")

    pytester.runpytest("registry/").assert_outcomes(passed=1)


def test_tests_that_lie_in_a_registry_are_run_as_well(pytester: pytest.Pytester, root: Path) -> None:
    (root / "test_more.py").write_text("def test_own(): pass")
    (root / "index.json").unlink()

    pytester.runpytest("registry/").assert_outcomes(passed=4, failed=1, skipped=2)


@pytest.fixture
def home(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = pytester.path / "home"
    monkeypatch.setenv("HOME", str(home))
    return home


def test_paths_are_looked_up_only_when_asked_for(pytester: pytest.Pytester) -> None:
    record(pytester.path / "registry", model={"local_path": "~/models/qwen"})

    pytester.runpytest(ENTRY).assert_outcomes(passed=2, skipped=1)
    result = pytester.runpytest(ENTRY, "--setup-check-paths")

    result.stdout.fnmatch_lines(
        [f"{ENTRY}: $.model.local_path: ~/models/qwen does not exist on this machine"]
    )


def test_paths_that_exist_pass(pytester: pytest.Pytester, home: Path) -> None:
    (home / "models" / "qwen").mkdir(parents=True)
    (home / "chat.jinja").touch()
    flags = {"chat-template": "~/chat.jinja", "model": "Qwen/Qwen2.5-VL"}
    record(pytester.path / "registry", model={"local_path": "~/models/qwen"}, server={"flags": flags})

    pytester.runpytest(f"{ENTRY}::paths", "--setup-check-paths").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("server", "fault"),
    [
        (
            {"chat_template": "/templates/none.jinja"},
            "$.server.chat_template: /templates/none.jinja does not*",
        ),
        ({"flags": {"mmproj": "./none.gguf"}}, "$.server.flags.mmproj: ./none.gguf does not exist*"),
        (
            {"flags": {"--chat_template": "~/none.jinja"}},
            "$.server.flags.--chat_template: ~/none.jinja does*",
        ),
    ],
)
def test_other_paths_of_an_entry_are_looked_up(
    pytester: pytest.Pytester, home: Path, server: dict[str, object], fault: str
) -> None:
    assert not home.exists()
    record(pytester.path / "registry", server=server)

    result = pytester.runpytest(f"{ENTRY}::paths", "--setup-check-paths")

    result.stdout.fnmatch_lines([f"{ENTRY}: {fault}"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("local_path", "fault"),
    [
        ("~/hub/models--qwen--vl", None),
        ("~/hub/models--qwen--vl/snapshots/abc", None),
        (
            "~/hub/models--qwen--vl/snapshots/def",
            "*def is not in the Hugging Face cache, which has: abc, cut",
        ),
        ("~/hub/models--qwen--vl/snapshots/cut", "*cut: model.safetensors was deleted from the cache;*"),
        ("~/hub/models--qwen--other", "*models--qwen--other contains no downloaded revision; download*"),
    ],
)
def test_the_cache_of_hugging_face_is_understood(
    pytester: pytest.Pytester, home: Path, local_path: str, fault: str | None
) -> None:
    model = home / "hub" / "models--qwen--vl"
    for revision, blob in (("abc", "blob"), ("cut", "deleted")):
        snapshot = model / "snapshots" / revision
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").symlink_to(Path("../../blobs") / blob)
    (model / "blobs").mkdir()
    (model / "blobs" / "blob").touch()
    record(pytester.path / "registry", model={"local_path": local_path})

    result = pytester.runpytest(f"{ENTRY}::paths", "--setup-check-paths")

    if fault is None:
        result.assert_outcomes(passed=1)
    else:
        result.stdout.fnmatch_lines([f"{ENTRY}: $.model.local_path: {fault}"])


def test_entries_without_paths_say_so(pytester: pytest.Pytester, root: Path) -> None:
    text = (root / "entries" / f"{SLUG}.json").read_text()
    assert json.loads(text)["model"]["local_path"] is None

    result = pytester.runpytest(f"{ENTRY}::paths", "--setup-check-paths", "-rs")

    result.stdout.fnmatch_lines(["*the entry names no local path"])
