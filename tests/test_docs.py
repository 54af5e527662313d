"""The documentation: complete, up to date, with links that lead somewhere and figures that were measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest
import yaml
from PIL import Image

from pytest_setups.checks.output_checks import CHECKS

ROOT: Final = Path(__file__).parent.parent
REPOSITORY: Final = "https://github.com/pytest-setups/pytest-setups"
RAW: Final = "https://raw.githubusercontent.com/pytest-setups/pytest-setups/main/"
MAX_README_LINES: Final = 200
MAX_PICTURE_BYTES: Final = 300_000
PAGES: Final = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "toy_model", "pytest_setups/demo", "sample_images")
    for path in (ROOT / folder).glob("*.md")
)


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def printed_by(*command: str) -> str:
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


def program(name: str) -> str:
    """A program of the environment in which the tests run."""
    return str(Path(sys.executable).with_name(name))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]+`", "", text, flags=re.DOTALL | re.MULTILINE)


def links(page: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", without_code(read(page)))


def anchors(page: str) -> set[str]:
    """The anchors of the headings of a page."""
    prose = re.sub(r"^```.*?^```", "", read(page), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_is_out_of_date_is_named_and_brought_up_to_date(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    page = tmp_path / "docs/options.md"
    good = page.read_text("utf-8")
    page.write_text(good.replace("`--setup-max-edge=PIXELS`", "`--setup-edge=PIXELS`"), "utf-8")
    command = [sys.executable, str(tmp_path / "docs/generate.py")]
    checked = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert f"{page} is out of date" in checked.stdout
    subprocess.run(command, check=True, capture_output=True)
    assert page.read_text("utf-8") == good


def test_every_option_is_documented() -> None:
    options = printed_by(sys.executable, "-m", "pytest", "--help")
    flags = set(re.findall(r"^  (--(?:no-)?(?:setup|record)-?[\w-]*)", options, re.MULTILINE))
    pytests_own = {"--setup-only", "--setup-show", "--setup-plan"}
    usual = {flag for flag in flags - pytests_own if not flag.startswith("--no-")}
    assert len(usual) > 40
    assert {flag for flag in usual if f"`{flag}" not in read("docs/options.md")} == set()


def test_every_command_is_documented() -> None:
    overview = printed_by(program("pytest-setups"), "--help").partition("Commands:")[2]
    commands = set(re.findall(r"^  ([a-z]+)  ", overview, re.MULTILINE))
    headings = set(re.findall(r"^## pytest-setups (.+)$", read("docs/command-line.md"), re.MULTILINE))
    assert len(commands) > 10
    assert headings == commands


def test_every_field_of_an_entry_is_documented() -> None:
    schema = json.loads(printed_by(program("pytest-setups"), "schema"))
    parts = [schema, *schema["$defs"].values()]
    fields = {field for part in parts for field in part.get("properties", {})}
    named = set(
        re.findall(r"`(\w+)`|^## (?:\w+ and )?(\w+)$|\"(\w+)\":", read("docs/entry.md"), re.MULTILINE)
    )
    assert fields - {name for names in named for name in names} == set()


def test_every_check_is_documented() -> None:
    entry = json.loads(read("registry/entries/toy-vlm_llama.cpp.json"))
    page = read("docs/getting-started.md")
    of_outputs = set(entry["verification"]["checks"]) - {"models", "vision", "same-words"}
    of_outputs |= {check.name for check in CHECKS}
    assert {check for check in of_outputs if f"| `{check}` |" not in page} == set()


def test_the_readme_is_short_and_has_the_commands_of_ci() -> None:
    readme = read("README.md")
    assert len(readme.splitlines()) <= MAX_README_LINES
    install = "python3 -m venv .venv && .venv/bin/pip install -e"
    tests = f"{install} '.[dev]' && .venv/bin/pytest"
    demo = f"{install} '.[demo]' && .venv/bin/pytest --setup-demo --record"
    assert {tests, demo} <= set(readme.splitlines())
    assert tests in read(".ci/run").splitlines()


def test_links_of_the_readme_work_on_pypi() -> None:
    relative = [link for link in links("README.md") if not link.startswith(("https://", "#"))]
    assert relative == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    dead = []
    for link in links(page):
        file, _, anchor = link.partition("#")
        for prefix in (f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/tree/main/", RAW):
            file = file.replace(prefix, "/", 1)
        if file.startswith(("http:", "https:", "mailto:")):
            continue
        inside = unquote(file).lstrip("/")
        target = (
            ROOT / inside if file.startswith("/") else (ROOT / page).parent / inside if file else ROOT / page
        )
        known = not anchor or anchor in anchors(target.resolve().relative_to(ROOT).as_posix())
        if not target.exists() or not known:
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_are_named_exist(page: str) -> None:
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w.-]+\.(?:py|md|toml|yml))`", read(page))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_example_in_the_readme_was_recorded() -> None:
    readme = read("README.md")
    excerpt = json.loads(readme.partition("```json\n")[2].partition("```")[0])
    slug = readme.partition("recorded: registry/entries/")[2].partition(".json")[0]
    entry = json.loads(read(f"registry/entries/{slug}.json"))
    results = read(f"registry/results/{slug}.jsonl")
    for part, fields in excerpt.items():
        assert fields == {name: entry[part][name] for name in fields}
    for stage, figures in entry["performance"]["stages"].items():
        row = re.search(rf"^{stage} .*$", readme, re.MULTILINE)
        assert row
        times = (figures[name] for name in ("mean_s", "p50_s", "p95_s", "max_s"))
        assert row[0].split()[3:7] == [f"{time:.3f}" for time in times]
    caption = re.search(r'The first caption in its results file is "([^"]+)"', readme)
    assert caption
    assert json.loads(results.splitlines()[0])["text"] == caption[1]


def test_the_picture_of_the_report_is_small() -> None:
    picture = ROOT / "docs/images/report.png"
    assert picture.stat().st_size < MAX_PICTURE_BYTES
    with Image.open(picture) as image:
        assert image.width == 1280


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = subprocess.run(
        [program("zensical"), "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert {page for page in pages if not (tmp_path / "build/site" / page / "index.html").exists()} == set()
    listed = set(re.findall(r"([a-z-]+)\.md", read("mkdocs.yml")))
    assert listed == pages | {"index"}


def test_workflows_may_do_little_and_pin_their_actions() -> None:
    workflows: dict[str, dict[str, Any]] = {
        path.name: yaml.safe_load(path.read_bytes()) for path in (ROOT / ".github/workflows").glob("*.yml")
    }
    assert set(workflows) == {"ci.yml", "release.yml"}
    for name, workflow in workflows.items():
        assert workflow["permissions"] == {"contents": "read"}, name
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        actions = [step["uses"] for step in steps if "uses" in step]
        assert [action for action in actions if not re.search(r"@[0-9a-f]{40}$", action)] == [], name
        assert "secrets." not in read(f".github/workflows/{name}")
    commands = [step.get("run") for step in workflows["ci.yml"]["jobs"]["test"]["steps"]]
    assert "bash .ci/run" in commands
    publish = workflows["release.yml"]["jobs"]["publish"]
    assert publish["permissions"]["id-token"] == publish["permissions"]["attestations"] == "write"


def test_workflows_shown_in_the_documentation_are_yaml() -> None:
    shown = re.findall(r"^```yaml\n(.*?)^```", read("docs/ci.md"), re.DOTALL | re.MULTILINE)
    assert [set(yaml.safe_load(text)) >= {"name", "jobs", "permissions"} for text in shown] == [True, True]


def test_hooks_before_a_commit_need_no_network() -> None:
    configured = yaml.safe_load(read(".pre-commit-config.yaml"))
    assert [repository["repo"] for repository in configured["repos"]] == ["local"]
    hooks = configured["repos"][0]["hooks"]
    assert {hook["id"] for hook in hooks} >= {"ruff", "ruff-format", "mypy"}
    assert {hook["language"] for hook in hooks} == {"system"}
