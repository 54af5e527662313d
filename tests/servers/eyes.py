"""What a model sees, and how servers fail to show it a picture: chat functions for a scripted server."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.servers.scripted import LIGHTS, PLACES, SUBJECTS, Ask, Reply, completion, words
from tests.servers.sight import seen

Chat = Callable[[Ask], Reply]

GERMAN = {
    "red": "rot",
    "green": "grün",
    "blue": "blau",
    "yellow": "gelb",
    "orange": "orange",
    "purple": "violett",
    "pink": "rosa",
    "brown": "braun",
    "black": "schwarz",
    "white": "weiß",
    "grey": "grau",
    "cyan": "türkis",
    "left": "links",
    "right": "rechts",
    "top": "oben",
    "bottom": "unten",
    "centre": "in der Mitte",
}
JAPANESE = {
    "red": "赤い",
    "green": "緑の",
    "blue": "青い",
    "yellow": "黄色い",
    "orange": "橙色の",
    "purple": "紫の",
    "pink": "桃色の",
    "brown": "茶色の",
    "black": "黒い",
    "white": "白い",
    "grey": "灰色の",
    "cyan": "水色の",
    "left": "左側",
    "right": "右側",
    "top": "上部",
    "bottom": "下部",
    "centre": "中央",
}


def tokens(ask: Ask) -> int:
    """More with a picture, as servers count that pass it on, and as one may pretend to."""
    return 300 if ask.picture else 40


def answer(ask: Ask, text: str) -> Reply:
    return completion(text, prompt_tokens=tokens(ask))


def german(_: random.Random) -> Chat:
    """A model that sees and answers in German."""

    def chat(ask: Ask) -> Reply:
        parts = [GERMAN.get(part, part) for part in seen(ask.picture)] if ask.picture else ["nichts"]
        return answer(ask, f"Das Bild zeigt eine Form, von hinten nach vorn: {', '.join(parts)}.")

    return chat


def japanese(_: random.Random) -> Chat:
    """A model that sees and answers in a script without spaces."""

    def chat(ask: Ask) -> Reply:
        parts = (
            [JAPANESE.get(part, part) for part in seen(ask.picture)] if ask.picture else ["何もない", "", ""]
        )
        return answer(ask, f"背景は{parts[0]}色で、{parts[-1]}に{parts[1]}図形があります。")

    return chat


def random_words(chance: random.Random) -> Chat:
    """A server that ignores pictures, counts tokens for them all the same, and never says the same twice."""

    def chat(ask: Ask) -> Reply:
        subject, place, light = (chance.choice(many) for many in (SUBJECTS, PLACES, LIGHTS))
        return answer(ask, f"A {light} {subject} near {place}, frame {chance.randrange(1000)}.")

    return chat


def stale_by_one(_: random.Random) -> Chat:
    """A server that answers for the picture of the request before."""
    before: list[Ask] = []

    def chat(ask: Ask) -> Reply:
        before.append(ask)
        return answer(ask, words(before[-2] if len(before) > 1 else ask))

    return chat


def right_one_in_three(chance: random.Random) -> Chat:
    """A server that answers for the right picture one time in three, else for any that it had before."""
    before: list[Ask] = []

    def chat(ask: Ask) -> Reply:
        before.append(ask)
        return answer(ask, words(ask if chance.random() < 1 / 3 else chance.choice(before)))

    return chat


def background_only(_: random.Random) -> Chat:
    """A model to which no more than one corner of the picture comes through."""

    def chat(ask: Ask) -> Reply:
        return answer(ask, f"A plain {seen(ask.picture)[0] if ask.picture else 'white'} wall in daylight.")

    return chat


FAULTY: dict[str, Callable[[random.Random], Chat]] = {
    "random words": random_words,
    "stale by one": stale_by_one,
    "right one time in three": right_one_in_three,
    "background only": background_only,
}
SEEING: dict[str, Callable[[random.Random], Chat]] = {
    "sees, in German": german,
    "sees, in Japanese": japanese,
}
ALL = SEEING | FAULTY
