"""The public API as users' conftest files and tests use it; mypy checks it, nothing runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, assert_type

import pytest

import pytest_setups
from pytest_setups import (
    Entry,
    ImageTagger,
    Output,
    Registry,
    Sample,
    Server,
    Settings,
    Stage,
    StageTagger,
    Tagging,
)


class ByStage:
    """A tagger with one method for each stage."""

    def caption(self, image: Sample) -> str:
        return image.name

    def keywords(self, image: Sample) -> list[str]:
        return [image.path.stem]

    def description(self, image: Sample, caption: str, keywords: Sequence[str]) -> str:
        return f"{caption} {keywords[0]} {image.name}"


class ByImage:
    """A tagger with one method for all stages."""

    def tag(self, image: Sample) -> Tagging:
        return Tagging(image, "A caption.", ("one", "two", "three"), "A description.")


class ByImageAsMapping:
    """The same, with a mapping."""

    def tag(self, image: Sample) -> Mapping[str, Any]:
        return {"caption": image.name, "keywords": ["one"], "description": "A description."}


def pytest_setups_tagger(config: pytest.Config, settings: Settings) -> StageTagger | ImageTagger | None:
    assert_type(settings.base_url, str | None)
    assert_type(settings.max_new_tokens, int)
    return ByStage() if config.rootpath == Path() else ByImage()


def pytest_setups_check(stage: Stage, output: Output, image: Sample) -> str | None:
    assert_type(output.text, str)
    if stage is Stage.KEYWORDS and output.keywords is not None:
        assert_type(output.keywords.words, tuple[str, ...])
    return None if image.name else "no name"


def pytest_setups_modify_entry(config: pytest.Config, entry: Entry) -> Entry | None:
    assert_type(entry.verification.git_commit, str | None)
    assert_type(entry.tagger.models, dict[Stage, str])
    return entry.model_copy(update={"notes": str(config.rootpath)})


def test_captions_are_short(tagging: Tagging, setup_image: Sample, setup_server: Server) -> None:
    assert_type(tagging.caption, str)
    assert_type(tagging.keywords, tuple[str, ...])
    assert_type(setup_image.path, Path)
    assert_type(setup_server.model, str)


def test_settings(setup_settings: Settings) -> None:
    assert_type(setup_settings.prompts.caption, str)


def newest(root: Path) -> Entry:
    registry = Registry(root)
    assert_type(registry.slugs(), list[str])
    return registry.load(registry.slugs()[-1])


taggers: list[StageTagger | ImageTagger] = [ByStage(), ByImage(), ByImageAsMapping()]


class TakesLists:
    """Not a tagger: keywords may be any sequence, a tuple as well."""

    def caption(self, image: Sample) -> str:
        return image.name

    def keywords(self, image: Sample) -> list[str]:
        return [image.name]

    def description(self, image: Sample, caption: str, keywords: list[str]) -> str:
        return f"{caption} {keywords} {image.name}"


# Mistakes that mypy must see: an ignore that is not needed is itself an error (warn_unused_ignores).
wrong_signature: StageTagger = TakesLists()  # type: ignore[assignment]
ByStage().caption("boats.jpg")  # type: ignore[arg-type]
Registry("registry")  # type: ignore[arg-type]
unknown_name = pytest_setups.Tagger  # type: ignore[attr-defined]
