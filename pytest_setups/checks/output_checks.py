"""The checks of a single output: named reasons why it is not populated.

They judge the words only, and need no knowledge of the image. To add one, write a function that returns the
reason, or None where the output passes; add its row to ``CHECKS``; and add real examples to
``tests/test_checks.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.languages import language_failures
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.outputs import TAGGER_CHECK, Failure, Outcome, Output, without_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


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
# The built-in prompts ask for 10 to 25.
MIN_KEYWORDS: Final = 3
# "A very, very old boat" and "New York, New York" are honest: two or three repetitions occur in prose.
MIN_REPEATED_WORDS: Final = 4
LOOP_REPEATS: Final = 4
LOOP_MAX_PERIOD: Final = 30
# Shorter phrases of a prompt also occur in honest answers.
ECHO_WORDS: Final = 10
# A cut multi-byte character at the end of an answer gives one U+FFFD, also from servers in good order.
MAX_GARBLED_SHARE: Final = 0.05
# Characters that are searched for loops and echoes, whose cost increases with the length.
MAX_CHECKED: Final = 20_000
REFUSAL_WITHIN: Final = 300

# How refusals begin. In the middle of an answer the same words may be what a sign in the image says.
_REFUSAL: Final = re.compile(
    r"""(?ix)
    \A [\s*]* (?:(?:sorry|unfortunately|apologies|hello|hi)\b[\s,.!]*)? (?:but\ )? (?:
      i'?\ ?a?m\ (?:sorry|unable|not\ able)\b
    | i\ (?:can(?:'|no)t|can\ not|do\ not|don't)\ (?:assist|help|see|view|have|provide|identify|process)\b
    | as\ an?\ (?:ai|language\ model)\b
    | (?:it\ (?:seems|looks|appears)[^.]{0,40}\ )? (?:no|without\ an?)\ (?:image|picture|photo)
      \ (?:was|is|has\ been)?\ ?(?:provided|attached|given|uploaded)
    )
    | (?:\A|[.!?]\s+) (?:please|could\ you|can\ you)\ (?:upload|provide|share|attach)
      \ (?:the|an|your)\ (?:image|picture|photo)
    """
)
# Special tokens of chat templates: ChatML and Llama 3 (<|im_end|>), DeepSeek (with fullwidth bars), Llama 2
# ([INST], <<SYS>>, </s>), Gemma (<end_of_turn>), llama.cpp (<__media__>), and speakers of Vicuna.
_TEMPLATE_TOKEN: Final = re.compile(
    r"""(?ix) <\|[^|<>\s]{1,40}\|> | <\uff5c[^<>\s]{1,40}\uff5c> | </?s> | <(?:unk|pad|eos|bos|image|img)>
    | <(?:start|end)_of_(?:turn|image|text|utterance)> | <image_soft_token> | <__media\w*__>
    | \[/?(?:INST|IMG)\] | <</?SYS>> | ^\s*(?:ASSISTANT|USER|SYSTEM):
    """
)
# Eight times in a row: numbers such as 1,000,000 repeat characters too.
_CHARACTER_LOOP: Final = re.compile(r"(.{1,40}?)\1{7,}", re.DOTALL)


def normalised(text: str) -> str:
    """The words of a text without case and punctuation, separated by single spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


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


def _refusal(output: Output) -> str | None:
    if output.reply is not None and output.reply.finish_reason == "content_filter":
        return "the server's content filter withheld the answer"
    # U+2019 is the apostrophe that many models write.
    beginning = without_reasoning(output.text)[:REFUSAL_WITHIN].replace("\u2019", "'")
    return f"a refusal: {one_line(output.text, 120)!r}" if _REFUSAL.search(beginning) else None


def _one_token(output: Output) -> str | None:
    text = "".join(output.text.split())
    words = output.text.split()
    same_character = len(text) >= MIN_REPEATED_WORDS and len(set(text)) == 1
    same_word = len(words) >= MIN_REPEATED_WORDS and len(set(words)) == 1
    if not (same_character or same_word):
        return None
    return f"one token repeated: {one_line(output.text, 40)!r}"


def _no_words(output: Output) -> str | None:
    text = without_reasoning(output.text)
    # A more specific check reports these.
    if not text or _one_token(output):
        return None
    garbled = text.count("\N{REPLACEMENT CHARACTER}") / len(text)
    if garbled > MAX_GARBLED_SHARE:
        return f"garbled: {garbled:.0%} of the characters cannot be decoded"
    if sum(character.isalpha() for character in text) < 2:
        return f"no words: {one_line(text, 40)!r}"
    return None


def _loop(output: Output) -> str | None:
    if _one_token(output):
        return None
    text = without_reasoning(output.text)[:MAX_CHECKED]
    phrase = next(_repeated_phrases(normalised(text).split()), None) or _repeated_characters(text)
    return None if phrase is None else f"a loop: {one_line(phrase, 60)!r} again and again"


def _repeated_characters(text: str) -> str | None:
    """Characters that are repeated without spaces, as in languages that write none."""
    match = _CHARACTER_LOOP.search(re.sub(r"\s+", " ", text))
    return match[1] if match and any(character.isalnum() for character in match[1]) else None


def _repeated_phrases(words: Sequence[str]) -> Iterator[str]:
    """Phrases of up to ``LOOP_MAX_PERIOD`` words that occur ``LOOP_REPEATS`` times in a row."""
    for period in range(1, min(LOOP_MAX_PERIOD, len(words) // LOOP_REPEATS) + 1):
        needed, run = period * (LOOP_REPEATS - 1), 0
        for index, (earlier, later) in enumerate(zip(words, words[period:], strict=False)):
            run = run + 1 if earlier == later else 0
            if run >= needed:
                yield " ".join(words[index + 1 : index + 1 + period])
                break


def _template_tokens(output: Output) -> str | None:
    token = _TEMPLATE_TOKEN.search(output.text)
    return f"a template token leaked into the answer: {one_line(token[0], 60)!r}" if token else None


def _prompt_echo(output: Output) -> str | None:
    # Not across placeholders: the caption and keywords that fill them may be repeated.
    pieces = re.split(r"\{\w+\}", output.prompt)
    prompt = {window for piece in pieces for window in _windows(piece)}
    echo = next((window for window in _windows(output.text[:MAX_CHECKED]) if window in prompt), None)
    return f"the prompt is repeated: {one_line(' '.join(echo), 80)!r}" if echo else None


def _windows(text: str) -> Iterator[tuple[str, ...]]:
    """Every ``ECHO_WORDS`` words in a row."""
    words = normalised(text).split()
    return (tuple(words[start : start + ECHO_WORDS]) for start in range(len(words) - ECHO_WORDS + 1))


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


def _keywords_form(output: Output) -> str | None:
    if output.stage is not Stage.KEYWORDS or not output.text.strip():
        return None
    keywords = output.keywords
    if keywords is None:
        return f"no keywords can be read from {one_line(output.text, 80)!r}"
    if len(keywords.words) < MIN_KEYWORDS:
        return f"{len(keywords.words)} distinct keywords: at least {MIN_KEYWORDS} are expected"
    # A model in a loop repeats its keywords; a few duplicates are harmless and were removed.
    if len(keywords.words) * 2 < keywords.given:
        return f"only {len(keywords.words)} of {keywords.given} keywords are distinct"
    return None


CHECKS: Final = (
    Check("empty", _empty, "karakeep and Ollama: content is an empty string, with HTTP 200"),
    Check("reasoning-only", _reasoning_only, "vllm#48645: content is null, all text is in reasoning"),
    Check("truncated", _truncated, "vllm#9752: finish_reason is length"),
    Check("refusal", _refusal, 'lmstudio-bug-tracker#245: "I am unable to see images", with an image'),
    Check("one-token", _one_token, 'vllm#14126: "!!!!!!"'),
    Check("no-words", _no_words, "Qwen3#881: U+FFFD in place of letters, from a 4-bit model"),
    Check("loop", _loop, "vllm#7349: the same words again and again"),
    Check("template-tokens", _template_tokens, "vllm#7628: <|im_end|> in the text"),
    Check(
        "prompt-echo",
        _prompt_echo,
        "models without a chat template continue the prompt",
    ),
    Check("repeated-caption", _repeated_caption, "small models copy the caption that the prompt contains"),
    Check(SCHEMA_CHECK, _schema, "LocalAI#10339: response_format is ignored, with HTTP 200"),
    Check("keywords", _keywords_form, "karakeep#318: JSON in a fence, which is read; prose is not"),
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
