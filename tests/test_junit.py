"""JUnit XML: valid, with the figures as properties of the test suite."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.servers.scripted import Scripted, as_json, completion, models, seeing

STAGES = ("caption", "keywords", "description")
# What Jenkins' junit-10.xsd, which pytest names as its schema for xunit2, allows inside each element.
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "property": set[str](),
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
    "skipped": set(),
    "error": set(),
    "failure": set(),
    "system-out": set(),
    "system-err": set(),
}
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "disabled", "errors"},
    "testsuite": {
        *("name", "tests", "failures", "errors", "group", "time", "skipped"),
        *("timestamp", "hostname", "id", "package", "file", "log", "url", "version"),
    },
    "property": {"name", "value"},
    "testcase": {"name", "time", "classname", "group"},
    "skipped": {"type", "message"},
    "error": {"type", "message"},
    "failure": {"type", "message"},
}


def suite_of(path: Path) -> ET.Element:
    root = ET.parse(path).getroot()  # noqa: S314  # pytest wrote it
    for element in root.iter():
        assert {child.tag for child in element} <= CHILDREN[element.tag], element.tag
        assert set(element.attrib) <= ATTRIBUTES.get(element.tag, set()), element.attrib
    (suite,) = root
    return suite


def properties(path: Path) -> dict[str, str]:
    found = suite_of(path).findall("properties/property")
    pairs = {element.attrib["name"]: element.attrib["value"] for element in found}
    assert len(pairs) == len(found)
    return pairs


@pytest.mark.parametrize("more", [(), ("-n2",)])
def test_the_suite_has_the_figures_of_each_stage(
    run: Run, project: pytest.Pytester, more: tuple[str, ...]
) -> None:
    run("--junitxml=report.xml", *more)
    found = properties(project.path / "report.xml")
    assert {
        name: found[f"setup.{name}"] for name in ("verdict", "model", "backend", "version", "images")
    } == {
        "verdict": "success",
        "model": "served",
        "backend": "vllm",
        "version": "0.32.0",
        "images": "3",
    }
    assert "setup.reason" not in found
    for stage in STAGES:
        assert (found[f"setup.{stage}.n"], found[f"setup.{stage}.failed"]) == ("3", "0")
        p50, most = (float(found[f"setup.{stage}.{name}"]) for name in ("p50_s", "max_s"))
        assert 0 < p50 <= most
        assert f"setup.{stage}.ttft_p50_s" not in found
    assert float(found["setup.image.mean_s"]) > float(found["setup.caption.mean_s"])
    assert float(found["setup.images_per_s"]) > 0


def test_the_older_family_has_them_too(run: Run, project: pytest.Pytester) -> None:
    run("--junitxml=report.xml", "-q", "-o", "junit_family=xunit1")
    root = ET.parse(project.path / "report.xml").getroot()  # noqa: S314  # pytest wrote it
    names = {found.get("name") for found in root.findall("testsuite/properties/property")}
    assert {"setup.verdict", "setup.caption.p50_s", "setup.image.mean_s"} <= names
    assert root.find("testsuite/testcase/properties") is None


def test_a_failure_says_why_and_what_a_model_says_stays_text(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    hostile = 'a"b<c>&]]>'
    server.routes["/v1/models"] = as_json(models(hostile))
    server.chat = lambda ask: completion("!!!!!!!!") if ask.stage == "keywords" else seeing(ask)
    run("--junitxml=report.xml")
    found = properties(project.path / "report.xml")
    assert found["setup.verdict"] == "failed"
    assert found["setup.reason"].startswith("failed: 3 of 9 answers are not populated; keywords of boats.jpg")
    assert found["setup.keywords.failed"] == "3"
    assert found["setup.model"] == hostile


def test_a_part_of_the_suite_is_incomplete(run: Run, project: pytest.Pytester) -> None:
    run("--junitxml=report.xml", "-k", "caption")
    found = properties(project.path / "report.xml")
    assert found["setup.verdict"] == "incomplete"
    assert "test_models did not run" in found["setup.reason"]
    assert found["setup.caption.n"] == "3"
    assert "setup.keywords.n" not in found


def test_secrets_do_not_enter_it(
    run: Run, project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "opensesame-123")
    server.routes["/v1/models"] = as_json(models("opensesame-123-model"))
    run("--junitxml=report.xml", "--setup-api-key-env=MY_KEY")
    assert properties(project.path / "report.xml")["setup.model"] == "[hidden]-model"


def test_without_the_plugin_nothing_is_missed(run: Run) -> None:
    run("-p", "no:junitxml").assert_outcomes(passed=11)
