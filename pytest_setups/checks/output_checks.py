"""The checks of a single output: named reasons why it is not populated.

They judge the words only, and need no knowledge of the image. To add one, write a function that returns the
reason, or None where the output passes, in the module of its subject; add its row to ``CHECKS``; and add real
examples to ``tests/test_checks.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.foreign_formats import (
    address,
    base64,
    error_message,
    foreign_format,
    mojibake,
)
from pytest_setups.checks.instructions import acknowledgement, instruction
from pytest_setups.checks.keyword_checks import MIN_KEYWORDS, keyword_form, keyword_words, near_duplicates
from pytest_setups.checks.languages import language_failures
from pytest_setups.checks.leaks import prompt_echo, roles, template_tokens, thinking
from pytest_setups.checks.loops import loop, one_token
from pytest_setups.checks.placeholders import placeholder
from pytest_setups.checks.preambles import preamble
from pytest_setups.checks.prose import cut_off, says_nothing
from pytest_setups.checks.refusals import refusal
from pytest_setups.checks.texts import answer_of, normalised
from pytest_setups.checks.word_salad import word_salad
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.outputs import TAGGER_CHECK, Failure, Outcome, Output
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Check:
    """A named reason why an output is not populated.

    Attributes:
        name: as failures and entries have it, so it never changes.
        find_reason: why an output does not pass, on one line; None where it passes.
        source: what a server or model really did, for which the check exists.
    """

    name: str
    find_reason: Callable[[Output], str | None]
    source: str


SCHEMA_CHECK: Final = "schema"
"""The name of the check that applies only to answers that a JSON schema was sent for."""


def _empty(output: Output) -> str | None:
    if without_reasoning(output.text) or _has_reasoning(output):
        return None
    return "the answer is empty"


def _reasoning_only(output: Output) -> str | None:
    if without_reasoning(output.text) or not _has_reasoning(output):
        return None
    return "the answer is only reasoning, with no content"


def _has_reasoning(output: Output) -> bool:
    return bool(output.text.strip() or (output.reply and output.reply.reasoning.strip()))


def _truncated(output: Output) -> str | None:
    if output.reply is None or output.reply.finish_reason != "length":
        return None
    tokens = output.reply.output_tokens
    after = f" after {tokens} tokens" if tokens else ""
    return f"cut at the token limit{after}; raise --setup-max-new-tokens, or the model does not stop"


def _no_words(output: Output) -> str | None:
    text = answer_of(output)
    # A more specific check reports these.
    if not text or one_token(output) or (output.keywords and len(output.keywords.words) < MIN_KEYWORDS):
        return None
    if len(list(islice(filter(str.isalpha, text), 2))) < 2:
        # A single character is a word in scripts such as Chinese: "snow".
        return None if len(text) < 3 and text[0] >= "\u3400" else f"no words: {one_line(text, 40)!r}"
    return None


def _repeated_caption(output: Output) -> str | None:
    if output.stage is not Stage.DESCRIPTION or not output.caption:
        return None
    same = normalised(output.text) == normalised(output.caption)
    return "the description is the caption word for word" if same else None


def _schema(output: Output) -> str | None:
    answer = without_reasoning(output.text)
    # An answer that is empty or cut at the token limit is reported as what it is.
    if output.schema is None or not answer or _truncated(output):
        return None
    fault = output.schema.violation(answer)
    if fault is None:
        return None
    return f"the server did not enforce the schema that it was sent: {fault}: {one_line(answer, 120)!r}"


CHECKS: Final = (
    Check("empty", _empty, "karakeep and Ollama: content is an empty string, with HTTP 200"),
    Check("reasoning-only", _reasoning_only, "vllm#48645: content is null, all text is in reasoning"),
    Check("truncated", _truncated, "vllm#9752: finish_reason is length"),
    Check("refusal", refusal, 'lmstudio-bug-tracker#245: "I am unable to see images", with an image'),
    Check("one-token", one_token, 'vllm#14126: "!!!!!!"'),
    Check("no-words", _no_words, "small models: punctuation and list numbers without words"),
    Check("garbled", mojibake, "Qwen3#881: U+FFFD in place of letters, from a 4-bit model"),
    Check("loop", loop, "vllm#7349: the same words again and again"),
    Check("template-tokens", template_tokens, "vllm#7628: <|im_end|> in the text"),
    Check("roles", roles, "models without a chat template: they write the user's next turn too"),
    Check("thinking", thinking, 'ollama#14798: "Okay, the user wants ...", without tags'),
    Check("prompt-echo", prompt_echo, "models without a chat template continue the prompt"),
    Check("instruction", instruction, "models without a chat template write a prompt of their own"),
    Check("acknowledgement", acknowledgement, 'agents: "Done! The caption has been saved."'),
    Check("placeholder", placeholder, 'photoprism-vision#1: "Full caption here"'),
    Check("preamble", preamble, 'photoprism#5773: "Here\'s a caption for your image:"'),
    Check("error-message", error_message, "ImageIndexer#38: a proxy's error page, with HTTP 200"),
    Check("foreign-format", foreign_format, "LrGeniusAI#53: JSON and HTML in place of a caption"),
    Check("address", address, "small models answer with the name of the picture's file"),
    Check("encoded-bytes", base64, "models that were given the picture's base64 as text continue it"),
    Check("says-nothing", says_nothing, 'small models: "An image."'),
    Check("cut-off", cut_off, "servers that stop in mid-sentence and report finish_reason stop"),
    Check("word-salad", word_salad, "models quantised too far write words without a sentence"),
    Check("repeated-caption", _repeated_caption, "small models copy the caption that the prompt contains"),
    Check(SCHEMA_CHECK, _schema, "LocalAI#10339: response_format is ignored, with HTTP 200"),
    Check("keywords", keyword_form, "karakeep#318: JSON in a fence, which is read; prose is not"),
    Check(
        "useless-keywords", keyword_words, "karakeep#3107: fragments of the prompt; letters, numbers, grammar"
    ),
    Check("near-duplicates", near_duplicates, "small models: boat, boats, a boat"),
)


def failures(output: Output) -> tuple[Failure, ...]:
    """Every check that this output does not pass; none means that it is populated."""
    # What the tagger itself reports went wrong explains an empty text better than the checks do.
    if output.fault is not None:
        return (Failure(TAGGER_CHECK, output.fault),)
    reasons = ((check.name, check.find_reason(output)) for check in CHECKS)
    return tuple(Failure(name, reason) for name, reason in reasons if reason is not None)


def check_outcome(outcome: Outcome, language: str | None = None) -> Outcome:
    """The outcome with every check that its output does not pass.

    ``language`` is the ISO 639-1 code of the language that it must be in, None where any will do.
    """
    if outcome.output is None:
        return outcome
    output = replace(outcome.output, language=language)
    return replace(outcome, output=output, failures=failures(output) or language_failures(output))
