"""The prompts of the three stages: built-in profiles, or a user's TOML file."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_setups.registry.entry import Stage
from pytest_setups.tagging.language_codes import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.tagging.language_codes import Languages

PROFILES: Final = ("default", "concise", "archive")
KEYWORDS_IN_DESCRIPTION: Final = 10
LANGUAGE_PLACEHOLDER: Final = "{language}"
# "[Answer in {language}.]" is left out without a language; in "[in {language}|in English]", the second part
# stands there instead. Other brackets are the prompt's own.
_OPTIONAL_LANGUAGE: Final = re.compile(
    r"\[(?P<asked>[^\[\]|]*\{language\}[^\[\]|]*)(?:\|(?P<not_asked>[^\[\]]*))?\]"
)


class PromptError(Exception):
    """Prompts that cannot be used; the message says what to correct."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a profile.

    Attributes:
        profile: the profile's name, or the name of the user's file.
        caption: the prompt of the caption stage.
        keywords: the prompt of the keywords stage.
        description: the prompt of the description stage; it may contain ``{caption}`` and ``{keywords}``.
        system: the system message of all three, None for none.
    """

    profile: str
    caption: str
    keywords: str
    description: str
    system: str | None = None

    def of(self, stage: Stage, caption: str = "", keywords: Sequence[str] = ()) -> str:
        """The prompt of a stage; the description's contains the caption and the first ten keywords."""
        if stage is not Stage.DESCRIPTION:
            return self.caption if stage is Stage.CAPTION else self.keywords
        values = {"{caption}": caption, "{keywords}": ", ".join(keywords[:KEYWORDS_IN_DESCRIPTION])}
        # In one pass: a caption that contains "{keywords}" stays as it is.
        return re.sub(r"\{caption\}|\{keywords\}", lambda match: values[match[0]], self.description)


def load_prompts(name: str, languages: Languages | None = None) -> Prompts:
    """A built-in profile by its name, or a TOML file with the keys caption, keywords, description, system.

    Args:
        name: the profile's name or the path of the file.
        languages: the language that each stage is asked for, which the prompts then say.

    Raises:
        PromptError: no such profile or file, not TOML, keys missing, unknown or empty, or a ``{language}``
            that is not known.
    """
    try:
        document = tomllib.loads(_read_profile(name))
    except OSError as error:
        raise PromptError(
            f"{name} is neither a profile ({', '.join(PROFILES)}) nor a readable file: {error.strerror}"
        ) from None
    except ValueError as error:
        raise PromptError(f"{name} is not TOML: {error}") from None
    _check_keys(name, document)
    profile = name if name in PROFILES else Path(name).name
    asked = languages or {}
    prompts = {
        stage.value: _in_language(f"{name}: {stage.value!r}", document[stage.value], asked.get(stage), stage)
        for stage in Stage
    }
    return Prompts(profile=profile, system=_system(name, document.get("system"), asked), **prompts)


def _in_language(place: str, prompt: str, code: str | None, stage: Stage | None = None) -> str:
    """The prompt with the English name of the language in place of ``{language}``."""
    part = "not_asked" if code is None else "asked"
    filled = _OPTIONAL_LANGUAGE.sub(lambda match: match[part] or "", prompt)
    if code is not None:
        return filled.replace(LANGUAGE_PLACEHOLDER, LANGUAGES[code])
    if LANGUAGE_PLACEHOLDER in filled:
        only = f", or {stage}=CODE for this stage" if stage else ""
        raise PromptError(
            f"{place} contains {{language}}, and no language is asked for: add --setup-language CODE{only}"
        )
    return filled


def _system(name: str, system: str | None, languages: Languages) -> str | None:
    """The system message, which all stages share."""
    if system is None or LANGUAGE_PLACEHOLDER not in system:
        return system
    codes = {languages.get(stage) for stage in Stage}
    if len(codes) > 1:
        raise PromptError(
            f"{name}: the system message names one language for all stages: "
            "give every stage the same --setup-language, or use another prompt profile"
        )
    return _in_language(f"{name}: 'system'", system, codes.pop())


def _read_profile(name: str) -> str:
    if name in PROFILES:
        return (files("pytest_setups.tagging") / "prompt_profiles" / f"{name}.toml").read_text("utf-8")
    # Not Path.expanduser, which raises RuntimeError where the user after ~ does not exist.
    return Path(os.path.expanduser(name)).read_text("utf-8")


def _check_keys(name: str, document: Mapping[str, Any]) -> None:
    stages = [stage.value for stage in Stage]
    unknown = sorted(set(document) - {*stages, "system"})
    if unknown:
        raise PromptError(f"{name}: unknown key {unknown[0]!r}; a profile has {', '.join(stages)} and system")
    for key in stages:
        if not isinstance(document.get(key), str) or not document[key].strip():
            raise PromptError(f"{name}: {key!r} must be a string that is not empty")
    if not isinstance(document.get("system", ""), str):
        raise PromptError(f"{name}: 'system' must be a string")
