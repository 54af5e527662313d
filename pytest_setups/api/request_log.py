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
    """

    answered: list[tuple[float, int | None]] = field(default_factory=list)
    unanswered: list[float] = field(default_factory=list)

    @classmethod
    def merged(cls, logs: Iterable[RequestLog]) -> Self:
        """The requests of several processes together."""
        whole = cls()
        for log in logs:
            whole.add(log)
        return whole

    def add(self, other: RequestLog) -> None:
        """Add the requests of another process."""
        self.answered.extend(other.answered)
        self.unanswered.extend(other.unanswered)

    def to_json(self) -> str:
        """The log for another process of this run."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The log that another process of this run wrote."""
        return cls(**json.loads(text))
