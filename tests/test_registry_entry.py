"""Entries as their users write them: 1.0 loads and keeps everything, 1.1 adds, 2.x is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_setups import Entry, Registry
from pytest_setups.registry.parsing import EntryError

EXAMPLE = Path(__file__).parent / "data/qwen2.5-vl-7b-awq_vllm.json"


def example(**changes: Any) -> bytes:
    return json.dumps(json.loads(EXAMPLE.read_bytes()) | changes).encode()


def test_the_example_of_1_0_loads_and_keeps_every_field() -> None:
    entry = Entry.from_json(EXAMPLE.read_bytes())
    assert entry.server.flags == {"max-model-len": 4096, "enforce-eager": True, "trust-remote-code": True}
    kept = json.loads(entry.to_json())
    original = json.loads(EXAMPLE.read_bytes())
    for part, fields in original.items():
        if isinstance(fields, dict):
            assert {key: kept[part][key] for key in fields} == fields
        else:
            assert kept[part] == fields


def test_the_example_is_indexed_and_never_rewritten(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.entries_dir.mkdir()
    path = registry.entry_path("qwen2.5-vl-7b-awq_vllm")
    path.write_bytes(EXAMPLE.read_bytes())
    path.chmod(0o444)
    assert len(registry.rebuild_index().rows) == 1
    (row,) = json.loads(registry.index_path.read_bytes())["entries"]
    assert {
        key: row[key] for key in ("slug", "model_repo", "served_model_name", "backend", "status", "date_utc")
    } == {
        "slug": "qwen2.5-vl-7b-awq_vllm",
        "model_repo": "Qwen/Qwen2.5-VL-7B-Instruct-AWQ",
        "served_model_name": "qwen2.5-vl-7b-awq",
        "backend": "vllm",
        "status": "success",
        "date_utc": "2025-10-01T00:00:00Z",
    }
    assert path.read_bytes() == EXAMPLE.read_bytes()


def test_unknown_fields_survive() -> None:
    entry = Entry.from_json(example(rig={"gpus": ["RTX 4090"]}))
    assert json.loads(entry.to_json())["rig"] == {"gpus": ["RTX 4090"]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (example(schema_version="2.0"), r"\$\.schema_version: .*2\.0.*reads 1\.x; upgrade pytest-setups"),
        (example(model={}), r"\$\.model\.served_model_name: Field required"),
        (
            example(verification={"date_utc": "soon", "status": "fine"}),
            r"\$\.verification\.date_utc: .*status",
        ),
        (b"{", "not JSON"),
        (b'{"a": NaN}', "not JSON: expected value at line 1 column 7"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * (65 * 1024 * 1024), "more than the"),
    ],
)
def test_a_document_that_is_not_an_entry_is_refused_with_the_path_of_each_fault(
    data: bytes, message: str
) -> None:
    with pytest.raises(EntryError, match=message):
        Entry.from_json(data)


def changed(**parts: dict[str, Any]) -> str:
    data = json.loads(EXAMPLE.read_bytes())
    for part, fields in parts.items():
        data[part] |= fields
    return Entry.from_json(json.dumps(data).encode()).fingerprint()


def test_only_behaviour_changes_the_fingerprint() -> None:
    same = changed()
    assert changed(server={"version": "0.33.0", "port": 1, "command": "other"}) == same
    assert changed(verification={"date_utc": "2026-01-01T00:00:00Z", "git_commit": "a" * 40}) == same
    assert changed(performance={"avg_latency_s": 3.0}, tagger={"base_url": "http://other/v1"}) == same
    assert changed(server={"flags": {"max-model-len": 8192}}) != same
    assert changed(tagger={"temperature": 0.0}) != same
    assert changed(tagger={"prompts": {"caption": "Say what you see."}}) != same
    assert changed(model={"quantization": "fp8"}) != same
