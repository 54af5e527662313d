"""The repository's own conftest.py, in projects of other people."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

if TYPE_CHECKING:
    import pytest

    from tests.servers.scripted import Scripted

ROOT = Path(__file__).parents[1]
CONFTEST = ROOT / "conftest.py"
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


def test_the_demo_of_a_clone_needs_only_the_extra_demo(pytester: pytest.Pytester) -> None:
    """As README's first command installs it: what pytest loads there needs no tool of developers."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {
        Requirement(line).name.lower() for name in ("dev", "gpu", "language", "docs") for line in extras[name]
    }
    wanted -= {"pytest-setups", "typer"}  # the package itself, and what it depends on
    absent = [
        module for module, names in packages_distributions().items() if wanted & set(map(str.lower, names))
    ]
    assert {"pynvml", "hypothesis", "xdist", "selenium", "lingua"} <= set(absent)
    program = pytester.makepyfile(
        without=f"""
        import sys
        sys.modules.update(dict.fromkeys({absent}))
        import pytest
        arguments = ["-p", "pytest_setups.plugin", "--setup-demo", "--collect-only", "-q"]
        raise SystemExit(pytest.main(arguments))
        """
    )
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    result = subprocess.run(
        [sys.executable, program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "54 tests collected" in result.stdout
