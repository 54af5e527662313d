"""What a reporter is, and the notices that all of them show.

A reporter reads the frozen result of a run, and nothing else: none of them asks a server, reads an entry
from disk or redacts, so that they all say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.run.result import RunResult

MAX_NOTICE: Final = 1000
"""Characters of one line, whatever a server or a file put into it."""


class Level(Enum):
    """How grave a notice is; only a failure changes the exit status."""

    INFO = auto()
    WARNING = auto()
    FAILURE = auto()


@dataclass(frozen=True, slots=True)
class Notice:
    """One line about the run as a whole."""

    text: str
    level: Level = Level.INFO


class Reporter(Protocol):
    """Shows the result of a run in one place."""

    def report(self, result: RunResult, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Show the result.

        Args:
            result: the outcome of the run.
            notices: the lines about the run so far.

        Returns:
            Lines about this report: where it is, or why there is none.
        """


def verdict_word(result: RunResult, notices: Sequence[Notice]) -> str:
    """The verdict in one word: ``success`` only when no notice is a warning or a failure."""
    if result.verdict.reason or all(notice.level is Level.INFO for notice in notices):
        return result.verdict.standing.value
    return "failed"


def faults(notices: Sequence[Notice]) -> list[str]:
    """The notices that are warnings or failures; regressions are among them."""
    return [notice.text for notice in notices if notice.level is not Level.INFO]
