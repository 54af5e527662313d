"""The three stages: their prompts, the request a prompt becomes, and the keywords in an answer."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pytest_setups.redaction import one_line
from pytest_setups.tagging.images import MIME, control_pictures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.tagging.images import Prepared

PROFILES: Final = ("default", "concise", "archive")
KEYWORDS_IN_DESCRIPTION: Final = 10
MAX_KEYWORDS: Final = 200
MAX_KEYWORD_LENGTH: Final = 100
MAX_LISTED_WORDS: Final = 5
READINESS_TOKENS: Final = 4


class Stage(StrEnum):
    """Caption, keywords or description, in the order in which they are asked."""

    CAPTION = "caption"
    KEYWORDS = "keywords"
    DESCRIPTION = "description"


class PromptError(Exception):
    """Prompts that cannot be used; the message says what to mend."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a profile; ``description`` may hold ``{caption}`` and ``{keywords}``."""

    profile: str
    caption: str
    keywords: str
    description: str
    system: str | None = None

    def of(self, stage: Stage, caption: str = "", keywords: Sequence[str] = ()) -> str:
        """The prompt of a stage; the description's is given the caption and the first ten keywords."""
        if stage is not Stage.DESCRIPTION:
            return self.caption if stage is Stage.CAPTION else self.keywords
        listed = ", ".join(keywords[:KEYWORDS_IN_DESCRIPTION])
        parts = {"{caption}": caption, "{keywords}": listed}
        return re.sub(r"\{caption\}|\{keywords\}", lambda match: parts[match[0]], self.description)


def load_prompts(name: str) -> Prompts:
    """A built-in profile by its name, or a TOML file with the keys of :class:`Prompts`.

    Raises:
        PromptError: no such profile or file, no TOML, or keys missing, unknown or empty.
    """
    try:
        if name in PROFILES:
            text = (files("pytest_setups.tagging") / "prompts" / f"{name}.toml").read_text("utf-8")
        else:
            text = Path(name).expanduser().read_text("utf-8")
        found = tomllib.loads(text)
    except OSError as error:
        message = f"{name} is neither a profile ({', '.join(PROFILES)}) nor a readable file: {error.strerror}"
        raise PromptError(message) from None
    except ValueError as error:
        message = f"{name} is not TOML: {error}"
        raise PromptError(message) from None
    return _prompts(name, found)


def _prompts(name: str, found: Mapping[str, Any]) -> Prompts:
    stages = [stage.value for stage in Stage]
    unknown = sorted(set(found) - {*stages, "system"})
    if unknown:
        message = f"{name}: unknown key {unknown[0]!r}; a profile has system, {', '.join(stages)}"
        raise PromptError(message)
    for key in stages:
        if not isinstance(found.get(key), str) or not found[key].strip():
            message = f"{name}: {key!r} must be a text that is not empty"
            raise PromptError(message)
    if not isinstance(found.get("system", ""), str):
        message = f"{name}: 'system' must be a text"
        raise PromptError(message)
    profile = name if name in PROFILES else Path(name).name
    return Prompts(profile=profile, system=found.get("system"), **{key: found[key] for key in stages})


def encode_request(
    fields: Mapping[str, Any], prompt: str, system: str | None, image: Prepared | None
) -> bytes:
    """The JSON body of a chat completion; the picture's base64 is spliced in, not encoded again.

    A field that is None is left out, so that an extra body can remove one.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    mark = uuid4().hex
    if image is not None:
        content.append({"type": "image_url", "image_url": {"url": mark}})
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    body = {"messages": messages} | {key: value for key, value in fields.items() if value is not None}
    encoded = json.dumps(body, ensure_ascii=False).encode()
    if image is None:
        return encoded
    before, after = encoded.rsplit(mark.encode(), 1)
    return b"".join((before, f"data:{MIME};base64,".encode(), image.base64, after))


def readiness_request(model: str) -> bytes:
    """The body of a short request with a picture, which only a server that is ready can answer."""
    fields = {"model": model, "max_tokens": READINESS_TOKENS, "stream": False}
    return encode_request(fields, "Describe this image in one word.", None, control_pictures()[0])


@dataclass(frozen=True, slots=True)
class Keywords:
    """Keywords in order, distinct regardless of case; ``given`` counts them before that.

    ``form`` is how they came: json-object, json-array, fenced-json or list in an answer's text; values
    where a tagger gave them one by one.
    """

    words: tuple[str, ...]
    given: int
    form: str


def parse_keywords(text: str) -> Keywords | None:
    """The keywords in an answer, or None where it holds no list of them."""
    text = text.strip()
    fence = re.search(r"```\w*\s*(.+?)\s*(?:```|\Z)", text, re.DOTALL)
    if fence:
        return _from_json(fence[1], "fenced-json") or _from_list(fence[1])
    start = re.search(r"[{\[]", text)
    if start:
        form = "json-object" if start[0] == "{" else "json-array"
        return _from_json(text[start.start() :], form)
    return _from_list(text)


def as_keywords(items: Sequence[object]) -> Keywords:
    """The keywords that a tagger gave one by one: texts, or objects with a ``keyword``."""
    return _distinct(items, "values")


def _from_json(text: str, form: str) -> Keywords | None:
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list)]
        found = found.get("keywords") or (lists[0] if lists else [])
    if isinstance(found, str):
        found = found.split(",")
    return _distinct(found, form) if isinstance(found, list) else None


def _from_list(text: str) -> Keywords | None:
    """A list on one line with commas, or of one keyword a line with or without bullets."""
    text = re.sub(r"\A\s*(?:here (?:are|is)[^:\n]*|keywords|tags)\s*:\s*", "", text, flags=re.IGNORECASE)
    parts = re.split(r"[,;\n]", text)
    words = [re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*|[.\s]+$", "", part) for part in parts]
    looks_listed = len([word for word in words if word]) > 1 and all(
        len(word.split()) <= MAX_LISTED_WORDS for word in words
    )
    return _distinct(words, "list") if looks_listed else None


def _word(item: object) -> str:
    if isinstance(item, dict):
        item = item.get("keyword") or item.get("name") or item.get("tag")
    return one_line(item, MAX_KEYWORD_LENGTH).strip(" \"'`*#") if isinstance(item, str) else ""


def _distinct(items: Sequence[object], form: str) -> Keywords:
    words = [word for word in map(_word, items) if word][:MAX_KEYWORDS]
    distinct: dict[str, str] = {}
    for word in words:
        distinct.setdefault(word.casefold(), word)
    return Keywords(tuple(distinct.values()), len(words), form)
