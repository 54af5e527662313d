from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_setups.registry.stale_files import remove_leftovers
from pytest_setups.registry.store import Registry, SlugTakenError
from pytest_setups.registry.validation import index_faults, validate
from tests import recorders
from tests.recorders import MAKE, SLUG, record, start

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from tests.conftest import Git

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and RLIMIT_FSIZE are of Unix")

KILLS = 100
CROWD = 16
EACH = 5
LONGEST = 30.0
can_forbid_links = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"},
    reason="seccomp is Linux's own",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def announced(tmp_path: Path) -> Path:
    """The file in which recorders announce the slugs that are recorded."""
    path = tmp_path / "announced"
    path.touch()
    return path


def test_what_was_announced_survives_a_hundred_kills_at_random_instants(root: Path, announced: Path) -> None:
    chance = random.Random(20260101)
    Registry(root).prepare()
    cleaned = announced.with_name("cleaned")
    never = MAKE.Event()
    cleaner = start(recorders.clean_until, root, cleaned, never)
    crowd = [start(recorders.record_for_ever, root, announced) for _ in range(2)]
    pace = min(max(seconds_to_record(root, announced) for _ in range(3)), 0.15)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.0, pace))  # the random instant itself
        number = chance.randrange(len(crowd))
        kill(crowd[number])
        crowd[number] = start(recorders.record_for_ever, root, announced)
    for process in [*crowd, cleaner]:
        kill(process)

    registry = Registry(root)
    slugs = announced.read_text().split()
    assert len(slugs) > 10
    assert set(slugs) <= set(registry.slugs())
    faults = validate(registry, history=False).faults
    assert [fault for fault in faults if fault.check not in {"index", "named"}] == []
    assert remove_leftovers(registry) + sum(int(count) for count in cleaned.read_text().split()) > 0
    registry.rebuild_index()
    assert validate(registry, history=False).faults == []
    assert leftovers(root) == []


@pytest.mark.parametrize("hard_links", [True, pytest.param(False, marks=can_forbid_links)])
def test_sixteen_processes_record_at_once(root: Path, announced: Path, *, hard_links: bool) -> None:
    barrier = MAKE.Barrier(CROWD)
    Registry(root).prepare()
    stop = MAKE.Event()
    cleaner = start(recorders.clean_until, root, announced.with_name("cleaned"), stop)
    crowd = [
        MAKE.Process(
            target=recorders.record_some,
            args=(root, announced, EACH, barrier),
            kwargs={"hard_links": hard_links},
            daemon=True,
        )
        for _ in range(CROWD)
    ]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(LONGEST)
    stop.set()  # killed, it could leave the older index that it was about to write again
    cleaner.join(LONGEST)

    assert [process.exitcode for process in [*crowd, cleaner]] == [0] * (CROWD + 1)
    slugs = announced.read_text().split()
    assert len(set(slugs)) == len(slugs) == CROWD * EACH
    registry = Registry(root)
    assert sorted(slugs) == registry.slugs()
    assert index_faults(registry, registry.rows().rows) == []
    remove_leftovers(registry)
    assert validate(registry, history=False).faults == []


@can_forbid_links
def test_without_hard_links_a_name_is_still_given_once(tmp_path: Path) -> None:
    process = start(recorders.create_twice_without_hard_links, tmp_path / "file")
    process.join(LONGEST)

    assert process.exitcode == 0
    assert (tmp_path / "file").read_bytes() == b"first"
    assert leftovers(tmp_path) == []


@can_forbid_links
def test_a_claim_of_a_killed_process_is_given_up(root: Path) -> None:
    registry = Registry(root)
    registry.prepare()
    path = registry.entry_path(SLUG)
    start(recorders.die_with_a_claim, path).join(LONGEST)
    assert len(leftovers(root)) == 2

    assert remove_leftovers(registry) == 2

    assert leftovers(root) == []
    assert not path.exists()


def test_index_removes_what_a_recorder_killed_before_its_entry_left(root: Path) -> None:
    process = start(recorders.die_between_results_and_entry, root)
    process.join(LONGEST)
    registry = Registry(root)
    assert registry.results_path(SLUG).exists()
    with pytest.raises(SlugTakenError, match="pytest-setups index"):
        record(root, exact=True)

    assert remove_leftovers(registry) == 2

    assert not registry.results_path(SLUG).exists()
    assert leftovers(root) == []
    assert record(root, exact=True).slug == SLUG


def test_index_does_not_disturb_a_recording_in_progress(root: Path) -> None:
    paused, go_on = MAKE.Event(), MAKE.Event()
    process = start(recorders.pause_between_results_and_entry, root, paused, go_on)
    assert paused.wait(LONGEST)
    registry = Registry(root)

    assert remove_leftovers(registry) == 0

    go_on.set()
    process.join(LONGEST)
    assert registry.slugs() == [SLUG]
    assert validate(registry, history=False).faults == []


def test_files_of_another_machine_are_given_a_day(root: Path) -> None:
    Registry(root).prepare()
    fresh, old = (root / "entries" / f".0123456{digit}.1@another-machine.tmp" for digit in (1, 2))
    for path in (fresh, old):
        path.touch()
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))

    assert remove_leftovers(Registry(root)) == 1

    assert leftovers(root) == [fresh.name]


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@pytest.mark.skipif(not BOOT_ID.exists(), reason="only Linux has a boot id")
@pytest.mark.parametrize("other", ["-0123abcd-0000-0000-0000-000000000000", ""], ids=["machine", "version"])
def test_index_does_not_disturb_another_machine_of_the_same_name(root: Path, other: str) -> None:
    start(recorders.die_between_results_and_entry, root).join(LONGEST)
    (name,) = leftovers(root)
    path = root / "results" / name
    elsewhere = path.rename(path.with_name(name.replace(f"-{BOOT_ID.read_text().strip()}", other)))
    registry = Registry(root)

    assert remove_leftovers(registry) == 0

    assert registry.results_path(SLUG).exists()
    assert leftovers(root) == [elsewhere.name] != [name]
    yesterday = time.time() - 25 * 3600
    os.utime(elsewhere, (yesterday, yesterday))
    assert remove_leftovers(registry) == 2


def test_index_keeps_results_that_git_tracks(root: Path, git: Git) -> None:
    start(recorders.die_between_results_and_entry, root).join(LONGEST)
    git("add", f"registry/results/{SLUG}.jsonl")

    assert remove_leftovers(Registry(root)) == 1

    assert Registry(root).results_path(SLUG).exists()


def test_index_keeps_results_that_an_entry_names(root: Path) -> None:
    start(recorders.die_between_results_and_entry, root).join(LONGEST)
    registry = Registry(root)
    results = registry.results_path(SLUG)
    named = {"file": f"results/{SLUG}.jsonl", "sha256": "0" * 64, "lines": 3}
    document = recorders.setup(verification={"results": named})
    registry.entry_path("other").write_text(json.dumps(document))

    assert remove_leftovers(registry) == 1

    assert results.exists()


@pytest.mark.parametrize("file_limit", [10, 300])
def test_a_full_disk_loses_nothing_that_was_there(root: Path, announced: Path, file_limit: int) -> None:
    record(root)
    before = contents(root)

    start(recorders.record_on_full_disk, root, file_limit, announced).join(LONGEST)

    assert announced.read_text().startswith("error: the registry")
    assert contents(root) == before


def test_an_entry_that_found_room_counts_although_the_index_did_not(root: Path, announced: Path) -> None:
    for _ in range(12):
        record(root)
    index = (root / "index.json").read_bytes()
    largest = max(path.stat().st_size for path in root.glob("*/*"))
    assert len(index) > largest + 100

    start(recorders.record_on_full_disk, root, largest + 100, announced).join(LONGEST)

    slug, fault = announced.read_text().split(" ", 1)
    assert "the index could not be rebuilt" in fault
    assert "pytest-setups index" in fault
    assert (root / "index.json").read_bytes() == index
    registry = Registry(root)
    assert slug in registry.slugs()
    registry.rebuild_index()
    assert validate(registry, history=False).faults == []


def test_a_registry_that_cannot_be_written_is_named(root: Path, announced: Path) -> None:
    record(root)
    for folder in (root, root / "entries", root / "results"):
        folder.chmod(0o555)
    before = contents(root)

    start(recorders.record_without_rights, root, announced).join(LONGEST)

    for folder in (root, root / "entries", root / "results"):
        folder.chmod(0o755)
    assert announced.read_text().startswith("error: the registry registry/")
    assert "Permission denied" in announced.read_text()
    assert contents(root) == before


def test_a_slug_that_was_asked_for_is_never_given_twice(root: Path) -> None:
    record(root, exact=True)
    before = contents(root)

    with pytest.raises(SlugTakenError, match="never edited"):
        record(root, exact=True)

    assert contents(root) == before


def test_an_entry_that_cannot_be_read_does_not_prevent_recording(root: Path) -> None:
    record(root)
    (root / "entries" / "broken.json").write_text("{")

    recorded = record(root)

    assert recorded.entry_path.exists()
    assert recorded.index_fault == "the index leaves out broken: run `pytest-setups validate`"
    assert [row["slug"] for row in Registry(root).rows().rows] == [SLUG, recorded.slug]


def kill(process: BaseProcess) -> None:
    process.kill()
    process.join(LONGEST)
    assert process.exitcode == -signal.SIGKILL


def seconds_to_record(root: Path, announced: Path) -> float:
    begin = time.perf_counter()
    start(recorders.record_once, root, announced).join(LONGEST)
    return time.perf_counter() - begin


def contents(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def leftovers(root: Path) -> list[str]:
    kept = {".gitattributes", ".gitignore"}
    return [path.name for path in root.rglob(".*") if path.name not in kept]
