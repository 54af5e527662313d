"""The checks: each a name, a one-line reason, and what a server really did that it was made for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.outputs import TAGGER_CHECK, Failure, Outcome, Output, without_reasoning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


MIN_KEYWORDS: Final = 3
MIN_REPEATED_WORDS: Final = 4
LOOP_REPEATS: Final = 4
LOOP_MAX_PERIOD: Final = 30
ECHO_WORDS: Final = 10
MAX_GARBLED_SHARE: Final = 0.05
MAX_CHECKED: Final = 20_000


Check = Callable[[Output], str | None]

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
_TEMPLATE_TOKEN: Final = re.compile(
    r"""(?ix) <\|[^|<>\s]{1,40}\|> | <\uff5c[^<>\s]{1,40}\uff5c> | </?s> | <(?:unk|pad|eos|bos|image|img)>
    | <(?:start|end)_of_(?:turn|image|text|utterance)> | <image_soft_token> | <__media\w*__>
    | \[/?(?:INST|IMG)\] | <</?SYS>> | ^\s*(?:ASSISTANT|USER|SYSTEM):
    """
)
_CHARACTER_LOOP: Final = re.compile(r"(.{1,40}?)\1{7,}", re.DOTALL)


def normalised(text: str) -> str:
    """The words alone, folded: what two texts have in common when they say the same."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _empty(output: Output) -> str | None:
    if without_reasoning(output.text) or _reasoned(output):
        return None
    return "the answer is empty"


def _reasoning_only(output: Output) -> str | None:
    if without_reasoning(output.text) or not _reasoned(output):
        return None
    return "the answer is reasoning alone, with no content"


def _reasoned(output: Output) -> bool:
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
    found = _REFUSAL.search(without_reasoning(output.text)[:300].replace("\u2019", "'"))
    return f"a refusal: {one_line(output.text, 120)!r}" if found else None


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
    if not text or _one_token(output):
        return None
    garbled = text.count("�") / len(text)
    if garbled > MAX_GARBLED_SHARE:
        return f"garbled: {garbled:.0%} of the characters are undecodable"
    if sum(character.isalpha() for character in text) < 2:
        return f"no words: {one_line(text, 40)!r}"
    return None


def _loop(output: Output) -> str | None:
    if _one_token(output):
        return None
    text = without_reasoning(output.text)[:MAX_CHECKED]
    words = normalised(text).split()
    repeated = next(_repeats(words), None)
    if repeated is None:
        found = _CHARACTER_LOOP.search(re.sub(r"\s+", " ", text))
        repeated = found[1] if found and any(character.isalnum() for character in found[1]) else None
    return None if repeated is None else f"a loop: {one_line(repeated, 60)!r} again and again"


def _repeats(words: Sequence[str]) -> Iterator[str]:
    """Phrases of up to ``LOOP_MAX_PERIOD`` words that follow themselves ``LOOP_REPEATS`` times."""
    for period in range(1, min(LOOP_MAX_PERIOD, len(words) // LOOP_REPEATS) + 1):
        needed, run = period * (LOOP_REPEATS - 1), 0
        for index, (earlier, later) in enumerate(zip(words, words[period:], strict=False)):
            run = run + 1 if earlier == later else 0
            if run >= needed:
                yield " ".join(words[index + 1 : index + 1 + period])
                break


def _template_tokens(output: Output) -> str | None:
    found = _TEMPLATE_TOKEN.search(output.text)
    return f"a template token leaked into the answer: {one_line(found[0], 60)!r}" if found else None


def _prompt_echo(output: Output) -> str | None:
    pieces = [normalised(piece).split() for piece in re.split(r"\{\w+\}", output.prompt)]
    asked = {tuple(piece[i : i + ECHO_WORDS]) for piece in pieces for i in range(len(piece) - ECHO_WORDS + 1)}
    said = normalised(output.text[:MAX_CHECKED]).split()
    for i in range(len(said) - ECHO_WORDS + 1):
        if tuple(said[i : i + ECHO_WORDS]) in asked:
            return f"the prompt is repeated: {one_line(' '.join(said[i : i + ECHO_WORDS]), 80)!r}"
    return None


def _repeated_caption(output: Output) -> str | None:
    if output.stage is not Stage.DESCRIPTION or not output.caption:
        return None
    same = normalised(output.text) == normalised(output.caption)
    return "the description is the caption word for word" if same else None


def _keywords_form(output: Output) -> str | None:
    if output.stage is not Stage.KEYWORDS or not output.text.strip():
        return None
    found = output.keywords
    if found is None:
        return f"no keywords can be read from {one_line(output.text, 80)!r}"
    if len(found.words) < MIN_KEYWORDS:
        return f"{len(found.words)} distinct keywords: at least {MIN_KEYWORDS} are expected"
    if len(found.words) * 2 < found.given:
        return f"only {len(found.words)} of {found.given} keywords are distinct"
    return None


CHECKS: Final[dict[str, Check]] = {
    "empty": _empty,  # karakeep, ollama: content "" with HTTP 200
    "reasoning-only": _reasoning_only,  # vllm#48645: content null, all text in reasoning
    "truncated": _truncated,  # vllm#9752: finish_reason length
    "refusal": _refusal,
    "one-token": _one_token,  # vllm#14126: "!!!!!!"
    "no-words": _no_words,
    "loop": _loop,  # vllm#7349
    "template-tokens": _template_tokens,  # vllm#7628: <|im_end|> in the text
    "prompt-echo": _prompt_echo,
    "repeated-caption": _repeated_caption,
    "keywords": _keywords_form,  # karakeep#318: JSON in a fence is parsed, prose is not
}


def failures(output: Output) -> tuple[Failure, ...]:
    """Every check that this output does not pass; an empty tuple means populated."""
    if output.fault is not None:
        return (Failure(TAGGER_CHECK, output.fault),)
    found = ((name, check(output)) for name, check in CHECKS.items())
    return tuple(Failure(name, reason) for name, reason in found if reason is not None)


def check_outcome(outcome: Outcome) -> Outcome:
    """The outcome with every check that its output does not pass."""
    return outcome if outcome.output is None else replace(outcome, failures=failures(outcome.output))
