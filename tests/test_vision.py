"""The proof that the model sees; a server that drops or confuses pictures can never be a success."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Run, entries
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, seeing, words

BLIND: dict[str, tuple[Callable[[Ask], Reply], str]] = {
    "dropped, usage given": (
        lambda ask: completion(words(ask), prompt_tokens=40),
        "the picture is dropped: 40 prompt tokens with it, 40 without it",
    ),
    "ignored": (
        lambda ask: completion("A nice photograph of something.", prompt_tokens=300 if ask.picture else 40),
        "a white disc on red and a yellow square on blue got the same answer, 'A nice photograph*",
    ),
    "ignored, no usage": (
        lambda _: completion("A nice photograph of something.", prompt_tokens=None),
        "a white disc on red and a yellow square on blue got the same answer*",
    ),
    "silent": (
        lambda ask: completion("...", prompt_tokens=300 if ask.picture else 40),
        "the answer to a control picture has no words",
    ),
    "text-only llama.cpp": (
        lambda ask: (
            seeing(ask)
            if not ask.picture
            else as_json(
                {
                    "error": {
                        "code": 500,
                        "message": "image input is not supported - hint: provide the mmproj",
                    }
                },
                500,
            )
        ),
        "HTTP 500 from *: image input is not supported - hint: provide the mmproj",
    ),
    "text-only vllm": (
        lambda ask: (
            seeing(ask)
            if not ask.picture
            else as_json(
                {"error": {"message": "tiny-text is not a multimodal model", "type": "BadRequestError"}}, 400
            )
        ),
        "HTTP 400 from *: tiny-text is not a multimodal model",
    ),
}


@pytest.mark.parametrize("name", BLIND)
def test_a_model_that_does_not_see_is_never_a_success(
    name: str, run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    server.chat, reason = BLIND[name]
    result = run("--record")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*_ test_vision _*", reason, "failed: vision: *", "not recorded: *"])
    assert entries(project.path) == {}


def test_the_evidence_is_in_the_entry(run: Run, project: pytest.Pytester, server: Scripted) -> None:
    run("--record").assert_outcomes(passed=11)
    (entry,) = entries(project.path).values()
    vision = entry["verification"]["vision"]
    assert vision["seen"] is True
    assert vision["prompt_tokens"] == {
        "no picture": 100,
        "white disc on red": 300,
        "yellow square on blue": 300,
    }
    assert len(set(vision["answers"].values())) == 3
    controls = [ask for ask in server.asks if ask.body["temperature"] == 0]
    assert len(controls) == 3


def test_a_server_without_usage_can_prove_it_sees(run: Run, server: Scripted) -> None:
    server.chat = lambda ask: completion(words(ask), prompt_tokens=None)
    run("-k", "vision").assert_outcomes(passed=1, deselected=10)


def test_a_parameter_that_was_removed_is_not_sent_to_prove_it(run: Run, server: Scripted) -> None:
    run('--setup-extra-body={"temperature": null}', "-k", "vision").assert_outcomes(passed=1, deselected=10)
    assert all("temperature" not in ask.body for ask in server.asks)


def test_the_same_words_for_different_pictures_fail_the_run(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    """A stale picture (vllm#20261): the second image gets the answer of the first."""
    first: dict[str, str] = {}

    def stale(ask: Ask) -> Reply:
        fresh = ask.body["temperature"] == 0 or len(server.asks) > 12
        return completion(words(ask) if fresh else first.setdefault(ask.stage, words(ask)), prompt_tokens=300)

    def chat(ask: Ask) -> Reply:
        return stale(ask) if ask.picture else completion(words(ask), prompt_tokens=40)

    server.chat = chat
    result = run("--record")
    result.assert_outcomes(passed=11)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "failed: same-words: different pictures got the same words: boats.jpg and cat.jpg*",
            "not recorded: *",
        ]
    )
    assert entries(project.path) == {}


def test_copies_of_one_picture_may_get_the_same_words(run: Run, project: pytest.Pytester) -> None:
    (project.path / "sample_images/copy.jpg").write_bytes(
        (project.path / "sample_images/cat.jpg").read_bytes()
    )
    run("--record").stdout.fnmatch_lines(["recorded: *"])
