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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROFILES: Final = ("default", "concise", "archive")
KEYWORDS_IN_DESCRIPTION: Final = 10


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
            text = (files("pytest_setups.tagging") / "prompt_profiles" / f"{name}.toml").read_text("utf-8")
        else:
            text = Path(os.path.expanduser(name)).read_text("utf-8")
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
