"""The settings that an entry holds, for a run that verifies its setup again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_setups.redaction import HIDDEN
from pytest_setups.registry.parsing import EntryError
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.tagging.language_codes import parse_languages
from pytest_setups.tagging.prompts import Prompts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from pytest_setups.registry.entry import Entry, PromptSet, StructuredRecord, TaggerRecord

_SAME_NAMES: Final = ("max_new_tokens", "temperature", "top_p", "seed", "stream", "extra_body", "concurrency")


def load_entry(root: Path, slug: str) -> Entry:
    """The entry to verify again.

    Raises:
        ValueError: no entry has that slug, or it cannot be read.
    """
    try:
        return Registry(root).find(slug)
    except (RegistryError, EntryError) as error:
        raise ValueError(str(error)) from None


def settings_of(entry: Entry, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in an entry, by field; ``given`` are the values that the user gave, which win.

    Without the base URL when a server is launched: it follows from the command.

    Raises:
        ValueError: the run of the entry sent a secret or a vocabulary, which must be given again, or its
            prompts ask for another language than the user.
    """
    tagger = entry.tagger
    if "launch" not in given:
        _need_secrets(tagger, given)
    if "prompts" not in given and tagger.program is None and _other_language(tagger, given):
        raise ValueError(
            "its prompts were sent as they are in the entry, and another --setup-language needs others: "
            "add --setup-prompts default, or the profile to use"
        )
    values: dict[str, Any] = {name: getattr(tagger, name) for name in _SAME_NAMES}
    if "tagger_command" not in given:
        values["repeat"] = entry.performance.repeat
    values["max_edge"] = tagger.image.max_edge if tagger.image else None
    values["language"] = tagger.language
    values["prompts"] = _prompts(tagger.prompts)
    if tagger.structured is not None and "tagger_command" not in given:
        _need_vocabulary(tagger.structured, given)
        values["structured"] = True
    if "launch" not in given:
        values["base_url"] = tagger.base_url
    if "model" not in given:
        values |= {f"{stage}_model": name for stage, name in tagger.models.items()}
    return {name: value for name, value in values.items() if value is not None and name not in given}


def _need_secrets(tagger: TaggerRecord, given: Collection[str]) -> None:
    """Refuse to send no secret where one was sent.

    An API key is not taken from the recorded variable without being asked: an entry of somebody else
    could send any variable to its base URL.
    """
    if "base_url" not in given and HIDDEN in (tagger.base_url or ""):
        raise ValueError("the base URL was recorded without its password: add --setup-base-url URL")
    if "api_key_env" not in given and tagger.api_key_env:
        raise ValueError(
            f"the recorded run sent an API key: add --setup-api-key-env {tagger.api_key_env}, "
            "or another variable that holds the key"
        )


def _need_vocabulary(structured: StructuredRecord, given: Collection[str]) -> None:
    """Refuse to send a schema without the terms that were sent: an entry holds their checksum only."""
    if structured.vocabulary_sha256 and not {"structured", "vocabulary"} & set(given):
        raise ValueError(
            f"the recorded run sent a vocabulary of {structured.vocabulary_terms} terms as a schema: add "
            "--setup-vocabulary FILE, or leave the schema out with --no-setup-structured"
        )


def _other_language(tagger: TaggerRecord, given: Mapping[str, Any]) -> bool:
    try:
        return "language" in given and parse_languages(given["language"]) != (tagger.language or {})
    except ValueError:
        return False  # the settings say what is wrong with it


def _prompts(recorded: PromptSet | None) -> Prompts | None:
    if recorded is None or not (recorded.caption and recorded.keywords and recorded.description):
        return None
    return Prompts(
        profile=recorded.profile or "entry",
        system=recorded.system,
        caption=recorded.caption,
        keywords=recorded.keywords,
        description=recorded.description,
    )
