"""The hooks that a user's conftest or plugin may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_setups.config.settings import Settings
    from pytest_setups.registry.entry import Entry, Stage
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outputs import Output
    from pytest_setups.tagging.python_tagger import ImageTagger, StageTagger


@pytest.hookspec(firstresult=True)
def pytest_setups_tagger(config: pytest.Config, settings: Settings) -> StageTagger | ImageTagger | None:
    """The tagger to verify in place of the built-in one, or None.

    Called once in each process (with ``-n N`` in each worker and in the one that reports) when the
    server has answered: ``settings`` holds its base URL and models. ``--setup-tagger-command`` goes
    before it. With ``--setup-concurrency N`` the tagger is called from N threads at once.
    """


@pytest.hookspec
def pytest_setups_check(stage: Stage, output: Output, image: Sample) -> str | None:
    """Why this output does not count as populated, in a line, or None.

    Called for every output that came, after the built-in checks; the failure is told as ``own:<plugin>``.
    """


@pytest.hookspec
def pytest_setups_modify_entry(config: pytest.Config, entry: Entry) -> Entry | None:
    """The entry as it is to be written, changed (``entry.model_copy(update=...)``), or None to leave it.

    Each plugin is given what the one before it returned. What was proved stays: the results, the
    images, the evidence, and a failure.
    """
