"""The reasoning that servers without a reasoning parser leave in the text of an answer."""

from __future__ import annotations

import re
from typing import Final

# By model: Qwen, DeepSeek, GLM and most others; Granite, MiniCPM and prompted ones; Seed-OSS; Kimi-VL;
# Mistral; OpenThinker and Sky-T1; Cohere; Gemma 4 (LTEngine#28).
_TAG: Final = re.compile(
    r"""(?ix)
    (?P<open>
      < (?:think|thinking|reasoning|thoughts?|seed:think) > | ◁think▷ | \[THINK\]
    | <\|begin_of_thought\|> | <\|START_THINKING\|> | <\|channel>thought\b
    )
    | </ (?:think|thinking|reasoning|thoughts?|seed:think) > | ◁/think▷ | \[/THINK\]
    | <\|end_of_thought\|> | <\|END_THINKING\|> | <channel\|>
    """
)
# gpt-oss writes messages to channels; without its special tokens, only their names remain.
_HARMONY: Final = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")
_HARMONY_FINAL: Final = re.compile(r"<\|channel\|>final(?:\s*<\|constrain\|>\w*)?<\|message\|>")
_HARMONY_END: Final = re.compile(r"<\|(?:return|end|call|start)\|>")
_BARE_HARMONY: Final = re.compile(r"\Aanalysis(?=\W|[A-Z]).*assistantfinal", re.DOTALL)
_SOLUTION: Final = re.compile(r"<\|(?:begin|end)_of_solution\|>|<\|(?:START|END)_RESPONSE\|>")
_QUOTES: Final = "\"'`“”‘’„«»‹›「」『』《》"
# After these, a tag is not in the middle of a sentence.
_SENTENCE_ENDS: Final = frozenset(".!?…:;)]}>*\"'`”’»。！？：」")


def without_reasoning(text: str) -> str:
    """The text without its reasoning: tagged, without its first tag or without its last.

    Chat templates may hold the opening tag, so that the answer begins within the reasoning; a cut answer has
    no closing one. A tag in quotes or in the middle of a sentence is what a sign or a screenshot shows.
    """
    if _HARMONY.match(text):
        *_, last = _HARMONY_FINAL.split(text)
        return _HARMONY_END.split(last, maxsplit=1)[0].strip() if _HARMONY_FINAL.search(text) else ""
    text = _BARE_HARMONY.sub("", text, count=1)
    kept, at, is_inside = [], 0, False
    for tag in _TAG.finditer(text):
        if not is_inside and _is_shown(text, tag):
            continue
        if tag["open"] and not is_inside:
            kept.append(text[at : tag.start()])
        elif not tag["open"] and not is_inside:
            kept.clear()
        is_inside = tag["open"] is not None
        at = tag.end()
    if not is_inside:
        kept.append(text[at:])
    answer = "".join(kept).strip()
    return _SOLUTION.sub("", answer).strip() if kept and at else answer


def _is_shown(text: str, tag: re.Match[str]) -> bool:
    """Whether the picture shows the tag: it stands in quotes, or a sentence goes on around it."""
    before, after = text[max(tag.start() - 50, 0) : tag.start()], text[tag.end() : tag.end() + 50]
    if before[-1:] and before[-1] in _QUOTES and after[:1] and after[0] in _QUOTES:
        return True
    line = before.rsplit("\n", 1)[-1]
    is_after_words = bool(line.strip()) and line.strip()[-1] not in _SENTENCE_ENDS
    following = after.lstrip(" ")[:1]
    return is_after_words and line[-1] == " " and (following in {",", "."} or following.islower())
