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

    Called once in each process (with ``-n N`` in each worker and in the controller) when the
    server has answered: ``settings`` holds its base URL and models. ``--setup-tagger-command`` takes
    precedence. With ``--setup-concurrency N`` the tagger is called from N threads at once.
    """


@pytest.hookspec
def pytest_setups_check(stage: Stage, output: Output, image: Sample) -> str | None:
    """Why this output does not count as populated, in a line, or None.

    Called for every output, after the built-in checks; the failure's check is named ``own:<plugin>``.
    """


@pytest.hookspec
def pytest_setups_modify_entry(config: pytest.Config, entry: Entry) -> Entry | None:
    """The entry with changes (``entry.model_copy(update=...)``), or None to leave it as it is.

    Called once, when the tests are over and before the run is compared with a baseline: a baseline's
    entry went through the same hook, and one that does not fit is refused only then. Each plugin is
    given what the one before it returned. What was proved cannot be changed: the results, the images,
    the evidence, a failure. A success may be called failed.
    """
