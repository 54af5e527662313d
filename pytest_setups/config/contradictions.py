"""Settings that are valid one by one and do not fit together."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.entry import Stage
from pytest_setups.regression.performance_figures import CAPACITY_PREFIX
from pytest_setups.tagging.command_template import LANGUAGE_PLACEHOLDERS
from pytest_setups.tagging.keyword_schema import MAX_TERMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.config.settings import Settings

# Fields of vLLM, SGLang and llama.cpp that constrain an answer beside the standard one.
_FORMAT_FIELDS: Final = (
    "response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
    "json_schema", "grammar", "regex", "ebnf",
)  # fmt: skip
_VOCABULARY_FIGURES: Final = frozenset({"off_vocabulary", "near_vocabulary", "used_once"})
_STAGE_FIGURES: Final = tuple(f"{stage.value}." for stage in Stage)


def contradictions(settings: Settings) -> Iterator[str]:
    """What does not fit together, each with what to type; the first is the one to report."""
    yield from _in_server(settings)
    yield from _in_entry(settings)
    yield from _in_tagger(settings)
    yield from _in_keywords(settings)
    yield from _in_load(settings)
    yield from _in_comparison(settings)


def _in_server(settings: Settings) -> Iterator[str]:
    own = "--setup-demo starts its own server: leave out"
    if settings.demo and settings.base_url:
        yield f"{own} --setup-base-url"
    if settings.demo and (settings.launch is not None or settings.from_entry):
        yield f"{own} --setup-launch and --setup-from"
    if settings.demo_server and not settings.demo:
        yield "--setup-demo-server needs --setup-demo"
    if settings.launch is not None and not settings.launch_command:
        yield (
            "--setup-launch needs a command, or --setup-from SLUG with an entry that holds one: "
            "--setup-launch 'vllm serve MODEL --port 24001'"
        )
    if settings.from_entry and settings.base_url is None and settings.launch is None:
        # A tagger command that names no server is recorded without one.
        yield f"the entry {settings.from_entry} names no base URL: add --setup-base-url http://HOST:PORT/v1"


def _in_entry(settings: Settings) -> Iterator[str]:
    if settings.environment and not settings.recording:
        yield "--setup-environment is for the entry: add --record"
    if settings.slug and not settings.recording:
        yield "--setup-slug names an entry: add --record"


def _in_tagger(settings: Settings) -> Iterator[str]:
    if settings.tagger_command is None and "tagger_timeout" in settings.model_fields_set:
        yield "--setup-tagger-timeout needs --setup-tagger-command"
    yield from _in_languages(settings)
    if settings.tagger_command is not None and settings.repeat > 1:
        yield "--setup-repeat: a tagger command tags every picture once; leave one of the two out"


def _in_keywords(settings: Settings) -> Iterator[str]:
    if settings.vocabulary_column is not None and settings.vocabulary is None:
        yield "--setup-vocabulary-column needs --setup-vocabulary FILE"
    for bound in settings.fail_if:
        if settings.vocabulary is None and not _VOCABULARY_FIGURES.isdisjoint(bound.names):
            yield f"--setup-fail-if {bound.text} needs --setup-vocabulary FILE"
        if settings.reference is None and "keywords_recall" in bound.names:
            yield f"--setup-fail-if {bound.text} needs --setup-reference metadata"
    if settings.structured:
        yield from _with_schema(settings)


def _in_load(settings: Settings) -> Iterator[str]:
    if settings.soak is not None and settings.tagger_command is not None:
        yield (
            "--setup-soak: a tagger command tags all pictures in one go and cannot be given them in turn; "
            "leave one of the two out"
        )
    if settings.capacity is None:
        for name in ("slo", "library"):
            if getattr(settings, name) is not None:
                yield f"--setup-{name} needs --setup-capacity"
        for bound in settings.fail_if:
            if any(name.startswith(CAPACITY_PREFIX) for name in bound.names):
                yield f"--setup-fail-if {bound.text} needs --setup-capacity"
    elif settings.tagger_command is not None:
        yield (
            "--setup-capacity: a tagger command tags all pictures in one go, and how many at once is its own "
            "affair; leave one of the two out"
        )


def _with_schema(settings: Settings) -> Iterator[str]:
    if settings.tagger_command is not None:
        yield (
            "--setup-structured: a tagger command makes its own requests, so that no schema can be added to "
            "them; leave one of the two out"
        )
    twice = next((name for name in _FORMAT_FIELDS if name in settings.extra_body), None)
    if twice is not None:
        yield f"--setup-structured sends a schema of its own: leave {twice!r} out of --setup-extra-body"
    terms = len(settings.vocabulary.terms) if settings.vocabulary else 0
    if terms > MAX_TERMS:
        yield (
            f"--setup-structured: the vocabulary has {terms} terms, and a schema may list {MAX_TERMS}: "
            "servers become slow with more; give a shorter one, or leave --setup-structured out (the figures "
            "of the vocabulary do not need it)"
        )


def _in_languages(settings: Settings) -> Iterator[str]:
    names = settings.tagger_command.names if settings.tagger_command else frozenset()
    for name in sorted(names & set(LANGUAGE_PLACEHOLDERS)):
        codes = {settings.language.get(stage) for stage in LANGUAGE_PLACEHOLDERS[name]}
        if codes == {None}:
            yield f"--setup-tagger-command contains {{{name}}}: add --setup-language CODE"
        elif len(codes) > 1:
            yield (
                f"--setup-tagger-command contains {{{name}}}, and its stages have different languages: "
                "use {caption_language}, {keywords_language} and {description_language}"
            )


def _in_comparison(settings: Settings) -> Iterator[str]:
    if settings.baseline is None:
        yield from _without_baseline(settings)
    for bound in filter(attrgetter("needs_baseline"), settings.fail_if):
        if settings.tagger_command is not None and all(n.startswith(_STAGE_FIGURES) for n in bound.names):
            yield (
                f"{bound.text!r}: a tagger command does not measure single stages; "
                "type image.mean, image.p50 or image.p95"
            )
        if not settings.stream and all(name.endswith(".ttft") for name in bound.names):
            yield f"{bound.text!r}: the time to first token is measured only with --setup-stream"


def _without_baseline(settings: Settings) -> Iterator[str]:
    for bound in filter(attrgetter("needs_baseline"), settings.fail_if):
        yield f"--setup-fail-if {bound.text} needs a baseline: add --setup-baseline latest"
    if settings.baseline_allow:
        yield "--setup-baseline-allow needs a baseline: add --setup-baseline latest"
