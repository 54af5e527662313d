"""What `pytest-setups index` and `validate` cost on a large registry, beside reading its files.

Run `python benchmarks/registry.py [ENTRIES]` (10,000 by default, each with 39 lines of results). The
yardstick is the time that only reading the same files and `json.loads` of them takes, in the same run.

Python 3.11, two cores of a virtual machine, warm page cache, best of three, 10,000 entries:

| | seconds | reading and parsing | times |
|---|---|---|---|
| index (10,000 files) | 0.41 | 0.51 | 0.81 |
| validate (20,000 files, 390,000 lines) | 3.51 | 3.16 | 1.11 |
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.registry.entry import Entry, Results
from pytest_setups.registry.store import Registry
from pytest_setups.registry.validation import validate

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES: Final = tuple(f"picture-{number:02}.jpg" for number in range(13))
STAGES: Final = ("caption", "keywords", "description")
WORDS: Final = ("boat", "water", "pier", "clouds", "dusk", "harbour", "rope", "gull", "lamp", "wave", "mast")
ROUNDS: Final = 3
INDEX_GOAL: Final = 2.0
VALIDATE_GOAL: Final = 4.0


def main() -> int:
    """Generate, measure, print; returns 1 when a goal is missed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder) / "registry")
        generate(registry, count)
        registry.rebuild_index()
        index = ratio("index", registry.rebuild_index, lambda: read_entries(registry), INDEX_GOAL)
        whole = ratio("validate", lambda: check(registry, count), lambda: read_all(registry), VALIDATE_GOAL)
    return 0 if index <= INDEX_GOAL and whole <= VALIDATE_GOAL else 1


def ratio(name: str, work: Callable[[], object], yardstick: Callable[[], object], goal: float) -> float:
    """How many times the yardstick the work takes, best of the rounds of each, taken in turn."""
    pairs = [(seconds(work), seconds(yardstick)) for _ in range(ROUNDS)]
    worked, read = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    print(
        f"{name}: {worked:.2f} s, reading and parsing {read:.2f} s: {worked / read:.2f} times (goal {goal:g})"
    )
    return worked / read


def seconds(work: Callable[[], object]) -> float:
    """The seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def check(registry: Registry, count: int) -> None:
    """Validate without git history; the registry must be without a fault."""
    report = validate(registry, history=False)
    if report.faults or report.entries != count:
        message = f"{report.entries} entries, {report.faults[:3]}"
        raise AssertionError(message)


def read_entries(registry: Registry) -> None:
    """Read and parse every entry."""
    for path in registry.entries_dir.iterdir():
        json.loads(path.read_bytes())


def read_all(registry: Registry) -> None:
    """Read and parse every entry and every line of results, and the index."""
    read_entries(registry)
    json.loads(registry.index_path.read_bytes())
    for path in registry.results_dir.iterdir():
        for line in path.read_bytes().splitlines():
            json.loads(line)


def generate(registry: Registry, count: int) -> None:
    """Write entries and results files as a run would, without syncing each to the disk."""
    registry.prepare()
    chance = random.Random(1)
    for number in range(count):
        slug = f"qwen2.5-vl-7b-awq-{number:05}_vllm"
        measurements = [measurement(chance, image, stage) for image in IMAGES for stage in STAGES]
        lines = "".join(f"{json.dumps(line)}\n" for line in measurements).encode()
        registry.results_path(slug).write_bytes(lines)
        results = Results(
            file=f"results/{slug}.jsonl", sha256=hashlib.sha256(lines).hexdigest(), lines=len(measurements)
        )
        registry.entry_path(slug).write_bytes(entry(number, results).to_json())


def measurement(chance: random.Random, image: str, stage: str) -> dict[str, Any]:
    """One line of results."""
    words = chance.sample(WORDS, 10)
    return {
        "kind": "measurement", "image": image, "stage": stage, "attempt": 1, "passed": True, "failures": [],
        "text": " ".join(words), "keywords": words if stage == "keywords" else None,
        "keywords_form": "comma" if stage == "keywords" else None, "finish_reason": "stop",
        "started_utc": "2026-01-01T00:00:00.000000Z", "latency_s": round(chance.uniform(0.5, 4), 6),
        "ttft_s": round(chance.uniform(0.05, 0.4), 6), "prompt_tokens": 1290, "output_tokens": 31,
    }  # fmt: skip


def entry(number: int, results: Results) -> Entry:
    """One entry with every field filled in."""
    name = f"qwen2.5-vl-7b-awq-{number:05}"
    figures = {"n": 13, "mean_s": 1.5, "p50_s": 1.4, "p95_s": 2.2, "max_s": 2.5, "ttft_p50_s": 0.2}
    return Entry.model_validate(
        {
            "model": {"repo_id": "Qwen/Qwen2.5-VL-7B-Instruct-AWQ", "local_path": "~/models/qwen",
                      "served_model_name": name, "format": "awq", "quantization": "awq_marlin",
                      "vision": True},
            "server": {"backend": "vllm", "version": "0.11.0", "port": 24001, "command_source": "given",
                       "command": f"vllm serve ~/models/qwen --served-model-name {name} --max-model-len 4096",
                       "flags": {"max-model-len": 4096, "enforce-eager": True, "trust-remote-code": True}},
            "tagger": {"base_url": "http://localhost:24001/v1", "models": dict.fromkeys(STAGES, name),
                       "max_new_tokens": 256, "temperature": 0.2, "top_p": 0.9, "concurrency": 1,
                       "stream": True,
                       "prompts": dict.fromkeys(STAGES, "Describe this photograph. " * 10),
                       "image": {"max_edge": 1024, "format": "JPEG", "quality": 90}},
            "verification": {"date_utc": "2026-01-01T00:00:00Z", "git_commit": "0" * 40, "git_dirty": False,
                             "images_processed": len(IMAGES), "status": "success",
                             "images": [{"name": image, "sha256": "0" * 64} for image in IMAGES],
                             "checks": ["empty", "reasoning", "cut", "refusal", "loop"],
                             "results": results.model_dump()},
            "performance": {"avg_latency_s": 4.5, "images_per_s": 0.22, "concurrency": 1,
                            "stages": dict.fromkeys(STAGES, figures)},
            "environment": {"client": {"os": "Linux", "python": "3.11.7", "packages": {"httpx": "0.28.1"}}},
        }
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
