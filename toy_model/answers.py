"""What the toy model is taught to say: scenes put into words, and the texts of the sample pictures."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toy_model.scenes import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toy_model.sample_pictures import SamplePicture
    from toy_model.scenes import Scene

STAGES = ("caption", "keywords", "description")
"""The plugin's three stages; the topics of questions are these and the attributes of a scene."""

_PLACES = {
    "centre": "in the centre",
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
}


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All that there is to say about one picture.

    `words` answers the one-word questions, by attribute; a sample picture has none.
    """

    caption: str
    keywords: tuple[str, ...]
    description: str
    words: Mapping[str, str] = field(default_factory=dict)

    def answer(self, topic: str, prompt: str) -> str:
        """The right answer to `prompt`, which asks about `topic`."""
        if topic == "caption":
            return self.caption
        if topic == "keywords":
            return json.dumps({"keywords": list(self.keywords)})
        if topic == "description":
            return _first_sentences(self.description, 2 if "two sentences" in prompt else 4)
        return self.words[topic]


NO_PICTURE = Answers(
    caption="There is no picture to describe.",
    keywords=("no picture",),
    description="There is no picture to describe. Nothing can be said about its light or mood.",
    words=dict.fromkeys(ATTRIBUTES, "none"),
)
"""The answers where no picture is sent."""


def scene_answers(scene: Scene) -> Answers:
    """`scene` in words."""
    if scene.shape is None or scene.position is None:
        return _plain_answers(scene.background)
    thing = f"{scene.colour} {scene.shape}"
    ground = f"{_with_article(scene.background)} background"
    where = _PLACES[scene.position]
    return Answers(
        caption=f"{_with_article(scene.size, capital=True)} {thing} stands on {ground}, {where}.",
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
            f"One {scene.size} {thing} stands out {where}. {_background_sentence(scene.background)} "
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


def sample_answers(sample: SamplePicture) -> Answers:
    """The texts of a sample picture; one-word questions about it are not taught."""
    return Answers(caption=sample.caption, keywords=sample.keywords, description=sample.description)


def _plain_answers(background: str) -> Answers:
    return Answers(
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
            f"Nothing stands out in this empty picture. {_background_sentence(background)} "
            "Even light makes the picture calm and simple."
        ),
        words=dict.fromkeys(ATTRIBUTES, "none") | {"background": background},
    )


def _background_sentence(background: str) -> str:
    return f"Behind it {_with_article(background)} background fills the frame from edge to edge."


def _with_article(word: str | None, *, capital: bool = False) -> str:
    article = "an" if str(word).startswith("o") else "a"
    return f"{article.capitalize() if capital else article} {word}"


def _first_sentences(text: str, count: int) -> str:
    return " ".join(re.findall(r"[^.]+\.", text)[:count]).replace("  ", " ").strip()
