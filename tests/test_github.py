"""In GitHub Actions: the summary of the step, and annotations."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.conftest import Run, draw
from tests.servers.scripted import Scripted, as_json, completion, models, seeing

LIMIT = 1024 * 1024
HOSTILE = "@all [x](javascript:1) ![i](https://e.example/i.png) www.e.example | <script>1</script> `*_~ #1"


@pytest.fixture
def summary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step of a workflow: the file that takes its summary."""
    file = tmp_path_factory.mktemp("runner") / "step_summary"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    return file


class Page(HTMLParser):
    """What GitHub would show: the tags, the texts of the cells of each row, and the texts in code."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags = set[str]()
        self.rows: list[list[str]] = []
        self.code: list[str] = []
        self.open: list[str] = []
        self.feed(MarkdownIt("commonmark").enable("table").render(markdown))
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag == "code":
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open.remove(tag)

    def handle_data(self, data: str) -> None:
        if "tr" in self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        if "code" in self.open:
            self.code[-1] += data


def shown_errors(result: pytest.RunResult) -> list[tuple[str, str]]:
    """Title and message of each error, read from whole lines as the runner reads them."""
    found = [re.fullmatch(r"::error title=([^:,]*)::(.*)", line) for line in result.outlines]
    return [(_unescaped(match[1]), _unescaped(match[2])) for match in found if match]


def _unescaped(text: str) -> str:
    for code, mark in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, mark)
    return text


def babble(server: Scripted, stage: str) -> None:
    server.chat = lambda ask: completion("!!!!!!!!") if ask.stage == stage else seeing(ask)


def test_a_success_is_the_headline_above_the_table_of_stages(run: Run, summary: Path) -> None:
    summary.write_text("what an earlier command said\n")
    result = run("--record")
    text = summary.read_text()
    assert text.startswith("what an earlier command said\n")
    assert "## ✅ Setup: success" in text
    page = Page(text)
    assert any("(vllm 0.32.0), model served, 3 images" in code for code in page.code)
    assert "recorded: registry/entries/served_vllm.json" in page.code
    assert [row[:3] for row in page.rows] == [
        ["stage", "n", "failed"],
        ["caption", "3", "0"],
        ["keywords", "3", "0"],
        ["description", "3", "0"],
        ["image", "3", "0"],
    ]
    assert shown_errors(result) == []


@pytest.mark.parametrize("more", [(), ("-q",), ("-qq",), ("-v",), ("-n2",), ("-p", "no:terminal")])
def test_each_failed_measurement_is_an_annotation(
    run: Run, server: Scripted, summary: Path, more: tuple[str, ...]
) -> None:
    babble(server, "keywords")
    found = shown_errors(run(*more))
    assert found[0][0] == "pytest-setups"
    assert found[0][1].startswith("failed: 3 of 9 answers are not populated")
    titles = [title for title, _ in found[1:]]
    assert titles == [f"pytest-setups: keywords of {name}.jpg" for name in ("boats", "cat", "rocket")]
    assert all("!!!!!!!!" not in title for title in titles)
    page = Page(summary.read_text())
    assert [row[:2] for row in page.rows[-3:]] == [
        ["keywords", f"{name}.jpg"] for name in ("boats", "cat", "rocket")
    ]


def test_a_line_that_is_not_good_is_an_annotation(run: Run, server: Scripted, summary: Path) -> None:
    server.routes["/v1/models"] = as_json({"error": {"message": "50% loaded"}}, 503)
    result = run("--record")
    assert any("%25" in line for line in result.outlines if line.startswith("::error"))
    messages = [message for _, message in shown_errors(result)]
    assert any(message.startswith("failed: models: ") and "50% loaded" in message for message in messages)
    assert any(message.startswith("not recorded: only successful runs are recorded") for message in messages)
    assert "## ❌ Setup: failed" in summary.read_text()


def test_what_to_type_is_no_secret(run: Run, server: Scripted, summary: Path) -> None:
    server.chat = lambda _: completion("A boat", finish_reason="length")
    (_, message), *_ = shown_errors(run())
    assert "; raise --setup-max-new-tokens" in message
    assert "--setup-max-new-tokens" in summary.read_text()


def test_a_fault_of_the_server_is_one_annotation(
    run: Run, project: pytest.Pytester, server: Scripted, summary: Path
) -> None:
    for number in range(19):
        draw(project.path / f"sample_images/more-{number}.jpg", "green", (50 + number, 48))
    server.stop_answering(from_request=27)
    ((title, message),) = shown_errors(run("--setup-timeout=0.3"))
    assert title == "pytest-setups"
    assert message.endswith("within 0.3 s")
    text = summary.read_text()
    assert len(Page(text).rows) == 5 + 1 + 1
    assert "Answers that are missing because of the same faults: 56" in text


def test_no_more_annotations_than_github_shows(
    run: Run, project: pytest.Pytester, server: Scripted, summary: Path
) -> None:
    for number in range(12):
        draw(project.path / f"sample_images/more-{number}.jpg", "green", (50 + number, 48))
    babble(server, "caption")
    found = shown_errors(run())
    assert len(found) == 10
    assert found[-1] == ("pytest-setups", "and 7 more: see the log")
    assert len([row for row in Page(summary.read_text()).rows if row[0] == "caption"]) == 1 + 15


def test_text_of_models_and_files_stays_text(
    run: Run, project: pytest.Pytester, server: Scripted, summary: Path
) -> None:
    name = "a,b|c: 1%0A::error::x @me <b> [l](http:).jpg"
    hostile_file = project.path / "sample_images" / name.replace("/", "")
    draw(hostile_file, "green")
    server.routes["/v1/models"] = as_json(models(HOSTILE))
    server.chat = lambda ask: completion(f"\n::error::forged\r\n{HOSTILE} {ask.stage}!")
    result = run()
    page = Page(summary.read_text())
    tables = {"table", "thead", "tbody", "tr", "th", "td"}
    assert page.tags <= {"h2", "h3", "p", "ul", "li", "code", *tables}
    assert all(len(row) in {3, 9} for row in page.rows)
    assert hostile_file.name in [row[1] for row in page.rows]
    assert any(HOSTILE in text for text in page.code)
    assert not any(line.lstrip().startswith("::error::") for line in result.outlines)


def test_secrets_are_in_neither(
    run: Run, server: Scripted, summary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "opensesame-123")
    server.chat = lambda _: as_json({"error": {"message": "bad key opensesame-123"}}, 401)
    result = run("--setup-api-key-env=MY_KEY")
    assert len(shown_errors(result)) == 1
    assert "opensesame-123" not in summary.read_text() + result.stdout.str()


@pytest.mark.parametrize("held", [0, LIMIT - 2000, LIMIT + 5])
def test_the_summary_stays_within_what_github_takes(
    run: Run, project: pytest.Pytester, server: Scripted, summary: Path, held: int
) -> None:
    for number in range(12):
        draw(project.path / f"sample_images/more-{number}.jpg", "green", (50 + number, 48))
    summary.write_bytes(b"." * held)
    server.chat = lambda _: as_json({"error": {"message": "|é" * 500}}, 500)
    run()
    size = summary.stat().st_size
    assert size <= max(LIMIT, held)
    cut = "… and more than a step's summary may hold" in summary.read_text()
    assert cut == (held == LIMIT - 2000)


def test_a_summary_that_cannot_be_written_fails_nothing(
    run: Run, tmp_path: Path, summary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    result = run()
    result.assert_outcomes(passed=11)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY cannot be written: *"])
    assert not summary.exists()


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS")


def listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")


@pytest.mark.parametrize("where", [elsewhere, listing])
def test_nothing_elsewhere_and_nothing_when_tests_are_only_listed(
    run: Run,
    server: Scripted,
    summary: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: Callable[[pytest.MonkeyPatch], None],
) -> None:
    where(monkeypatch)
    babble(server, "caption")
    result = run()
    assert "::error" not in result.stdout.str()
    assert not summary.exists()
