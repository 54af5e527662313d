"""How long a soak lasts: a duration such as ``90s`` or ``1h30m``, or a number such as ``300images``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import PlainValidator

LONGEST_S: Final = 7 * 86_400
MOST_IMAGES: Final = 1_000_000
_DURATION: Final = re.compile(
    r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)
_IMAGES: Final = re.compile(r"(\d+)images?")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True, slots=True)
class SoakLength:
    """A soak ends after so many seconds or after so many images; the other is None."""

    seconds: float | None = None
    images: int | None = None

    @classmethod
    def parse(cls, text: str) -> SoakLength:
        """The length in a text.

        Raises:
            ValueError: it is none; the message says what to type.
        """
        word = "".join(text.split()).lower()
        images = _IMAGES.fullmatch(word)
        if images and 1 <= int(images[1]) <= MOST_IMAGES:
            return cls(images=int(images[1]))
        parts = _DURATION.fullmatch(word)
        found = {unit: number for unit, number in (parts.groupdict() if parts else {}).items() if number}
        seconds = sum(float(number) * _SECONDS[unit] for unit, number in found.items())
        if not 0 < seconds <= LONGEST_S:
            message = "type a duration such as 90s, 30m or 2h, up to 168h, or a number of pictures: 300images"
            raise ValueError(message)
        return cls(seconds=seconds)


def _soak_length(value: object) -> SoakLength:
    return value if isinstance(value, SoakLength) else SoakLength.parse(str(value))


Soak = Annotated[SoakLength, PlainValidator(_soak_length)]
