"""A pytest plugin that writes what each phase of a session costs: ``pytest -p benchmarks.phases``.

The file that ``PHASES`` names gets a line of JSON for the end of each phase: its name, the seconds of CPU of
the process and its children so far, and the largest memory of the process so far in KiB.
"""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest


def _note(phase: str) -> None:
    whole = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    line = {
        "phase": phase,
        "cpu_s": sum(usage.ru_utime + usage.ru_stime for usage in whole),
        "kib": whole[0].ru_maxrss,
    }
    if "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(os.environ["PHASES"]).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart() -> None:
    """The server is connected, and the tests are going to be collected."""
    _note("starting")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """The tests are collected and in their order."""
    _note("collecting")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish() -> object:
    """The tests are over; then the run is recorded and reported."""
    _note("running")
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """The session is over."""
    _note("reporting")
