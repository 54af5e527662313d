"""Expectations: what a person knows of a picture, and whether its outputs say it.

A group of words is met where one of its words is said: in any of the picture's outputs, or in that of one
stage for a group of that stage. Words that must not be said must not be in any of them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pytest_setups.checks.word_matching import ENGLISH, MatchableText, has_words, is_same_word
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.measurement import ExpectationResult
from pytest_setups.registry.parsing import json_sha256
from pytest_setups.tagging.language_codes import check_language
from pytest_setups.tagging.reasoning import without_reasoning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_setups.checks.word_matching import Span
    from pytest_setups.tagging.outputs import Output

MAX_WORD: Final = 100
MAX_QUOTED: Final = 200
# Outputs beyond this are cut: a loop fails its own check.
MAX_SEARCHED: Final = 20_000
NO_LANGUAGES: Final[Mapping[Stage, str]] = MappingProxyType({})


def _word(value: str) -> str:
    if not has_words(value):
        message = f"{value!r} has no letter and no digit"
        raise ValueError(message)
    return value.strip()


def _as_group(value: object) -> object:
    # A group of a single word needs no brackets of its own: must = ["boat", ["river", "harbour"]].
    return (value,) if isinstance(value, str) else value


Word = Annotated[str, Field(max_length=MAX_WORD), AfterValidator(_word)]
WordGroup = Annotated[tuple[Word, ...], BeforeValidator(_as_group), Field(min_length=1)]
LanguageCode = Annotated[str, AfterValidator(check_language)]


class ExpectedWords(BaseModel):
    """What is expected of one output, or of all outputs of a picture.

    Attributes:
        must: groups of words, of each of which one must be said.
        must_not: words that must not be said.
        language: ISO 639-1 code of the language of the words, and of the output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    must: tuple[WordGroup, ...] = ()
    must_not: tuple[Word, ...] = ()
    language: LanguageCode | None = None

    @model_validator(mode="after")
    def _without_contradiction(self) -> Self:
        both = [word for group in self.must for word in group if word in self.must_not]
        if both:
            message = f"{both[0]!r} is in must and in must_not: remove it from one of them"
            raise ValueError(message)
        return self


class Expectation(ExpectedWords):
    """What is expected of one picture: of its outputs together, and of single stages.

    Attributes:
        max_keywords: the most keywords that it may have.
        caption: what is expected of the caption.
        keywords: what is expected of the keywords.
        description: what is expected of the description.
    """

    max_keywords: Annotated[int, Field(ge=1, strict=True)] | None = None
    caption: ExpectedWords = ExpectedWords()
    keywords: ExpectedWords = ExpectedWords()
    description: ExpectedWords = ExpectedWords()

    def of(self, stage: Stage) -> ExpectedWords:
        """What is expected of this stage only."""
        words: ExpectedWords = getattr(self, stage.value)
        return words

    def language_of(self, stage: Stage) -> str | None:
        """The language that is expected of this stage; None where none is given."""
        return self.of(stage).language or self.language

    @property
    def parts(self) -> tuple[ExpectedWords, ...]:
        """What is expected of all outputs together, then of each stage."""
        return (self, *map(self.of, Stage))

    @property
    def judges_words(self) -> bool:
        """Whether anything is expected beside languages."""
        return self.max_keywords is not None or any(part.must or part.must_not for part in self.parts)

    def with_defaults(self, defaults: Expectation) -> Expectation:
        """These expectations and the defaults: words add up, a language and a number overrule.

        A word that this picture must have is not one that the defaults forbid.
        """
        stages = {
            stage.value: ExpectedWords(**self._added(self.of(stage), defaults.of(stage))) for stage in Stage
        }
        return Expectation(
            **self._added(self, defaults), **stages, max_keywords=self.max_keywords or defaults.max_keywords
        )

    def _added(self, own: ExpectedWords, defaults: ExpectedWords) -> dict[str, Any]:
        language = own.language or defaults.language
        must = [word for part in self.parts for group in part.must for word in group]
        forbidden = [
            word
            for word in defaults.must_not
            if not any(is_same_word(word, other, language or ENGLISH) for other in must)
        ]
        return {
            "must": tuple(dict.fromkeys((*defaults.must, *own.must))),
            "must_not": tuple(dict.fromkeys((*forbidden, *own.must_not))),
            "language": language,
        }

    @property
    def groups(self) -> int:
        """How many groups of words must be met."""
        return sum(len(part.must) for part in self.parts)

    @property
    def sha256(self) -> str:
        """Sha256 (hex) of what is expected: of two equal ones the share of groups met compares."""
        document = self.model_dump(mode="json", exclude_defaults=True)
        return json_sha256(document)


Said = dict[Stage, "Sequence[str]"]
"""What each stage said: one text, or the keywords. A stage without an output said nothing."""


def said_in(outputs: Mapping[Stage, Output | None]) -> Said:
    """What the outputs of a picture say, without reasoning."""
    return {stage: _texts(output) if output else () for stage, output in outputs.items()}


def judge_expectation(
    expectation: Expectation, said: Said, languages: Mapping[Stage, str] = NO_LANGUAGES
) -> ExpectationResult:
    """Judge what was said of a picture; ``languages`` are those of stages of which it expects none."""
    search = _Search(expectation, said, languages)
    groups, missed = expectation.groups, tuple(search.missed_groups())
    return ExpectationResult(
        sha256=expectation.sha256,
        groups=groups,
        met=groups - len(missed),
        missed=missed,
        faults=(*search.forbidden_words(), *_too_many_keywords(expectation, said)),
    )


def quote(said: Said) -> str:
    """What was said of a picture: a line for each stage."""
    return "\n".join(
        f"{stage}: {one_line(', '.join(texts), MAX_QUOTED)!r}" if any(texts) else f"{stage}: none"
        for stage, texts in said.items()
    )


def expectations_sha256(expectations: Mapping[str, Expectation]) -> str:
    """Sha256 (hex) of what is expected of all pictures of a run, by their names."""
    return json_sha256({name: expectation.sha256 for name, expectation in expectations.items()})


class _Search:
    """The words of an expectation, looked for in the outputs of a picture."""

    def __init__(self, expectation: Expectation, said: Said, languages: Mapping[Stage, str]) -> None:
        self._expectation = expectation
        self._texts: dict[Stage, list[MatchableText]] = {}
        for stage in Stage:
            language = expectation.language_of(stage) or languages.get(stage, ENGLISH)
            texts = said.get(stage, ())
            self._texts[stage] = [MatchableText.of(text[:MAX_SEARCHED], language) for text in texts]

    def missed_groups(self) -> Iterator[str]:
        """A reason for each group of which no word is said."""
        for words, stages in self._parts():
            for group in words.must:
                if not any(self._spans(word, stage) for stage in stages for word in group):
                    yield f"{_none_of(group)} in {_listed(stages)}"

    def forbidden_words(self) -> Iterator[str]:
        """A reason for each word that must not be said, and is."""
        for words, stages in self._parts():
            for word in words.must_not:
                places = [stage for stage in stages if self._is_forbidden(word, stage)]
                if places:
                    has = "has" if len(places) == 1 and places[0] is not Stage.KEYWORDS else "have"
                    yield f'"{word}" must not be said, {_listed(places, "and")} {has} it'

    def _parts(self) -> Iterator[tuple[ExpectedWords, Sequence[Stage]]]:
        """What is expected, and of which stages together."""
        places: list[list[Stage]] = [list(Stage), *([stage] for stage in Stage)]
        yield from zip(self._expectation.parts, places, strict=True)

    def _spans(self, word: str, stage: Stage) -> list[tuple[int, Span]]:
        """Where a word stands in the texts of a stage, each with the number of the text."""
        return [(at, span) for at, text in enumerate(self._texts[stage]) for span in text.spans(word)]

    def _is_forbidden(self, word: str, stage: Stage) -> bool:
        """Whether a word is said other than as a part of a phrase that must be: "car" in "cable car"."""
        phrases = [
            place
            for words, stages in self._parts()
            if stage in stages
            for group in words.must
            for phrase in group
            for place in self._spans(phrase, stage)
        ]
        return any(
            not any(at == other and span.lies_within(phrase) for other, phrase in phrases)
            for at, span in self._spans(word, stage)
        )


def _texts(output: Output) -> Sequence[str]:
    if output.keywords is not None:
        return output.keywords.words
    text = without_reasoning(output.text)
    return (text,) if text else ()


def _too_many_keywords(expectation: Expectation, said: Said) -> Iterator[str]:
    most, given = expectation.max_keywords, len(said.get(Stage.KEYWORDS, ()))
    if most is not None and given > most:
        yield f"{given} keywords, at most {most} are expected"


def _none_of(group: Sequence[str]) -> str:
    words = ", ".join(f'"{word}"' for word in group)
    return f"none of {words}" if len(group) > 1 else f"no {words}"


def _listed(stages: Sequence[Stage], conjunction: str = "or") -> str:
    *first, last = (stage.value for stage in stages)
    return f"{', '.join(first)} {conjunction} {last}" if first else last
