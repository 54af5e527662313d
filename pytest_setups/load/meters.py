"""Meters: they run beside the measured span of a run, in the controller, and leave a record for the entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel


class Meter(Protocol):
    """Measures something from the first measured request to the last. None of its methods raises."""

    def start(self) -> None:
        """Begin: the first request is about to be sent."""

    def stop(self) -> None:
        """End: every request has been answered."""

    def record(self) -> BaseModel | None:
        """What was measured, after ``stop``; None where this run has nothing to measure."""


class Meters:
    """All meters of a run, by the field of ``performance`` that holds the record of each."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        self._meters = meters
        self._stopped = False

    def start(self) -> None:
        """Start all of them."""
        for meter in self._meters.values():
            meter.start()

    def stop(self) -> None:
        """Stop all of them, at the first call only."""
        if not self._stopped:
            self._stopped = True
            # The last that was started is the first that ends: each span lies within the one before.
            for meter in reversed(list(self._meters.values())):
                meter.stop()

    def records(self) -> dict[str, BaseModel]:
        """The records by field; none where nothing was measured."""
        if not self._stopped:
            return {}
        records = {field: meter.record() for field, meter in self._meters.items()}
        return {field: record for field, record in records.items() if record is not None}
