"""A report as a file: what it says, that it needs nothing else, and what it never overwrites."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from pytest_setups.registry.entry import Entry
from pytest_setups.registry.measurement import Measurement
from pytest_setups.report.html import render_report
from pytest_setups.report.pages import ComparedRow, ReportData
from tests.conftest import COLOURS, Command, Run, draw, no_traceback_of_ours
from tests.recorders import STAGES, setup
from tests.servers.hostile import hostile
from tests.servers.scripted import Scripted, completion, seeing, words

HAND_WRITTEN = Path(__file__).with_name("data") / "qwen2.5-vl-7b-awq_vllm.json"


@dataclass
class Page(HTMLParser):
    """What a page holds: tags, what it would load or go to, its text, and its style and script."""

    source: str
    tags: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    handlers: list[str] = field(default_factory=list)
    metas: dict[str, str] = field(default_factory=dict)
    text: str = ""
    code: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        self.loads += [
            values[name] for name in ("src", "href", "srcset", "action", "xlink:href") if name in values
        ]
        self.handlers += [name for name in values if name.startswith("on") or name == "style"]
        if tag == "meta":
            self.metas[values.get("name") or values.get("http-equiv", "")] = values.get("content", "")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1] in {"style", "script"} and self.tags[-1] not in self.code:
            self.code[self.tags[-1]] = data
        else:
            self.text += data


def rendered(data: ReportData) -> str:
    return "".join(render_report(data))


def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_of_a_good_run_begins_with_its_verdict(project: pytest.Pytester, run: Run) -> None:
    result = run("--setup-report", "out.html", "--record", "--setup-server-command", "vllm serve 'my model'")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["report: out.html"])
    page = page_of(project.path / "out.html")
    said = page.text.split()
    assert said.index("success") < said.index("served_vllm") < said.index("Latency")
    assert "vllm serve 'my model'" in page.text
    assert "pytest -p no:cacheprovider" in page.text
    assert "not recorded" not in page.text
    assert page.tags.count("img") == page.tags.count("article") == len(COLOURS)
    assert page.source.count('class="plot"') == 2
    assert "rests near" in page.text


def test_a_page_loads_nothing_and_allows_nothing(
    project: pytest.Pytester, run: Run, server: Scripted
) -> None:
    server.chat = hostile
    run("--setup-report", "out.html", "--record-failed")

    page = page_of(project.path / "out.html")
    assert page.loads
    assert all(target.startswith("data:image/jpeg;base64,") for target in page.loads)
    assert page.handlers == []
    assert page.tags.count("script") == page.tags.count("style") == 1
    assert "url(" not in page.code["style"]
    assert "@import" not in page.code["style"]
    policy = page.metas["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    for kind, code in page.code.items():
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_text_of_a_model_stays_text(project: pytest.Pytester, run: Run, server: Scripted) -> None:
    server.chat = hostile
    run("--setup-report", "out.html")

    page = page_of(project.path / "out.html")
    assert "<script>window.taken = 1</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page.source)


def test_the_page_of_a_failed_run_names_each_failed_check(
    project: pytest.Pytester, run: Run, server: Scripted
) -> None:
    server.chat = lambda ask: completion("!" * 60) if ask.stage == "caption" else seeing(ask)
    result = run("--setup-report", "out.html")

    assert result.ret == 1
    page = page_of(project.path / "out.html")
    assert page.text.strip().startswith("failed: served on vllm")
    assert "not recorded" in page.text
    assert "hidden" not in page.text
    assert page.text.count("one-token: one token repeated") > len(COLOURS), (
        "each picture, and the verdict, says why"
    )


def test_a_server_that_is_down_is_on_the_page(project: pytest.Pytester) -> None:
    result = project.runpytest("--setup-base-url", "http://127.0.0.1:9/v1", "--setup-report", "out.html")

    assert result.ret == 1
    no_traceback_of_ours(result)
    page = page_of(project.path / "out.html")
    assert "failed" in page.text.split()
    assert "127.0.0.1:9" in page.text


def test_a_part_of_a_run_is_called_incomplete(project: pytest.Pytester, run: Run) -> None:
    run("--setup-report", "out.html", "-k", "caption")

    page = page_of(project.path / "out.html")
    assert "incomplete" in page.text.split()
    assert "6 of 9 measurements are missing" in page.text


def test_workers_and_a_single_process_show_the_same_images(project: pytest.Pytester, run: Run) -> None:
    run("--setup-report", "out.html", "-n", "2")

    assert page_of(project.path / "out.html").tags.count("article") == len(COLOURS)


def test_pictures_are_small_and_the_right_way_up(project: pytest.Pytester, run: Run) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (1600, 400), "teal").save(project.path / "sample_images" / "boats.jpg", exif=exif)
    run("--setup-report", "out.html")

    data = page_of(project.path / "out.html").loads[0].partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (80, 320)


def test_an_earlier_report_is_replaced(project: pytest.Pytester, run: Run) -> None:
    run("--setup-report", "out.html", "-k", "caption")
    run("--setup-report", "out.html")

    assert "success" in page_of(project.path / "out.html").text.split()
    assert not list(project.path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("mine.html", "*mine.html is not a report of pytest-setups: name another file*"),
        ("sample_images", "*sample_images is not a report of pytest-setups*"),
        ("none/out.html", "*none/out.html cannot be written: No such file or directory*"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_the_first_request(
    project: pytest.Pytester, run: Run, server: Scripted, target: str, says: str
) -> None:
    (project.path / "mine.html").write_text("<p>mine</p>")
    result = run("--setup-report", target)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --setup-report: {says}"])
    no_traceback_of_ours(result)
    assert server.asks == []
    assert (project.path / "mine.html").read_text() == "<p>mine</p>"


def test_an_api_key_reaches_no_report(
    project: pytest.Pytester, run: Run, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "plain-looking-words")
    server.chat = lambda ask: completion(f"{ask.headers['authorization']} {words(ask)}")
    run("--setup-report", "out.html", "--setup-api-key-env", "MY_KEY")

    assert "plain-looking-words" not in (project.path / "out.html").read_text()


def test_an_entry_of_the_registry_becomes_a_page(project: pytest.Pytester, run: Run, setups: Command) -> None:
    run("--record")
    draw(project.path / "sample_images" / "cat.jpg", "green")

    done = setups("report", "served_vllm", "--output", "one.html")

    assert done.code == 0
    assert "report: one.html" in done.out + done.err
    page = page_of(project.path / "one.html")
    assert page.tags.count("article") == 3
    assert page.tags.count("img") == 2, "a picture that is no longer the one that was sent is not shown"
    assert "rests near" in page.text


def test_an_entry_written_by_hand_becomes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setups: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    entries = tmp_path / "registry" / "entries"
    entries.mkdir(parents=True)
    (entries / HAND_WRITTEN.name).write_bytes(HAND_WRITTEN.read_bytes())

    assert setups("report", HAND_WRITTEN.stem).code == 0

    page = page_of(tmp_path / f"{HAND_WRITTEN.stem}.html")
    assert "uv run vllm serve" in page.text
    assert "no results file" in page.text


def test_secrets_in_an_entry_written_by_hand_are_not_on_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setups: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    entries = tmp_path / "registry" / "entries"
    entries.mkdir(parents=True)
    flags = {"auth": "topsecret1", "max-model-len": 4096}
    by_hand = setup(server={"flags": flags, "command": "my-server -k topsecret2 --auth topsecret1"})
    (entries / "mine.json").write_text(json.dumps(by_hand))

    assert setups("report", "mine").code == 0

    page = page_of(tmp_path / "mine.html")
    assert "my-server -k [hidden] --auth [hidden]" in page.text
    assert "4096" in page.text
    assert "topsecret" not in page.source


def test_a_mistake_on_the_command_line_is_answered_in_one_line(
    project: pytest.Pytester, run: Run, setups: Command
) -> None:
    run("--record")
    (project.path / "mine.html").write_text("mine")

    for arguments, says in (
        (("report", "served"), "the nearest: served_vllm"),
        (("report", "served_vllm", "-o", "mine.html"), "is not a report"),
        (("report", "served_vllm", "--images", "nowhere"), "--images: no such file or folder"),
    ):
        done = setups(*arguments)
        assert (done.code, says in done.err, len(done.err.splitlines())) == (2, True, 1), done


def test_a_site_has_a_page_for_each_entry_and_their_history(
    project: pytest.Pytester, run: Run, setups: Command
) -> None:
    run("--record")
    run("--record")
    (project.path / "registry" / "entries" / "broken.json").write_text("{")

    done = setups("site", "public")

    assert done.code == 1
    assert "entries/broken.json is left out" in done.out + done.err
    index = page_of(project.path / "public" / "index.html")
    assert "broken" in index.text
    pages = [project.path / "public" / target for target in index.loads]
    assert len(pages) == 2
    for page in map(page_of, pages):
        assert "This setup over time" in page.text
        assert page.source.count('class="plot"') == 3
        assert "../index.html" in page.loads
    assert setups("site", "public").code == 1, "an earlier site is replaced"


def test_a_site_is_not_written_over_another(project: pytest.Pytester, run: Run, setups: Command) -> None:
    run("--record")
    (project.path / "public").mkdir()
    (project.path / "public" / "index.html").write_text("mine")

    done = setups("site", "public")

    assert done.code == 2
    assert "is not a report of pytest-setups" in done.out + done.err
    assert [path.name for path in (project.path / "public").rglob("*.html")] == ["index.html"]


def test_a_comparison_has_a_table_of_its_own() -> None:
    entry = Entry.from_document(setup())
    row = ComparedRow(["caption.p50", "0.5", "0.9", "+80%", "9%", "20%", "<b>breach</b>"], good=False)

    page = Page(rendered(ReportData("failed", "", entry, baseline="before", comparison=[row])))

    assert "Against the baseline before" in " ".join(page.text.split())
    assert "<b>breach</b>" in page.text


def timed(image: str, latency_s: float, stages: Iterable[str] = STAGES) -> list[Measurement]:
    return [
        Measurement.model_validate({"image": image, "stage": stage, "passed": True, "latency_s": latency_s})
        for stage in stages
    ]


def titles(data: ReportData) -> list[str]:
    """The tooltips of a page's plots."""
    return re.findall("<title>([^<]*)</title>(?!\n<style>)", rendered(data))


def test_a_plot_names_the_image_of_an_outlier_and_stands_beside_the_baseline() -> None:
    measurements = [m for n in range(9) for m in timed(f"photo-{n}.jpg", 0.5 + n / 100)]
    measurements += timed("slow.jpg", 9.0, ["keywords"])
    before = [m for n in range(8) for m in timed(f"photo-{n}.jpg", 0.25)]

    shown = titles(
        ReportData("success", "", Entry.from_document(setup()), measurements=measurements, before=before)
    )

    assert "keywords of slow.jpg: 9.000 s" in shown
    assert not [title for title in shown if title.startswith("caption of")]
    assert "caption: median 0.540 s, middle half from 0.520 s to 0.560 s, 9 answers" in shown
    assert "caption, baseline: median 0.250 s, middle half from 0.250 s to 0.250 s, 8 answers" in shown


def test_the_slowest_images_come_first_and_the_rest_are_counted() -> None:
    measurements = [m for n in range(45) for m in timed(f"photo-{n}.jpg", 1 + n)]

    data = ReportData("success", "", Entry.from_document(setup()), measurements=measurements)

    bars = [title for title in titles(data) if ", caption: " in title]
    assert [bars[0], bars[-1], len(bars)] == [
        "photo-44.jpg, caption: 45.000 s",
        "photo-5.jpg, caption: 6.000 s",
        40,
    ]
    assert "5 faster images are not shown" in rendered(data)


def test_a_setup_over_time_has_a_gap_where_a_run_has_no_figures() -> None:
    history = [
        (
            f"run-{month}",
            Entry.from_document(setup(verification={"date_utc": f"2026-{month:02}-01T00:00:00Z"})),
        )
        for month in range(1, 7)
    ]
    unmeasured = {"avg_latency_s": None, "stages": None}
    history[2] = ("run-3", Entry.from_document(setup(performance=unmeasured)))

    page = rendered(ReportData("success", "", history[-1][1], history=history))

    assert page.count("caption, median 1.250 s") == 5
    assert len(re.findall('<g class="line caption">\n(?:<line [^>]*>\n){3}<circle', page)) == 1
    assert re.findall('<text class="middle"[^>]*>([^<]*)</text>', page) == [
        "2026-06-01",
        "2026-04-01",
        "2026-02-01",
    ]


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_latencies_that_no_server_has_do_not_stop_a_page(seconds: float) -> None:
    entry = Entry.from_document(setup(performance={"avg_latency_s": seconds}))
    history = [("a", entry), ("b", entry)]

    page = Page(
        rendered(ReportData("success", "", entry, measurements=timed("a.jpg", seconds), history=history))
    )

    assert page.source.count('class="plot"') == 3
    assert not re.search("nan|inf s", page.source)
