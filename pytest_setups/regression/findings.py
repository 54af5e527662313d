"""What judging a bound can give."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


class Finding(StrEnum):
    """The result of judging one bound, the most serious last."""

    OK = "ok"
    NOT_PROVED = "not proved"
    BREACH = "breach"
    NOISE_UNKNOWN = "noise unknown"
    NOT_COMPARABLE = "not comparable"
    NOT_MEASURED = "not measured"


SEVERITY: Final = list(Finding)
FATAL: Final = frozenset(Finding) - {Finding.OK, Finding.NOT_PROVED}


@dataclass(frozen=True, slots=True)
class JudgedBound:
    """A bound as it was typed, and what judging it gave.

    ``floor`` says that a figure breaks the bound by lying below its limit, and not above it.
    """

    bound: str
    finding: Finding
    floor: bool = False


def most_serious(judged: Iterable[JudgedBound]) -> Finding | None:
    """The most serious finding, None where no bound was judged."""
    return max((bound.finding for bound in judged), key=SEVERITY.index, default=None)
