"""What every test of this repository shares, in `tests/` and in `registry/`.

With an editable install, pytest loads this file in other projects too: the packaged suite lies below it. So
it acts only where this repository is the project that is tested, and imports nothing of its tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the whole of the tests, over a thousand real sessions, among the processors."""
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if config.rootpath != ROOT or not is_whole or hasattr(config, "workerinput"):
        return
    if getattr(config.option, "usepdb", False):
        return
    if config.pluginmanager.has_plugin("setups-controller"):  # a run measures, and workers bend its figures
        return
    if config.getoption("numprocesses", 0) is None:
        config.option.numprocesses = os.cpu_count()
