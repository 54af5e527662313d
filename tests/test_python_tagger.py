"""A user's own Python tagger, which a conftest provides."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Run, no_traceback_of_ours, only_entry

if TYPE_CHECKING:
    from tests.servers.scripted import Scripted

TEN_LINES = """
import my_tagger

class Mine:
    def __init__(self, settings):
        self.ask = my_tagger.PictureClient(settings.base_url, settings.model).ask
    def caption(self, image): return self.ask(image.path, "Write one short caption.")
    def keywords(self, image): return self.ask(image.path, "Give a JSON object with an array named keywords.")
    def description(self, image, caption, words): return self.ask(image.path, f"Describe. Caption: {caption}")

def pytest_setups_tagger(config, settings): return Mine(settings)
"""
HERE = Path(__file__).parent

ALL_AT_ONCE = """
from pytest_setups import Tagging
calls = []
class Mine:
    def tag(self, image):
        calls.append(image.name)
        keywords = (image.name, "light", "photo")
        return Tagging(image, f"A {image.path.stem}.", keywords, f"A {image.path.stem} in the light.")
def pytest_setups_tagger(config, settings): return Mine()
def pytest_terminal_summary(terminalreporter): terminalreporter.write_line(f"calls: {sorted(calls)}")
"""


def returning(tag: str) -> str:
    return f"""
class Mine:
    def tag(self, image):
        {tag}
def pytest_setups_tagger(config, settings):
    return Mine()
"""


@pytest.fixture
def mine(project: pytest.Pytester) -> pytest.Pytester:
    """A project with a tagging library of its own and a conftest of ten lines."""
    shutil.copy(HERE / "taggers/my_tagger.py", project.path)
    project.makeconftest(TEN_LINES)
    return project


def by_the_tagger(server: Scripted) -> int:
    return sum(ask.body["max_tokens"] == 99 for ask in server.asks)


@pytest.mark.parametrize("how", [(), ("--setup-concurrency", "2")], ids=["one", "threads"])
def test_a_tagger_of_ten_lines_is_verified_and_recorded(
    run: Run, mine: pytest.Pytester, server: Scripted, how: tuple[str, ...]
) -> None:
    result = run("--record", *how)
    result.assert_outcomes(passed=2 + 9)
    result.stdout.fnmatch_lines(["setups: *, model served, 3 images, tagger Mine"])
    assert by_the_tagger(server) == 9
    entry = only_entry(mine.path)
    tagged = entry["tagger"]
    assert tagged.pop("program") == "Mine"
    assert tagged.pop("command").startswith("pytest ")
    assert tagged.pop("models") == {}
    assert set(tagged.values()) == {None}
    assert entry["performance"]["stages"]["caption"]["n"] == 3
    assert entry["performance"]["avg_latency_s"] > 0


def test_a_tagger_of_ten_lines_against_a_real_server(mine: pytest.Pytester) -> None:
    shutil.rmtree(mine.path / "sample_images")
    (mine.path / "sample_images").mkdir()
    for name in ("nagasaki-boats.jpg", "rocket-launch-exif-rotated.jpg"):
        shutil.copy(HERE.parent / "sample_images" / name, mine.path / "sample_images")
    mine.runpytest("--setup-demo", "--record").assert_outcomes(passed=8)
    entry = only_entry(mine.path)
    assert entry["server"]["backend"] == "llama.cpp"
    assert entry["tagger"]["program"] == "Mine"


def test_the_description_is_given_caption_and_keywords(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        class Mine:
            def caption(self, image): return f"A {image.path.stem}."
            def keywords(self, image): return [image.name, "light", "photo"]
            def description(self, image, caption, keywords): return f"{caption} with {' and '.join(keywords)}"
        def pytest_setups_tagger(config, settings): return Mine()
        """
    )
    run("--record").assert_outcomes(passed=11)
    (path,) = (project.path / "registry/results").iterdir()
    assert '"text":"A cat. with cat.jpg and light and photo"' in path.read_text()


def test_one_method_for_all_stages_is_called_once_an_image(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(ALL_AT_ONCE)
    result = run("--record")
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines(["calls: [[]'boats.jpg', 'cat.jpg', 'rocket.jpg']"])
    performance = only_entry(project.path)["performance"]
    assert performance["image"]["n"] == 3
    assert performance["stages"]["caption"]["n"] == 0


def test_a_rerun_calls_the_tagger_again(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        ALL_AT_ONCE.replace('f"A {image.path.stem}."', '"" if len(calls) == 1 else f"A {image.path.stem}."')
    )
    result = run("--reruns", "1", "-p", "no:xdist", "-k", "caption and boats")
    assert result.parseoutcomes() == {"passed": 1, "rerun": 1, "deselected": 10}


def test_the_tagging_fixture_uses_the_same_tagger(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(ALL_AT_ONCE)
    project.makepyfile("def test_own(tagging): assert tagging.caption == f'A {tagging.image.path.stem}.'")
    run("test_the_tagging_fixture_uses_the_same_tagger.py").assert_outcomes(passed=3)


def test_none_leaves_the_built_in_tagger(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_setups_tagger(config, settings): return None")
    run("--record").assert_outcomes(passed=11)
    tagged = only_entry(project.path)["tagger"]
    assert tagged["program"] is None
    assert tagged["max_new_tokens"] == 256


WRONG = {
    "raise ValueError('no GPU, api_key=abc123')": (
        "tagger: ValueError: no GPU, api_key=[[]hidden] (conftest.py:3 in tag)"
    ),
    "return None": "tagger: tag() returned NoneType: expected a Tagging or a mapping with caption, *",
    "return {'caption': 5, 'keywords': 'a, b, c', 'description': 'd'}": (
        "tagger: the caption of tag() is int: expected a string"
    ),
    "return {'caption': 'A boat.', 'keywords': [1], 'description': 'd'}": (
        "tagger: the keywords of tag() is list: expected a list of strings"
    ),
    "return {'caption': '!!!!!!', 'keywords': [], 'description': ''}": (
        "one-token: one token repeated: '!!!!!!'"
    ),
}


@pytest.mark.parametrize("tag", WRONG)
def test_a_fault_of_the_tagger_fails_its_tests(run: Run, project: pytest.Pytester, tag: str) -> None:
    project.makeconftest(returning(tag))
    result = run("-k", "boats")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([WRONG[tag]])
    no_traceback_of_ours(result)
    assert "abc123" not in result.stdout.str().partition("FAILURES")[2]


@pytest.mark.parametrize(
    ("conftest", "message"),
    [
        (
            "return object()",
            "*object is not a tagger: it needs tag(image), or caption(image), keywords(image) and desc*",
        ),
        (
            "return [][0]",
            "*pytest_setups_tagger: IndexError: list index out of range (conftest.py:1 in pytest_setup*",
        ),
    ],
)
@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "worker"])
def test_a_hook_that_gives_no_tagger_is_a_usage_error(
    run: Run, project: pytest.Pytester, conftest: str, message: str, workers: tuple[str, ...]
) -> None:
    project.makeconftest(f"def pytest_setups_tagger(config, settings): {conftest}")
    result = run(*workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    no_traceback_of_ours(result)


def test_a_tagger_that_only_a_worker_cannot_make_fails_its_tests(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        def pytest_setups_tagger(config, settings):
            if hasattr(config, "workerinput"):
                raise MemoryError("no memory is left on the GPU")
        """
    )
    result = run("-n", "1")
    result.assert_outcomes(failed=11)
    result.stdout.fnmatch_lines(
        ["server: pytest_setups_tagger: MemoryError: no memory is left on the GPU (*"]
    )
    no_traceback_of_ours(result)


def test_a_command_overrides_the_hook(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest(ALL_AT_ONCE)
    result = run("--setup-tagger-command", "false {images} {output}")
    result.assert_outcomes(passed=2, failed=10)
    result.stdout.fnmatch_lines(["the tagger's command: exit status 1", "calls: [[]]"])


def test_fixtures_are_listed_with_the_taggers_that_they_use(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest("--fixtures", "-v").stdout.str()
    section = text.partition("fixtures defined from pytest_setups.plugin")[2].partition("fixtures defined")[0]
    assert "--setup-tagger-command" in section
    assert "pytest_setups_tagger" in section
