"""What the options of a load may be: levels such as ``1,4,16``, and a service level ``image.p95:10s``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import PlainValidator

if TYPE_CHECKING:
    from pytest_setups.registry.load_records import CapacityLevel

MOST_AT_ONCE: Final = 256
"""Images that are tagged at the same time, in a run as in a load."""
MOST_LEVELS: Final = 32
_SERVICE_LEVEL: Final = re.compile(
    r"(?P<figure>image\.p(?:50|95))\s*:\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>ms|s)"
)


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """How long an image may take.

    Attributes:
        text: as it was typed.
        percent: which percentile of the images' seconds: 50 or 95.
        seconds: the longest that is accepted.
    """

    text: str
    percent: int
    seconds: float

    def measured(self, level: CapacityLevel) -> float | None:
        """The seconds of a level that are judged."""
        return level.p50_s if self.percent == 50 else level.p95_s

    def is_kept(self, level: CapacityLevel) -> bool:
        """Whether a level keeps it; one that was not timed does not."""
        seconds = self.measured(level)
        return seconds is not None and seconds <= self.seconds


def _levels(value: str) -> tuple[int, ...]:
    words = [word.strip() for word in value.split(",")] if value.strip() else []
    if not all(word.isascii() and word.isdigit() and 1 <= int(word) <= MOST_AT_ONCE for word in words):
        message = (
            f"type numbers of images at once from 1 to {MOST_AT_ONCE}, such as 1,4,16; "
            "without a value, they are chosen"
        )
        raise ValueError(message)
    if len(words) > MOST_LEVELS:
        message = f"at most {MOST_LEVELS} levels are measured"
        raise ValueError(message)
    return tuple(sorted({int(word) for word in words}))


def _service_level(value: str) -> ServiceLevel:
    match = _SERVICE_LEVEL.fullmatch(value.strip().lower())
    if match is None:
        message = "type how long an image may take, image.p50 or image.p95 and seconds, such as image.p95:10s"
        raise ValueError(message)
    seconds = float(match["number"]) / (1000 if match["unit"] == "ms" else 1)
    return ServiceLevel(value.strip(), int(match["figure"][-2:]), seconds)


Levels = Annotated[tuple[int, ...], PlainValidator(_levels)]
SloText = Annotated[ServiceLevel, PlainValidator(_service_level)]
