"""The repository's own conftest.py, in projects of other people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.servers.scripted import Scripted

CONFTEST = Path(__file__).parents[1] / "conftest.py"
REPORTING = """
def pytest_plugin_registered(plugin):
    print("plugin:", getattr(plugin, "__file__", None))
"""


def test_an_editable_install_changes_nothing_in_another_project(
    project: pytest.Pytester, server: Scripted
) -> None:
    project.makeconftest(REPORTING)
    result = project.run(sys.executable, "-m", "pytest", "-s", "--setup-base-url", server.url)

    result.stdout.fnmatch_lines([f"plugin: {CONFTEST}"])  # the suite lies below it
    result.assert_outcomes(passed=11)
    assert "workers" not in result.stdout.str()
    assert "testpaths" not in result.stdout.str()


def test_without_a_server_it_is_not_even_loaded(project: pytest.Pytester) -> None:
    project.makeconftest(REPORTING)
    project.makepyfile("def test_own(): pass")
    result = project.run(sys.executable, "-m", "pytest", "-s")
    result.assert_outcomes(passed=1)
    assert str(CONFTEST) not in result.stdout.str()
