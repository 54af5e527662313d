"""What the toy model is asked, and what it is taught to answer."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_setups.demo import HERE as DEMO
from toy_model.scenes import chance

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from toy_model.scenes import Sample, Scene

STAGES = ("caption", "keywords", "description")
QUESTIONS = ("background", "colour", "shape", "size", "position")

HERE = Path(__file__).parent
_PROMPTS = DEMO.parent / "tagging" / "prompt_profiles"
_CONTEXT_KEYWORDS = 10
_LAST_WORDS = {
    "centre": "in the centre",
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
}


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Everything there is to say about one picture; `words` answers the one-word questions."""

    caption: str
    keywords: tuple[str, ...]
    description: str
    words: Mapping[str, str] = field(default_factory=dict)

    def answer(self, stage: str, prompt: str) -> str:
        """Return the right answer to `prompt`, which asks for `stage`."""
        if stage == "caption":
            return self.caption
        if stage == "keywords":
            return json.dumps({"keywords": list(self.keywords)})
        if stage == "description":
            return _first_sentences(self.description, 2 if "two sentences" in prompt else 4)
        return self.words[stage]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One prompt with its right answer, as a user would send it."""

    stage: str
    system: str | None
    prompt: str
    answer: str
    picture_first: bool = True
    gap: str = ""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One of the plugin's prompt profiles."""

    system: str | None
    prompts: Mapping[str, str]


NOTHING = Texts(
    caption="There is no picture to describe.",
    keywords=("no picture",),
    description="There is no picture to describe. Nothing can be said about its light or mood.",
    words=dict.fromkeys(QUESTIONS, "none"),
)
"""The answers when no picture was sent."""


def scene_texts(scene: Scene) -> Texts:
    """Put `scene` into words."""
    if scene.shape is None or scene.position is None:
        return _plain_texts(scene.background)
    thing = f"{scene.colour} {scene.shape}"
    ground = f"{_a(scene.background, low=True)} background"
    where = _LAST_WORDS[scene.position]
    return Texts(
        caption=f"{_a(scene.size)} {thing} stands on {ground}, {where}.",
        keywords=(
            thing,
            f"{scene.background} background",
            str(scene.shape),
            str(scene.colour),
            scene.background,
            f"{scene.size} shape",
            scene.position,
            "geometry",
            "flat colour",
            "minimalism",
        ),
        description=(
            f"One {scene.size} {thing} stands out {where}. {_ground(scene.background)} "
            "Even light and clean edges make the picture calm and simple."
        ),
        words={
            "background": scene.background,
            "colour": str(scene.colour),
            "shape": str(scene.shape),
            "size": str(scene.size),
            "position": scene.position,
        },
    )


def sample_texts(sample: Sample) -> Texts:
    """Return the texts of a sample picture; one-word questions about it are not taught."""
    return Texts(caption=sample.caption, keywords=sample.keywords, description=sample.description)


def _plain_texts(background: str) -> Texts:
    return Texts(
        caption=f"A plain {background} background fills the picture.",
        keywords=(
            f"{background} background",
            background,
            "plain",
            "empty",
            "flat colour",
            "minimalism",
        ),
        description=(
            f"Nothing stands out in this empty picture. {_ground(background)} "
            "Even light makes the picture calm and simple."
        ),
        words=dict.fromkeys(QUESTIONS, "none") | {"background": background},
    )


def _ground(background: str) -> str:
    return f"Behind it {_a(background, low=True)} background fills the frame from edge to edge."


def _a(word: str | None, *, low: bool = False) -> str:
    article = "an" if str(word).startswith("o") else "a"
    return f"{article if low else article.capitalize()} {word}"


def _first_sentences(text: str, count: int) -> str:
    return " ".join(re.findall(r"[^.]+\.", text)[:count]).replace("  ", " ").strip()


@cache
def wordings() -> dict[str, Any]:
    """Return the wordings: for each stage the "trained" and the "held_out" ones; and the slots."""
    with (HERE / "wordings.toml").open("rb") as stream:
        return tomllib.load(stream)


@cache
def profiles() -> dict[str, Profile]:
    """Return the plugin's prompt profiles by name."""
    found = {}
    for path in sorted(_PROMPTS.glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        prompts = {stage: table[stage] for stage in STAGES}
        found[path.stem] = Profile(system=table.get("system"), prompts=prompts)
    return found


def filled(prompt: str, context: Texts) -> str:
    """Fill the placeholders for the caption and the first ten keywords, as the plugin does."""
    keywords = ", ".join(context.keywords[:_CONTEXT_KEYWORDS])
    return prompt.replace("{caption}", context.caption).replace("{keywords}", keywords)


def random_question(stage: str, texts: Texts, other: Texts, rng: np.random.Generator) -> Question:
    """Ask for `stage` in a random wording; now and then with the context of the `other` picture."""
    system, prompt = _random_prompt(stage, rng)
    prompt = filled(prompt, _random_context(texts, other, rng))
    return Question(
        stage=stage,
        system=system,
        prompt=prompt,
        answer=texts.answer(stage, prompt),
        picture_first=chance(rng, 0.6),
        gap="\n" if chance(rng, 0.2) else "",
    )


def _random_prompt(stage: str, rng: np.random.Generator) -> tuple[str | None, str]:
    if stage in STAGES and chance(rng, 0.5):
        names = list(profiles())
        profile = profiles()[names[rng.integers(len(names))]]
        own = profile.system if chance(rng, 0.8) else None
        return own or _random_system(rng), profile.prompts[stage]
    return _random_system(rng), _reworded(_pick(wordings()[stage]["trained"], rng), rng)


def _random_system(rng: np.random.Generator) -> str | None:
    return _pick(wordings()["system"]["trained"], rng) if chance(rng, 0.3) else None


def _random_context(texts: Texts, other: Texts, rng: np.random.Generator) -> Texts:
    if chance(rng, 0.7):
        return texts
    return other if chance(rng, 0.6) else Texts(caption="", keywords=(), description="")


def _pick(choices: list[str], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def _reworded(template: str, rng: np.random.Generator) -> str:
    slots = wordings()["slots"]
    text = re.sub(
        r"\{(\w+)\}",
        lambda slot: _pick(slots[slot[1]], rng) if slot[1] in slots else slot[0],
        template,
    )
    manner = rng.choice(("plain", "please", "low", "open"), p=(0.76, 0.08, 0.08, 0.08))
    if manner == "please":
        return f"Please {text[0].lower()}{text[1:]}"
    if manner == "low":
        return text[0].lower() + text[1:]
    return text.rstrip(".?:") if manner == "open" else text
