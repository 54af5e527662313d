from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_setups.registry.store import Registry
from tests.conftest import Git, repository
from tests.recorders import RESULTS, SLUG, record, setup

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY = f"registry/entries/{SLUG}.json"
HAND_WRITTEN = Path(__file__).with_name("data") / "qwen2.5-vl-7b-awq_vllm.json"


@pytest.fixture
def root(pytester: pytest.Pytester) -> Path:
    """A registry with one entry, in the folder where pytest runs."""
    root = pytester.path / "registry"
    record(root)
    return root


@pytest.fixture
def git(root: Path) -> Git:
    """Git in the folder where pytest runs, with the registry committed."""
    run_git = repository(root.parent)
    commit(run_git, "one entry")
    return run_git


def commit(git: Git, message: str) -> str:
    git("add", "--all")
    git("commit", "--quiet", "--message", message)
    return git("rev-parse", "HEAD").strip()


def edit(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / "entries" / f"{SLUG}.json"
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document).replace("Infinity", "1e999"))


def test_a_registry_in_good_order_passes(pytester: pytest.Pytester, git: Git) -> None:
    git("status")
    result = pytester.runpytest("-v", "registry/")

    assert re.findall(r"^(registry\S+) PASSED", outlines(result), re.MULTILINE) == [
        f"{ENTRY}::schema",
        f"{ENTRY}::results",
        f"{ENTRY}::unchanged",
        "registry/index.json::index",
        "registry/index.json::unchanged",
        f"registry/results/{SLUG}.jsonl::named",
    ]
    assert result.ret == pytest.ExitCode.OK


def test_an_entry_of_schema_1_0_written_by_hand_passes(pytester: pytest.Pytester) -> None:
    registry = Registry(pytester.path / "registry")
    registry.prepare()
    registry.entry_path(HAND_WRITTEN.stem).write_bytes(HAND_WRITTEN.read_bytes())
    registry.rebuild_index()

    result = pytester.runpytest("registry/", "-rs")

    result.assert_outcomes(passed=2, skipped=3)
    result.stdout.fnmatch_lines(["*the entry names no results file"])
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda entry: entry["model"].pop("served_model_name"), "$.model.served_model_name: Field required"),
        (
            lambda entry: entry["verification"].update(status="great"),
            "$.verification.status: Input should be*",
        ),
        (lambda entry: entry["verification"].update(date_utc="yesterday"), "$.verification.date_utc: *"),
        (lambda entry: entry["verification"].update(date_utc=1), "$.verification.date_utc: a date is text*"),
        (lambda entry: entry["verification"]["images"].append({}), "$.verification.images[[]1].name: Field*"),
        (
            lambda entry: entry["tagger"].update(temperature=1e999),
            "$.tagger.temperature: Input should be a finite number",
        ),
        (
            lambda entry: entry["model"].update(served_model_name="q" * 5000),
            "$.model.served_model_name: String should have at most 1000 characters",
        ),
        (
            lambda entry: entry["tagger"]["models"].update(title="qwen"),
            "$.tagger.models.title: Input should be 'caption', 'keywords' or 'description'",
        ),
        (lambda entry: entry.update(schema_version="2.0"), "$.schema_version: schema version '2.0' cannot*"),
        (
            lambda entry: entry["verification"]["results"].update(file="../../../etc/passwd"),
            "$.verification.results.file: '../../../etc/passwd' is not results/<slug>.jsonl*",
        ),
        (
            lambda entry: entry["verification"]["results"].update(file="/etc/passwd"),
            "$.verification.results.file: '/etc/passwd' is not results/<slug>.jsonl*",
        ),
        (
            lambda entry: entry["server"].update({"back\x1b[31mend\u202e": {"x": 1}, "backend": 7}),
            "$.server.backend: Input should be a valid string",
        ),
    ],
)
def test_a_fault_in_an_entry_is_reported_with_its_field(
    pytester: pytest.Pytester, root: Path, change: Callable[[dict[str, Any]], object], fault: str
) -> None:
    edit(root, change)

    result = pytester.runpytest("registry/")

    result.stdout.fnmatch_lines([f"{ENTRY}: {fault}", f"FAILED {ENTRY}::schema*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("contents", "fault"),
    [
        (b"", "empty"),
        (b"{", "not JSON: EOF while parsing*line 1 column 1"),
        (b"\xff\xfe{}", "not JSON: byte 0 is not UTF-8"),
        (b'{"notes": NaN}', "not JSON: *"),
        (b"[" * 100_000, "nested too deeply: recursion limit exceeded*"),
        (b" " * (64 * 1024 * 1024 + 1), "67108865 bytes: more than the 67108864 that are read"),
        (b"<<<<<<< HEAD\n{}\n", "not JSON: it contains the markers of a merge conflict"),
    ],
    ids=["empty", "cut", "latin", "nan", "deep", "huge", "conflict"],
)
def test_a_file_that_is_not_an_entry_is_reported(
    pytester: pytest.Pytester, root: Path, contents: bytes, fault: str
) -> None:
    (root / "entries" / f"{SLUG}.json").write_bytes(contents)

    result = pytester.runpytest("registry/")

    result.stdout.fnmatch_lines([f"{ENTRY}: {fault}"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_link_out_of_the_registry_is_not_followed(pytester: pytest.Pytester, root: Path) -> None:
    outside = pytester.makefile(".json", outside=json.dumps(setup()))
    (root / "entries" / "linked.json").symlink_to(outside)
    results = root / "results" / f"{SLUG}.jsonl"
    results.rename(pytester.path / "moved.jsonl")
    results.symlink_to(pytester.path / "moved.jsonl")

    result = pytester.runpytest("registry/")

    result.stdout.fnmatch_lines_random(
        [
            "registry/entries/linked.json: a symbolic link: *",
            f"{ENTRY}: $.verification.results.file: results/{SLUG}.jsonl: a symbolic link: *",
        ]
    )


def test_a_folder_that_leads_out_of_the_registry_is_refused(pytester: pytest.Pytester, root: Path) -> None:
    (root / "results").rename(pytester.path / "elsewhere")
    (root / "results").symlink_to(pytester.path / "elsewhere")

    result = pytester.runpytest(f"{ENTRY}::results")

    result.stdout.fnmatch_lines([f"{ENTRY}: *results/{SLUG}.jsonl: its folder is a symbolic link: *"])


def test_a_file_whose_name_is_not_a_slug_is_reported(pytester: pytest.Pytester, root: Path) -> None:
    (root / "entries" / "My Setup.json").write_text(json.dumps(setup()))

    result = pytester.runpytest("registry/")

    result.stdout.fnmatch_lines(["registry/entries/My Setup.json: its name is not a slug: rename it*"])
    result.assert_outcomes(passed=4, failed=1, skipped=2)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda rows: rows.clear(), f"$.entries: no row for '{SLUG}'"),
        (lambda rows: rows[0].update(status="failed"), "$.entries[[]0].status: 'failed', but * 'success'"),
        (lambda rows: rows[0].pop("backend"), "$.entries[[]0].backend: missing"),
        (lambda rows: rows.append({"slug": "gone"}), "$.entries[[]1].slug: 'gone' has no readable entry"),
        (lambda rows: rows.append(rows[0]), f"$.entries[[]1].slug: a second row for '{SLUG}'"),
        (lambda rows: rows.insert(0, {"slug": "z"}), f"$.entries[[]1].slug: '{SLUG}' must come before 'z'"),
        (lambda rows: rows.append(7), "$.entries[[]1].slug: nothing has no readable entry"),
    ],
)
def test_an_index_that_disagrees_with_the_entries_is_reported(
    pytester: pytest.Pytester, root: Path, change: Callable[[list[Any]], object], fault: str
) -> None:
    path = root / "index.json"
    index = json.loads(path.read_bytes())
    change(index["entries"])
    path.write_text(json.dumps(index))

    result = pytester.runpytest("registry/index.json")

    result.stdout.fnmatch_lines([f"registry/index.json: {fault}; run `pytest-setups index`"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_missing_index_is_reported(pytester: pytest.Pytester, root: Path) -> None:
    (root / "index.json").unlink()

    result = pytester.runpytest("registry")

    result.stdout.fnmatch_lines(["registry/index.json: missing; run `pytest-setups index`"])
    result.assert_outcomes(passed=3, failed=1, skipped=2)


@pytest.mark.parametrize(
    ("contents", "fault"),
    [
        (None, f"$.verification.results.file: results/{SLUG}.jsonl is missing; restore the file"),
        (RESULTS.replace(b"1.25", b"1.26"), "$.verification.results.sha256: *: checksum mismatch*"),
        (RESULTS + b"{}\n", "$.verification.results.lines: 3, but * has 4"),
        (RESULTS + b"{}\n", f"results/{SLUG}.jsonl line 4: not a measurement*"),
        (RESULTS + b"[" * 100_000, f"results/{SLUG}.jsonl line 3: nested too deeply*"),
        (RESULTS.replace(b"boats", b"goats"), "$.verification.images: 'boats.jpg' is in only one of*"),
        (RESULTS.replace(b"true", b"false"), "$.verification.status: success, but 'boats.jpg' did not pass*"),
        (RESULTS.replace(b"1.25", b"null"), "$.performance.stages.caption.n: 1, but the results have 0"),
        (
            RESULTS + RESULTS.replace(b"boats", b"goats"),
            "$.verification.images_processed: 1, but the results have 2",
        ),
    ],
)  # fmt: skip
def test_results_that_do_not_match_the_entry_are_reported(
    pytester: pytest.Pytester, root: Path, contents: bytes | None, fault: str
) -> None:
    path = root / "results" / f"{SLUG}.jsonl"
    if contents is None:
        path.unlink()
    else:
        path.write_bytes(contents)

    result = pytester.runpytest("registry/")

    result.stdout.fnmatch_lines([f"{ENTRY}: {fault}", f"FAILED {ENTRY}::results*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_results_that_no_entry_names_are_reported(pytester: pytest.Pytester, root: Path) -> None:
    (root / "results" / "lost.jsonl").write_bytes(RESULTS)

    result = pytester.runpytest("registry/")

    result.stdout.fnmatch_lines(["registry/results/lost.jsonl: no entry names it: *"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_edit_in_the_history_is_reported_with_its_commit(
    pytester: pytest.Pytester, root: Path, git: Git
) -> None:
    added = git("rev-parse", "HEAD")
    edit(root, lambda entry: entry.update(notes="nicer"))
    edited = commit(git, "touch up")
    record(root)
    commit(git, "another entry")

    result = pytester.runpytest("registry/")

    result.stdout.fnmatch_lines(
        [f"{ENTRY}: edited in {edited[:12]}; put it back: git checkout {added[:12]} -- {ENTRY}"]
    )
    result.assert_outcomes(failed=1, passed=9)


def test_an_edit_that_was_undone_is_not_reported(pytester: pytest.Pytester, root: Path, git: Git) -> None:
    whole = (root / "entries" / f"{SLUG}.json").read_bytes()
    edit(root, lambda entry: entry.update(notes="nicer"))
    commit(git, "touch up")
    (root / "entries" / f"{SLUG}.json").write_bytes(whole)
    commit(git, "put back")

    assert pytester.runpytest("registry/").ret == pytest.ExitCode.OK


def test_an_edit_that_is_not_committed_is_reported(pytester: pytest.Pytester, root: Path, git: Git) -> None:
    git("status")
    edit(root, lambda entry: entry.update(notes="nicer"))

    result = pytester.runpytest("registry/")

    result.stdout.fnmatch_lines([f"{ENTRY}: edited, not committed; put it back: git restore*{ENTRY}"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_edit_hidden_in_a_merge_is_reported(pytester: pytest.Pytester, root: Path, git: Git) -> None:
    git("checkout", "--quiet", "-b", "side")
    record(root, slug="other")
    commit(git, "on the side")
    git("checkout", "--quiet", "main")
    git("merge", "--quiet", "--no-ff", "--no-commit", "side")
    edit(root, lambda entry: entry.update(notes="nicer"))
    merged = commit(git, "merge")

    result = pytester.runpytest(f"{ENTRY}::unchanged")

    result.stdout.fnmatch_lines([f"{ENTRY}: edited in {merged[:12]}*"])


def test_a_renamed_entry_is_reported(pytester: pytest.Pytester, git: Git) -> None:
    git("mv", ENTRY, "registry/entries/better.json")
    renamed = commit(git, "rename")

    result = pytester.runpytest("registry/")

    result.stdout.fnmatch_lines(
        [f"registry/entries/better.json: renamed from {SLUG}.json in {renamed[:12]};*"]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_deleted_entry_is_reported(pytester: pytest.Pytester, root: Path, git: Git) -> None:
    added = git("rev-parse", "HEAD")
    git("rm", "--quiet", ENTRY, f"registry/results/{SLUG}.jsonl")
    Registry(root).rebuild_index()
    deleted = commit(git, "delete")

    result = pytester.runpytest("registry/")

    message = f"deleted in {deleted[:12]}; put it back: git checkout {added[:12]} -- {ENTRY}"
    result.stdout.fnmatch_lines([f"registry/index.json: entries/{SLUG}.json: {message}"])
    result.assert_outcomes(failed=1, passed=1)


def test_an_entry_recorded_after_the_commit_has_nothing_to_compare_with(
    pytester: pytest.Pytester, root: Path, git: Git
) -> None:
    git("status")
    record(root, slug="new")

    result = pytester.runpytest("registry/entries/new.json", "-rs")

    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["*not committed yet: there is nothing to compare with"])


def test_without_git_the_history_is_skipped_with_the_reason(pytester: pytest.Pytester, root: Path) -> None:
    assert root.exists()
    result = pytester.runpytest("registry/", "-rs")

    result.assert_outcomes(passed=4, skipped=2)
    result.stdout.fnmatch_lines(["*whether entries were edited: not in a git repository"])


def test_a_shallow_clone_is_skipped_with_the_reason(pytester: pytest.Pytester, git: Git) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "later")
    git("clone", "--quiet", "--depth=1", f"file://{pytester.path}", "clone")

    result = pytester.runpytest("clone/registry/", "-rs")

    result.assert_outcomes(passed=4, skipped=2)
    result.stdout.fnmatch_lines(["*the clone is shallow*git fetch --unshallow"])


@pytest.mark.parametrize("arguments", [("-p", "xdist", "-n2"), ("-p", "no:xdist")])
def test_a_session_over_several_processes_reports_the_same(
    pytester: pytest.Pytester, root: Path, arguments: tuple[str, ...]
) -> None:
    edit(root, lambda entry: entry.pop("tagger"))

    result = pytester.runpytest("registry/", *arguments)

    result.assert_outcomes(passed=2, skipped=3, failed=1)
    result.stdout.fnmatch_lines([f"{ENTRY}: $.tagger: Field required"])


def outlines(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines)
