"""The steps of the suite's tests: ask the server, leave the evidence on the test, fail with a reason."""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pytest

from pytest_setups.api.errors import ServerError
from pytest_setups.checks.expectations import judge_expectation, quote, said_in
from pytest_setups.checks.output_checks import check_outcome
from pytest_setups.checks.word_matching import ENGLISH
from pytest_setups.load.capacity import capacity_record, measure_levels
from pytest_setups.load.soak import open_log, soak_images
from pytest_setups.plugin.console import show_progress
from pytest_setups.plugin.server_faults import ServerFault
from pytest_setups.plugin.state import SUITE_NODE
from pytest_setups.plugin.user_hooks import UserChecks
from pytest_setups.proofs.vision import prove_vision
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.field_redaction import redact_fields
from pytest_setups.registry.measurement import SERVER_CHECK, FailedCheck, Line, Measurement
from pytest_setups.report import soak_text
from pytest_setups.report.capacity_text import level_text
from pytest_setups.run.evidence import (
    CapacityEvidence,
    ExpectationEvidence,
    ModelsEvidence,
    SoakEvidence,
    TaggerEvidence,
    VisionEvidence,
    measurement_of,
    with_keyword_matches,
)
from pytest_setups.serving.processes.python_child import ChildEndedError
from pytest_setups.tagging.outputs import Tagging

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_setups.registry.load_records import CapacityLevel
    from pytest_setups.run.connection import Connection
    from pytest_setups.tagging.images import Sample
    from pytest_setups.tagging.outputs import Outcome

LineT = TypeVar("LineT", bound=Line)
MAX_SEED: Final = 2**31
EVIDENCE: Final = pytest.StashKey[str]()
EXPECTATIONS_TEST: Final = "test_expectations"
CAPACITY_TEST: Final = "test_capacity"
SOAK_TEST: Final = "test_soak"
STAGE_TESTS: Final[Mapping[str, Sequence[Stage]]] = {
    **{f"test_{stage.value}": (stage,) for stage in Stage},
    EXPECTATIONS_TEST: tuple(Stage),
}
"""The stages whose outcomes a test of the suite looks at, by its name."""

_MEASURING: Final = tuple(f"{SUITE_NODE}::{test}" for test in ("test_tagger", *STAGE_TESTS))

_EXPERIMENTS: Final = frozenset({f"{SUITE_NODE}::{test}" for test in (CAPACITY_TEST, SOAK_TEST)})


@dataclass(frozen=True, slots=True)
class SuiteSteps:
    """What a test of the suite does: each step leaves its evidence on the test, and fails it where needed."""

    connection: Connection
    item: pytest.Item

    def check_models(self) -> None:
        """Fail unless the server lists its models and serves one for each stage."""
        connection = self.connection
        reason = None if connection.server else connection.fault or "the server was not asked"
        evidence = self._leave(ModelsEvidence(passed=reason is None, reason=reason))
        self._fail_for(evidence.reason, connection.fault)

    def prove_vision(self) -> None:
        """Fail unless the model sees."""
        judged, fault = _vision_evidence(self.connection)
        evidence = self._leave(judged)
        if not evidence.seen:
            self._fail_for(evidence.reason or "the model does not see", fault)

    def run_tagger(self) -> None:
        """Fail unless the tagger command ended well and wrote records of the pictures it was given."""
        evidence = self._leave(_tagger_evidence(self.connection))
        self._fail_for(evidence.reason, self.connection.fault)

    def measure(self, sample: Sample, stage: Stage) -> None:
        """Fail unless the output of this stage is populated."""
        measured, fault = self._measurement(sample, stage)
        measurement = self._leave(measured)
        if not measurement.passed:
            self._fail_for(explain(measurement), fault)

    def judge_expectation(self, sample: Sample) -> None:
        """Fail unless the outputs of an image say what is expected of it.

        They are those that its stages were measured with: nothing is asked again, also in a rerun.
        """
        judged, fault = self._expectation_evidence(sample)
        evidence = self._leave(judged)
        self._fail_for(evidence.reason, fault)

    def measure_capacity(self) -> None:
        """Measure how many images a second the server tags, and fail where that cannot be measured.

        What was measured before Ctrl-C is left for the terminal.
        """
        connection = self.connection
        fault = connection.fault or connection.given_up
        if fault is not None:
            self._leave(CapacityEvidence(reason=fault))
            self._fail_for(fault, fault)
        levels: list[CapacityLevel] = []
        ended: str | None = None
        try:
            for level in measure_levels(connection):
                levels.append(level)
                show_progress(self.item.config, f"setups: capacity: {level_text(level)}")
        except (ChildEndedError, OSError) as error:
            ended = f"the capacity cannot be measured any further: {error}"
        except KeyboardInterrupt:
            record = capacity_record(levels, connection.settings)
            self._leave(CapacityEvidence(reason="the measurement was interrupted", record=record))
            raise
        record = capacity_record(levels, connection.settings)
        evidence = self._leave(CapacityEvidence(reason=ended or record.reason, record=record))
        self._fail_for(evidence.reason, None)

    def soak(self) -> None:
        """Tag pictures for a long time; fail where the server does not keep its memory, speed and answers.

        What was measured before Ctrl-C is left for the terminal.
        """
        connection, checks = self.connection, UserChecks(self.item.config)
        fault = connection.fault or connection.given_up
        if fault is not None:
            self._leave(SoakEvidence(reason=fault))
            self._fail_for(fault, fault)
        log = open_log(connection)

        def judge(outcome: Outcome) -> Outcome:
            language = connection.language(outcome.sample, outcome.stage)
            return checks.judge(check_outcome(outcome, language))

        try:
            with closing(soak_images(connection, log, judge)) as images:
                for _ in images:
                    if log.is_progress_due():
                        line = soak_text.progress(log.images, log.seconds, log.failed, log.memory_now_mib)
                        show_progress(self.item.config, f"setups: soak: {line}")
        except OSError as error:  # of a new picture: the disk may be full
            log.end_early(f"a picture cannot be written: {error}")
        except KeyboardInterrupt:
            self._leave(SoakEvidence(reason="the soak was interrupted", record=log.record()))
            raise
        record = log.record()
        faults = soak_text.faults(record)
        evidence = self._leave(SoakEvidence(reason="; ".join(faults) or None, record=record))
        self._fail_for(evidence.reason, log.server_fault)

    def _expectation_evidence(self, sample: Sample) -> tuple[ExpectationEvidence, str | None]:
        """The evidence, and the server's fault because of which something was not said."""
        connection = self.connection
        if connection.fault is not None:
            evidence = ExpectationEvidence(
                image=sample.name, sample=sample.nth, passed=False, reason=connection.fault
            )
            return evidence, connection.fault
        source = connection.outcomes(lambda: plan(self.item.session.items))
        outcomes = {stage: source.latest(sample, stage) for stage in Stage}
        said = said_in({stage: outcome.output for stage, outcome in outcomes.items()})
        expectation, languages = connection.expectations[sample.name], connection.settings.language
        result = judge_expectation(expectation, said, languages)
        # With a bound on the share of groups met, the bound judges them, and not each image for itself.
        faults = result.faults if connection.settings.bounds_coverage else (*result.missed, *result.faults)
        reason = f"{sample.name}: {'; '.join(faults)}\n{quote(said)}" if faults else None
        evidence = ExpectationEvidence(
            image=sample.name, sample=sample.nth, passed=not faults, reason=reason, result=result
        )
        return evidence, _server_fault(outcomes.values())

    def _measurement(self, sample: Sample, stage: Stage) -> tuple[Measurement, str | None]:
        """The measurement, and the server's fault because of which there is no output."""
        fault = self.connection.fault
        if fault is not None:
            failure = FailedCheck(check=SERVER_CHECK, reason=fault)
            measurement = Measurement(
                image=sample.name, stage=stage, sample=sample.nth, passed=False, failures=(failure,)
            )
            return measurement, fault
        items = self.item.session.items  # all tests of this process: what is planned can be fetched ahead
        outcome = self.connection.outcomes(lambda: plan(items)).take(sample, stage)
        connection = self.connection
        language = connection.language(sample, stage)
        checked = check_outcome(outcome, language)
        measurement = measurement_of(UserChecks(self.item.config).judge(checked))
        measurement = with_keyword_matches(
            measurement, connection.settings.vocabulary, connection.reference, language or ENGLISH
        )
        return measurement, outcome.server_fault

    def _fail_for(self, reason: str | None, fault: str | None) -> None:
        """Fail the test if there is a reason; ``fault`` is the server's fault that it comes from."""
        _fail_for(reason, None if fault is None else self.connection.redactor.text(fault))

    def _leave(self, evidence: LineT) -> LineT:
        """Keep the evidence for the report of this test, without secrets; returned is what was kept."""
        public = redact_fields(evidence, self.connection.redactor)
        self.item.stash[EVIDENCE] = public.model_dump_json()
        return public


def tag(connection: Connection, items: Sequence[pytest.Item], sample: Sample, checks: UserChecks) -> Tagging:
    """All three outputs of an image, or fail the test with the reason."""
    source = connection.outcomes(lambda: plan(items))
    outcomes = [
        checks.judge(check_outcome(source.take(sample, stage), connection.language(sample, stage)))
        for stage in Stage
    ]
    failed = [
        explain(redact_fields(measurement_of(outcome), connection.redactor))
        for outcome in outcomes
        if outcome.failures
    ]
    fault = _server_fault(outcomes)
    _fail_for("\n".join(failed) or None, None if fault is None else connection.redactor.text(fault))
    return Tagging.of(sample, outcomes)


def begins_measuring(nodeid: str) -> bool:
    """Whether a test asks the server for outputs that are measured, or runs the tagger that does."""
    return nodeid.partition("[")[0] in _MEASURING


def ends_measuring(nodeid: str) -> bool:
    """Whether a test loads the server in a way of its own, after all outputs have been measured."""
    return nodeid in _EXPERIMENTS


def _fail_for(reason: str | None, fault: str | None) -> None:
    if reason is None:
        return
    if fault is not None:
        raise ServerFault(reason, fault)
    pytest.fail(reason, pytrace=False)


def _server_fault(outcomes: Iterable[Outcome]) -> str | None:
    return next((outcome.server_fault for outcome in outcomes if outcome.server_fault), None)


def _vision_evidence(connection: Connection) -> tuple[VisionEvidence, str | None]:
    """The evidence, and the server's fault because of which there is no answer."""
    if connection.fault is not None:
        return VisionEvidence(seen=False, reason=connection.fault), connection.fault
    try:
        proof = prove_vision(
            connection.client,
            connection.request,
            # New in each run: a server cannot have answered these pictures before.
            seed=secrets.randbelow(MAX_SEED),
            at_once=connection.settings.concurrency,
        )
        return VisionEvidence.of(proof), None
    except ServerError as error:
        return VisionEvidence(seen=False, reason=str(error)), str(error)


def _tagger_evidence(connection: Connection) -> TaggerEvidence:
    if connection.fault is not None:
        return TaggerEvidence(passed=False, reason=connection.fault)
    tagger = connection.command_tagger
    run = tagger.run()
    reason = run.fault()
    return TaggerEvidence(
        passed=reason is None,
        reason=reason,
        command=tagger.job.command_line,
        seconds=run.program.seconds,
        log=str(tagger.job.folder.log),
    )


def explain(measurement: Measurement) -> str:
    """Why a measurement failed: a line a check, then the answer."""
    lines = [f"{failure.check}: {failure.reason}" for failure in measurement.failures]
    if measurement.text:
        verb = "were" if measurement.stage is Stage.KEYWORDS else "was"
        quoted = one_line(measurement.text, 500)
        lines.append(f"the {measurement.stage} of {measurement.image} {verb}: {quoted!r}")
    return "\n".join(lines)


def plan(items: Iterable[pytest.Item]) -> dict[Sample, Sequence[Stage]]:
    """The images of the suite's tests in their order, each with the stages that will be taken."""
    planned: dict[Sample, set[Stage]] = {}
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and item.originalname in STAGE_TESTS
            and item.nodeid.startswith(f"{SUITE_NODE}::")
        ):
            sample: Any = item.callspec.params["setup_image"]
            planned.setdefault(sample, set()).update(STAGE_TESTS[item.originalname])
    return {sample: sorted(stages, key=list(Stage).index) for sample, stages in planned.items()}
