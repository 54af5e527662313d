"""What one process of a run works with: its settings, its images, the server, and who asks it."""

from __future__ import annotations

import json
import shlex
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from pytest_setups import demo
from pytest_setups.api.client import Client, ServerError
from pytest_setups.redaction import one_line, redact_url
from pytest_setups.registry.entry import Stage
from pytest_setups.serving.backends import Identity
from pytest_setups.serving.facts import ServerFacts, gather_facts
from pytest_setups.serving.launch import LaunchedServer, LaunchPlan, RecordedLaunch, plan_launch
from pytest_setups.serving.processes.batch_program import ProgramResult
from pytest_setups.serving.processes.server_process import LaunchError, free_port
from pytest_setups.serving.server import Server, meet, wait_until_ready, warm_up
from pytest_setups.tagging.command_tagger import ExternalTagger, Job, Workplace
from pytest_setups.tagging.images import control_pictures
from pytest_setups.tagging.prefetch import Ahead, InOrder
from pytest_setups.tagging.python_tagger import own_tagger
from pytest_setups.tagging.request import Request, readiness_request
from pytest_setups.tagging.served_tagger import ServedTagger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_setups.config.settings import Settings
    from pytest_setups.serving.command_line.launch_command import CommandSource
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.prefetch import Asker
    from pytest_setups.tagging.python_tagger import OwnImages, OwnStages
    from pytest_setups.tagging.tagger import Tagger


class Voice(Protocol):
    """What tells the user how it goes."""

    def say(self, line: str) -> None:
        """Tell one line."""

    def progress(self, seconds: float, line: str) -> None:
        """Tell how long a launch has taken so far, and the last line of its log."""


@dataclass(frozen=True, slots=True)
class Host:
    """What the process lends: a new folder, a way to show a line at once, and a user's own tagger."""

    folder: Callable[[], Path]
    show: Callable[[str], None] | None
    find_tagger: Callable[[Settings], object | None]


class Session:
    """One process of a run.

    ``server`` is None until it is met; ``fault`` says why it cannot be, or that it lists models but
    hangs.
    """

    def __init__(self, settings: Settings, samples: Sequence[Sample], host: Host) -> None:
        self.settings = settings
        self._host = host
        self.samples = {sample.name: sample for sample in samples}
        self.server: Server | None = None
        self.fault: str | None = None
        self.launched: LaunchedServer | None = None
        self.facts: ServerFacts | None = None
        self.program: str | None = None
        self._base_url = settings.base_url
        self._open = ExitStack()
        self._client: Client | None = None
        self._asker: Asker | None = None
        self._external: ExternalTagger | None = None

    def meet(self, voice: Voice) -> None:
        """Start the server if wanted, wait for it, choose models, warm up, and learn what an entry needs.

        A server fault is kept in ``fault``.

        Raises:
            ModelChoiceError: the models wished for are not those served.
            DemoError: no server for the demo can be started here.
            StartError: the command cannot be started.
        """
        try:
            if self.settings.demo or self.settings.launch is not None:
                self._launch(voice)
            elif self.settings.wait:
                voice.say(f"setups: waiting up to {self.settings.wait:g} s for {redact_url(self.where)}")
                wished = self.settings.wished_models[Stage.CAPTION]
                wait_until_ready(self.client, readiness_request, self.settings.wait, model=wished)
            self.server = meet(self.client, self.settings.wished_models)
            self._warm_up()
        except (ServerError, LaunchError) as error:
            self.fault = str(error)
        if self.settings.recording or self.settings.report or self.settings.baseline:
            self.facts = self._gather_facts()

    @property
    def asked(self) -> list[Sample]:
        """The samples in the order in which they are asked: all images once, then all again."""
        times = range(1, self.settings.repeat + 1)
        return [replace(sample, nth=nth) for nth in times for sample in self.samples.values()]

    @property
    def where(self) -> str:
        """The base URL."""
        return self._base_url or ""

    @property
    def client(self) -> Client:
        """The one client of this process."""
        if self._client is None:
            self._client = Client(
                base_url=self.where,
                api_key=self.settings.api_key(),
                timeout_s=self.settings.timeout,
                connections=self.settings.concurrency,
            )
            self._open.callback(self._client.close)
        return self._client

    @property
    def request(self) -> Request:
        """What every request carries; needs a server that was met."""
        server = self.met()
        return Request(
            models=server.models,
            prompts=self.settings.prompts,
            parameters=self.settings.parameters | dict(server.parameters) | self.settings.extra_body,
            stream=self.settings.stream,
        )

    def met(self) -> Server:
        """The server.

        Raises:
            LookupError: it did not answer; the message says what happened.
        """
        if self.server is None:
            raise LookupError(self.fault or "the server was not asked yet")
        return self.server

    def asker(self, plan: Mapping[Sample, Sequence[Stage]]) -> Asker:
        """Who asks; made at the first call, for the images and stages that this process will take."""
        if self._asker is None:
            at_once, tagger = self.settings.concurrency, self._tagger()
            ahead = at_once > 1 and plan and tagger is not self._external
            self._asker = Ahead(tagger, plan, at_once, self.client.abort) if ahead else InOrder(tagger)
            self._open.callback(self._asker.close)
        return self._asker

    @property
    def external(self) -> ExternalTagger:
        """The external tagger; needs its command and a server that was met."""
        if self._external is None:
            self._external = self._hire(Workplace(self._host.folder()), None)
            self._open.callback(self._external.job.workplace.tidy)
        return self._external

    @cached_property
    def own(self) -> OwnStages | OwnImages | None:
        """The user's own Python tagger, None without one; needs a server that was met."""
        found = self._host.find_tagger(self._told_settings())
        if found is None:
            return None
        settings = self.settings
        return own_tagger(found, at_once=settings.concurrency, secrets=(settings.api_key(),))

    def find_program(self) -> None:
        """Learn which tagger is verified in place of the built-in one; ``program`` is None without one.

        Raises:
            SettingsError: the user's hook raised.
            TaggerObjectError: what it returned is no tagger.
        """
        if self.settings.tagger_command is not None:
            self.program = self.settings.tagger_command.text
        elif self.server is not None and self.own is not None:
            self.program = type(self.own.own).__qualname__

    def close(self) -> None:
        """Stop asking, and stop the server if it is ours."""
        self._open.close()

    def to_worker(self) -> str:
        """What another process of this run needs to know, as JSON."""
        server = asdict(self.server) if self.server else None
        known = {"base_url": self._base_url, "fault": self.fault, "server": server, "external": None}
        if self.fault is None and self.settings.tagger_command is not None:
            folder, ended = self.external.job.workplace.folder, self.external.ended()
            known["external"] = {"folder": str(folder), "ended": ended}
        return json.dumps(known)

    def from_controller(self, text: str) -> Self:
        """Take over what the controller learned."""
        known = json.loads(text)
        self._base_url, self.fault = known["base_url"], known["fault"]
        if known["server"]:
            server = known["server"]
            self.server = Server(
                base_url=server["base_url"],
                served=tuple(server["served"]),
                models={Stage(stage): name for stage, name in server["models"].items()},
                identity=Identity(**server["identity"]),
                parameters=server["parameters"],
            )
        if known["external"]:
            ended = ProgramResult(**known["external"]["ended"])
            self._external = self._hire(Workplace(Path(known["external"]["folder"])), ended)
        return self

    def _tagger(self) -> Tagger:
        settings = self.settings
        if settings.tagger_command is not None:
            return self.external
        if self.own is not None:
            return self.own
        return ServedTagger(
            self.client, self.request, max_edge=settings.max_edge, at_once=settings.concurrency
        )

    def _hire(self, workplace: Workplace, ended: ProgramResult | None) -> ExternalTagger:
        settings, server = self.settings, self.met()
        if settings.tagger_command is None:
            message = "no --setup-tagger-command was given"
            raise LookupError(message)
        values = {f"{stage.value}_model": name for stage, name in server.models.items()}
        values |= {"base_url": self.where, "model": server.model, **settings.numbers}
        job = Job(
            command=settings.tagger_command.fill(values | workplace.values()),
            workplace=workplace,
            timeout_s=settings.tagger_timeout,
            secrets=(settings.api_key(),),
            show=self._host.show,
        )
        return ExternalTagger(job, list(self.samples.values()), ended)

    def _told_settings(self) -> Settings:
        """The settings with the base URL and the models that were met."""
        server = self.met()
        models = {f"{stage.value}_model": name for stage, name in server.models.items()}
        return self.settings.model_copy(update={"base_url": self.where, "model": server.model, **models})

    def _launch(self, voice: Voice) -> None:
        launch = self._planned()
        self._base_url = launch.base_url
        by = f" as the entry {self.settings.from_entry} has it" if launch.source == "entry" else ""
        voice.say(f"setups: starting{by}: {one_line(launch.shown, 2000)}")
        self.launched = LaunchedServer(launch)
        self._open.callback(self.launched.process.stop)
        voice.say(f"setups: its log is {self.launched.process.log}")
        wished, seconds = self.settings.wished_models[Stage.CAPTION], self.settings.launch_timeout
        try:
            self.launched.wait(self.client, readiness_request, seconds, model=wished, progress=voice.progress)
        except LaunchError as error:
            if self.settings.demo:
                raise demo.DemoError(self._demo_fault(error, self.launched)) from None
            raise
        voice.say(f"setups: ready after {self.launched.ready_s:.1f} s")

    def _demo_fault(self, error: LaunchError, launched: LaunchedServer) -> str:
        if launched.process.died_of_illegal_instruction():
            return f"{launched.process.command[0]} cannot run on this processor: {demo.INSTALL}"
        return str(error)

    def _planned(self) -> LaunchPlan:
        settings = self.settings
        if settings.demo:
            return plan_launch(shlex.join(demo.command(free_port(), settings.demo_server)))
        entry = settings.origin if settings.launch == "" else None
        recorded = None
        if entry is not None:
            kept = entry.server
            recorded = RecordedLaunch(entry.tagger.base_url, kept.variables or {}, kept.working_directory)
        return plan_launch(settings.launch_command or "", base_url=settings.base_url, recorded=recorded)

    def _gather_facts(self) -> ServerFacts:
        settings, launched = self.settings, self.launched
        identity = self.server.identity if self.server else Identity()
        commands: list[tuple[CommandSource, str | None]] = [("given", settings.server_command)]
        if launched is not None:
            commands.append((launched.launch.source, launched.launch.command.text))
        return gather_facts(
            identity,
            self.where,
            commands=commands,
            last_resort=settings.origin.server.command if settings.origin else None,
            model_path=settings.model_path,
        )

    def _warm_up(self) -> None:
        request = self.request
        prompt = self.settings.prompts.of(Stage.CAPTION)
        body = request.body(Stage.CAPTION, prompt, control_pictures()[0])
        warm_up(self.client, body, self.settings.warmup, stream=request.stream)
