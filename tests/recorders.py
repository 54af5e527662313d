"""Processes that record into a registry, for the tests that kill, crowd and starve them."""

from __future__ import annotations

import ctypes
import errno
import json
import multiprocessing
import os
import platform
import resource
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_setups.registry.durable_files import write_exclusive
from pytest_setups.registry.entry import Entry
from pytest_setups.registry.stale_files import remove_leftovers
from pytest_setups.registry.store import RecordedEntry, Registry, RegistryError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from multiprocessing.synchronize import Barrier, Event

SLUG = "qwen2.5-vl_vllm"
STAGES = ("caption", "keywords", "description")
RESULTS = b"".join(
    json.dumps({"image": "boats.jpg", "stage": stage, "passed": True, "latency_s": 1.25}).encode() + b"\n"
    for stage in STAGES
)
MAKE = multiprocessing.get_context("forkserver")
MAKE.set_forkserver_preload(["tests.recorders"])


def setup(**changes: dict[str, Any]) -> dict[str, Any]:
    """A whole entry as JSON; a part that is given is merged into that of the same name."""
    document: dict[str, Any] = {
        "schema_version": "1.1",
        "model": {"repo_id": "Qwen/Qwen2.5-VL-7B-Instruct", "served_model_name": "qwen2.5-vl"},
        "server": {"backend": "vllm", "version": "0.11.0", "flags": {"max-model-len": 4096}},
        "tagger": {"models": dict.fromkeys(STAGES, "qwen2.5-vl"), "max_new_tokens": 256, "temperature": 0.2},
        "verification": {
            "date_utc": "2026-01-01T00:00:00Z",
            "status": "success",
            "images_processed": 1,
            "images": [{"name": "boats.jpg", "sha256": "0" * 64}],
        },
        "performance": {
            "avg_latency_s": 3.75,
            "stages": {stage: {"n": 1, "mean_s": 1.25, "p50_s": 1.25} for stage in STAGES},
        },
    }
    for part, fields in changes.items():
        document[part] = document[part] | fields
    return document


def entry_of(**changes: dict[str, Any]) -> Entry:
    """The entry that `Registry.add` is given."""
    return Entry.model_validate(setup(**changes))


def record(root: Path, slug: str = SLUG, *, exact: bool = False, **changes: dict[str, Any]) -> RecordedEntry:
    """Record one entry in this process."""
    return Registry(root).add(entry_of(**changes), results=RESULTS, slug=slug, exact=exact)


def start(work: Callable[..., None], *arguments: object) -> BaseProcess:
    """Run a function of this module in a process of its own."""
    process = MAKE.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def record_for_ever(root: Path, announced: Path) -> None:
    """Record until killed; a slug is announced when `add` has returned."""
    while True:
        _announce(announced, record(root).slug)


def record_once(root: Path, announced: Path) -> None:
    """Record one entry and announce it."""
    _announce(announced, record(root).slug)


def record_some(root: Path, announced: Path, count: int, barrier: Barrier, *, hard_links: bool) -> None:
    """Record ``count`` entries, beginning when all others do."""
    if not hard_links:
        forbid_hard_links()
    barrier.wait()
    for _ in range(count):
        _announce(announced, record(root).slug)


def clean_until(root: Path, cleaned: Path, stop: Event) -> None:
    """Clean and rebuild the index until `stop` is set; announces how many files were removed each time."""
    while not stop.is_set():
        _announce(cleaned, str(remove_leftovers(Registry(root))))
        Registry(root).rebuild_index()


class DyingEntry(Entry):
    """An entry whose process is killed when the results file is there and the entry is not."""

    def to_json(self) -> bytes:
        """Be killed."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def die_between_results_and_entry(root: Path) -> None:
    """Be killed when the results file is there and the entry is not."""
    Registry(root).add(DyingEntry.model_validate(setup()), results=RESULTS, slug=SLUG, exact=False)


def pause_between_results_and_entry(root: Path, paused: Event, go_on: Event) -> None:
    """Record one entry, waiting when the results file is there and the entry is not."""

    class PausingEntry(Entry):
        def to_json(self) -> bytes:
            paused.set()
            go_on.wait()
            return super().to_json()

    Registry(root).add(PausingEntry.model_validate(setup()), results=RESULTS, slug=SLUG, exact=False)


def record_on_full_disk(root: Path, file_limit: int, announced: Path) -> None:
    """Record one entry while no file can grow beyond ``file_limit`` bytes; announce it or the error."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))
    try:
        recorded = record(root)
        line = f"{recorded.slug} {recorded.index_fault}"
    except RegistryError as error:
        line = f"error: {error}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    _announce(announced, line)


def record_without_rights(root: Path, announced: Path) -> None:
    """Try to record as a user who may read the registry only."""
    descriptor = os.open(announced, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.chdir(root.parent)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        record(Path(root.name))
    except RegistryError as error:
        os.write(descriptor, f"error: {error}\n".encode())


def create_twice_without_hard_links(path: Path) -> None:
    """Create a file where there are no hard links, and fail to create it again."""
    forbid_hard_links()
    assert write_exclusive(path, b"first")
    assert not write_exclusive(path, b"second")


def die_with_a_claim(path: Path) -> None:
    """Be killed when the name is claimed and the file is not yet there."""
    forbid_hard_links()
    _filter_calls(RENAMES[platform.machine()], KILL)
    write_exclusive(path, b"never")


def forbid_hard_links() -> None:
    """Make every hard link fail with EPERM, as on FAT; cannot be undone."""
    _filter_calls(LINKS[platform.machine()], REFUSE)


# Numbers of system calls and actions of seccomp(2).
LINKS = {"x86_64": (86, 265), "aarch64": (37,)}
RENAMES = {"x86_64": (82, 264, 316), "aarch64": (38, 276)}
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000


def _filter_calls(numbers: tuple[int, ...], action: int) -> None:
    load, equal, give = 0x20, 0x15, 0x06
    tests = [(equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    program = [(load, 0, 0, 0), *tests, (give, 0, 0, ALLOW), (give, 0, 0, action)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    if prctl(no_new_privileges, 1, 0, 0, 0) or prctl(set_seccomp, mode_filter, filters, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def _announce(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)
