"""When the chat requests of one or several processes ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class RequestLog:
    """The ends of requests, in seconds since the epoch; threads may add to it.

    Attributes:
        answered: of the requests that got an answer, each with the tokens of its prompt, None where the
            server did not count them.
        unanswered: of those that failed, some of which the server may have worked on.
        under_way: the number of answers that are still to come, whose requests may have been sent.
    """

    answered: list[tuple[float, int | None]] = field(default_factory=list)
    unanswered: list[float] = field(default_factory=list)
    under_way: int = 0

    @classmethod
    def merged(cls, logs: Iterable[RequestLog]) -> Self:
        """The requests of several processes together."""
        parts = list(logs)
        whole = cls(under_way=sum(log.under_way for log in parts))
        for log in parts:
            whole.add(log)
        return whole

    def add(self, other: RequestLog) -> None:
        """Add the requests of another process that have ended."""
        self.answered.extend(other.answered)
        self.unanswered.extend(other.unanswered)

    def drain(self) -> RequestLog:
        """What was logged since the last call, for another process that has the rest."""
        # Other threads may add at the end meanwhile.
        taken = RequestLog(self.answered[:], self.unanswered[:])
        del self.answered[: len(taken.answered)]
        del self.unanswered[: len(taken.unanswered)]
        return taken

    def to_json(self) -> str:
        """The log for another process of this run."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The log that another process of this run wrote."""
        return cls(**json.loads(text))
