"""Arguments that pytest misreads or does not know: the message says what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_setups.config.options import OPTIONS, ValueType
from tests.conftest import Run, draw
from tests.servers.scripted import Scripted, as_json, models

WITH_VALUE = [option for option in OPTIONS if option.type is not ValueType.SWITCH]


def is_refused(result: pytest.RunResult, message: str) -> None:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize("flag", [option.flag for option in WITH_VALUE])
def test_a_path_elsewhere_after_a_space_is_refused_with_the_form_to_type(
    flag: str, project: pytest.Pytester, server: Scripted, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "models/Qwen2.5-VL-7B"
    elsewhere.mkdir(parents=True)
    result = project.runpytest("--setup-base-url", server.url, flag, str(elsewhere))
    is_refused(result, f"type {flag}={elsewhere} with an equals sign: *")
    assert not server.asks


def test_a_model_that_is_named_by_its_path(run: Run, server: Scripted, tmp_path: Path) -> None:
    folder = tmp_path / "models/Qwen2.5-VL-7B"
    folder.mkdir(parents=True)
    server.routes["/v1/models"] = as_json(models(str(folder)))
    run(f"--setup-model={folder}").assert_outcomes(passed=11)
    run("--setup-model", str(folder), "--rootdir=.").assert_outcomes(passed=11)


def test_images_elsewhere(run: Run, tmp_path: Path) -> None:
    draw(tmp_path / "one.jpg", "teal")
    run(f"--setup-images={tmp_path}").assert_outcomes(passed=5)


def test_a_path_that_hides_the_ini_file_which_names_the_server(
    project: pytest.Pytester, server: Scripted, tmp_path: Path
) -> None:
    project.makeini(f"[pytest]\nsetup_base_url = {server.url}")
    draw(tmp_path / "photos/one.jpg", "teal")
    result = project.runpytest("--setup-images", str(tmp_path / "photos"))
    is_refused(result, f"type --setup-images={tmp_path}/photos with an equals sign: *")


def test_a_path_after_a_space_in_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--setup-model {tmp_path}")
    is_refused(run(), f"type --setup-model={tmp_path} with an equals sign: *")


@pytest.mark.parametrize("ini", ["tox.ini", "no ini file"])
def test_a_path_after_a_space_below_the_current_directory(
    ini: str, run: Run, project: pytest.Pytester
) -> None:
    (project.path / "tox.ini").rename(project.path / ini)
    run("--setup-images", "sample_images", "--setup-registry", "sample_images", "--record").assert_outcomes(
        passed=11
    )
    assert (project.path / "sample_images/index.json").is_file()


def test_a_path_after_a_space_in_the_same_project(
    project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(project.path / "photos/one.jpg", "teal")
    monkeypatch.chdir(project.mkdir("below"))
    result = project.runpytest("--setup-base-url", server.url, "--setup-images", "../photos")
    result.assert_outcomes(passed=5)
    (project.path / "below/tox.ini").write_text("[pytest]")
    result = project.runpytest("--setup-base-url", server.url, "--setup-images", "../photos")
    is_refused(result, "type --setup-images=../photos with an equals sign: *")


def test_a_folder_below_the_current_directory_that_is_a_project_itself(
    run: Run, project: pytest.Pytester
) -> None:
    draw(project.path / "photos/one.jpg", "teal")
    (project.path / "photos/pytest.ini").touch()
    is_refused(run("--setup-images", "photos"), "type --setup-images=photos with an equals sign: *")
    run("--setup-images=photos").assert_outcomes(passed=5)


def test_a_path_that_hides_the_project_of_the_tests(project: pytest.Pytester, server: Scripted) -> None:
    tests = project.mkdir("part")
    (tests / "pytest.ini").write_text(f"[pytest]\nsetup_base_url = {server.url}")
    (tests / "test_own.py").write_text("def test_own(setup_server): pass")
    draw(project.path / "photos/one.jpg", "teal")
    is_refused(
        project.runpytest("part/test_own.py", "--setup-images", "photos"),
        "type --setup-images=photos with an equals sign: *",
    )
    project.runpytest("part/test_own.py", "--setup-images=photos").assert_outcomes(passed=1)


def test_ini_files_may_have_a_space_before_a_path(
    project: pytest.Pytester, server: Scripted, tmp_path: Path
) -> None:
    draw(tmp_path / "photos/one.jpg", "teal")
    project.makeini(f"[pytest]\naddopts = --setup-base-url {server.url} --setup-images {tmp_path}/photos")
    project.runpytest().assert_outcomes(passed=5)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--setup-modell", "unknown option --setup-modell; did you mean --setup-model?"),
        ("--setup-max-egde=3", "unknown option --setup-max-egde; did you mean --setup-max-edge?"),
        ("--setup-base_url=x", "unknown option --setup-base_url; did you mean --setup-base-url?"),
        ("--no-setup-steam", "unknown option --no-setup-steam; did you mean --no-setup-stream?"),
        ("--record-faild", "unknown option --record-faild; did you mean --record-failed?"),
        ("--setup-sho", "unknown option --setup-sho; did you mean --setup-show?"),
        ("--setup-zzz", "unknown option --setup-zzz; `pytest --help` lists the options"),
    ],
)
def test_a_misspelt_option_suggests_the_nearest(typed: str, message: str, run: Run, server: Scripted) -> None:
    is_refused(run(typed), message)
    assert not server.asks


def test_what_only_looks_like_a_misspelt_option(project: pytest.Pytester) -> None:
    project.makepyfile("def test_own(pytestconfig): print('theirs', pytestconfig.getoption('setup_theirs'))")
    project.makeconftest("def pytest_addoption(parser): parser.addoption('--setup-theirs')")
    project.runpytest("-s", "--setup-theirs=1").stdout.fnmatch_lines(["*theirs 1"])
    project.runpytest("-k=--setup-modell").assert_outcomes(deselected=1)
    after = project.runpytest("--", "--setup-modell")
    after.stderr.no_fnmatch_line("*did you mean*")
    assert project.runpytest("--setup-modell", "--help").ret == pytest.ExitCode.OK


def test_a_misspelt_ini_key_suggests_the_nearest(project: pytest.Pytester) -> None:
    project.makepyfile("def test_own(): pass")
    project.makeini("[pytest]\nsetup_max_edg = 1280\nsetup_zzz = 1\nother = 1")
    hint = "Unknown config option: setup_max_edg; did you mean setup_max_edge?"
    result = project.runpytest()
    result.stdout.fnmatch_lines(
        ["*: Unknown config option: other", f"*: {hint}", "*: Unknown config option: setup_zzz"]
    )
    result.assert_outcomes(passed=1, warnings=3)
    project.makeini("[pytest]\nsetup_max_edg = 1280")
    is_refused(project.runpytest("--strict-config"), hint)
