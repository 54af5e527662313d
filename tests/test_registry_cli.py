from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from pytest_setups.registry.entry import json_schema
from pytest_setups.registry.store import Registry
from tests import recorders
from tests.conftest import Command, Done
from tests.recorders import SLUG, record, setup

HAND_WRITTEN = Path(__file__).with_name("data") / "qwen2.5-vl-7b-awq_vllm.json"
PUBLISHED_SCHEMA = Path(__file__).parents[1] / "registry" / "schema.json"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry under the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "registry"


def test_help_names_every_command(setups: Command) -> None:
    done = setups("--help")

    assert done.code == 0
    for command in ("list", "show", "diff", "history", "validate", "index", "schema", "import"):
        assert f" {command} " in done.out


def test_the_version_is_printed(setups: Command) -> None:
    assert setups("--version") == Done(0, f"{version('pytest-setups')}\n", "")


def test_the_command_is_installed(root: Path) -> None:
    record(root)
    program = Path(sys.executable).with_name("pytest-setups")

    done = subprocess.run([program, "list"], capture_output=True, text=True, check=True, cwd=root.parent)

    assert SLUG in done.stdout
    assert done.stderr == ""


def test_list_shows_and_filters_entries(root: Path, setups: Command) -> None:
    record(root)
    failed = {"status": "failed", "failure_reason": "vision: the model is blind"}
    record(root, slug="gemma_llama.cpp", server={"backend": "llama.cpp"}, verification=failed)

    def listed(*filters: str) -> list[str]:
        return [row["slug"] for row in setups("list", "--json", *filters).json]

    assert listed() == ["gemma_llama.cpp", SLUG]
    assert listed("--backend", "vllm") == [SLUG]
    assert listed("--status", "failed") == ["gemma_llama.cpp"]
    assert listed("--model", "QWEN2.5") == ["gemma_llama.cpp", SLUG]
    assert listed("--model", "llava") == []
    table = setups("list", "--backend", "llama.cpp").out
    assert "gemma_llama.cpp" in table
    assert "failed" in table
    assert SLUG not in table


def test_list_says_which_entries_it_leaves_out(root: Path, setups: Command) -> None:
    record(root)
    (root / "entries" / "broken.json").write_text("{}")

    done = setups("list")

    assert SLUG in done.out
    assert done.err == "entries/broken.json is left out: it has no 'model'\n"
    assert done.code == 1


def test_an_empty_registry_is_valid(root: Path, setups: Command) -> None:
    root.mkdir()

    assert setups("list").out == "no entries\n"
    assert setups("list", "--json").json == []
    assert setups("index").code == 0
    assert setups("validate").code == 0


@pytest.mark.parametrize("command", [("list",), ("show", "x"), ("validate",), ("index",)])
def test_a_registry_that_is_not_there_is_a_mistake(
    root: Path, setups: Command, command: tuple[str, ...]
) -> None:
    assert not root.exists()

    done = setups(*command)

    assert done.code == 2
    assert done.err == (
        "pytest-setups: no registry at registry: name its folder with --registry DIR or SETUP_REGISTRY\n"
    )


def test_the_registry_is_named_by_option_or_environment(
    root: Path, setups: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(root.parent / "elsewhere")

    assert [row["slug"] for row in setups("list", "--json", "--registry", "elsewhere").json] == [SLUG]
    monkeypatch.setenv("SETUP_REGISTRY", "elsewhere")
    assert [row["slug"] for row in setups("list", "--json").json] == [SLUG]


@pytest.mark.parametrize("command", ["show", "history"])
def test_an_unknown_slug_is_answered_with_the_nearest(root: Path, setups: Command, command: str) -> None:
    record(root)
    record(root, slug="gemma_llama.cpp")

    done = setups(command, "qwen2-vl_vllm")

    assert done.err == f"pytest-setups: no entry 'qwen2-vl_vllm' in registry; the nearest: {SLUG}\n"
    assert done.code == 2


def test_a_slug_that_leads_out_of_the_registry_is_unknown(root: Path, setups: Command) -> None:
    record(root)
    (root.parent / "secret.json").write_text(json.dumps(setup()))

    done = setups("show", "../../secret")

    assert done.err.startswith("pytest-setups: no entry '../../secret' in registry;")
    assert done.code == 2


def test_show_prints_every_field(root: Path, setups: Command) -> None:
    record(root, server={"command": "vllm serve Qwen --api-key sk-verysecret123 --max-model-len 4096"})

    done = setups("show", SLUG)

    assert done.code == 0
    for text in ("Qwen/Qwen2.5-VL-7B-Instruct", "0.11.0", "2026-01-01T00:00:00Z", "keywords", "1.250"):
        assert text in done.out
    assert "sk-verysecret123" not in done.out
    assert setups("show", SLUG, "--json").json["entry"] == json.loads(
        (root / "entries" / f"{SLUG}.json").read_bytes()
    )


def test_what_a_stranger_wrote_cannot_control_the_terminal(root: Path, setups: Command) -> None:
    hostile = "\x1b[2J[bold red]gone[/]\x07\u202eevil\u2066\r\n[link=file:///etc]x"
    record(
        root,
        model={"repo_id": hostile},
        server={"version": hostile, "flags": {hostile: hostile}},
        verification={"status": "failed", "failure_reason": hostile},
    )
    record(root, slug="other")

    for command in (
        ("list",),
        ("show", SLUG),
        ("diff", SLUG, "other"),
        ("history", SLUG),
        ("list", "--json"),
    ):
        done = setups(*command)
        assert not set(done.out) & set("\x1b\x07\u202e\u2066\r")
        assert "[bold red]gone" in done.out


def test_diff_shows_what_changed_and_the_outcomes_side_by_side(root: Path, setups: Command) -> None:
    record(root, slug="old")
    stages = {"caption": {"n": 1, "p50_s": 2.5}, "keywords": {"n": 1}, "description": {"n": 1}}
    record(
        root,
        slug="new",
        server={"version": "0.12.0", "flags": {"max-model-len": 8192, "enforce-eager": True}},
        performance={"avg_latency_s": 7.5, "stages": stages},
    )

    done = setups("diff", "old", "new", "--json")

    differences = {
        field["path"]: (field["a"], field["b"], field["decides"]) for field in done.json["differences"]
    }
    assert differences == {
        "$.server.flags.max-model-len": (4096, 8192, True),
        "$.server.flags.enforce-eager": (None, True, True),
        "$.server.version": ("0.11.0", "0.12.0", False),
    }
    outcomes = {field["name"]: (field["a"], field["b"], field["change"]) for field in done.json["outcomes"]}
    assert outcomes["avg_latency_s"] == (3.75, 7.5, None)
    assert done.json["not_comparable"] == (
        "server.flags.enforce-eager (none -> true), server.flags.max-model-len (4096 -> 8192)"
    )
    assert done.code == 1
    table = setups("diff", "old", "new").out
    assert "server.flags.max-model-len *" in table
    assert "not comparable: server.flags.enforce-eager (none -> true)" in table


def test_diff_rates_the_outcomes_of_one_setup(root: Path, setups: Command) -> None:
    record(root, slug="old")
    stages = {stage: {"n": 1, "p50_s": 1.5} for stage in recorders.STAGES}
    record(
        root, slug="new", server={"version": "0.12.0"}, performance={"avg_latency_s": 4.5, "stages": stages}
    )

    done = setups("diff", "old", "new", "--json")

    changes = {field["name"]: field["change"] for field in done.json["outcomes"]}
    assert changes["avg_latency_s"] == pytest.approx(0.2)
    assert changes["caption.p50_s"] == pytest.approx(0.2)
    assert done.json["not_comparable"] is None
    assert "+20.0%" in setups("diff", "old", "new").out


def test_diff_of_equal_settings_ends_with_0(root: Path, setups: Command) -> None:
    record(root, slug="a")
    record(root, slug="b")

    done = setups("diff", "a", "b")

    assert "the settings are the same" in done.out
    assert done.code == 0


def test_diff_of_one_setup_started_twice_ends_with_0(root: Path, setups: Command) -> None:
    given = {
        "command": "vllm serve Qwen --port 8000 --max-model-len 4096", "port": 8000,
        "command_source": "given", "ready_s": 31.5, "started_at": "2026-01-01T00:00:00Z",
        "working_directory": "/srv/a",
    }  # fmt: skip
    detected = {
        "command": "/usr/bin/python3 /usr/bin/vllm serve Qwen --port 9000 --max-model-len 4096", "port": 9000,
        "command_source": "process", "ready_s": 44.0, "started_at": "2026-02-01T00:00:00Z",
        "working_directory": "/srv/b",
    }  # fmt: skip
    record(root, slug="a", server=given, tagger={"base_url": "http://localhost:8000/v1"})
    record(root, slug="b", server=detected, tagger={"base_url": "http://localhost:9000/v1"})

    done = setups("diff", "a", "b")

    assert done.code == 0
    before, heading, after = done.out.partition("where and how it ran")
    assert "the settings are the same" in before
    assert heading
    assert "server.started_at" in after
    document = setups("diff", "a", "b", "--json").json
    assert document["differences"] == []
    assert {difference["path"] for difference in document["incidental"]} == {
        *(f"$.server.{name}" for name in given), "$.tagger.base_url",
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"server": {"version": "0.12.0"}},
        {"server": {"flags": {"max-model-len": 8192}}},
        {"tagger": {"concurrency": 4}},
        {"tagger": {"temperature": 0.9}},
    ],
)
def test_diff_of_a_changed_setting_ends_with_1(
    root: Path, setups: Command, change: dict[str, dict[str, Any]]
) -> None:
    record(root, slug="a", server={"port": 8000})
    record(root, slug="b", **({"server": {"port": 9000}} | change))

    assert setups("diff", "a", "b").code == 1


FIGURES: dict[str, dict[str, Any]] = {
    "$.performance.avg_latency_s": {"performance": {"avg_latency_s": "?"}},
    "$.performance.images_per_s": {"performance": {"images_per_s": "?"}},
    "$.performance.image.p50_s": {"performance": {"image": {"n": 1, "p50_s": "?"}}},
    "$.performance.stages.caption.n": {"performance": {"stages": {"caption": {"n": "?"}}}},
    "$.performance.stages.caption.p95_s": {"performance": {"stages": {"caption": {"n": 1, "p95_s": "?"}}}},
    "$.server.ready_s": {"server": {"ready_s": "?"}},
    "$.verification.images_processed": {"verification": {"images_processed": "?"}},
}  # fmt: skip


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e300", "-1"], ids=["digits", "1e300", "negative"])
@pytest.mark.parametrize("path", FIGURES)
def test_a_figure_that_cannot_be_is_refused_with_its_path(
    root: Path, setups: Command, path: str, number: str
) -> None:
    record(root, slug="good")
    text = json.dumps(setup(**FIGURES[path])).replace('"?"', number)
    (root / "entries" / "odd.json").write_text(text)

    validated = setups("validate", "--no-git")

    assert f"entries/odd.json: {path}: " in validated.out
    assert setups("show", "odd").err.startswith(f"pytest-setups: registry/entries/odd.json: {path}: ")
    assert [slug["slug"] for slug in setups("history", "good", "--json").json] == ["good"]
    site = setups("site", "pages")
    assert "site: pages/index.html: 1 entry" in site.out
    assert "entries/odd.json is left out: " in site.err


def test_a_number_of_400_digits_has_no_row_and_stops_nothing(root: Path, setups: Command) -> None:
    text = json.dumps(setup(**FIGURES["$.performance.avg_latency_s"])).replace('"?"', "9" * 400)
    (root / "entries").mkdir(parents=True)
    (root / "entries" / "odd.json").write_text(text)

    recorded = record(root, slug="good")

    assert recorded.index_fault == "the index leaves out odd: run `pytest-setups validate`"
    listed = setups("list", "--json")
    assert [row["slug"] for row in listed.json] == ["good"]
    assert listed.err.startswith("entries/odd.json is left out: ")
    assert setups("index").code == 1


def test_history_follows_one_setup_over_time(root: Path, setups: Command) -> None:
    for day, server_version in (("03", "0.12.0"), ("01", "0.10.0"), ("02", "0.11.0")):
        date = {"date_utc": f"2026-01-{day}T00:00:00Z"}
        record(root, slug=f"on-{day}", server={"version": server_version}, verification=date)
    record(root, slug="warmer", tagger={"temperature": 0.9})
    (root / "entries" / "broken.json").write_text("{}")

    done = setups("history", "on-02", "--json")

    assert [entry["slug"] for entry in done.json] == ["on-01", "on-02", "on-03"]
    lines = [line.split() for line in setups("history", "on-02").out.splitlines() if "2026-" in line]
    assert [(line[1], line[-1]) for line in lines] == [
        ("0.10.0", "on-01"),
        ("0.11.0", "on-02"),
        ("0.12.0", "on-03"),
    ]


def test_validate_names_file_and_field(root: Path, setups: Command) -> None:
    record(root)
    assert setups("validate").code == 0
    path = root / "entries" / f"{SLUG}.json"
    path.write_text(path.read_text().replace('"success"', '"great"'))

    done = setups("validate")

    fault = f"entries/{SLUG}.json: $.verification.status: Input should be 'success' or 'failed'"
    assert fault in done.out.splitlines()
    assert "not checked: whether entries were edited: not in a git repository" in done.err
    assert done.code == 1
    assert setups("validate", "--json").json["faults"][0] == {
        "file": f"entries/{SLUG}.json",
        "check": "schema",
        "message": "$.verification.status: Input should be 'success' or 'failed'",
    }


def test_validate_warns_of_a_date_in_the_future(root: Path, setups: Command) -> None:
    record(root, verification={"date_utc": "2999-12-31T00:00:00Z"})

    done = setups("validate", "--no-git")

    assert done.code == 0
    assert f"warning: entries/{SLUG}.json: $.verification.date_utc: 2999-12-31 is in the future" in done.err
    assert len(setups("validate", "--no-git", "--json").json["warnings"]) == 1


def test_validate_looks_paths_up_when_asked(root: Path, setups: Command) -> None:
    record(root, model={"local_path": "/nowhere/qwen"})

    assert setups("validate").code == 0
    done = setups("validate", "--check-paths")

    assert "$.model.local_path: /nowhere/qwen does not exist on this machine" in done.out
    assert done.code == 1


def test_validate_asks_git_by_default(root: Path, setups: Command, git: Callable[..., str]) -> None:
    record(root)
    git("add", "--all")
    git("commit", "--quiet", "--message", "one entry")
    path = root / "entries" / f"{SLUG}.json"
    path.write_text(f"{path.read_text()}\n")

    assert f"entries/{SLUG}.json: edited, not committed" in setups("validate").out
    assert setups("validate", "--no-git").code == 0


def test_validate_says_why_git_could_not_be_asked(root: Path, git: Callable[..., str]) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "nothing yet")
    record(root)
    program = Path(sys.executable).with_name("pytest-setups")
    environment = os.environ | {"PATH": "/nowhere"}

    done = subprocess.run([program, "validate"], capture_output=True, text=True, env=environment, check=True)

    assert done.stderr == "not checked: whether entries were edited: the git program is not on PATH\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_is_not_asked(
    root: Path, setups: Command, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    record(root)
    git("add", "--all")
    git("commit", "--quiet", "--message", "one entry")
    for path in (root.parent, *root.parent.rglob("*")):
        os.chown(path, 65534, 65534)

    done = setups("validate")

    assert done.err.startswith("not checked: whether entries were edited: fatal: detected dubious ownership")
    assert done.code == 0


def test_index_is_rebuilt_and_leftovers_go(root: Path, setups: Command) -> None:
    record(root)
    recorders.start(recorders.die_between_results_and_entry, root).join()
    (root / "index.json").write_text("{}")

    done = setups("index")

    assert done.out == "registry/index.json: 1 row; 2 leftover files removed\n"
    assert done.code == 0
    assert setups("validate").code == 0


def test_index_says_which_entries_have_no_row(root: Path, setups: Command) -> None:
    record(root)
    (root / "entries" / "broken.json").write_text("{")

    done = setups("index")

    assert done.err.startswith("entries/broken.json has no row: not JSON")
    assert done.code == 1


def test_the_published_schema_is_up_to_date(setups: Command, tmp_path: Path) -> None:
    assert json.loads(PUBLISHED_SCHEMA.read_bytes()) == json_schema() == setups("schema").json
    assert setups("schema", "--output", str(tmp_path / "schema.json")).code == 0
    assert (tmp_path / "schema.json").read_bytes() == PUBLISHED_SCHEMA.read_bytes()


def test_schema_says_where_it_could_not_write(setups: Command, tmp_path: Path) -> None:
    done = setups("schema", "--output", str(tmp_path / "none" / "schema.json"))

    assert done.err.endswith("schema.json cannot be written: No such file or directory\n")
    assert done.code == 2


def test_an_entry_written_by_hand_is_imported_byte_for_byte(root: Path, setups: Command) -> None:
    done = setups("import", str(HAND_WRITTEN))

    assert done.code == 0
    copy = root / "entries" / HAND_WRITTEN.name
    assert copy.read_bytes() == HAND_WRITTEN.read_bytes()
    assert setups("validate").code == 0
    assert setups("list", "--json").json == [
        {
            "slug": "qwen2.5-vl-7b-awq_vllm",
            "model_repo": "Qwen/Qwen2.5-VL-7B-Instruct-AWQ",
            "served_model_name": "qwen2.5-vl-7b-awq",
            "backend": "vllm",
            "status": "success",
            "date_utc": "2025-10-01T00:00:00Z",
            "version": None,
            "avg_latency_s": None,
        }
    ]
    assert setups("import", str(HAND_WRITTEN), "--json").json[0]["outcome"] == "present"


def test_a_whole_registry_is_imported(root: Path, setups: Command) -> None:
    other = root.parent / "other"
    record(other)
    record(other, slug="second")
    Registry(other).entry_path(HAND_WRITTEN.stem).write_bytes(HAND_WRITTEN.read_bytes())

    done = setups("import", "other", "--json")

    assert [imported["outcome"] for imported in done.json] == ["imported"] * 3
    assert setups("validate").code == 0
    for path in [*other.glob("entries/*"), *other.glob("results/*")]:
        assert (root / path.relative_to(other)).read_bytes() == path.read_bytes()


def test_a_file_without_a_slug_for_a_name_is_named_after_its_model(root: Path, setups: Command) -> None:
    (root.parent / "My Entry.json").write_bytes(HAND_WRITTEN.read_bytes())

    assert setups("import", "My Entry.json", "--json").json[0]["slug"] == "qwen2.5-vl-7b-awq_vllm"


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ("{}", "$.model: Field required; $.server: Field required"),
        ("nonsense", "not JSON: "),
        ('{"schema_version": "2.0"}', "schema version '2.0' cannot be read"),
        (
            json.dumps(
                setup(verification={"results": {"file": "results/x.jsonl", "sha256": "0" * 64, "lines": 1}})
            ),
            "results/x.jsonl is missing",
        ),
    ],
)
def test_a_file_that_is_not_an_entry_is_not_imported(
    root: Path, setups: Command, contents: str, reason: str
) -> None:
    source = root.parent / "in" / "entries" / "entry.json"
    source.parent.mkdir(parents=True)
    source.write_text(contents)

    done = setups("import", str(source), str(HAND_WRITTEN))

    assert "refused" in done.out
    assert reason in done.out
    assert done.code == 1
    assert [row["slug"] for row in setups("list", "--json").json] == [HAND_WRITTEN.stem]


def test_import_overwrites_nothing(root: Path, setups: Command) -> None:
    record(root, slug="taken")
    before = (root / "entries" / "taken.json").read_bytes()
    (root.parent / "taken.json").write_bytes(HAND_WRITTEN.read_bytes())

    done = setups("import", "taken.json")

    assert "an entry 'taken' with other contents exists" in done.out
    assert done.code == 1
    assert (root / "entries" / "taken.json").read_bytes() == before


def test_show_hides_what_may_be_a_secret_in_an_entry_written_by_hand(root: Path, setups: Command) -> None:
    flags = {"auth": "topsecret1", "headers": ["X-Mine: topsecret2"], "max-model-len": 4096}
    command = "my-server -k topsecret3 -u ann:topsecret4"
    record(root, server={"flags": flags, "command": command}, tagger={"notes": {"pwd": "topsecret5"}})

    done = setups("show", SLUG)

    assert done.code == 0
    assert "my-server -k [hidden] -u [hidden]" in done.out
    assert "4096" in done.out
    assert "topsecret" not in done.out


def test_import_warns_of_secrets(root: Path, setups: Command) -> None:
    document = setup(server={"command": "HF_TOKEN=hf_abcdefghijklmnop vllm serve x"})
    (root.parent / "leaky.json").write_text(json.dumps(document))

    done = setups("import", "leaky.json")

    assert "seems to contain a key or token" in done.out
    assert "hf_abcdefghijklmnop" not in done.out


@pytest.mark.parametrize("arguments", [("shwo",), ("list", "--status", "fine"), ("diff", "a")])
def test_a_mistyped_command_ends_with_2(root: Path, setups: Command, arguments: tuple[str, ...]) -> None:
    root.mkdir()

    assert setups(*arguments).code == 2


def test_the_command_line_needs_neither_a_server_nor_pictures() -> None:
    heavy = "{'httpx', 'PIL', 'pytest', 'jinja2'}"
    program = f"import sys, pytest_setups.cli; sys.exit(bool({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False)

    assert done.returncode == 0
