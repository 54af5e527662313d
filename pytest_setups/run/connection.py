"""The connection of one process of a run: its client, the server that answered, and the tagger."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_setups.api.access import ServerAccess
from pytest_setups.api.errors import ServerError
from pytest_setups.api.request_log import RequestLog
from pytest_setups.redaction import Redactor, redact_url, url_secrets
from pytest_setups.registry.entry import Stage
from pytest_setups.run import launcher, taggers
from pytest_setups.run.reference import Reference
from pytest_setups.serving.backends import Identity, SchemaForm
from pytest_setups.serving.facts import ServerFacts, gather_facts
from pytest_setups.serving.processes.batch_program import ProgramResult
from pytest_setups.serving.processes.server_process import LaunchError
from pytest_setups.serving.server import Server, query_server, wait_until_ready, warm_up
from pytest_setups.tagging.appearance import Appearance
from pytest_setups.tagging.asking_process import AskingJob, AskingProcess
from pytest_setups.tagging.command_tagger import CommandTagger, TaggerFolder
from pytest_setups.tagging.images import ImageError, file_sha256, prepare, warm_up_picture
from pytest_setups.tagging.outcome_sources import PlannedOutcomes, SequentialOutcomes, ThreadedDeliveries
from pytest_setups.tagging.request import Request, readiness_request
from pytest_setups.tagging.served_tagger import ServedTagger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_setups.api.client import Client
    from pytest_setups.checks.expectations import Expectation
    from pytest_setups.config.settings import Settings
    from pytest_setups.registry.entry import CommandSource
    from pytest_setups.run.host import Announcer, Host
    from pytest_setups.serving.launch import LaunchedServer
    from pytest_setups.tagging.command_template import CommandTemplate
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outcome_sources import OutcomeSource
    from pytest_setups.tagging.python_tagger import PythonTagger
    from pytest_setups.tagging.tagger import Tagger


@dataclass(frozen=True, slots=True)
class Connecting:
    """The server has not been asked yet."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The server answered, and serves a model for each stage."""

    server: Server


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """Nothing can be measured; ``server`` is not None where it lists its models and then hangs."""

    reason: str
    server: Server | None = None


ConnectionState = Connecting | Connected | ConnectionFailed


class Connection:
    """What one process of a run holds open.

    With pytest-xdist the controller connects and every worker takes over what the controller learned
    (``to_worker``, ``from_controller``).
    """

    def __init__(
        self,
        settings: Settings,
        samples: Sequence[Sample],
        expectations: Mapping[str, Expectation],
        host: Host,
    ) -> None:
        self.settings = settings
        self.expectations = expectations
        self.samples = {sample.name: sample for sample in samples}
        self._host = host
        self._state: ConnectionState = Connecting()
        self._base_url = settings.base_url or ""
        self._launched: LaunchedServer | None = None
        self._hashes: dict[str, str | None] = {}
        self._open = ExitStack()
        self._outcomes: OutcomeSource | None = None
        self._asking_process: AskingProcess | None = None
        self._program_result: tuple[TaggerFolder, ProgramResult] | None = None

    def connect(self, announcer: Announcer) -> None:
        """Start the server if wanted, wait for it, choose a model for each stage, and warm it up.

        A server's fault is kept in ``state``: the tests report it.

        Raises:
            ModelChoiceError: the requested models are not served.
            DemoError: no server for the demo can be started here.
            StartError: the command cannot be started.
        """
        server: Server | None = None
        try:
            self._wait_for_server(announcer)
            server = query_server(self.client, self.settings.requested_models)
            self._state = Connected(server)
            self._warm_up()
        except LaunchError as error:
            self._state = ConnectionFailed(self.redactor.text(str(error)), server)
        except ServerError as error:
            reasons = filter(None, (self.redactor.text(str(error)), self.log_end()))
            self._state = ConnectionFailed("; ".join(reasons), server)

    def fail(self, reason: str) -> None:
        """Let every test of this process fail with this reason."""
        self._state = ConnectionFailed(reason)

    @property
    def state(self) -> ConnectionState:
        """Connecting, connected or failed."""
        return self._state

    @property
    def server(self) -> Server | None:
        """The server that answered, None where none did."""
        return None if isinstance(self._state, Connecting) else self._state.server

    @property
    def fault(self) -> str | None:
        """Why nothing can be measured, None where it can."""
        return self._state.reason if isinstance(self._state, ConnectionFailed) else None

    def connected_server(self) -> Server:
        """The server.

        Raises:
            LookupError: it did not answer; the message says what happened.
        """
        if self.server is None:
            raise LookupError(self.fault or "the server was not asked yet")
        return self.server

    @property
    def samples_in_order(self) -> list[Sample]:
        """The samples in the order in which they are asked: all images once, then all again."""
        repetitions = range(1, self.settings.repeat + 1)
        return [replace(sample, nth=nth) for nth in repetitions for sample in self.samples.values()]

    def judges_words_of(self, sample: Sample) -> bool:
        """Whether any words are expected of an image, which its test of expectations judges."""
        return sample.name in self.expectations and self.expectations[sample.name].judges_words

    def language(self, sample: Sample, stage: Stage) -> str | None:
        """The code of the language that an output must be in, None where any will do."""
        expectation = self.expectations.get(sample.name)
        expected = expectation.language_of(stage) if expectation else None
        return expected or self.settings.language.get(stage)

    @property
    def judges_languages(self) -> bool:
        """Whether any output must be in some language."""
        return any(self.language(sample, stage) for sample in self.samples.values() for stage in Stage)

    def file_sha256(self, name: str) -> str | None:
        """Sha256 (hex) of a sample image's file, None where it cannot be read."""
        if name not in self._hashes:
            try:
                self._hashes[name] = file_sha256(self.samples[name].path)
            except (ImageError, KeyError):
                self._hashes[name] = None
        return self._hashes[name]

    def look_alike(self, first: str, second: str) -> bool:
        """Whether two sample images are the same file, or pictures that hardly differ."""
        if self.file_sha256(first) is not None and self.file_sha256(first) == self.file_sha256(second):
            return True
        try:
            appearances = [Appearance.of(self.samples[name].path) for name in (first, second)]
        except (ImageError, KeyError):
            return False
        return appearances[0].is_like(appearances[1])

    @cached_property
    def reference(self) -> Reference | None:
        """The keywords that people wrote into the sample images, None where they were not asked for."""
        return None if self.settings.reference is None else Reference.of(self.samples.values())

    @property
    def base_url(self) -> str:
        """Where the server answers, empty before a launched server has an address."""
        return self._base_url

    @property
    def ready_s(self) -> float | None:
        """Seconds from the start of a launched server to its first real answer, None for any other."""
        return self._launched.ready_s if self._launched else None

    def log_end(self) -> str | None:
        """Whether the server that this run started still runs, and its log's last lines; None without one."""
        return None if self._launched is None else self.redactor.text(self._launched.condition())

    @cached_property
    def _settings_secrets(self) -> tuple[str, ...]:
        return self.settings.secrets()

    @property
    def redactor(self) -> Redactor:
        """What hides this run's secrets and, where the user wants that, private paths."""
        secrets = (*self._settings_secrets, *url_secrets(self._base_url))
        if not self.settings.redact_paths:
            return Redactor(secrets)
        folder = self._tagger_folder()
        files = {f"{{{name}}}": path for name, path in folder.placeholders().items()} if folder else {}
        return Redactor(secrets, {**self._host.private_places, **files})

    @property
    def access(self) -> ServerAccess:
        """How the server is reached."""
        return ServerAccess(self._base_url, self.settings.api_key(), self.settings.timeout)

    @cached_property
    def client(self) -> Client:
        """The one client of this process."""
        client = self.access.client(self.settings.concurrency)
        self._open.callback(client.close)
        return client

    @property
    def given_up(self) -> str | None:
        """Why the server is not asked any more, None while it is."""
        client: Client | None = self.__dict__.get("client")
        return client.given_up if client else None

    @property
    def request_log(self) -> RequestLog:
        """When the chat requests of this process ended; empty before its first."""
        client: Client | None = self.__dict__.get("client")
        log = client.log if client else RequestLog()
        return replace(log, under_way=self._asking_process.left) if self._asking_process else log

    @property
    def request(self) -> Request:
        """What every request carries; needs a server that answered."""
        server = self.connected_server()
        return Request(
            models=server.models,
            prompts=self.settings.prompts,
            parameters=self.settings.parameters | dict(server.parameters) | self.settings.extra_body,
            stream=self.settings.stream,
            schema=self.settings.keyword_schema,
            schema_form=server.schema_form,
        )

    @cached_property
    def facts(self) -> ServerFacts:
        """What else is known of the server: its command, its process, its model's files."""
        settings, launched = self.settings, self._launched
        commands: list[tuple[CommandSource, str | None]] = [("given", settings.server_command)]
        if launched is not None:
            commands.append((launched.launch.source, launched.launch.command.text))
        return gather_facts(
            self.server.identity if self.server else Identity(),
            self._base_url,
            commands=commands,
            last_resort=settings.origin.server.command if settings.origin else None,
            model_path=settings.model_path,
        )

    def outcomes(self, plan: Callable[[], Mapping[Sample, Sequence[Stage]]]) -> OutcomeSource:
        """The source of the outcomes, made at the first call.

        ``plan`` lists the images and stages that this process will take. It is called once: it looks at
        every test of the session, and doing that in each test would be quadratic.
        """
        if self._outcomes is None:
            self._outcomes = self._make_outcomes(plan())
            self._open.callback(self._outcomes.close)
        return self._outcomes

    @cached_property
    def command_tagger(self) -> CommandTagger:
        """The tagger of ``--setup-tagger-command``; needs the option and a server that answered."""
        command = self.settings.tagger_command
        if command is None:
            message = "no --setup-tagger-command was given"
            raise LookupError(message)
        if self._program_result is not None:
            folder, result = self._program_result
            return self._command_tagger(command, folder, result)
        folder = TaggerFolder(self._host.make_folder())
        self._open.callback(folder.remove_images)
        return self._command_tagger(command, folder, None)

    @cached_property
    def python_tagger(self) -> PythonTagger | None:
        """The user's own Python tagger, None without one; needs a server that answered."""
        return taggers.python_tagger(self.settings, self.connected_server(), self._host)

    @property
    def program(self) -> str | None:
        """The tagger that is verified in place of the built-in one: a command or a class, None without.

        Raises:
            SettingsError: the user's hook raised.
            TaggerObjectError: what the hook returned is not a tagger.
        """
        if self.settings.tagger_command is not None:
            return self.settings.tagger_command.text
        if self.server is None or self.python_tagger is None:
            return None
        return type(self.python_tagger.user_tagger).__qualname__

    def close(self) -> None:
        """Stop asking, and stop the server if this run started it."""
        self._open.close()

    def to_worker(self) -> str:
        """What another process of this run needs to know, as JSON."""
        server, program = self.server, None
        if self.fault is None and self.settings.tagger_command is not None:
            tagger = self.command_tagger
            program = {"folder": str(tagger.job.folder.path), "result": asdict(tagger.run().program)}
        return json.dumps(
            {
                "base_url": self._base_url,
                "fault": self.fault,
                "server": asdict(server) if server else None,
                "program": program,
            }
        )

    def from_controller(self, text: str) -> None:
        """Take over what the controller learned."""
        known = json.loads(text)
        self._base_url = known["base_url"]
        server = _server_of(known["server"]) if known["server"] else None
        if known["fault"] is not None:
            self._state = ConnectionFailed(known["fault"], server)
        elif server is not None:
            self._state = Connected(server)
        if known["program"]:
            folder, result = Path(known["program"]["folder"]), ProgramResult(**known["program"]["result"])
            self._program_result = TaggerFolder(folder), result

    def _wait_for_server(self, announcer: Announcer) -> None:
        settings = self.settings
        if settings.demo or settings.launch is not None:
            launch = launcher.plan(settings)
            self._base_url = launch.base_url
            self._launched = launcher.start(settings, launch, announcer)
            self._open.callback(self._launched.process.stop)
            launcher.wait(settings, self._launched, self.client, announcer)
        elif settings.wait:
            where = redact_url(self._base_url)
            announcer.announce(f"setups: waiting up to {settings.wait:g} s for {where}")
            model = settings.requested_models[Stage.CAPTION]
            wait_until_ready(self.client, readiness_request, settings.wait, model=model)

    def _warm_up(self) -> None:
        request = self.request
        prompt = self.settings.prompts.of(Stage.CAPTION)
        body = request.body(Stage.CAPTION, prompt, warm_up_picture())
        warm_up(self.client, body, self.settings.warmup, stream=request.stream)

    def _make_outcomes(self, plan: Mapping[Sample, Sequence[Stage]]) -> OutcomeSource:
        at_once, tagger = self.settings.concurrency, self._tagger()
        # A tagger command has tagged every picture before its first output is taken.
        if at_once == 1 or not plan or self.settings.tagger_command is not None:
            return SequentialOutcomes(tagger)
        if isinstance(tagger, ServedTagger):
            if self.given_up is not None:  # in the vision proof: another process would find out again
                return SequentialOutcomes(tagger)
            self._asking_process = AskingProcess(self._asking_job(plan), self.client)
            return PlannedOutcomes(tagger, plan, self._asking_process)
        return PlannedOutcomes(tagger, plan, ThreadedDeliveries(tagger, plan, at_once))

    def _asking_job(self, plan: Mapping[Sample, Sequence[Stage]]) -> AskingJob:
        settings = self.settings
        return AskingJob(
            access=self.access,
            request=self.request,
            max_edge=settings.max_edge,
            at_once=settings.concurrency,
            plan=plan,
        )

    def _tagger(self) -> Tagger:
        settings = self.settings
        if settings.tagger_command is not None:
            return self.command_tagger
        if self.python_tagger is not None:
            return self.python_tagger
        return ServedTagger(self.client, self.request, lambda sample: prepare(sample.path, settings.max_edge))

    def _command_tagger(
        self, command: CommandTemplate, folder: TaggerFolder, result: ProgramResult | None
    ) -> CommandTagger:
        job = taggers.tagger_job(command, self.settings, self.connected_server(), folder, self._host)
        return CommandTagger(job, list(self.samples.values()), result)

    def _tagger_folder(self) -> TaggerFolder | None:
        """The folder of the tagger program, None where it has none yet."""
        tagger: CommandTagger | None = self.__dict__.get("command_tagger")
        return tagger.job.folder if tagger else None


def _server_of(document: dict[str, Any]) -> Server:
    """The server in what another process of this run wrote."""
    return Server(
        base_url=document["base_url"],
        models={Stage(stage): name for stage, name in document["models"].items()},
        identity=Identity(**document["identity"]),
        parameters=document["parameters"],
        schema_form=SchemaForm(document["schema_form"]),
    )
