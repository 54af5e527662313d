"""The notices about a run as a whole: its comparison, its verdict, and why it is not recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_setups.redaction import one_line
from pytest_setups.report import comparison_text, server_counters_text
from pytest_setups.report.reporter import MAX_NOTICE, Level, Notice
from pytest_setups.run.verdict import Standing
from pytest_setups.serving.processes.server_process import without_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_setups.config.settings import Settings
    from pytest_setups.run.result import RunResult

MAX_IMAGES_SHOWN: Final = 3


def run_notices(result: RunResult, settings: Settings) -> Iterator[Notice]:
    """The notices, in the order in which they are shown."""
    yield from _not_given_again(result, settings)
    yield from _comparison_notices(result)
    yield from _missed_groups(result)
    yield from _wait_notices(result)
    yield from map(Notice, server_counters_text.doubts(result.performance.server_counters))
    yield from _client_notices(result)
    yield from _verdict_notices(result, settings)


def _not_given_again(result: RunResult, settings: Settings) -> Iterator[Notice]:
    """What the entry that is verified again was judged by and this run is not: it holds no such files."""
    if settings.origin is None:
        return
    used = settings.origin.verification
    if used.vocabulary is not None and settings.vocabulary is None:
        name = " ".join(filter(None, ("the vocabulary", used.vocabulary.file)))
        yield Notice(
            f"the entry used {one_line(name, 200)} ({used.vocabulary.terms} terms), which is not given: "
            "--setup-vocabulary FILE"
        )
    if used.reference is not None and settings.reference is None:
        yield Notice(
            "the entry used the keywords in the metadata of its images, which this run does not: "
            "--setup-reference metadata"
        )
    # In an incomplete run, the tests of the expectations may have been deselected.
    judged = result.collected.expectations or result.verdict.standing is Standing.INCOMPLETE
    if used.expectations is not None and settings.expectations is None and not judged:
        yield Notice(
            f"the entry used expectations of {used.expectations.images} images, which are not given: "
            "--setup-expectations FILE"
        )


def _missed_groups(result: RunResult) -> Iterator[Notice]:
    """The groups of which no word was said where a bound judges their share, and so no test failed."""
    missing = [
        f"{evidence.image}: {'; '.join(evidence.result.missed)}"
        for evidence in result.collected.expectations.values()
        if evidence.result and evidence.result.missed and evidence.passed
    ]
    for line in missing[:MAX_IMAGES_SHOWN]:
        yield Notice(one_line(f"not said: {line}", MAX_NOTICE))
    if len(missing) > MAX_IMAGES_SHOWN:
        yield Notice(f"not said: and in {len(missing) - MAX_IMAGES_SHOWN} more")


def _comparison_notices(result: RunResult) -> Iterator[Notice]:
    if result.comparison_fault is not None:
        yield Notice(f"not compared: {result.comparison_fault}", Level.FAILURE)
    if result.comparison is None or result.entry is None:
        return
    baseline, comparison = result.comparison.baseline, result.comparison.comparison
    for line in comparison_text.good_lines(baseline, result.entry, comparison):
        yield Notice(line)
    for line in comparison_text.breaches(replace(comparison, levels=())):  # a part of the verdict's reason
        yield Notice(line, Level.FAILURE)


def _wait_notices(result: RunResult) -> Iterator[Notice]:
    vision = result.collected.vision
    waits = sum(measurement.waits or 0 for measurement in result.measurements)
    waits += (vision.waits or 0) if vision else 0
    if waits:
        times = "once" if waits == 1 else f"{waits} times"
        yield Notice(f"the server was busy and asked {times} to wait (HTTP 429 or 503 with Retry-After)")


def _client_notices(result: RunResult) -> Iterator[Notice]:
    delay = result.performance.client_delay
    if delay is not None and delay.limited:
        yield Notice(
            f"the client was the limit: it ran {delay.mean_s * 1000:.1f} ms late on average, "
            f"{delay.share:.1%} of the mean time; the times are not the server's, and bounds on them are not "
            "judged: lower --setup-concurrency, or run pytest on a machine with less other work"
        )


def _verdict_notices(result: RunResult, settings: Settings) -> Iterator[Notice]:
    verdict = result.verdict
    if result.unjudged is not None and result.comparison_fault is None:
        bounds = ", ".join(bound.text for bound in settings.fail_if if not bound.needs_baseline)
        yield Notice(f"not judged: {one_line(bounds, 200)}: {result.unjudged}", Level.FAILURE)
    if result.entry_fault is not None and not settings.recording:
        yield Notice(f"the entry is shown without the hooks' changes: {result.entry_fault}", Level.FAILURE)
    if verdict.standing is Standing.INCOMPLETE and settings.recording:
        yield Notice(f"not recorded: {verdict.reason}", Level.WARNING)
    if verdict.standing is not Standing.FAILED:
        return
    yield Notice(f"failed: {without_log(verdict.reason)}", Level.FAILURE)
    if settings.recording and not settings.record_failed:
        advice = "only successful runs are recorded; --record-failed keeps the attempt"
        yield Notice(f"not recorded: {advice}", Level.FAILURE)
