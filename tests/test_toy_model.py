from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

from tests.servers.llama import llama_cpp
from toy_model import companions
from toy_model import questions as texts
from toy_model.served_model import Ask, Model, answering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAPTION = texts.profiles()["default"].prompts["caption"]
KEYWORDS = texts.profiles()["default"].prompts["keywords"]
BACKGROUND = "Which colour is the background? Answer with one word."


def drawn(background: str, shape: str) -> Image.Image:
    picture = Image.new("RGB", (256, 256), background)
    ImageDraw.Draw(picture).ellipse((70, 70, 186, 186), fill=shape)
    return picture


RED = drawn("red", "white")
BLUE = drawn("blue", "yellow")


@pytest.fixture(scope="module")
def toy() -> Iterator[Model]:
    with answering(companions.DEMO) as model:
        yield model


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with answering(companions.make_blind(tmp_path_factory.mktemp("blind"))) as model:
        yield model


@pytest.fixture(scope="module")
def babbling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with answering(companions.make_babbling(tmp_path_factory.mktemp("babbling"))) as model:
        yield model


def test_the_toy_model_tells_two_scenes_apart(toy: Model) -> None:
    captions = [toy.answer(Ask(prompt=CAPTION, picture=picture)) for picture in (RED, BLUE)]

    assert "white circle stands on a red background" in captions[0]
    assert "yellow circle stands on a blue background" in captions[1]


@pytest.mark.parametrize("picture_first", [True, False], ids=["picture first", "text first"])
@pytest.mark.parametrize("system", [None, "You are a photo tagger."], ids=["no system", "system"])
def test_the_toy_model_names_the_background_in_one_word(
    toy: Model, system: str | None, *, picture_first: bool
) -> None:
    answers = [
        toy.answer(Ask(prompt=BACKGROUND, picture=picture, system=system, picture_first=picture_first))
        for picture in (RED, BLUE)
    ]

    assert answers == ["red", "blue"]


def test_the_toy_model_answers_keywords_as_json(toy: Model) -> None:
    keywords = json.loads(toy.answer(Ask(prompt=KEYWORDS, picture=RED)))["keywords"]

    assert "red background" in keywords
    assert len(keywords) == len(set(keywords)) >= 6


def test_the_toy_model_answers_without_a_picture(toy: Model) -> None:
    said = toy.answer(Ask(prompt=CAPTION, picture=None))

    assert said
    assert said != toy.answer(Ask(prompt=CAPTION, picture=RED))


def test_the_blind_companion_says_the_same_of_every_picture(blind: Model) -> None:
    answers = {blind.answer(Ask(prompt=CAPTION, picture=picture)) for picture in (RED, BLUE)}

    assert len(answers) == 1


def test_the_babbling_companion_talks_nonsense(babbling: Model) -> None:
    said = babbling.answer(Ask(prompt=KEYWORDS, picture=RED))

    assert said
    with pytest.raises(json.JSONDecodeError):
        json.loads(said)


def test_companions_are_made_the_same_every_time(tmp_path: Path) -> None:
    for make, changed in (
        (companions.make_blind, companions.MMPROJ_FILE),
        (companions.make_babbling, companions.TEXT_FILE),
    ):
        first, second = make(tmp_path / "first") / changed, make(tmp_path / "second") / changed
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes() != (companions.DEMO / changed).read_bytes()


def test_the_vision_proof_fails_the_blind_one(project: pytest.Pytester, tmp_path: Path) -> None:
    folder = companions.make_blind(tmp_path / "blind")
    with llama_cpp("--mmproj", str(folder / companions.MMPROJ_FILE)) as url:
        result = project.runpytest("--setup-base-url", url, "-k", "models or vision")
    result.assert_outcomes(passed=1, failed=1, deselected=9)
    result.stdout.fnmatch_lines(["a white disc on red and a yellow square on blue got the same answer*"])


def test_the_checks_fail_the_babbling_one(project: pytest.Pytester, tmp_path: Path) -> None:
    folder = companions.make_babbling(tmp_path / "babbling")
    with llama_cpp("-m", str(folder / companions.TEXT_FILE)) as url:
        result = project.runpytest("--setup-base-url", url, "--setup-temperature=0", "-k", "cat")
    result.assert_outcomes(failed=3, deselected=8)
    result.stdout.fnmatch_lines(["keywords: no keywords can be read from *"])
