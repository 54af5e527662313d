"""Figures as text, the same in every place that shows them."""

from __future__ import annotations

from typing import Final

NO_FIGURE = "-"
_MINUTE: Final = 60
_HOUR: Final = 3600


def seconds(value: float | None, *, missing: str = NO_FIGURE) -> str:
    """Seconds to the millisecond."""
    return missing if value is None else f"{value:.3f}"


def rate(value: float | None, *, missing: str = NO_FIGURE) -> str:
    """A rate, such as tokens per second, to the tenth."""
    return missing if value is None else f"{value:.1f}"


def duration(seconds: float) -> str:
    """A duration in words, in at most two units."""
    whole = max(round(seconds), 1)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
