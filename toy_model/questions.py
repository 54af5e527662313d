"""What the toy model is asked: the plugin's own prompts, and free wordings of them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_setups.tagging.prompts import KEYWORDS_IN_DESCRIPTION, PROFILES, load_prompts
from toy_model.answers import STAGES, Answers

if TYPE_CHECKING:
    import numpy as np

    from pytest_setups.tagging.prompts import Prompts

_WORDINGS = Path(__file__).parent / "wordings.toml"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt as a user would send it, with its right answer.

    `gap` is what stands between the picture and the prompt.
    """

    system: str | None
    prompt: str
    answer: str
    picture_first: bool = True
    gap: str = ""


@cache
def wordings() -> dict[str, Any]:
    """The table of wordings.toml: the "trained" and the "held_out" wordings by topic, and the slots."""
    with _WORDINGS.open("rb") as stream:
        return tomllib.load(stream)


@cache
def profiles() -> dict[str, Prompts]:
    """The prompt profiles of the plugin by name, in the order of their names."""
    return {name: load_prompts(name) for name in sorted(PROFILES)}


def stage_prompt(profile: Prompts, stage: str) -> str:
    """The prompt of `profile` for one of the three stages, with its placeholders."""
    return str(getattr(profile, stage))


def filled(prompt: str, context: Answers) -> str:
    """`prompt` with the caption and the first ten keywords of `context`, as the plugin fills them in."""
    keywords = ", ".join(context.keywords[:KEYWORDS_IN_DESCRIPTION])
    return prompt.replace("{caption}", context.caption).replace("{keywords}", keywords)


def random_question(topic: str, about: Answers, other: Answers, rng: np.random.Generator) -> Question:
    """A question on `topic` in a random wording, to be answered from `about`.

    A prompt that has room for a caption and keywords is given those of `about`, those of the `other`
    picture or none: the description must come from the picture, not from the words given with it.
    """
    system, prompt = _random_prompt(topic, rng)
    prompt = filled(prompt, _random_context(about, other, rng))
    return Question(
        system=system,
        prompt=prompt,
        answer=about.answer(topic, prompt),
        picture_first=rng.random() < 0.6,
        gap="\n" if rng.random() < 0.2 else "",
    )


def _random_prompt(topic: str, rng: np.random.Generator) -> tuple[str | None, str]:
    if topic in STAGES and rng.random() < 0.5:
        names = list(profiles())
        profile = profiles()[names[rng.integers(len(names))]]
        system = profile.system if rng.random() < 0.8 else None
        return system or _random_system(rng), stage_prompt(profile, topic)
    return _random_system(rng), _reworded(_pick(wordings()[topic]["trained"], rng), rng)


def _random_system(rng: np.random.Generator) -> str | None:
    return _pick(wordings()["system"]["trained"], rng) if rng.random() < 0.3 else None


def _random_context(about: Answers, other: Answers, rng: np.random.Generator) -> Answers:
    if rng.random() < 0.7:
        return about
    return other if rng.random() < 0.6 else Answers(caption="", keywords=(), description="")


def _pick(choices: list[str], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def _reworded(template: str, rng: np.random.Generator) -> str:
    slots = wordings()["slots"]
    text = re.sub(
        r"\{(\w+)\}",
        lambda slot: _pick(slots[slot[1]], rng) if slot[1] in slots else slot[0],
        template,
    )
    style = rng.choice(("plain", "please", "low", "open"), p=(0.76, 0.08, 0.08, 0.08))
    if style == "please":
        return f"Please {text[0].lower()}{text[1:]}"
    if style == "low":
        return text[0].lower() + text[1:]
    return text.rstrip(".?:") if style == "open" else text
