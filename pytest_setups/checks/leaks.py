"""What leaks into an answer: reasoning, the turns and tokens of a chat, and the prompt."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.phrases import CODES, language, languages_of
from pytest_setups.checks.texts import (
    UNSPACED,
    beginning_and_end,
    normalised,
    own_words,
    sentences,
    share_of_scripts,
)
from pytest_setups.redaction import one_line
from pytest_setups.tagging.prompts import PROFILES, load_prompts
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_setups.registry.entry import Stage
    from pytest_setups.tagging.outputs import Output

# Reasoning begins at once, and is about the task from its first sentences on.
THINKING_WITHIN: Final = 4
# Shorter phrases of a prompt also occur in honest answers.
ECHO_WORDS: Final = 10
# An answer that consists of the prompt for this share repeats shorter phrases than that.
ECHO_SHARE: Final = 0.6
SHORT_ECHO_WORDS: Final = 4
ECHO_CHARACTERS: Final = 16
MAX_CHECKED: Final = 20_000

_CLOSING_TAG: Final = re.compile(
    r"</\s*(?:think(?:ing)?|reasoning|thought|analysis|reflection)\s*>", re.IGNORECASE
)
_OPENING_TAG: Final = re.compile(
    r"<\s*(?:think(?:ing)?|reasoning|thought|analysis|reflection)\s*>", re.IGNORECASE
)
# Magistral and Kimi write their own marks; gpt-oss names channels.
_OTHER_MARKS: Final = re.compile(
    r"\[/?THINK\]|\u25c1/?think\u25b7|<\|channel\|>|\banalysis(?:The|We|User|Need)\b|assistantfinal"
)

# Special tokens of chat templates: ChatML and Llama 3 (<|im_end|>), DeepSeek (with fullwidth bars), Llama 2
# ([INST], <<SYS>>, </s>), Gemma (<end_of_turn>), llama.cpp (<__media__>), Qwen-VL (<ref>, <box>), LLaVA.
_TEMPLATE_TOKEN: Final = re.compile(
    r"""(?ix) <\|[^|<>\s]{1,40}\|> | <\uff5c[^<>\s]{1,40}\uff5c> | </?s>
    | <(?:unk|pad|eos|bos|image|img|sep|cls|mask)>
    | <(?:start|end)_of_(?:turn|image|text|utterance)> | <image_soft_token> | <__media\w*__>
    | </?(?:ref|box|quad|img|vision_start|vision_end|fake_token_around_image|row_\d+_col_\d+)>
    | \[/?(?:INST|IMG|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\] | <</?SYS>> | \[(?:SEP|CLS|PAD|UNK|MASK)\]
    | \A\s*(?:ASSISTANT|USER|SYSTEM):
    """
)
_SCREENSHOT: Final = re.compile(
    r"screenshot|screen capture|\bchat|conversation|bildschirm(?:foto|aufnahme)|capture d'écran|captura de"
    r"|скриншот|скріншот|スクリーンショット|截图|截圖|스크린샷"
)
_RULED_ROLE: Final = re.compile(
    r"(?im)^\W{0,3}(?:#{2,}|<)\s*(?:response|instruction|input|output|assistant|user|human|system)\s*(?::|>|$)"
)
_BARE_ROLE: Final = re.compile(r"(?i)\A\s*(?:assistant|user|system|model)\s*\n")
# "Human: a word carved in stone" is honest; with a second turn it is a chat.
_ANYONE: Final = re.compile(
    r"(?i)human|umano|mensch|mens|insan|response|instruction|人类|человек|людина|człowiek"
)
_MODEL_ROLE: Final = re.compile(r"(?m)\n\s*(?:AI|Bot|Model|ChatGPT|GPT|Q|A)\s*:")


def thinking(output: Output) -> str | None:
    """Reasoning in the answer, with one tag only or without any."""
    text = output.text
    if _CLOSING_TAG.search(text) and not _OPENING_TAG.search(text):
        return (
            "reasoning without its opening tag, which the chat template may hold: "
            f"start the server with a reasoning parser: {one_line(text, 80)!r}"
        )
    mark = _OTHER_MARKS.search(text)
    if mark:
        return f"a mark of reasoning leaked into the answer: {one_line(mark[0], 60)!r}"
    if output.keywords is not None:
        return _thoughts_as_keywords(output.keywords.words)
    answer = without_reasoning(text)
    said = sentences(own_words(answer))[:THINKING_WITHIN]
    for spoken in languages_of(answer):
        thoughts = [spoken.says("thinking", sentence) for sentence in said]
        # In a screenshot of a chat, there is a user too.
        if any(thoughts) and (thoughts[0] or not _SCREENSHOT.search(said[0])):
            return f"reasoning in place of an answer: {one_line(answer, 120)!r}"
    return None


def _thoughts_as_keywords(keywords: Sequence[str]) -> str | None:
    """Reasoning that was cut into keywords: one such keyword may be a title, two are not."""
    thoughts = [
        keyword
        for keyword in keywords
        for own in [own_words(keyword).strip()]
        if any(spoken.says("thinking", own) for spoken in languages_of(keyword))
    ]
    return f"reasoning as keywords: {one_line(', '.join(thoughts), 120)!r}" if len(thoughts) > 1 else None


def template_tokens(output: Output) -> str | None:
    """Special tokens of a chat template in the answer."""
    token = _TEMPLATE_TOKEN.search(output.text)
    return f"a template token leaked into the answer: {one_line(token[0], 60)!r}" if token else None


def roles(output: Output) -> str | None:
    """The turns of a chat in the answer: "User: ... Assistant: ..."."""
    text = beginning_and_end(output.text)
    turns = list(_role_line().finditer(text))
    turn = next((turn for turn in turns if len(turns) > 1 or not _ANYONE.search(turn[0])), None)
    found = _RULED_ROLE.search(text) or _BARE_ROLE.search(text) or turn or _MODEL_ROLE.search(text)
    return f"a turn of the chat leaked into the answer: {one_line(found[0], 60)!r}" if found else None


@cache
def _role_line() -> re.Pattern[str]:
    names = "|".join(name for code in CODES for name in language(code).tables.get("roles", ()))
    return re.compile(rf"(?im)^\W{{0,4}}(?:{names})\W{{0,3}}[:\uff1a]")


def prompt_echo(output: Output) -> str | None:
    """The prompt in the answer."""
    text = without_reasoning(output.text)[:MAX_CHECKED]
    prompts = (output.prompt,) if output.prompt else _built_in_prompts(output.stage)
    # Not across placeholders: the caption and keywords that fill them may be repeated.
    pieces = [piece for prompt in prompts for piece in re.split(r"\{\w+\}", prompt)]
    echo = _long_echo(text, pieces) or _short_echo(text, pieces)
    return f"the prompt is repeated: {one_line(echo, 80)!r}" if echo else None


@cache
def _built_in_prompts(stage: Stage) -> tuple[str, ...]:
    """A program that was started with its own prompt keeps it to itself; many use wordings like these."""
    return tuple(load_prompts(profile).of(stage) for profile in PROFILES)


def _long_echo(text: str, pieces: list[str]) -> str | None:
    prompt = {window for piece in pieces for window in _windows(normalised(piece).split(), ECHO_WORDS)}
    echo = next(
        (window for window in _windows(normalised(text).split(), ECHO_WORDS) if window in prompt), None
    )
    return None if echo is None else " ".join(echo)


def _short_echo(text: str, pieces: list[str]) -> str | None:
    """The answer where most of it consists of short phrases of the prompt."""
    if share_of_scripts(text, UNSPACED) > 0.5:
        given, unit = list("".join(normalised(text).split())), ECHO_CHARACTERS
        prompts = [list("".join(normalised(piece).split())) for piece in pieces]
    else:
        given, unit = normalised(text).split(), SHORT_ECHO_WORDS
        prompts = [normalised(piece).split() for piece in pieces]
    if len(given) < unit:
        return None
    known = {window for words in prompts for window in _windows(words, unit)}
    covered = [False] * len(given)
    for start, window in enumerate(_windows(given, unit)):
        if window in known:
            covered[start : start + unit] = [True] * unit
    return text if sum(covered) > ECHO_SHARE * len(given) else None


def _windows(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    """Every ``length`` words in a row."""
    return (tuple(words[start : start + length]) for start in range(len(words) - length + 1))
