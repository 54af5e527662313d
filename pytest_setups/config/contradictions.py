"""Settings that are valid one by one and do not fit together."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from pytest_setups.registry.entry import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.config.settings import Settings

_STAGE_FIGURES: Final = tuple(f"{stage.value}." for stage in Stage)


def contradictions(settings: Settings) -> Iterator[str]:
    """What does not fit together, each with what to type; the first is the one to report."""
    yield from _in_server(settings)
    yield from _in_entry(settings)
    yield from _in_tagger(settings)
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


def _in_entry(settings: Settings) -> Iterator[str]:
    if settings.environment and not settings.recording:
        yield "--setup-environment is for the entry: add --record"
    if settings.slug and not settings.recording:
        yield "--setup-slug names an entry: add --record"


def _in_tagger(settings: Settings) -> Iterator[str]:
    if settings.tagger_command is None and "tagger_timeout" in settings.model_fields_set:
        yield "--setup-tagger-timeout needs --setup-tagger-command"
    if settings.tagger_command is not None and settings.repeat > 1:
        yield "--setup-repeat: a tagger command tags every picture once; leave one of the two out"


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
