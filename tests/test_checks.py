"""The checks, each with what a server really did."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_setups.api.reply import Reply
from pytest_setups.checks.output_checks import CHECKS, failures
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.keywords import parse_keywords
from pytest_setups.tagging.outputs import Output
from pytest_setups.tagging.prompts import load_prompts

PROMPTS = load_prompts("default")
GOOD = {
    Stage.CAPTION: "Wooden boats rest on a calm river in Nagasaki.",
    Stage.KEYWORDS: '{"keywords": ["boats", "river", "nagasaki", "hills", "harbour"]}',
    Stage.DESCRIPTION: "Wooden boats rest on a calm river. Hills rise behind it. The sky is pale, very pale.",
}

BAD: dict[str, list[str | None]] = {
    "empty": ["", "  \n ", None],
    "reasoning-only": [
        "<think>The user wants a caption. The picture shows boats.</think>",
        "<think>The picture shows boats and I was cut",
    ],
    "refusal": [
        "I'm sorry, but I can't assist with identifying people in this image.",
        "I\u2019m unable to view images directly, but if you describe it I can help.",
        "As an AI language model, I do not have access to images.",
        "No image was provided. Could you upload the image?",
        "Please provide the image you would like me to caption.",
    ],
    "one-token": [
        "!!!!!!!!!!!!!!!!",
        "! ! ! ! ! !",
        "the the the the the",
        "\u9886\u9886\u9886\u9886\u9886",
        "\ufffd\n\ufffd\n\ufffd\n\ufffd\n",
    ],
    "no-words": ["\ufffd\n\ufffd!\ufffd\n\ufffd\n", "a\ufffd\ufffd squ2`\ufffd", "1. 2. 3. 4.", "--- ..."],
    "loop": [
        "A boat on a river with a boat on a river with a boat on a river with a boat on a river with a",
        "The sky is blue. The sky is blue. The sky is blue. The sky is blue. The sky is blue.",
        " capt capt capt capt capt and capt capt capt capt",
        "\u4e00\u53ea\u732b" * 9,
    ],
    "template-tokens": [
        "Wooden boats rest on a river.<|im_end|>",
        "<start_of_turn>model\nWooden boats rest on a river.",
        "ASSISTANT: Wooden boats rest on a river.",
        "[INST] Wooden boats rest on a river. [/INST]",
        "<image>Wooden boats rest on a river.</s>",
        "Boats\uff1a<\uff5cend\u2581of\u2581sentence\uff5c>",
    ],
    "prompt-echo": [
        PROMPTS.caption,
        "Sure! Provide a caption for this image in the active voice, at most two sentences: boats.",
    ],
}


def output(text: str | None, stage: Stage = Stage.CAPTION, **reply: Any) -> Output:
    values: dict[str, Any] = {
        "reasoning": "",
        "finish_reason": "stop",
        "started_at": 0.0,
        "latency_s": 1.0,
        "ttft_s": None,
        "prompt_tokens": 300,
        "output_tokens": 12,
    }
    return Output(
        stage=stage,
        text=text or "",
        keywords=parse_keywords(text or "") if stage is Stage.KEYWORDS else None,
        reply=Reply(text=text or "", **values | reply),
        prompt=getattr(PROMPTS, stage.value),
        caption=GOOD[Stage.CAPTION] if stage is Stage.DESCRIPTION else "",
    )


def names(judged: Output) -> list[str]:
    return [failure.check for failure in failures(judged)]


@pytest.mark.parametrize("stage", Stage)
def test_a_populated_output_passes(stage: Stage) -> None:
    assert failures(output(GOOD[stage], stage)) == ()


@pytest.mark.parametrize(("check", "text"), [(check, text) for check, texts in BAD.items() for text in texts])
def test_an_unpopulated_output_fails_its_check(check: str, text: str | None) -> None:
    assert names(output(text)) == [check]


@pytest.mark.parametrize(
    "text",
    [
        "A man can't see the image of the saint behind the crowd.",
        'A shop window holds a sign reading "I\'m sorry, we are closed".',
        "A painter presents the robot as an AI artist.",
        "A very, very old boat.",
        "New York, New York: neon signs glow in the rain.",
        "Ein alter Fischer repariert sein Netz am Hafen von \u00c5lesund.",
        "\u4e00\u53ea\u6a59\u8272\u7684\u732b\u5750\u5728\u7a97\u53f0\u4e0a\u3002",
        "<think>short thought</think>A tabby cat looks calmly at the camera.",
        "Twelve small pictures show a horse: walk, walk, walk; trot, trot; gallop.",
    ],
)
def test_an_honest_caption_passes(text: str) -> None:
    assert failures(output(text)) == ()


def test_reasoning_in_a_field_of_its_own_is_no_answer() -> None:
    assert names(output(None, reasoning="The user wants a caption.")) == ["reasoning-only"]


def test_a_cut_answer_is_truncated() -> None:
    (failure,) = failures(output("Wooden boats rest on", finish_reason="length", output_tokens=256))
    assert failure.check == "truncated"
    assert failure.reason.startswith("cut at the token limit after 256 tokens; raise --setup-max-new-tokens")


def test_a_content_filter_is_a_refusal() -> None:
    assert names(output("Wooden boats rest.", finish_reason="content_filter")) == ["refusal"]


def test_a_description_that_only_repeats_the_caption() -> None:
    assert names(output(GOOD[Stage.CAPTION].upper(), Stage.DESCRIPTION)) == ["repeated-caption"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "This old picture shows a number of boats that rest on a wide river.",
            "no keywords can be read from *",
        ),
        ('{"keywords": ["boats", "riv', "no keywords can be read from *"),
        ('{"keywords": []}', "0 distinct keywords: at least 3 are expected"),
        ('{"keywords": ["boat", "Boat", "river"]}', "2 distinct keywords: at least 3 are expected"),
        ('["a", "b", "c", "a", "a", "b", "b", "c"]', "only 3 of 8 keywords are distinct"),
    ],
)
def test_keywords_must_be_distinct_words(text: str, reason: str) -> None:
    (failure,) = failures(output(text, Stage.KEYWORDS))
    assert failure.check == "keywords"
    assert failure.reason == reason or failure.reason.startswith(reason.removesuffix("*"))


def test_every_check_has_an_example() -> None:
    elsewhere = {"truncated", "repeated-caption", "keywords"}
    assert {check.name for check in CHECKS} == set(BAD) | elsewhere


def test_a_long_answer_is_checked_in_reasonable_time() -> None:
    text = " ".join(f"word{number % 977}" for number in range(40_000))
    assert "loop" not in names(output(text))
