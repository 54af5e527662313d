from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

from tests.servers.llama import llama_cpp
from toy_model import companions
from toy_model.questions import profiles
from toy_model.served_model import ChatRequest, ServedModel, serve_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAPTION = profiles()["default"].caption
KEYWORDS = profiles()["default"].keywords
BACKGROUND = "Which colour is the background? Answer with one word."


def drawn(background: str, shape: str) -> Image.Image:
    picture = Image.new("RGB", (256, 256), background)
    ImageDraw.Draw(picture).ellipse((70, 70, 186, 186), fill=shape)
    return picture


RED = drawn("red", "white")
BLUE = drawn("blue", "yellow")


@pytest.fixture(scope="module")
def toy() -> Iterator[ServedModel]:
    with serve_model(companions.PACKAGED_PAIR) as model:
        yield model


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    with serve_model(companions.make_blind(tmp_path_factory.mktemp("blind"))) as model:
        yield model


@pytest.fixture(scope="module")
def babbling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    with serve_model(companions.make_babbling(tmp_path_factory.mktemp("babbling"))) as model:
        yield model


def test_the_toy_model_distinguishes_two_scenes(toy: ServedModel) -> None:
    captions = [toy.answer(ChatRequest(prompt=CAPTION, picture=picture)) for picture in (RED, BLUE)]

    assert "white circle stands on a red background" in captions[0]
    assert "yellow circle stands on a blue background" in captions[1]


@pytest.mark.parametrize("picture_first", [True, False], ids=["picture first", "text first"])
@pytest.mark.parametrize("system", [None, "You are a photo tagger."], ids=["no system", "system"])
def test_the_toy_model_names_the_background_in_one_word(
    toy: ServedModel, system: str | None, *, picture_first: bool
) -> None:
    answers = [
        toy.answer(
            ChatRequest(prompt=BACKGROUND, picture=picture, system=system, picture_first=picture_first)
        )
        for picture in (RED, BLUE)
    ]

    assert answers == ["red", "blue"]


def test_the_toy_model_answers_keywords_as_json(toy: ServedModel) -> None:
    keywords = json.loads(toy.answer(ChatRequest(prompt=KEYWORDS, picture=RED)))["keywords"]

    assert "red background" in keywords
    assert len(keywords) == len(set(keywords)) >= 6


def test_the_toy_model_answers_without_a_picture(toy: ServedModel) -> None:
    answer = toy.answer(ChatRequest(prompt=CAPTION, picture=None))

    assert answer
    assert answer != toy.answer(ChatRequest(prompt=CAPTION, picture=RED))


def test_the_blind_companion_gives_every_picture_the_same_answer(blind: ServedModel) -> None:
    answers = {blind.answer(ChatRequest(prompt=CAPTION, picture=picture)) for picture in (RED, BLUE)}

    assert len(answers) == 1


def test_the_babbling_companion_gives_no_keywords(babbling: ServedModel) -> None:
    answer = babbling.answer(ChatRequest(prompt=KEYWORDS, picture=RED))

    assert answer
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer)


def test_companions_are_identical_whenever_they_are_made(tmp_path: Path) -> None:
    for make, changed in (
        (companions.make_blind, companions.MMPROJ_FILE),
        (companions.make_babbling, companions.TEXT_FILE),
    ):
        first, second = make(tmp_path / "first") / changed, make(tmp_path / "second") / changed
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes() != (companions.PACKAGED_PAIR / changed).read_bytes()


def test_the_vision_proof_rejects_the_blind_companion(project: pytest.Pytester, tmp_path: Path) -> None:
    folder = companions.make_blind(tmp_path / "blind")
    with llama_cpp(folder=folder) as url:
        result = project.runpytest("--setup-base-url", url, "-k", "models or vision")
    result.assert_outcomes(passed=1, failed=1, deselected=9)
    result.stdout.fnmatch_lines(["no usable answer: 8 of 8 control pictures; *"])


def test_the_checks_reject_the_babbling_companion(project: pytest.Pytester, tmp_path: Path) -> None:
    folder = companions.make_babbling(tmp_path / "babbling")
    with llama_cpp(folder=folder) as url:
        result = project.runpytest("--setup-base-url", url, "--setup-temperature=0", "-k", "cat")
    result.assert_outcomes(failed=3, deselected=8)
    result.stdout.fnmatch_lines(["keywords: no keywords can be read from *"])
