"""The ini file: every kind that pytest reads, its types, and mistakes that name the file and the key."""

from __future__ import annotations

import pytest

from tests.conftest import draw
from tests.servers.scripted import Scripted

NATIVE = pytest.version_tuple >= (9, 0)
UNIONS = pytest.version_tuple >= (9, 2)
VALUES = """
    setup_base_url = {url}
    setup_images = {images}
    setup_max_edge = {edge}
    setup_temperature = {temperature}
    setup_timeout = {timeout}
    setup_seed = {seed}
    setup_stream = {stream}
    setup_extra_body = {extra}
    setup_warmup = {warmup}
"""
TYPED = {"edge": "1280", "temperature": "0", "timeout": "7.5", "seed": "0", "stream": "true", "warmup": "0"}
QUOTED = {name: f'"{value}"' for name, value in TYPED.items()}
WORDS = TYPED | {"images": "\n  photos/a.png\n  photos/b c.png", "extra": '{"top_k": 5}'}
LISTS = {"images": '["photos/a.png", "photos/b c.png"]', "extra": "'{\"top_k\": 5}'"}

FILES = {
    "pytest.ini": ("[pytest]", WORDS),
    "tox.ini": ("[pytest]", WORDS),
    "setup.cfg": ("[tool:pytest]", WORDS),
    "pyproject.toml of strings": ("[tool.pytest.ini_options]", QUOTED | LISTS),
    "pyproject.toml with types in ini_options": ("[tool.pytest.ini_options]", TYPED | LISTS),
    "pyproject.toml": ("[tool.pytest]", TYPED | LISTS),
    "pytest.toml": ("[pytest]", TYPED | LISTS),
}
native = pytest.mark.skipif(not NATIVE, reason="pytest reads TOML's own types from 9.0 on")


@pytest.fixture
def bare(project: pytest.Pytester) -> pytest.Pytester:
    """The project without its ini file, and with a test that shows the settings."""
    (project.path / "tox.ini").unlink()
    project.makepyfile(test_own="def test_own(setup_settings): print('got', setup_settings)")
    return project


def shown(project: pytest.Pytester, *arguments: str) -> str:
    result = project.runpytest("-s", "test_own.py", *arguments)
    result.assert_outcomes(passed=1)
    return next(line for line in result.outlines if "got " in line)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=native) if header == "[tool.pytest]" or file == "pytest.toml" else file
        for file, (header, _) in FILES.items()
    ],
)
def test_every_kind_of_file_holds_the_settings(file: str, bare: pytest.Pytester, server: Scripted) -> None:
    header, values = FILES[file]
    for name in ("a.png", "b c.png"):
        draw(bare.path / "photos" / name, "teal")
    url = f'"{server.url}"' if "toml" in file else server.url
    lines = "\n".join(line.removeprefix("    ") for line in VALUES.splitlines()).format(url=url, **values)
    (bare.path / file.split(maxsplit=1)[0]).write_text(header + lines)
    line = shown(bare)
    for part in (
        "max_edge=1280 ",
        "temperature=0.0 ",
        "timeout=7.5 ",
        "seed=0 ",
        "stream=True ",
        "extra_body={'top_k': 5} ",
        "warmup=0 ",
        "/photos/a.png",
        "/photos/b c.png",
    ):
        assert part in line


@native
@pytest.mark.skipif(not UNIONS, reason="pytest accepts more than one type from 9.2 on")
def test_a_number_or_a_switch_in_quotation_marks_is_understood(
    bare: pytest.Pytester, server: Scripted
) -> None:
    bare.makepyprojecttoml(
        f"""
        [tool.pytest]
        setup_base_url = "{server.url}"
        setup_max_edge = "1280"
        setup_temperature = "0.7"
        setup_stream = "yes"
        setup_seed = ""
        """
    )
    line = shown(bare)
    assert "max_edge=1280 " in line
    assert "temperature=0.7 " in line
    assert "stream=True " in line
    assert "seed=None " in line


@native
@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("setup_model = 7", 'type setup_model = "NAME"'),
        ("setup_images = 'photos'", 'type setup_images = ["PATH"]'),
        ("setup_max_edge = [1280]", "type setup_max_edge = 1024"),
        ("setup_temperature = true", "type setup_temperature = 0.2"),
        ("setup_stream = 1.5", "type setup_stream = true"),
        ("setup_extra_body = {top_k = 1}", 'type setup_extra_body = "JSON"'),
        ("setup_fail_if = [10]", 'type setup_fail_if = ["FIGURE:LIMIT"]'),
        ("setup_demo = 'perhaps'", "*perhaps*"),
        ("setup_max_edge = 'wide'", "*wide*"),
    ],
)
def test_a_wrong_type_names_the_file_the_key_and_what_to_type(
    line: str, advice: str, bare: pytest.Pytester, server: Scripted
) -> None:
    bare.makepyprojecttoml(f"[tool.pytest]\nsetup_base_url = '{server.url}'\n{line}")
    result = bare.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    key = line.partition(" ")[0]
    result.stderr.fnmatch_lines([f"ERROR: {key} in pyproject.toml: *{advice.replace('[', '[[]')}*"])
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("setup_model = ['a', 'b']", 'type setup_model = "NAME"; got*'),
        ("setup_max_edge = [1]", "type setup_max_edge = 1024*"),
        ("setup_fail_if = [10]", 'type setup_fail_if = ["FIGURE:LIMIT"]; got*'),
    ],
)
def test_a_list_where_a_text_belongs_in_ini_options(
    line: str, advice: str, bare: pytest.Pytester, server: Scripted
) -> None:
    bare.makepyprojecttoml(f"[tool.pytest.ini_options]\nsetup_base_url = '{server.url}'\n{line}")
    result = bare.runpytest("-W", "error")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    key = line.partition(" ")[0]
    result.stderr.fnmatch_lines([f"ERROR: {key} in pyproject.toml: *{advice.replace('[', '[[]')}"])


def test_an_empty_value_is_not_given(bare: pytest.Pytester, server: Scripted) -> None:
    bare.makeini(f"[pytest]\nsetup_base_url = {server.url}\nsetup_model =\nsetup_images =\n")
    assert "model=None " in shown(bare)


@pytest.mark.skipif(NATIVE and not UNIONS, reason="pytest 9.0 and 9.1 refuse an empty number or switch")
def test_an_empty_number_or_switch_is_not_given(bare: pytest.Pytester, server: Scripted) -> None:
    bare.makeini(f"[pytest]\nsetup_base_url = {server.url}\nsetup_max_edge =\nsetup_record =\n")
    assert "max_edge=1024 " in shown(bare)


def test_an_override_on_the_command_line(bare: pytest.Pytester, server: Scripted) -> None:
    bare.makeini(f"[pytest]\nsetup_base_url = {server.url}")
    assert "max_edge=640 " in shown(bare, "-o", "setup_max_edge=640")


@native
def test_workers_read_the_same_types(bare: pytest.Pytester, server: Scripted) -> None:
    bare.makepyprojecttoml(f"[tool.pytest]\nsetup_base_url = '{server.url}'\nsetup_max_edge = 640")
    bare.makepyfile(test_own="def test_own(setup_settings): assert setup_settings.max_edge == 640")
    bare.runpytest("-n", "1", "test_own.py").assert_outcomes(passed=1)


@native
def test_a_key_in_a_value_of_the_wrong_type_is_not_shown(bare: pytest.Pytester, server: Scripted) -> None:
    bare.makepyprojecttoml(
        f"[tool.pytest]\nsetup_base_url = '{server.url}'\nsetup_api_key_env = ['sk-live-4f9a8b7c6d5e4f9a']"
    )
    result = bare.runpytest()
    result.stderr.fnmatch_lines(["ERROR: setup_api_key_env in pyproject.toml: *"])
    assert "4f9a" not in result.stderr.str()
