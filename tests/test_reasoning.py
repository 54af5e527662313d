"""Reasoning that servers without a reasoning parser leave in the text, as a run reads the answer."""

from __future__ import annotations

import pytest

from pytest_setups.tagging.reasoning import without_reasoning

ANSWER = "A boat on a river."
THOUGHT = "The user wants a caption. I see a boat.\nIt floats."
WITH_REASONING = {
    "tags": f"<think>{THOUGHT}</think>\n\n{ANSWER}",
    "the template holds the opening tag": f"{THOUGHT}\n</think>\n\n{ANSWER}",
    "two thoughts": f"<think>{THOUGHT}</think> No. <think>{THOUGHT}</think>{ANSWER}",
    "closing tags of two thoughts": f"{THOUGHT}</think>Wait.</think>{ANSWER}",
    "thinking": f"<thinking>{THOUGHT}</thinking>{ANSWER}",
    "Kimi-VL": f"\u25c1think\u25b7{THOUGHT}\u25c1/think\u25b7{ANSWER}",
    "Mistral": f"[THINK]{THOUGHT}[/THINK]{ANSWER}",
    "gpt-oss": (
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}"
    ),
    "gpt-oss without its tokens": f"analysis{THOUGHT}assistantfinal{ANSWER}",
}
ONLY_REASONING = (f"<think>{THOUGHT}", f"<think>{THOUGHT}</think>", f"{THOUGHT}</think>", f"[THINK]{THOUGHT}")
SHOWN = (
    'A T-shirt with the words "</think>" across its chest.',
    "A screenshot of a chat template that closes with </think> and a line break.",
    ANSWER,
)


@pytest.mark.parametrize("name", WITH_REASONING)
def test_the_answer_is_what_follows_the_reasoning(name: str) -> None:
    answer = without_reasoning(WITH_REASONING[name])
    assert answer.removeprefix("No.").strip() == ANSWER


@pytest.mark.parametrize("text", ONLY_REASONING)
def test_reasoning_alone_is_no_answer(text: str) -> None:
    assert without_reasoning(text) == ""


@pytest.mark.parametrize("text", SHOWN)
def test_a_tag_that_the_picture_shows_is_kept(text: str) -> None:
    assert without_reasoning(text) == text
