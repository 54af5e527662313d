"""Starting the server of a run: which command, where it will answer, and waiting for its first answer."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pytest_setups import demo
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.serving.launch import LaunchedServer, LaunchPlan, RecordedLaunch, plan_launch
from pytest_setups.serving.processes.server_process import LaunchError, free_port
from pytest_setups.tagging.request import readiness_request

if TYPE_CHECKING:
    from pytest_setups.api.client import Client
    from pytest_setups.config.settings import Settings
    from pytest_setups.run.host import Announcer


def plan(settings: Settings) -> LaunchPlan:
    """What to start for these settings.

    Raises:
        DemoError: no server for the demo can be started here.
        StartError: the command cannot be started.
    """
    if settings.demo:
        return plan_launch(shlex.join(demo.command(free_port(), settings.demo_server)))
    entry = settings.origin if settings.launch == "" else None
    recorded = None
    if entry is not None:
        variables, directory = entry.server.variables or {}, entry.server.working_directory
        recorded = RecordedLaunch(entry.tagger.base_url, variables, directory)
    return plan_launch(settings.launch_command or "", base_url=settings.base_url, recorded=recorded)


def start(settings: Settings, launch: LaunchPlan, announcer: Announcer) -> LaunchedServer:
    """Show the command and start it.

    Raises:
        StartError: it cannot be started.
    """
    origin = f" the command of entry {settings.from_entry}" if launch.source == "entry" else ""
    announcer.announce(f"setups: starting{origin}: {one_line(launch.shown, 2000)}")
    launched = LaunchedServer(launch)
    announcer.announce(f"setups: its log is {launched.process.log}")
    return launched


def wait(settings: Settings, launched: LaunchedServer, client: Client, announcer: Announcer) -> None:
    """Wait for the first real answer of a server that was started.

    Raises:
        LaunchError: the server ended, or was not ready in time.
        DemoError: likewise, in the demo.
    """
    try:
        launched.wait(
            client,
            readiness_request,
            settings.launch_timeout,
            model=settings.requested_models[Stage.CAPTION],
            progress=announcer.progress,
        )
    except LaunchError as error:
        if settings.demo:
            raise demo.DemoError(_demo_fault(error, launched)) from None
        raise
    announcer.announce(f"setups: ready after {launched.ready_s:.1f} s")


def _demo_fault(error: LaunchError, launched: LaunchedServer) -> str:
    if launched.process.died_of_illegal_instruction():
        return f"{launched.process.command[0]} cannot run on this processor: {demo.INSTALL}"
    return str(error)
