"""What a process lends to a run: a place for files, a way to speak to the user, the user's own tagger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_setups.config.settings import Settings


class Announcer(Protocol):
    """Speaks to the user while a server starts."""

    def announce(self, line: str) -> None:
        """Show one line."""

    def progress(self, seconds: float, line: str) -> None:
        """Show how many seconds a launch has taken so far, and the last line of its log."""


@dataclass(frozen=True, slots=True)
class Host:
    """What the process lends.

    Attributes:
        make_folder: makes a new, empty folder for a tagger program to work in.
        show: shows a line at once, None where the user did not ask for a program's output.
        find_tagger: the user's own Python tagger for these settings, None without one.
        private_places: private paths by the placeholder that replaces them, such as ``~``.
    """

    make_folder: Callable[[], Path]
    show: Callable[[str], None] | None
    find_tagger: Callable[[Settings], object | None]
    private_places: Mapping[str, str] = field(default_factory=dict)
