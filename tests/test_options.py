"""Options: command line over environment over ini file, and mistakes answered with what to type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_setups.config.options import OPTIONS, Group
from tests.conftest import Run, draw, entries, no_traceback_of_ours
from tests.servers.scripted import Scripted, as_json, models

MISTAKES = {
    "--setup-base-url=localhost:24001": "--setup-base-url: type an address such as http://localhost:24001/v1*",
    "--setup-base-url=http://h/v1?key=1": "--setup-base-url: a base URL has no query or fragment*",
    "--setup-base-url=http://localhost:99999/v1": "--setup-base-url: invalid host or port; type an address*",
    "--setup-base-url=http://a..b/v1": "--setup-base-url: invalid host or port; type an address*",
    '--setup-extra-body={"x": NaN}': "--setup-extra-body: not JSON *",
    "--setup-timeout=soon": "--setup-timeout: Input should be a valid number*'soon'",
    "--setup-timeout=0": "--setup-timeout: Input should be greater than 0*",
    "--setup-temperature=3": "--setup-temperature: *less than or equal to 2*",
    "--setup-top-p=0": "--setup-top-p: *greater than 0*",
    "--setup-max-new-tokens=many": "--setup-max-new-tokens: *valid integer*'many'",
    "--setup-concurrency=0": "--setup-concurrency: *greater than or equal to 1*",
    "--setup-extra-body=top_k": "--setup-extra-body: not JSON *type an object such as*",
    "--setup-extra-body=[1]": "--setup-extra-body: *valid dictionary*",
    '--setup-extra-body={"model": "x"}': "--setup-extra-body: 'model' is set by another option*",
    "--setup-prompts=poetry": "--setup-prompts: poetry is neither a profile (default, concise, archive)*",
    "--setup-images=nowhere": "no such file or folder: *nowhere",
    "--setup-images=notes.txt": "*notes.txt is not an image; supported are *",
    "--setup-images=empty": "no images in *empty: looked for *.jpg*",
    "--setup-api-key-env=NO_SUCH_KEY": "--setup-api-key-env: the environment variable 'NO_SUCH_KEY'*not set",
    "--setup-slug=Über": "--setup-slug: 'Über' is not a slug: use a-z 0-9 . _ -*",
    "--setup-slug=mine": "--setup-slug names an entry: add --record",
    "--setup-demo": "--setup-demo starts its own server: leave out --setup-base-url",
    "--setup-demo-server=x": "--setup-demo-server needs --setup-demo",
    "--setup-model=other": "the server does not list the caption model 'other'; it serves served",
    "--setup-keywords-model=other": "the server does not list the keywords model 'other'; it serves served",
}


@pytest.mark.parametrize("argument", MISTAKES)
def test_a_mistake_is_a_usage_error(argument: str, run: Run, project: pytest.Pytester) -> None:
    (project.path / "empty").mkdir()
    (project.path / "notes.txt").write_text("no image")
    result = run(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {MISTAKES[argument]}"])
    assert "Traceback" not in result.stderr.str()


def test_several_models_and_none_chosen_is_a_usage_error_that_names_them(run: Run, server: Scripted) -> None:
    server.routes["/v1/models"] = as_json(models("small", "large"))
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the server lists several models: small, large; choose one with *"])


def test_a_model_for_each_stage(run: Run, server: Scripted) -> None:
    server.routes["/v1/models"] = as_json(models("small", "large"))
    run("--setup-model=small", "--setup-description-model=large", "--setup-warmup=0").assert_outcomes(
        passed=11
    )
    asked = {ask.stage: ask.body["model"] for ask in server.asks if ask.picture}
    assert asked == {"caption": "small", "keywords": "small", "description": "large"}


def test_every_parameter_is_sent(run: Run, server: Scripted) -> None:
    extra = '{"min_p": 0.1, "presence_penalty": null}'
    arguments = (
        "--setup-max-new-tokens=99",
        "--setup-temperature=0.5",
        "--setup-top-p=0.7",
        "--setup-seed=3",
    )
    run(*arguments, f"--setup-extra-body={extra}", "-k", "keywords and cat").assert_outcomes(
        passed=1, deselected=10
    )
    body = {key: value for key, value in server.asks[-1].body.items() if key != "messages"}
    assert body == {
        "model": "served",
        "max_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.7,
        "seed": 3,
        "frequency_penalty": 0.0,
        "stream": False,
        "top_k": -1,
        "min_p": 0.1,
        "repetition_penalty": 1.0,
    }


def test_an_unknown_server_gets_standard_parameters_only(run: Run, server: Scripted) -> None:
    server.routes["/v1/models"] = as_json(models("served", owned_by="acme"))
    run("-k", "keywords and cat")
    assert "top_k" not in server.asks[-1].body
    assert "repetition_penalty" not in server.asks[-1].body


def test_command_line_wins_over_environment_over_ini(
    project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makeini(f"[pytest]\nsetup_base_url = {server.url}\nsetup_timeout = 7\nsetup_model = from-ini")
    monkeypatch.setenv("SETUP_TIMEOUT", "8")
    monkeypatch.setenv("SETUP_MODEL", "from-environment")
    project.makepyfile(
        test_own="def test_own(setup_settings): print('got', setup_settings.timeout, setup_settings.model)"
    )
    result = project.runpytest("test_own.py", "-s", "--setup-model=served")
    result.stdout.fnmatch_lines(["*got 8.0 served*"])


def test_a_mistake_names_the_place_it_was_made(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makeini("[pytest]\nsetup_base_url = http://localhost:1/v1\nsetup_timeout = soon")
    result = project.runpytest()
    result.stderr.fnmatch_lines(["ERROR: setup_timeout in tox.ini: *'soon'*"])
    monkeypatch.setenv("SETUP_TIMEOUT", "later")
    project.runpytest().stderr.fnmatch_lines(["ERROR: SETUP_TIMEOUT: *'later'"])


def test_pyproject_of_a_project_holds_its_setup(project: pytest.Pytester, server: Scripted) -> None:
    (project.path / "tox.ini").unlink()
    draw(project.path / "photos/one.jpg", "teal")
    draw(project.path / "photos/two.png", "gold")
    project.makepyprojecttoml(
        f"""
        [tool.pytest.ini_options]
        setup_base_url = "{server.url}"
        setup_images = ["photos/one.jpg", "photos/two.png"]
        setup_registry = "setups"
        setup_record = true
        setup_stream = "no"
        """
    )
    (project.path / "deep").mkdir()
    result = project.runpytest("--rootdir", str(project.path), "-c", "pyproject.toml")
    result.stdout.fnmatch_lines(["recorded: setups/entries/served_vllm.json"])
    assert (project.path / "setups/index.json").is_file()


def test_the_api_key_is_sent_and_kept_nowhere(
    run: Run, project: pytest.Pytester, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "abcdef-1234567890")
    server.chat = lambda _: as_json({"error": "Incorrect API key provided: abcdef-1234567890"}, 401)
    result = run("--setup-api-key-env=MY_KEY", "--record-failed", "-vv")
    assert server.asks[0].headers["authorization"] == "Bearer abcdef-1234567890"
    result.stdout.fnmatch_lines(["*HTTP 401 from http://*: Incorrect API key provided: *hidden*"])
    files = [path for path in project.path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert "abcdef-1234567890" not in result.stdout.str()
    assert not [path for path in files if b"abcdef-1234567890" in path.read_bytes()]


def test_a_password_in_the_base_url_is_not_kept(project: pytest.Pytester, server: Scripted) -> None:
    url = server.url.replace("http://", "http://me:hunter22@")
    result = project.runpytest("-p", "no:cacheprovider", "--setup-base-url", url, "--record")
    result.stdout.fnmatch_lines(["setups: http://*hidden*@127.0.0.1*", "recorded: *"])
    (entry,) = entries(project.path).values()
    assert server.asks[0].headers["authorization"].startswith("Basic ")
    assert "hunter22" not in json.dumps(entry)
    assert "hunter22" not in result.stdout.str()


def test_own_prompts(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    (project.path / "mine.toml").write_text(
        'system = "You tag."\ncaption = "What is it?"\nkeywords = "array named keywords {json}"\n'
        'description = "Caption: {caption} of {keywords}. {other}"\n'
    )
    run("--setup-prompts=mine.toml", "-k", "boats", "--setup-warmup=0").assert_outcomes(
        passed=3, deselected=8
    )
    caption, keywords, description = server.asks
    assert caption.prompt == "What is it?"
    assert caption.body["messages"][0] == {"role": "system", "content": "You tag."}
    assert keywords.prompt == "array named keywords {json}"
    assert description.prompt.startswith("Caption: A ")
    assert description.prompt.endswith(", photograph. {other}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("caption = 1", "*'caption' must be a string that is not empty*"),
        ("captoin = 'x'", "*unknown key 'captoin'; a profile has caption, keywords, description and sys*"),
        ("caption", "*is not TOML: *"),
    ],
)
def test_prompts_that_cannot_be_used(text: str, message: str, run: Run, project: pytest.Pytester) -> None:
    (project.path / "mine.toml").write_text(text)
    result = run("--setup-prompts=mine.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --setup-prompts: {message}"])


def unwrapped(text: str) -> str:
    return "".join(text.split())


def test_help_lists_every_option_in_its_group_with_its_default(project: pytest.Pytester) -> None:
    text = project.runpytest("--help").stdout.str()
    titles = [f"pytest-setups: {group}:" for group in Group]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    sections = dict(zip(Group, map(text.__getitem__, map(slice, places, [*places[1:], None])), strict=True))
    for option in OPTIONS:
        section = unwrapped(sections[option.group])
        assert all(flag in section for flag in option.flags), option.name
        if option.described_default:
            assert unwrapped(f"(default: {option.described_default})") in section
        if option.env:
            assert unwrapped(f"[env: {option.env}]") in section
    for owned_by_pytest in ("--setup-show", "--setup-only", "--setup-plan"):
        assert owned_by_pytest in text[: places[0]]


def test_pytests_own_setup_options_still_work(run: Run) -> None:
    run("--setup-show", "-k", "models").assert_outcomes(passed=1, deselected=10)


def test_help_and_version_do_not_mind_a_mistake(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETUP_BASE_URL", "nonsense")
    assert project.runpytest("--help").ret == 0
    assert project.runpytest("--version").ret == 0


def test_images_may_be_files_and_folders(run: Run, project: pytest.Pytester) -> None:
    one = draw(project.path / "more/one.png", "teal")
    draw(project.path / "sample_images/.trash/hidden.jpg", "red")
    result = run(
        "--setup-images",
        "sample_images",
        "--setup-images",
        str(one),
        "--setup-images",
        str(one),
        "--co",
        "-q",
    )
    ids = [line for line in result.outlines if "caption" in line]
    assert ids == [
        f"setup::test_caption[{name}]" for name in ("boats.jpg", "cat.jpg", "one.png", "rocket.jpg")
    ]


def test_two_images_of_the_same_name_are_told_apart(run: Run, project: pytest.Pytester) -> None:
    draw(project.path / "sample_images/2024/cat.jpg", "gold")
    result = run("--record")
    result.assert_outcomes(passed=14)
    (entry,) = entries(project.path).values()
    names = [image["name"] for image in entry["verification"]["images"]]
    assert names == ["2024/cat.jpg", "boats.jpg", "rocket.jpg", "sample_images/cat.jpg"]


def test_files_in_the_ini_are_beside_it(project: pytest.Pytester, server: Scripted, tmp_path: Path) -> None:
    (project.path / "mine.toml").write_text('caption = "Mine"\nkeywords = "x"\ndescription = "y"')
    ini = (
        "[pytest]",
        f"setup_base_url = {server.url}",
        "setup_prompts = mine.toml",
        "setup_images = ~/pics",
    )
    project.makeini("\n".join(ini))
    below = project.mkdir("below")
    home = tmp_path / "home"
    draw(home / "pics/one.jpg", "teal")
    environment = os.environ | {"HOME": str(home)}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "caption", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=below, env=environment, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert server.asks[-1].prompt == "Mine"


def test_the_nearer_place_wins_over_what_it_contradicts(project: pytest.Pytester, server: Scripted) -> None:
    project.makeini(f"[pytest]\nsetup_demo = true\nsetup_slug = nightly\nsetup_base_url = {server.url}")
    result = project.runpytest("--co", "-q")
    result.stderr.fnmatch_lines(["ERROR: --setup-demo starts its own server: leave out --setup-base-url"])
    project.runpytest("--setup-base-url", server.url).assert_outcomes(passed=11)
    project.runpytest("--no-setup-demo", "--record").stdout.fnmatch_lines(
        ["recorded: registry/entries/nightly.json"]
    )


def test_a_password_is_not_shown_while_waiting(project: pytest.Pytester, server: Scripted) -> None:
    url = server.url.replace("http://", "http://me:hunter22@").removesuffix("/v1")
    result = project.runpytest("--setup-base-url", url, "--setup-wait=0.2", "--record-failed")
    assert "hunter22" not in result.stdout.str()
    assert not [
        path for path in (project.path / "registry").rglob("*.json*") if "hunter22" in path.read_text()
    ]


def test_a_path_in_the_ini_file_is_relative_to_it(project: pytest.Pytester, server: Scripted) -> None:
    project.makeini(f"[pytest]\nsetup_base_url = {server.url}\nsetup_images = sample_images/cat.jpg")
    below = project.path / "below"
    below.mkdir()
    project.chdir()
    result = project.runpytest("--co", "-q", f"--rootdir={project.path}", "-c", str(Path("tox.ini")))
    assert "setup::test_caption[cat.jpg]" in result.outlines


@pytest.mark.parametrize(
    "key", ["sk-live-4f9a8b7c6d5e", "hf_AbCdEf1234567890", "AKIAIOSFODNN7EXAMPLE", "4f9a8b7c6d5e"]
)
def test_a_key_typed_where_the_name_of_its_variable_belongs_is_not_shown(key: str, run: Run) -> None:
    result = run(f"--setup-api-key-env={key}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --setup-api-key-env: no environment variable has the given name, *"])
    assert key not in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize("option", ["prompts", "images", "registry", "report", "environment", "baseline"])
def test_a_home_of_no_user_is_a_path_like_any_other(option: str, run: Run) -> None:
    result = run(f"--setup-{option}=~nouser/x", "--setup-record-failed")
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_prompts_of_a_home_of_no_user(run: Run) -> None:
    result = run("--setup-prompts=~nouser/x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --setup-prompts: ~nouser/x is neither a profile *nor a readable file*"]
    )


def test_missing_sample_images_are_those_of_the_default(run: Run, project: pytest.Pytester) -> None:
    folder = project.path / "sample_images"
    folder.rename(project.path / "photos")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    advice = "the default of --setup-images; type --setup-images=FOLDER with a folder of pictures"
    result.stderr.fnmatch_lines([f"ERROR: no such file or folder: {folder}, {advice}"])
    no_traceback_of_ours(result)
