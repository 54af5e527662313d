"""Figures as text, the same in every place that shows them."""

from __future__ import annotations

NO_FIGURE = "-"


def seconds(value: float | None, *, missing: str = NO_FIGURE) -> str:
    """Seconds to the millisecond."""
    return missing if value is None else f"{value:.3f}"


def rate(value: float | None, *, missing: str = NO_FIGURE) -> str:
    """A rate, such as tokens per second, to the tenth."""
    return missing if value is None else f"{value:.1f}"
