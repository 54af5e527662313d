"""The tagger of a run: the built-in one, the user's command, or the user's Python object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_setups.config.settings import SettingsError
from pytest_setups.tagging.command_tagger import TaggerJob
from pytest_setups.tagging.python_tagger import wrap_python_tagger

if TYPE_CHECKING:
    from pytest_setups.config.settings import Settings
    from pytest_setups.run.host import Host
    from pytest_setups.serving.server import Server
    from pytest_setups.tagging.command_tagger import TaggerFolder
    from pytest_setups.tagging.command_template import CommandTemplate
    from pytest_setups.tagging.python_tagger import PythonTagger


def tagger_job(
    command: CommandTemplate, settings: Settings, server: Server, folder: TaggerFolder, host: Host
) -> TaggerJob:
    """What the user's command is run with: its placeholders filled in, a folder, a deadline."""
    values = {f"{stage}_model": name for stage, name in server.models.items()}
    values |= {f"{stage}_language": code for stage, code in settings.language.items()}
    # Where stages differ, contradictions() has refused {language}.
    values |= {"language": next(iter(settings.language.values()), "")}
    values |= {"base_url": server.base_url, "model": server.model, **settings.numbers}
    return TaggerJob(
        command=command.fill(values | folder.placeholders()),
        folder=folder,
        timeout_s=settings.tagger_timeout,
        secrets=settings.secrets(),
        show=host.show,
    )


def python_tagger(settings: Settings, server: Server, host: Host) -> PythonTagger | None:
    """The user's own Python tagger, None without one.

    Its hook is given the settings with the base URL and the models of the server that answered.

    Raises:
        SettingsError: the user's hook raised, or a schema is wanted that only the built-in tagger sends.
        TaggerObjectError: what the hook returned is not a tagger.
    """
    models = {f"{stage}_model": name for stage, name in server.models.items()}
    known = {"base_url": server.base_url, "model": server.model, **models}
    tagger = host.find_tagger(settings.model_copy(update=known))
    if tagger is None:
        return None
    if settings.structured:
        message = (
            "--setup-structured: the tagger that pytest_setups_tagger returned makes its own requests, so "
            "that no schema can be added to them; leave one of the two out"
        )
        raise SettingsError(message)
    return wrap_python_tagger(tagger, at_once=settings.concurrency, secrets=settings.secrets())
