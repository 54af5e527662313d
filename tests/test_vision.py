"""The proof that the model sees; a server that drops or confuses pictures can never be a success."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from tests.conftest import Run, entries
from tests.servers import eyes
from tests.servers.scripted import Ask, Reply, Scripted, as_json, completion, seeing, words

SAMPLES = Path(__file__).parent.parent / "sample_images"
NICE = "A nice photograph of a harbour."
TEXT_ONLY = {"message": "tiny-text is not a multimodal model", "type": "BadRequestError"}
NO_PROJECTOR = {"code": 500, "message": "image input is not supported - hint: provide the mmproj"}

BURST = {
    "caption": "A cup of coffee stands on a wooden table.",
    "keywords": '["coffee", "cup", "table"]',
    "description": "A spoon lies on the saucer. The light falls from the left.",
}


def faulty(name: str) -> Callable[[Ask], Reply]:
    return eyes.FAULTY[name](random.Random(1))


BLIND: dict[str, tuple[Callable[[Ask], Reply], str]] = {
    "dropped": (
        lambda _: completion(NICE, prompt_tokens=40),
        "the picture is dropped: 40 prompt tokens with it, 40 without it; '*' got 'A nice photograph of *",
    ),
    "ignored": (
        lambda ask: eyes.answer(ask, NICE if ask.picture else "Nothing is attached here."),
        "blind: all 8 control pictures got the same answer, 'A nice photograph of a harbour.'",
    ),
    "ignored, no usage": (
        lambda ask: completion(NICE if ask.picture else "Nothing is attached here.", prompt_tokens=None),
        "blind: all 8 control pictures got the same answer, 'A nice photograph of a harbour.'",
    ),
    "the answer without a picture": (
        lambda ask: eyes.answer(ask, NICE),
        "no usable answer: 8 of 8 control pictures; '*': it is the answer without a picture: 'A nice *",
    ),
    "silent": (
        lambda ask: eyes.answer(ask, "..."),
        "no usable answer: 8 of 8 control pictures; '*': no-words: *'...'",
    ),
    "exclamation marks": (
        lambda ask: eyes.answer(ask, "!!!!!!!!!!!!"),
        "no usable answer: 8 of 8 control pictures; '*': one-token: one token repeated: '!!!!!!!!!!!!'",
    ),
    "two refusals": (
        lambda ask: eyes.answer(
            ask, f"I'm sorry, I cannot see {'the image' if words(ask) < 'A h' else 'any picture here'}."
        ),
        "no usable answer: 8 of 8 control pictures; '*': refusal: *I'm sorry, I cannot see *",
    ),
    "random words": (faulty("random words"), "*: *'* got *'"),
    "stale by one": (
        faulty("stale by one"),
        "stale by one: answers are about the picture of the request before (p = *); '*', asked after '*",
    ),
    "right one time in three": (faulty("right one time in three"), "*: *'*"),
    "background only": (
        faulty("background only"),
        "only the background is seen: '* on *' and '* on *' got the same answer, 'A plain *",
    ),
    "text-only llama.cpp": (
        lambda ask: as_json({"error": NO_PROJECTOR}, 500) if ask.picture else seeing(ask),
        "HTTP 500 from *: image input is not supported - hint: provide the mmproj",
    ),
    "text-only vllm": (
        lambda ask: as_json({"error": TEXT_ONLY}, 400) if ask.picture else seeing(ask),
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
    assert vision["p_value"] == 1 / 40320
    assert vision["without_picture"]["prompt_tokens"] == 100
    (experiment,) = vision["experiments"]
    assert experiment["p_value"] == vision["p_value"]
    assert experiment["recognised"] == 8
    assert len(set(experiment["codes"])) == 8
    assert experiment["prompt_tokens"] == [[300, 300]] * 8
    assert [len(row) for row in experiment["similarities"]] == [8] * 8
    asked = [ask for ask in server.asks if ask.body["temperature"] == 0]
    assert len(asked) == 17
    assert [words(ask) for ask in asked[1:9]] == [first for first, _ in experiment["answers"]]
    second = [experiment["answers"][number][1] for number in experiment["second_order"]]
    assert [words(ask) for ask in asked[9:]] == second
    pictures = [Image.open(io.BytesIO(ask.picture or b"")) for ask in asked[1:]]
    assert [picture.size for picture in pictures] == [(320, 320)] * 8 + [(448, 448)] * 8
    assert len({picture.tobytes() for picture in pictures}) == 16


def test_each_run_draws_other_pictures(run: Run, project: pytest.Pytester) -> None:
    """A server cannot have the answers in its cache."""
    for _ in range(2):
        run("--record").assert_outcomes(passed=11)
    first, second = (
        entry["verification"]["vision"]["experiments"][0] for entry in entries(project.path).values()
    )
    assert first["seed"] != second["seed"]
    assert first["codes"] != second["codes"]


@pytest.mark.parametrize("name", eyes.SEEING)
def test_a_model_that_answers_in_another_language_sees(name: str, run: Run, server: Scripted) -> None:
    server.chat = eyes.SEEING[name](random.Random(1))
    run("-k", "vision").assert_outcomes(passed=1, deselected=10)


def test_a_doubtful_experiment_is_repeated_with_other_pictures(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    """Only the first experiment is disturbed: three of its second views get other words each."""

    def chat(ask: Ask) -> Reply:
        controls = [other for other in server.asks if other.body.get("temperature") == 0]
        disturbed = ask.body["temperature"] == 0 and len(controls) in {10, 13, 16}
        return eyes.answer(ask, f"Fog, seen for the {len(controls)}th time." if disturbed else words(ask))

    server.chat = chat
    run("--record").assert_outcomes(passed=11)
    (entry,) = entries(project.path).values()
    vision = entry["verification"]["vision"]
    first, second = vision["experiments"]
    assert first["recognised"] == 5
    assert second["recognised"] == 8
    assert first["codes"] != second["codes"]
    assert vision["p_value"] < 0.0002


def test_a_model_that_is_right_now_and_then_is_not_proved_to_see(run: Run, server: Scripted) -> None:
    """Four of eight second views get words about nothing, in both experiments."""

    def chat(ask: Ask) -> Reply:
        number = len([other for other in server.asks if other.body.get("temperature") == 0])
        fog = number in {10, 12, 14, 16, 26, 28, 30, 32}
        return eyes.answer(ask, f"Fog, seen for the {number}th time." if fog else words(ask))

    server.chat = chat
    result = run("-k", "vision")
    result.assert_outcomes(failed=1, deselected=10)
    result.stdout.fnmatch_lines(
        ["sight is not proved: p = * where at most 0.0002 is needed, and * of 16 control pictures *"]
    )


def test_questions_of_the_second_round_are_asked_at_once_where_answers_are(
    run: Run, server: Scripted
) -> None:
    barrier = threading.Barrier(4)

    def wait_for_four(ask: Ask) -> Reply:
        if 10 <= ask.number < 18:  # after the warm-up, the question without a picture and the first round
            barrier.wait(20)
        return seeing(ask)

    server.chat = wait_for_four
    run("-k", "vision", "--setup-concurrency=4").assert_outcomes(passed=1, deselected=10)
    assert server.most_at_once == 4


def test_a_server_that_swaps_answers_of_requests_under_way_fails(run: Run, server: Scripted) -> None:
    """HunyuanOCR#60: each of two requests under way gets the answer of the other."""
    waiting: list[tuple[Ask, threading.Event, list[str]]] = []
    lock = threading.Lock()

    def swapped(ask: Ask) -> str:
        mine: tuple[Ask, threading.Event, list[str]] = (ask, threading.Event(), [])
        with lock:
            if not waiting:
                waiting.append(mine)
                first = None
            else:
                first = waiting.pop()
        if first is None:
            mine[1].wait()
            return mine[2][0]
        first[2].append(words(ask))
        first[1].set()
        return words(first[0])

    def chat(ask: Ask) -> Reply:
        controls = [other for other in server.asks if other.body.get("temperature") == 0]
        second_round = len(controls) > 9
        return eyes.answer(ask, swapped(ask) if second_round else words(ask))

    server.chat = chat
    result = run("-k", "vision", "--setup-concurrency=2")
    result.assert_outcomes(failed=1, deselected=10)
    result.stdout.fnmatch_lines(["mixed: * of 8 control pictures got the answer of another one; *"])


def test_a_server_that_counts_no_tokens_for_pictures_can_prove_it_sees(run: Run, server: Scripted) -> None:
    server.chat = lambda ask: completion(words(ask), prompt_tokens=40)
    run("-k", "vision").assert_outcomes(passed=1, deselected=10)


def test_a_server_that_refuses_a_question_without_a_picture_can_prove_it_sees(
    run: Run, server: Scripted
) -> None:
    server.chat = lambda ask: seeing(ask) if ask.picture else as_json({"error": "no image"}, 400)
    run("-k", "vision").assert_outcomes(passed=1, deselected=10)


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
        fresh = ask.body["temperature"] == 0 or len(server.asks) > 1 + 17 + 6
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


def test_a_picture_that_gets_the_answer_to_no_picture_fails_the_run(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    """A refusal in a language that no check knows, for one picture of three."""
    refusal = "Ma jista' nara l-ebda stampa fil-messaġġ tiegħek."

    def chat(ask: Ask) -> Reply:
        measured = [other for other in server.asks if other.body.get("temperature") != 0]
        refused = ask.picture is None or (ask.stage == "caption" and len(measured) == 5)
        return eyes.answer(ask, refusal if refused else words(ask))

    server.chat = chat
    result = run("--record")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [f"failed: no-picture: cat.jpg got the answer without a picture: *{refusal}*"]
    )
    assert entries(project.path) == {}


def test_copies_of_one_picture_may_get_the_same_words(run: Run, project: pytest.Pytester) -> None:
    (project.path / "sample_images/copy.jpg").write_bytes(
        (project.path / "sample_images/cat.jpg").read_bytes()
    )
    run("--record").stdout.fnmatch_lines(["recorded: *"])


def test_frames_of_a_burst_may_get_the_same_words(
    run: Run, project: pytest.Pytester, server: Scripted
) -> None:
    """Two nearly identical pictures: the second is moved by three pixels and a little darker."""
    frame = Image.open(SAMPLES / "coffee-cmyk.jpg").convert("RGB")
    for path in (project.path / "sample_images").iterdir():
        path.unlink()
    frame.save(project.path / "sample_images/burst-1.jpg")
    moved = ImageEnhance.Brightness(frame.crop((3, 0, *frame.size))).enhance(0.97)
    moved.save(project.path / "sample_images/burst-2.jpg", quality=80)
    server.chat = lambda ask: (
        seeing(ask) if ask.body["temperature"] == 0 else completion(BURST[str(ask.stage)], prompt_tokens=300)
    )
    run("--record").stdout.fnmatch_lines(["recorded: *"])
