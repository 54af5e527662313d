"""The exit status of a run: pytest's own, unless the run as a whole failed in a way that no test shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_setups.report.reporter import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.report.reporter import Notice
    from pytest_setups.run.result import RunResult


def exit_status(result: RunResult, notices: Sequence[Notice], pytests: int) -> int:
    """The exit status.

    Args:
        result: the outcome of the run.
        notices: the lines about the run as a whole.
        pytests: the exit status of pytest itself; only 0 (all passed) can become another.

    Returns:
        1 where a notice is a failure, 4 (a mistake in what was typed) where the run and its baseline do
        not compare.
    """
    failed = any(notice.level is Level.FAILURE for notice in notices)
    if not failed or pytests != pytest.ExitCode.OK:
        return pytests
    return pytest.ExitCode.USAGE_ERROR if result.incomparable else pytest.ExitCode.TESTS_FAILED
