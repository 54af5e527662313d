"""Building the entry of a run: what was known when the server answered, and what the run proved."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pytest_setups.checks.expectations import expectations_sha256
from pytest_setups.checks.languages import LANGUAGE_CHECK
from pytest_setups.checks.output_checks import CHECKS, SCHEMA_CHECK
from pytest_setups.redaction import encodable
from pytest_setups.registry.entry import (
    Entry,
    ExpectationsRecord,
    ImagePreparation,
    ImageRef,
    ModelRecord,
    PromptSet,
    ReferenceRecord,
    ServerRecord,
    Stage,
    StructuredRecord,
    TaggerRecord,
    Verification,
    VocabularyRecord,
)
from pytest_setups.registry.field_redaction import redact_fields
from pytest_setups.registry.performance import reported_models
from pytest_setups.regression.run_figures import measured_figures
from pytest_setups.run.verdict import EXPECTATIONS_CHECK, NO_PICTURE_CHECK, SAME_WORDS_CHECK, Standing
from pytest_setups.serving.backends import Identity
from pytest_setups.serving.local.environment import environment
from pytest_setups.serving.local.listener import Listener, address
from pytest_setups.tagging.images import FORMAT, QUALITY
from pytest_setups.tagging.outputs import TAGGER_CHECK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.registry.entry import Performance
    from pytest_setups.registry.git_repository import GitState
    from pytest_setups.registry.measurement import Measurement
    from pytest_setups.run.collector import Collected
    from pytest_setups.run.connection import Connection
    from pytest_setups.run.verdict import Verdict

NOT_JUDGED: Final = "the run has not been judged yet"


class EntryBuilder:
    """Builds one entry: a draft when the server has answered, finished when the run has been judged.

    The environment is scanned for the draft, and no part of the entry is built without being redacted.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        invocation: Sequence[str],
        concurrency: int,
        user_checks: Sequence[str] = (),
    ) -> None:
        self._connection = connection
        self._settings = connection.settings
        self._invocation = invocation
        # How many requests a tagger command sends at once is not known.
        self.concurrency = None if self._settings.tagger_command else concurrency
        self._user_checks = user_checks

    @cached_property
    def draft(self) -> Entry:
        """The entry as far as it is known before the tests: a failed one, of all images."""
        settings, connection = self._settings, self._connection
        entry = Entry(
            model=self._model(),
            server=self._server(),
            tagger=self._tagger(None),
            verification=Verification(
                date_utc=_now(),
                status="failed",
                failure_reason=NOT_JUDGED,
                images=self._images(list(connection.samples)),
            ),
            notes=settings.notes,
            environment=environment(connection.facts.listener, settings.environment),
        )
        performance = entry.performance.model_copy(update={"concurrency": self.concurrency})
        return redact_fields(entry.model_copy(update={"performance": performance}), connection.redactor)

    def finish(
        self,
        collected: Collected,
        verdict: Verdict,
        performance: Performance,
        git: GitState,
        *,
        baseline: str | None,
    ) -> Entry:
        """The entry of the whole run.

        Args:
            collected: what the tests handed over.
            verdict: the judgement, of measurements and comparison together.
            performance: the figures of the measurements.
            git: the commit it was made from.
            baseline: the name of the entry that it was compared with, None without one.
        """
        draft, redactor = self.draft, self._connection.redactor
        # The tagger again: what a command was run with, and which models it used, is known only now.
        parts = {
            "model": self._seen(draft.model, collected),
            "tagger": redact_fields(self._tagger(collected), redactor),
            "verification": redact_fields(self._verification(collected, verdict, git, baseline), redactor),
            "performance": performance,
        }
        return draft.model_copy(update=parts)

    def _model(self) -> ModelRecord:
        settings, server, facts = self._settings, self._connection.server, self._connection.facts.model
        origin = settings.origin.model.repo_id if settings.origin else None
        return ModelRecord(
            repo_id=settings.model_repo or facts.repo_id or origin,
            local_path=facts.path,
            served_model_name=server.model if server else settings.model or "unknown",
            format=facts.format,
            quantization=facts.quantization,
            vision=facts.vision,
            revision=facts.revision,
            base_model=facts.base_model,
            digest=server.identity.digest if server else None,
        )

    def _seen(self, model: ModelRecord, collected: Collected) -> ModelRecord:
        """The proof decides whether the model sees, not what server or files say of it."""
        if collected.vision is None:
            return model
        return model.model_copy(update={"vision": collected.vision.seen})

    def _server(self) -> ServerRecord:
        connection, facts = self._connection, self._connection.facts
        server, command = connection.server, facts.command
        # Without a server that answered, the command at least says which program it starts.
        identity = server.identity if server else Identity(backend=command.backend or "unknown")
        listener = facts.listener if isinstance(facts.listener, Listener) else None
        return ServerRecord(
            backend=identity.backend,
            version=identity.version,
            command=facts.command_text,
            command_source=facts.source,
            command_reason=facts.command_reason,
            port=address(connection.base_url)[1],
            flags=dict(command.flags),
            chat_template=command.chat_template or identity.chat_template,
            context_length=identity.context_length,
            started_at=listener.started_at if listener else None,
            working_directory=listener.directory if listener else None,
            variables=dict(listener.variables) if listener else None,
            ready_s=None if connection.ready_s is None else round(connection.ready_s, 3),
        )

    def _tagger(self, collected: Collected | None) -> TaggerRecord:
        program = self._connection.program
        return self._served_tagger() if program is None else self._other_tagger(program, collected)

    def _served_tagger(self) -> TaggerRecord:
        settings, prompts = self._settings, self._settings.prompts
        return TaggerRecord(
            command=self._pytest_command(),
            base_url=self._connection.base_url,
            api_key_env=settings.api_key_env,
            models=self._served_models(),
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=settings.seed,
            prompts=PromptSet(
                profile=prompts.profile,
                system=prompts.system,
                caption=prompts.caption,
                keywords=prompts.keywords,
                description=prompts.description,
            ),
            image=ImagePreparation(max_edge=settings.max_edge, format=FORMAT, quality=QUALITY),
            concurrency=settings.concurrency,
            stream=settings.stream,
            extra_body=settings.extra_body or None,
            structured=self._structured(),
            language=settings.language or None,
        )

    def _structured(self) -> StructuredRecord | None:
        """The schema as it was sent, None without one; a vocabulary by its checksum."""
        schema, server = self._settings.keyword_schema, self._connection.server
        if schema is None or server is None:
            return None
        vocabulary = self._settings.vocabulary
        return StructuredRecord(
            response_format=schema.response_format(server.schema_form, with_terms=False),
            vocabulary_sha256=vocabulary.sha256 if vocabulary else None,
            vocabulary_terms=len(vocabulary.terms) if vocabulary else None,
        )

    def _other_tagger(self, program: str, collected: Collected | None) -> TaggerRecord:
        """Another tagger: known is only what its command was given, and what it reported."""
        settings = self._settings
        given = settings.tagger_command.names if settings.tagger_command else frozenset()
        models = {
            stage: name
            for stage, name in self._served_models().items()
            if {"model", f"{stage}_model"} & given
        }
        evidence = collected.tagger if collected else None
        reported = reported_models(collected.measurements) if collected else {}
        return TaggerRecord(
            command=evidence.command or program if evidence else self._pytest_command(),
            base_url=self._connection.base_url if "base_url" in given else None,
            models=models | reported,
            max_new_tokens=settings.max_new_tokens if "max_new_tokens" in given else None,
            temperature=settings.temperature if "temperature" in given else None,
            top_p=settings.top_p if "top_p" in given else None,
            program=program,
            language=settings.language or None,
        )

    def _served_models(self) -> Mapping[Stage, str]:
        server = self._connection.server
        return dict(server.models) if server else {}

    def _pytest_command(self) -> str:
        return shlex.join(["pytest", *map(encodable, self._invocation)])

    def _verification(
        self, collected: Collected, verdict: Verdict, git: GitState, baseline: str | None
    ) -> Verification:
        success = verdict.standing is Standing.SUCCESS
        names = collected.image_names
        tagger_checks = [TAGGER_CHECK] if self._connection.program is not None else []
        sends_schema = self._settings.structured
        output_checks = [check.name for check in CHECKS if sends_schema or check.name != SCHEMA_CHECK]
        if self._connection.judges_languages:
            output_checks.append(LANGUAGE_CHECK)
        return Verification(
            date_utc=_now(),
            git_commit=git.commit,
            git_dirty=git.dirty,
            git_reason=git.reason,
            images_processed=len(names),
            status="success" if success else "failed",
            failure_reason=None if success else verdict.reason,
            images=self._images(names),
            vision=collected.vision.model_dump(mode="json", exclude={"kind"}) if collected.vision else None,
            checks=[
                "models",
                "vision",
                *tagger_checks,
                *output_checks,
                *([EXPECTATIONS_CHECK] if collected.expectations else []),
                SAME_WORDS_CHECK,
                NO_PICTURE_CHECK,
                *self._user_checks,
            ],
            expectations=self._expectations(collected),
            from_entry=self._settings.from_entry,
            baseline=baseline,
            figures=_figures(collected.measurements),
            vocabulary=self._vocabulary(),
            reference=self._reference(),
        )

    def _expectations(self, collected: Collected) -> ExpectationsRecord | None:
        results = [evidence.result for evidence in collected.expectations.values() if evidence.result]
        if not results:
            return None
        return ExpectationsRecord(
            sha256=expectations_sha256(self._connection.expectations),
            images=len({image for image, _ in collected.expectations}),
            groups=sum(result.groups for result in results),
            met=sum(result.met for result in results),
        )

    def _vocabulary(self) -> VocabularyRecord | None:
        vocabulary = self._settings.vocabulary
        if vocabulary is None:
            return None
        return VocabularyRecord(file=vocabulary.name, sha256=vocabulary.sha256, terms=len(vocabulary.terms))

    def _reference(self) -> ReferenceRecord | None:
        reference = self._connection.reference
        # The built-in tagger sends pictures without their metadata. What another one does with the files that
        # it is given is not known.
        known_to_tagger = self._connection.program is not None
        return reference.record(known_to_tagger=known_to_tagger) if reference else None

    def _images(self, names: Sequence[str]) -> list[ImageRef]:
        return [ImageRef(name=name, sha256=self._connection.file_sha256(name)) for name in names]


def _figures(measurements: Sequence[Measurement]) -> dict[str, float] | None:
    shares = measured_figures(measurements)
    return {name: round(share.value, 6) for name, share in shares.items()} or None


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
