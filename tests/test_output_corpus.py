"""The checks on the corpus of outputs: broken ones are found, honest ones pass, long ones take no time."""

from __future__ import annotations

import time

import pytest

from benchmarks.output_checks import judge, output_of
from pytest_setups.checks.output_checks import CHECKS, failures

HOSTILE = {
    "one letter": "a" * 90_000,
    "words": "I can't see " * 7_500,
    "quotation marks": '"' * 90_000,
    "full stops": "a." * 45_000,
    "brackets": "[" * 90_000,
    "paths": "a/" * 45_000,
    "assignments": "a=" * 45_000,
    "without spaces": "\u56fe\u7247\u7684" * 30_000,
    "particles": "g\u00f6r\u00fcnt\u00fcleyemiyorum" * 5_000,
    "lines": "okay, so\n" * 10_000,
    "exceptions": "AaError.Aa" * 9_000,
    "prose": "The boat is on the river and the sky is blue. " * 1_900,
}


def test_95_of_100_broken_outputs_are_found() -> None:
    judged = judge("broken")
    found = sum(bool(output.failures) for output in judged)
    assert found >= 0.95 * len(judged)


def test_no_honest_output_is_punished() -> None:
    punished = [(output.row["text"], output.failures) for output in judge("honest") if output.failures]
    assert punished == []


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("stage", ["caption", "keywords"])
def test_a_hostile_answer_is_judged_in_time(stage: str, text: str) -> None:
    output = output_of({"stage": stage, "text": text})
    failures(output_of({"stage": stage, "text": text[:1_000]}))  # the patterns are compiled once
    started = time.process_time()
    for check in CHECKS:
        check.find_reason(output)
    # A pattern that tries every way to split such a text takes minutes; this takes tens of milliseconds.
    assert time.process_time() - started < 2
