"""The pages in a real browser, opened from disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from itertools import combinations
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from pytest_setups import cli
from pytest_setups.registry.store import Registry
from tests.conftest import COLOURS, Run
from tests.recorders import STAGES, entry_of, record
from tests.servers.hostile import HOSTILE, hostile
from tests.servers.scripted import Scripted

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PHONE = 390


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in paths:
        advice = "no browser: apt-get install -y chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)
    options = ChromeOptions()
    options.binary_location = str(paths[0])
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(str(paths[1])))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """A browser on a desk, in which no page may complain."""
    look(chromium, 1200, "light")
    yield chromium
    assert chromium.get_log("browser") == []  # type: ignore[no-untyped-call]


def look(driver: Chrome, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def picture(driver: Chrome) -> Image.Image:
    return Image.open(BytesIO(driver.get_screenshot_as_png())).convert("RGB")


@pytest.fixture
def site(tmp_path: Path) -> str:
    """The address of a site with two good entries and a failed one."""
    for slug in ("b", "a10"):
        record(tmp_path / "registry", slug, exact=True)
    failed = {"status": "failed", "failure_reason": "vision: the picture was dropped"}
    record(tmp_path / "registry", "a9", exact=True, verification=failed, performance={"avg_latency_s": None})
    with pytest.raises(SystemExit):
        cli.main(["site", str(tmp_path / "public"), "--registry", str(tmp_path / "registry")])
    return (tmp_path / "public" / "index.html").as_uri()


@pytest.fixture
def report(project: pytest.Pytester, run: Run) -> str:
    run("--setup-report", "out.html", "--setup-server-command", "vllm serve 'my model' --port 1")
    return (project.path / "out.html").as_uri()


@pytest.fixture
def compared(project: pytest.Pytester, run: Run, server: Scripted) -> str:
    """The address of a report whose pictures all changed since the baseline."""
    run("--record")
    server.chat = hostile
    run("--setup-baseline=latest", "--setup-fail-if=keywords_overlap.each:0.5", "--setup-report", "out.html")
    return (project.path / "out.html").as_uri()


def test_pictures_that_changed_are_shown_with_both_texts(browser: Chrome, compared: str) -> None:
    browser.get(compared)

    pictures = browser.find_elements(By.CSS_SELECTOR, "article.change")
    assert len(pictures) == len(COLOURS)
    assert browser.execute_script("return [typeof window.taken, document.scripts.length]") == ["undefined", 1]
    for picture_shown in pictures:
        assert picture_shown.find_element(By.CSS_SELECTOR, "img").get_property("naturalWidth") == 64
        assert len(picture_shown.find_elements(By.CSS_SELECTOR, ".keywords del")) == 5
        assert picture_shown.find_element(By.CSS_SELECTOR, ".sides ins").text.startswith("</p></script>")


def test_a_report_renders_with_its_pictures_and_plots(browser: Chrome, report: str) -> None:
    browser.get(report)

    assert browser.find_element(By.CSS_SELECTOR, ".verdict .badge").text == "success"
    widths = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert widths == [64] * len(COLOURS)
    boxes = browser.find_elements(By.CSS_SELECTOR, "figure > svg")
    assert [box.size["height"] > 100 for box in boxes] == [True, True]
    fill = "return getComputedStyle(document.querySelector('.plot .bar')).fill"
    assert browser.execute_script(fill) == "rgb(47, 111, 183)"
    loaded = "return performance.getEntriesByType('resource').map((resource) => resource.name.slice(0, 5))"
    assert set(browser.execute_script(loaded)) <= {"data:"}


def test_a_command_is_copied(browser: Chrome, report: str) -> None:
    browser.get(report)
    browser.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    button = browser.find_element(By.CSS_SELECTOR, "#server-command + button")
    button.click()

    WebDriverWait(browser, 10).until(lambda _: button.text == "Copied")
    read = "navigator.clipboard.readText().then(arguments[0])"
    assert browser.execute_async_script(read) == "vllm serve 'my model' --port 1"


def test_hostile_text_stays_text(
    browser: Chrome, project: pytest.Pytester, run: Run, server: Scripted
) -> None:
    server.chat = hostile
    run("--setup-report", "out.html")
    look(browser, PHONE, "light")
    browser.get((project.path / "out.html").as_uri())

    assert browser.execute_script("return [typeof window.taken, document.scripts.length]") == ["undefined", 1]
    answer = browser.find_element(By.CSS_SELECTOR, "article .text").text
    assert answer.startswith(HOSTILE.partition("\x1b")[0])
    assert browser.execute_script("return document.documentElement.scrollWidth") == PHONE


def test_a_policy_stops_what_would_get_in(browser: Chrome, report: str) -> None:
    browser.get(report)
    browser.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.taken = 1';"
        "document.body.append(script)"
    )

    assert browser.execute_script("return typeof window.taken") == "undefined"
    complaints = browser.get_log("browser")  # type: ignore[no-untyped-call]
    assert ["Content Security Policy" in entry["message"] for entry in complaints] == [True]


@pytest.mark.parametrize("page", ["report", "site", "compared"])
def test_it_is_readable_on_a_phone_and_in_the_dark(
    browser: Chrome, page: str, request: pytest.FixtureRequest
) -> None:
    address = request.getfixturevalue(page)
    corners = {}
    for scheme in ("light", "dark"):
        look(browser, PHONE, scheme)
        browser.get(address)
        shot = picture(browser)
        assert len(shot.getcolors(1 << 20) or []) > 20, "an empty picture"
        corners[scheme] = shot.getpixel((1, 1))
        assert browser.execute_script("return document.documentElement.scrollWidth") == PHONE
    assert corners == {"light": (251, 251, 249), "dark": (20, 24, 27)}


def visible_entries(browser: Chrome) -> list[str]:
    return [link.text for link in browser.find_elements(By.CSS_SELECTOR, "tbody a") if link.is_displayed()]


LABELS = """
const labels = (plot) => [...plot.querySelectorAll("text")].map((text) => {
  const { left, right, top, bottom } = text.getBoundingClientRect(), edge = plot.getBoundingClientRect();
  return {
    label: text.textContent, size: parseFloat(getComputedStyle(text).fontSize), left, right, top, bottom,
    inside: left >= edge.left && right <= edge.right && top >= edge.top && bottom <= edge.bottom,
  };
});
return [...document.querySelectorAll("svg.plot")].map(labels);
"""


def test_labels_of_plots_fit_a_phone(browser: Chrome, tmp_path: Path) -> None:
    names = [f"a photo with quite a long name of the year {year}.jpeg" for year in range(2000, 2012)]
    lines = [
        {"image": name, "stage": stage, "passed": True, "latency_s": 3000.0 + 10 * len(stage)}
        for name in names
        for stage in STAGES
    ]
    results = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    for month in range(1, 10):
        date = {"date_utc": f"2026-{month:02}-01T00:00:00Z", "images": [{"name": name} for name in names]}
        entry = entry_of(server={"version": f"0.{month}.0.dev1+g0123456789"}, verification=date)
        Registry(tmp_path / "registry").add(entry, results=results, slug=f"run-{month}", exact=True)
    with pytest.raises(SystemExit):
        cli.main(["report", "run-9", "-o", f"{tmp_path}/x.html", "--registry", f"{tmp_path}/registry"])
    for width in (PHONE, 1280):
        look(browser, width, "light")
        browser.get((tmp_path / "x.html").as_uri())
        plots = browser.execute_script(LABELS)
        assert len(plots) == 3
        for labels in plots:
            assert [label["label"] for label in labels if not label["inside"]] == []
            assert {label["size"] for label in labels} == {12}
            assert [
                (a["label"], b["label"])
                for a, b in combinations(labels, 2)
                if a["left"] < b["right"] and b["left"] < a["right"]
                if a["top"] < b["bottom"] and b["top"] < a["bottom"]
            ] == []


def test_a_site_is_filtered(browser: Chrome, site: str) -> None:
    browser.get(site)
    assert visible_entries(browser) == ["a10", "a9", "b"]

    text = browser.find_element(By.ID, "filter-text")
    text.send_keys("A1")
    assert visible_entries(browser) == ["a10"]
    assert browser.find_element(By.ID, "shown").text == "1 of 3 shown"

    text.send_keys(Keys.BACKSPACE, Keys.ENTER)
    assert visible_entries(browser) == ["a10", "a9"]

    Select(browser.find_element(By.ID, "filter-status")).select_by_visible_text("failed")
    assert visible_entries(browser) == ["a9"]

    text.clear()
    Select(browser.find_element(By.ID, "filter-status")).select_by_visible_text("all")
    assert visible_entries(browser) == ["a10", "a9", "b"]


def test_a_site_is_sorted_with_the_keyboard(browser: Chrome, site: str) -> None:
    browser.get(site)
    heading = browser.find_element(By.CSS_SELECTOR, "th[data-sort]")
    browser.find_element(By.ID, "filter-status").send_keys(Keys.TAB, Keys.TAB)
    focused = browser.switch_to.active_element
    assert focused.text == "entry"
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"

    focused.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert visible_entries(browser) == ["a9", "a10", "b"]
    focused.send_keys(Keys.SPACE)
    assert (visible_entries(browser), heading.get_attribute("aria-sort")) == (
        ["b", "a10", "a9"],
        "descending",
    )

    browser.find_element(By.CSS_SELECTOR, "th[data-sort=number] button").click()
    assert visible_entries(browser)[-1] == "a9", "an entry without a figure comes last"


def test_a_site_leads_to_each_entry_and_back(browser: Chrome, site: str) -> None:
    browser.get(site)
    browser.find_element(By.LINK_TEXT, "b").click()
    assert browser.find_element(By.CSS_SELECTOR, ".verdict code").text == "b"
    assert len(browser.find_elements(By.CSS_SELECTOR, "figure > svg")) == 3
    browser.find_element(By.LINK_TEXT, "All setups").click()
    assert browser.current_url == site
