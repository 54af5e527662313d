"""Reasoning that a server leaves in the text, and texts about its tags."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_setups.tagging.reasoning import without_reasoning
from tests.conftest import Measured

ANSWER = "A boat rests on a river."
MODELS = {
    "Qwen": f"<think>\nA boat.\n</think>\n\n{ANSWER}",
    "the template holds the first tag": f"Okay, I see a boat. A river too.\n</think>\n\n{ANSWER}",
    "no space": f"A boat, I think.</think>{ANSWER}",
    "cut into words": f"so I write that</think>{ANSWER}",
    "an empty block": f"<think>\n\n</think>\n\n{ANSWER}",
    "two blocks": f"<think>a</think>\n<think>b</think>{ANSWER}",
    "a block in a block": f"<think>a <think> b </think> c.</think>{ANSWER}",
    "a tag that is reasoned about": f"<think>I must close with </think> at the end.\n</think>{ANSWER}",
    "closing tags of two thoughts": f"I see a boat.</think>Wait.</think>{ANSWER}",
    "thinking": f"<thinking>A boat.</thinking>{ANSWER}",
    "reasoning": f"<reasoning>A boat.</reasoning>\n{ANSWER}",
    "thought": f"<thought>A boat.</thought>{ANSWER}",
    "Seed-OSS": f"<seed:think>A boat.</seed:think>{ANSWER}",
    "Kimi-VL": f"◁think▷A boat.◁/think▷{ANSWER}",
    "Magistral": f"[THINK]A boat.[/THINK]{ANSWER}",
    "OpenThinker": (
        f"<|begin_of_thought|>A boat.<|end_of_thought|>\n<|begin_of_solution|>{ANSWER}<|end_of_solution|>"
    ),
    "Cohere": f"<|START_THINKING|>A boat.<|END_THINKING|><|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>",
    "Gemma 4": f"<|channel>thought\nA boat.\n<channel|>{ANSWER}",
    "gpt-oss": (
        "<|channel|>analysis<|message|>A boat.<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{ANSWER}<|return|>"
    ),
    "gpt-oss without its tokens": f"analysisWe see a boat.assistantfinal{ANSWER}",
    "none": ANSWER,
}
UNFINISHED = (
    "<think>\nA boat.",
    "<thinking>A boat",
    "[THINK]A boat",
    "<|channel|>analysis<|message|>A boat",
    "<think>a</think>",
    "I see a boat.\nIt floats.</think>",
)
SHOWN = (
    'A T-shirt that reads "</think>" in white letters.',
    "A screen shows `<think>` and `</think>` in red.",
    "A poster with „</think>“ and a cat.",
    "A sign shows </think> in red letters.",
    "A screenshot of a chat template that closes with </think> and a line break.",
    "A slide about <reasoning> and <thought> tags.",
    "A neon sign says <think>.",
    "Analysis of a chess game on a board.",
)


@pytest.mark.parametrize("model", MODELS)
def test_the_answer_is_what_follows_the_reasoning(model: str) -> None:
    assert without_reasoning(MODELS[model]) == ANSWER


@pytest.mark.parametrize("text", UNFINISHED)
def test_reasoning_that_does_not_end_is_no_answer(text: str) -> None:
    assert without_reasoning(text) == ""


@pytest.mark.parametrize("text", SHOWN)
def test_tags_that_a_picture_shows_are_part_of_the_answer(text: str) -> None:
    assert without_reasoning(text) == text


def test_keywords_in_the_reasoning_are_not_those_of_the_answer(measured: Measured) -> None:
    drafts = 'Perhaps ["draft one", "draft two", "draft three", "draft four"].\n</think>\n'
    (line,) = measured([drafts + '["boat", "river", "hills"]'], "keywords")
    assert line["keywords"] == ["boat", "river", "hills"]


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["<think>", "</think>", "[THINK]", "◁/think▷", "\n", " ", "."]),
            st.text(max_size=8),
        ),
        max_size=20,
    ).map("".join)
)
def test_no_text_raises_and_nothing_is_added(text: str) -> None:
    assert len(without_reasoning(text)) <= len(text)
