"""Where this process keeps its run: in pytest's own configuration, never in a global."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pytest_setups.run.connection import Connection

CONNECTION: Final[pytest.StashKey[Connection]] = pytest.StashKey()
NO_SERVER: Final = "no server is named: pytest --setup-base-url URL"
SUITE_NODE: Final = "setup"
"""The suite's node id, the same installed or in a checkout."""
