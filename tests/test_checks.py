"""The checks, each with what servers really answered: a run fails for it, by the name of the check."""

from __future__ import annotations

from typing import Any

from pytest_setups.checks.output_checks import CHECKS, SCHEMA_CHECK
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
    "no-words": ["\ufffd\n\ufffd!\ufffd\n\ufffd\n", "1. 2. 3. 4.", "--- ..."],
    "garbled": [
        "a\ufffd\ufffd squ2`\ufffd",
        "Un p\u00c3\u00aacheur r\u00c3\u00a9pare ses filets.",
        "<0xE6><0xB9><0x96><0xE4><0xB8><0x8A>",
    ],
    "loop": [
        "A red boat rests on the river. A blue boat rests on the river. A green boat rests on the river.",
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
    "roles": ["User: What is this?\nAssistant: A boat.", "### Response:\nA boat rests on a river."],
    "thinking": [
        "Okay, the user wants a caption in the active voice. Let me look at the image again.",
        "The main subject is a boat. Good.</think>A boat rests on a river.",
        "\u7528\u6237\u8981\u6c42\u7528\u4e3b\u52a8\u8bed\u6001\u3002",
    ],
    "instruction": [
        "You are a helpful assistant that writes captions for photographs.",
        "Schreibe einen Satz, der dieses Foto beschreibt.",
        "写真を一文で説明してください。",
    ],
    "acknowledgement": [
        "Yes.",
        "Done! The caption has been generated successfully.",
        "好的。",
        "Verstanden.",
    ],
    "placeholder": ["Full caption here", "<caption>", "string", "A [adjective] [subject] in a [place]."],
    "preamble": [
        "Here's a caption for your image:",
        "Sure! Here is a caption: A boat rests on a river.",
        "Caption: A boat rests on a river.",
        "A boat rests on a river. Let me know if you'd like another style!",
    ],
    "error-message": [
        "502 Bad Gateway",
        'Traceback (most recent call last):\n  File "/app/server.py", line 212, in generate',
        '{"error": "model not found"}',
        "CUDA out of memory. Tried to allocate 2.50 GiB.",
    ],
    "foreign-format": [
        '{"caption": "A boat rests on a river."}',
        "```\nA boat rests on a river.\n```",
        "<p>A boat rests on a river.</p>",
        "Boats &amp; nets lie on the caf&eacute; terrace.",
    ],
    "address": ["IMG_20230814_173355.jpg", "https://images.example.com/photos/boat", "![boat](boat.jpg)"],
    "encoded-bytes": ["/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkS"],
    "says-nothing": ["An image.", "This is a picture.", "C'est une photo.", "N/A"],
    "cut-off": ["A group of tourists gathers around the", "Wooden boats rest on a river,"],
    "word-salad": [
        "Boat the the men under of quickly because river into spoken the of.",
        "Boat \u043b\u043e\u0434\u043a\u0430 \u8239 with \u0642\u0627\u0631\u0628 the river",
    ],
    "prompt-echo": [
        PROMPT,
        "Sure! Provide a caption for this image in the active voice, at most two sentences: boats.",
    ],
}
HONEST = [
    "\u201eBitte klingeln\u201c steht auf einem Schild neben der Haust\u00fcr",
    "Sorry! board game in mid-match, with the yellow pawns one step from home.",
    "A gorilla (Gorilla gorilla gorilla) chews on a stalk of wild celery.",
    "Wooden boats rest on a calm river in Nagasaki.",
    "A man can't see the image of the saint behind the crowd.",
    'A shop window holds a sign reading "I\'m sorry, we are closed".',
    "A painter presents the robot as an AI artist.",
    "A very, very old boat.",
    "New York, New York: neon signs glow in the rain.",
    "Ein alter Fischer repariert sein Netz am Hafen von \u00c5lesund.",
    "\u4e00\u53ea\u6a59\u8272\u7684\u732b\u5750\u5728\u7a97\u53f0\u4e0a\u3002",
    "<think>short thought</think>A tabby cat looks calmly at the camera.",
    "I'm sorry is tattooed on a forearm.",
    "a red car, a red car",
    "A ticket machine displays \u201cInternal Server Error\u201d while commuters queue behind it.",
    "Twelve small pictures show a horse: walk, walk, walk; trot, trot; gallop.",
]
KEYWORDS = {
    "This old picture shows a number of boats that rest on a wide river.": (
        "no keywords can be read from 'This old picture shows a number of boats that rest on a wide river.'"
    ),
    '{"keywords": ["boats", "riv': 'no keywords can be read from \'{"keywords": ["boats", "riv\'',
    '{"keywords": []}': "0 distinct keywords: at least 2 are expected",
    '{"keywords": ["boat", "Boat"]}': "1 distinct keywords: at least 2 are expected",
    '["a boat", "b", "cat", "A boat", "a boat", "b", "B", "cat"]': "only 3 of 8 keywords are distinct",
}
BAD_KEYWORDS = {
    "useless-keywords": [
        '["s", "u", "n", "s", "e", "t"]',
        '["1", "2", "3", "2024", "dog"]',
        '["2026-03-14", "14:22:07", "47.3769 N", "lake"]',
        '["the", "of", "and", "with", "boat"]',
        '["a man with", "standing next to the", "which is", "boat"]',
        '["return only valid json", "avoid duplicates", "use lowercase text", "boat"]',
        '["image", "photo", "picture", "jpeg"]',
    ],
    "near-duplicates": [
        '["boat", "boats", "a boat", "the boat", "the boats"]',
        '["Boot", "Boote", "ein Boot", "das Boot", "Booten"]',
    ],
}
HONEST_KEYWORDS = [
    '["\u03b2\u03ac\u03c1\u03ba\u03b1", "\u03c6\u03c9\u03c2", "\u03c8\u03b1\u03c1\u03ac\u03c2"]',
    '["basketball", "23", "35mm film", "court", "player"]',
    '["dog", "sheepdog", "dog trial", "sheep", "shepherd"]',
    "moon, craters",
    '{"keywords": ["\\u6d77", "\\u8239", "\\u7a7a"]}',
]


def failures(measurements: list[dict[str, Any]]) -> list[list[str]]:
    return [[failure["check"] for failure in measurement["failures"]] for measurement in measurements]


def test_what_servers_really_answered_fails_by_the_name_of_its_check(measured: Measured) -> None:
    examples = [(check, answer) for check, answers in BAD.items() for answer in answers]
    measurements = measured((answer for _, answer in examples), "caption")
    missed = [
        (check, answer)
        for (check, answer), failed in zip(examples, failures(measurements), strict=True)
        if check not in failed
    ]
    assert missed == []


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


def test_useless_keywords_fail_by_the_name_of_their_check(measured: Measured) -> None:
    examples = [(check, answer) for check, answers in BAD_KEYWORDS.items() for answer in answers]
    failed = failures(measured((answer for _, answer in examples), "keywords"))
    assert [check for (check, _), names in zip(examples, failed, strict=True) if check not in names] == []


def test_honest_keywords_pass(measured: Measured) -> None:
    assert failures(measured(HONEST_KEYWORDS, "keywords")) == [[]] * len(HONEST_KEYWORDS)


def test_every_check_has_an_example() -> None:
    assert {check.name for check in CHECKS} == {
        *BAD,
        *BAD_KEYWORDS,
        "repeated-caption",
        SCHEMA_CHECK,
        "keywords",
    }


def test_a_long_answer_is_checked_in_reasonable_time(measured: Measured) -> None:
    answer = " ".join(f"word{number % 977}" for number in range(40_000))
    assert failures(measured([answer], "caption")) == [[]]
