"""The checks, each with what servers really answered: a run fails for it, by the name of the check."""

from __future__ import annotations

from typing import Any

from pytest_setups.checks.output_checks import CHECKS
from pytest_setups.tagging.prompts import load_prompts
from tests.conftest import Measured, Run
from tests.servers.scripted import Ask, Reply, Scripted, completion, seeing

PROMPT = load_prompts("default").caption

BAD: dict[str, list[str | Reply]] = {
    "empty": ["", "  \n ", completion(None)],
    "reasoning-only": [
        "<think>The user wants a caption. The picture shows boats.</think>",
        "<think>The picture shows boats and I was cut",
        completion(None, reasoning="The user wants a caption."),
        completion(None, reasoning_content="The user wants a caption."),
    ],
    "truncated": [completion("Wooden boats rest on", finish_reason="length")],
    "refusal": [
        "I'm sorry, but I can't assist with identifying people in this image.",
        "I\u2019m unable to view images directly, but if you describe it I can help.",
        "As an AI language model, I do not have access to images.",
        "No image was provided. Could you upload the image?",
        "Please provide the image you would like me to caption.",
        completion("Wooden boats rest.", finish_reason="content_filter"),
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
        PROMPT,
        "Sure! Provide a caption for this image in the active voice, at most two sentences: boats.",
    ],
}
HONEST = [
    "Wooden boats rest on a calm river in Nagasaki.",
    "A man can't see the image of the saint behind the crowd.",
    'A shop window holds a sign reading "I\'m sorry, we are closed".',
    "A painter presents the robot as an AI artist.",
    "A very, very old boat.",
    "New York, New York: neon signs glow in the rain.",
    "Ein alter Fischer repariert sein Netz am Hafen von \u00c5lesund.",
    "\u4e00\u53ea\u6a59\u8272\u7684\u732b\u5750\u5728\u7a97\u53f0\u4e0a\u3002",
    "<think>short thought</think>A tabby cat looks calmly at the camera.",
    "Twelve small pictures show a horse: walk, walk, walk; trot, trot; gallop.",
]
KEYWORDS = {
    "This old picture shows a number of boats that rest on a wide river.": (
        "no keywords can be read from 'This old picture shows a number of boats that rest on a wide river.'"
    ),
    '{"keywords": ["boats", "riv': 'no keywords can be read from \'{"keywords": ["boats", "riv\'',
    '{"keywords": []}': "0 distinct keywords: at least 3 are expected",
    '{"keywords": ["boat", "Boat", "river"]}': "2 distinct keywords: at least 3 are expected",
    '["a", "b", "c", "a", "a", "b", "b", "c"]': "only 3 of 8 keywords are distinct",
}


def failures(measurements: list[dict[str, Any]]) -> list[list[str]]:
    return [[failure["check"] for failure in measurement["failures"]] for measurement in measurements]


def test_what_servers_really_answered_fails_by_the_name_of_its_check(measured: Measured) -> None:
    examples = [(check, answer) for check, answers in BAD.items() for answer in answers]
    measurements = measured((answer for _, answer in examples), "caption")
    assert failures(measurements) == [[check] for check, _ in examples]


def test_honest_captions_pass(measured: Measured) -> None:
    assert failures(measured(HONEST, "caption")) == [[]] * len(HONEST)


def test_a_cut_answer_says_which_option_to_raise(measured: Measured) -> None:
    (measurement,) = measured([completion("Wooden boats rest on", finish_reason="length")], "caption")
    reason = measurement["failures"][0]["reason"]
    assert reason.startswith("cut at the token limit after 12 tokens; raise --setup-max-new-tokens")


def test_a_description_that_only_repeats_the_caption(run: Run, server: Scripted) -> None:
    def repeat(ask: Ask) -> Reply:
        caption = ask.prompt.partition("Caption: ")[2].partition(" Keywords:")[0]
        return completion(caption.upper()) if ask.stage == "description" else seeing(ask)

    server.chat = repeat
    result = run("-k", "description")
    result.assert_outcomes(failed=3, deselected=8)
    result.stdout.fnmatch_lines(["repeated-caption: the description is the caption word for word"])


def test_keywords_must_be_distinct_words(measured: Measured) -> None:
    failed = [measurement["failures"] for measurement in measured(KEYWORDS, "keywords")]
    assert failed == [[{"check": "keywords", "reason": reason}] for reason in KEYWORDS.values()]


def test_every_check_has_an_example() -> None:
    assert {check.name for check in CHECKS} == {*BAD, "repeated-caption", "keywords"}


def test_a_long_answer_is_checked_in_reasonable_time(measured: Measured) -> None:
    answer = " ".join(f"word{number % 977}" for number in range(40_000))
    assert failures(measured([answer], "caption")) == [[]]
