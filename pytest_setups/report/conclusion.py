"""What a run came to, for those who tell it outside the terminal: GitHub and JUnit XML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_setups.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.run.baseline_gate import Comparing
    from pytest_setups.run.collector import Run, Verdict

OutcomeLine = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A run at its end; ``outcome`` holds the lines that the terminal shows, each with whether it is good."""

    run: Run
    verdict: Verdict
    outcome: Sequence[OutcomeLine]
    comparing: Comparing

    @property
    def word(self) -> str:
        """The verdict in one word: ``success`` only when nothing at all was told that is not good."""
        good = all(good for _, good in self.outcome)
        return self.verdict.standing.value if good or self.verdict.reason else "failed"

    @property
    def faults(self) -> list[str]:
        """The lines that are not good; regressions are among them."""
        return [line for line, good in self.outcome if not good]

    def shown(self, text: str, limit: int = 1000) -> str:
        """The text as anybody may read it: printable, on one line, without secrets and private paths."""
        return one_line(str(self.run.public(text)), limit)
