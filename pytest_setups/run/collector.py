"""The run: gathers measurements and evidence, judges them, and builds the entry."""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pytest_setups.checks.output_checks import CHECKS, normalised
from pytest_setups.redaction import encodable, one_line, redact, redact_json, redact_url, without_paths
from pytest_setups.registry import entry as schema
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.measurement import ImageSample, Measurement
from pytest_setups.registry.performance import (
    by_stage,
    image_performance,
    image_seconds,
    images_per_s,
    mean_image_seconds,
    reported_models,
    stage_performance,
)
from pytest_setups.registry.store import Recorded, Registry, make_slug
from pytest_setups.run.evidence import (
    Evidence,
    ModelsEvidence,
    TaggerEvidence,
    VisionEvidence,
    parse_evidence,
)
from pytest_setups.serving.backends import Identity
from pytest_setups.serving.local.environment import environment
from pytest_setups.serving.local.listener import Listener, address
from pytest_setups.tagging.images import FORMAT, QUALITY, ImageError, file_sha256
from pytest_setups.tagging.outputs import TAGGER_CHECK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_setups.registry.repository import GitState
    from pytest_setups.run.connection import Session
    from pytest_setups.serving.facts import ServerFacts

SAME_WORDS_CHECK = "same-words"
Asked = tuple[str, int, Stage]
"""An image's name, which of its samples, and the stage."""


class Standing(StrEnum):
    """Where a run stands: everything proved, something failed, or something missing."""

    SUCCESS = "success"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of a run; ``reason`` is empty only for a success."""

    standing: Standing
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """What the user has put at the end: names of own checks, the last word on the entry, private places."""

    checks: Sequence[str] = ()
    modify: Callable[[schema.Entry], schema.Entry] = lambda entry: entry
    places: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """What a run has gathered so far; the last attempt at a measurement counts, all are kept.

    ``baseline`` names the entry that it is compared with.
    """

    session: Session
    invocation: Sequence[str]
    concurrency: int
    finish: Finish
    models: ModelsEvidence | None = None
    vision: VisionEvidence | None = None
    tagger: TaggerEvidence | None = None
    baseline: str | None = None
    attempts: dict[Asked, list[Measurement]] = field(default_factory=lambda: defaultdict(list))

    def add(self, line: str) -> None:
        """Take what a test report carried."""
        evidence: Evidence = parse_evidence(line)
        if isinstance(evidence, Measurement):
            earlier = self.attempts[evidence.image, evidence.sample, evidence.stage]
            earlier.append(evidence.model_copy(update={"attempt": len(earlier) + 1}))
        elif isinstance(evidence, ModelsEvidence):
            self.models = evidence
        elif isinstance(evidence, TaggerEvidence):
            self.tagger = evidence
        else:
            self.vision = evidence

    @property
    def measurements(self) -> list[Measurement]:
        """The last attempt at each measurement, sorted by image, sample and stage."""
        return [attempts[-1] for _, attempts in self._sorted()]

    @property
    def public_measurements(self) -> list[Measurement]:
        """The measurements without secrets, and without private paths where the user wants that."""
        return [Measurement.model_validate(self.public(m.model_dump(mode="json"))) for m in self.measurements]

    def verdict(self) -> Verdict:
        """Judge the run: success needs the models, the vision proof and every image at every stage."""
        missing = self._missing()
        if missing:
            return Verdict(Standing.INCOMPLETE, missing)
        failed = "; ".join(self._failed())
        return Verdict(Standing.FAILED, failed) if failed else Verdict(Standing.SUCCESS)

    def same_words(self) -> list[str]:
        """Images that got the words of another image: a stale or dropped picture (vllm#20261)."""
        texts: dict[ImageSample, dict[str, str]] = defaultdict(dict)
        for measurement in self.measurements:
            text = normalised(measurement.text or "")
            texts[measurement.image, measurement.sample][measurement.stage] = text
        groups: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for (image, _), said in texts.items():
            for stages in ((Stage.DESCRIPTION,), (Stage.CAPTION, Stage.KEYWORDS)):
                words = tuple(said.get(stage.value, "") for stage in stages)
                if all(words):
                    groups[words].add(image)
        alike = {pair for group in groups.values() for pair in pairwise(sorted(group))}
        return [f"{first} and {second}" for first, second in sorted(alike) if self._differ(first, second)]

    def record(self, registry: Registry, git: GitState, verdict: Verdict) -> Recorded:
        """Write the entry and its results file.

        Raises:
            RegistryError: the registry cannot be written, or the slug that was asked for is taken.
        """
        lines = [
            json.dumps(self.public(m.model_dump(mode="json")), ensure_ascii=False, separators=(",", ":"))
            for _, attempts in self._sorted()
            for m in attempts
        ]
        settings, server = self.session.settings, self.session.server
        name, backend = (server.model, server.identity.backend) if server else ("unknown", "unknown")
        return registry.add(
            lambda _, results: self.finish.modify(self.entry(git, verdict, results)),
            results="".join(f"{line}\n" for line in lines).encode(),
            slug=settings.slug or make_slug(name, backend),
            exact=settings.slug is not None,
        )

    def _sorted(self) -> Iterator[tuple[Asked, list[Measurement]]]:
        order = {stage.value: number for number, stage in enumerate(Stage)}
        return iter(sorted(self.attempts.items(), key=lambda item: (*item[0][:2], order[item[0][2]])))

    def _missing(self) -> str:
        wanted = [(sample.name, sample.nth, stage.value) for sample in self.session.asked for stage in Stage]
        absent = [asked for asked in wanted if asked not in self.attempts]
        tests: dict[str, Evidence | None] = {"models": self.models, "vision": self.vision}
        if self.session.settings.tagger_command is not None:
            tests["tagger"] = self.tagger
        parts = [f"test_{name} did not run" for name, found in tests.items() if found is None]
        if absent:
            counts = Counter(stage for _, _, stage in absent)
            each = ", ".join(f"{count} {stage}" for stage, count in counts.items())
            parts.append(f"{len(absent)} of {len(wanted)} measurements are missing ({each})")
        return "; ".join(parts)

    def _failed(self) -> Iterator[str]:
        if self.models is not None and not self.models.passed:
            yield f"models: {self.models.reason}"
        if self.session.server is None:
            return
        if self.vision is not None and not self.vision.seen:
            yield f"vision: {self.vision.reason}"
        if self.tagger is not None and self.tagger.reason is not None:
            reason = "; ".join(self.tagger.reason.splitlines())
            yield f"tagger: {one_line(reason, 1000)}"
        failed = [m for m in self.measurements if not m.passed]
        if failed:
            first = failed[0]
            example = f"{first.stage} of {first.image}: {first.failures[0].check}: {first.failures[0].reason}"
            yield f"{len(failed)} of {len(self.measurements)} answers are not populated; {example}"
        alike = self.same_words()
        if alike:
            yield f"{SAME_WORDS_CHECK}: different pictures got the same words: {', '.join(alike[:3])}"

    def _differ(self, first: str, second: str) -> bool:
        return self.file_sha256(first) != self.file_sha256(second)

    def file_sha256(self, name: str) -> str | None:
        """Sha256 (hex) of a sample image's file, None where it cannot be read."""
        try:
            return file_sha256(self.session.samples[name].path)
        except (ImageError, KeyError):
            return None

    def entry(self, git: GitState, verdict: Verdict, results: schema.Results | None = None) -> schema.Entry:
        """The run as an entry, without secrets; ``results`` is None where nothing is recorded."""
        settings = self.session.settings
        entry = schema.Entry(
            model=self._model(),
            server=self._server(),
            tagger=self._tagger(),
            verification=self._verification(git, verdict, results),
            notes=settings.notes,
            performance=self.performance(),
            environment=environment(self._facts().listener, settings.environment),
        )
        return schema.Entry.model_validate(self.public(entry.model_dump(mode="json")))

    def _facts(self) -> ServerFacts:
        facts = self.session.facts
        if facts is None:
            message = "a run that records gathers what is known of the server"
            raise LookupError(message)
        return facts

    def _model(self) -> schema.Model:
        settings, server, known = self.session.settings, self.session.server, self._facts().model
        earlier = settings.origin.model.repo_id if settings.origin else None
        return schema.Model(
            repo_id=settings.model_repo or known.repo_id or earlier,
            local_path=known.path,
            served_model_name=server.model if server else settings.model or "unknown",
            format=known.format,
            quantization=known.quantization,
            vision=self.vision.seen if self.vision else known.vision,
            revision=known.revision,
            base_model=known.base_model,
            digest=server.identity.digest if server else None,
        )

    def _server(self) -> schema.Server:
        server, facts, launched = self.session.server, self._facts(), self.session.launched
        identity = server.identity if server else Identity(backend=facts.command.backend or "unknown")
        listener = facts.listener if isinstance(facts.listener, Listener) else None
        return schema.Server(
            backend=identity.backend,
            version=identity.version,
            command=facts.command_text,
            command_source=facts.source,
            command_reason=facts.command_reason,
            port=address(self.session.where)[1],
            flags=dict(facts.command.flags),
            chat_template=facts.command.chat_template or identity.chat_template,
            context_length=identity.context_length,
            started_at=listener.started_at if listener else None,
            working_directory=listener.directory if listener else None,
            variables=dict(listener.variables) if listener else None,
            ready_s=round(launched.ready_s, 3) if launched and launched.ready_s is not None else None,
        )

    def _tagger(self) -> schema.Tagger:
        settings, server = self.session.settings, self.session.server
        prompts = settings.prompts
        if self.session.program is not None:
            return self._other_tagger(self.session.program)
        return schema.Tagger(
            command=self._pytest_command(),
            base_url=redact_url(self.session.where),
            models={stage.value: name for stage, name in server.models.items()} if server else {},
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=settings.seed,
            prompts=schema.PromptSet(
                profile=prompts.profile,
                system=prompts.system,
                caption=prompts.caption,
                keywords=prompts.keywords,
                description=prompts.description,
            ),
            image=schema.ImagePreparation(max_edge=settings.max_edge, format=FORMAT, quality=QUALITY),
            concurrency=settings.concurrency,
            stream=settings.stream,
            extra_body=settings.extra_body or None,
        )

    def _other_tagger(self, program: str) -> schema.Tagger:
        """A tagger that is not the built-in one: known is what its command was given, and what it told."""
        settings, server = self.session.settings, self.session.server
        given = settings.tagger_command.names if settings.tagger_command else frozenset()
        models = {
            stage.value: name
            for stage, name in (server.models.items() if server else ())
            if {"model", f"{stage.value}_model"} & given
        }
        return schema.Tagger(
            command=redact(self.tagger.command or program) if self.tagger else self._pytest_command(),
            base_url=redact_url(self.session.where) if "base_url" in given else None,
            models=models | reported_models(self.measurements),
            max_new_tokens=settings.max_new_tokens if "max_new_tokens" in given else None,
            temperature=settings.temperature if "temperature" in given else None,
            top_p=settings.top_p if "top_p" in given else None,
            program=redact(program),
        )

    def _pytest_command(self) -> str:
        return shlex.join(["pytest", *(redact(encodable(argument)) for argument in self.invocation)])

    def public(self, value: Any) -> Any:
        """The JSON value without secrets, and without private paths where the user wants that."""
        value = redact_json(value, self.session.settings.api_key())
        return self._without_paths(value) if self.session.settings.redact_paths else value

    def _without_paths(self, value: Any) -> Any:
        if isinstance(value, str):
            files = self.tagger.places if self.tagger else {}
            return without_paths(value, {**self.finish.places, **files})
        if isinstance(value, dict):
            return {key: self._without_paths(part) for key, part in value.items()}
        return [self._without_paths(part) for part in value] if isinstance(value, list) else value

    def _verification(
        self, git: GitState, verdict: Verdict, results: schema.Results | None
    ) -> schema.Verification:
        settings, success = self.session.settings, verdict.standing is Standing.SUCCESS
        names = sorted({name for name, _, _ in self.attempts})
        own = [TAGGER_CHECK] if self.session.program is not None else []
        return schema.Verification(
            date_utc=datetime.now(UTC).replace(microsecond=0),
            git_commit=git.commit,
            git_dirty=git.dirty,
            git_reason=git.reason,
            images_processed=len(names),
            status="success" if success else "failed",
            failure_reason=None if success else verdict.reason,
            images=[schema.ImageRef(name=name, sha256=self.file_sha256(name)) for name in names],
            vision=self.vision.model_dump(mode="json", exclude={"kind"}) if self.vision else None,
            checks=["models", "vision", *own, *CHECKS, SAME_WORDS_CHECK, *self.finish.checks],
            results=results,
            from_entry=settings.from_entry,
            baseline=self.baseline,
        )

    def performance(self) -> schema.Performance:
        """The figures of the stages and of whole images."""
        measurements = self.measurements
        seconds = image_seconds(measurements)
        return schema.Performance(
            avg_latency_s=mean_image_seconds(seconds),
            images_per_s=images_per_s(measurements, seconds),
            concurrency=None if self.session.settings.tagger_command else self.concurrency,
            repeat=self.session.settings.repeat,
            stages={stage: stage_performance(found) for stage, found in by_stage(measurements).items()},
            image=image_performance(seconds),
        )
