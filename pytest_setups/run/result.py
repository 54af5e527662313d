"""The result of a whole run: built once when the tests are over, frozen, and read by everyone after that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

from pytest_setups.registry.entry import Stage
from pytest_setups.registry.field_redaction import redact_fields
from pytest_setups.registry.git_repository import GitState
from pytest_setups.registry.performance import run_performance
from pytest_setups.registry.store import RegistryError
from pytest_setups.regression.baseline import BaselineError
from pytest_setups.regression.levels import judge_levels
from pytest_setups.run.verdict import Expected, Standing, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from pytest_setups.config.settings import Settings
    from pytest_setups.redaction import Redactor
    from pytest_setups.registry.entry import Entry, Performance
    from pytest_setups.registry.measurement import Measurement
    from pytest_setups.registry.store import RecordedEntry
    from pytest_setups.regression.levels import FigureLevel
    from pytest_setups.run.baseline_gate import BaselineComparison, BaselineGate
    from pytest_setups.run.collector import Collected
    from pytest_setups.run.connection import Connection
    from pytest_setups.run.entry_builder import EntryBuilder
    from pytest_setups.serving.server import Server

NOT_READ: Final = GitState(None, None, "not read: this run is not recorded")
ModifyEntry = Callable[["Entry"], "Entry"]
"""What the user's hooks make of the entry; raises RegistryError where they may not."""


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What is known of a run before its first test.

    Attributes:
        base_url: where the server answers.
        server: the server that answered, None where none did.
        fault: why nothing can be measured, None where it can.
        images: how many sample images there are.
        repeat: how many samples are taken of each.
        concurrency: how many images are tagged at once.
        program: a tagger that is verified in place of the built-in one.
        reference: how many keywords of people there are, and what could not be read; a line each.
    """

    base_url: str
    server: Server | None
    fault: str | None
    images: int
    repeat: int
    concurrency: int
    program: str | None
    reference: Sequence[str] = ()

    @classmethod
    def of(cls, connection: Connection, concurrency: int) -> Self:
        """What the connection knows, without secrets."""
        redactor, server, fault = connection.redactor, connection.server, connection.fault
        program, reference = connection.program if server else None, connection.reference
        return cls(
            base_url=redactor.url(connection.base_url),
            server=_public(server, redactor) if server else None,
            fault=None if fault is None else redactor.text(fault),
            images=len(connection.samples),
            repeat=connection.settings.repeat,
            concurrency=concurrency,
            program=None if program is None else redactor.command(program),
            reference=[redactor.text(line) for line in reference.lines] if reference else (),
        )


@dataclass(frozen=True, slots=True)
class RunResult:
    """The outcome of a whole run; nothing in it holds a secret.

    Attributes:
        header: what was known before the first test.
        collected: measurements and evidence of the proofs.
        performance: the figures of the measurements.
        verdict: the judgement, of measurements and comparison together.
        levels: the figures of this run by itself, and the bounds on them.
        unjudged: why bounds on these figures were not judged, None where they were or there are none.
        comparison: the run beside its baseline, None without one or where they do not compare.
        comparison_fault: why it was not compared, None where it was or no baseline was named.
        incomparable: whether the baseline does not fit the run, which is a mistake in what was typed.
        entry: the entry of the run, None where none is needed.
        entry_fault: why the user's hooks spoiled the entry; it must not be recorded then.
        recorded: where the registry keeps it, None where nothing is recorded.
    """

    header: RunHeader
    collected: Collected
    performance: Performance
    verdict: Verdict
    levels: Sequence[FigureLevel] = ()
    unjudged: str | None = None
    comparison: BaselineComparison | None = None
    comparison_fault: str | None = None
    incomparable: bool = False
    entry: Entry | None = None
    entry_fault: str | None = None
    recorded: RecordedEntry | None = None

    @property
    def measurements(self) -> Sequence[Measurement]:
        """The last attempt at each measurement, sorted by image, sample and stage."""
        return self.collected.measurements


@dataclass(frozen=True, slots=True)
class PytestOutcome:
    """How pytest's session ended: whether it was cut short, and whether any test failed."""

    interrupted: bool
    failed: bool


@dataclass(frozen=True, slots=True)
class ResultBuilder:
    """Builds the result when the tests are over: judge, finish the entry, compare.

    Attributes:
        connection: what this process held open.
        header: what was known before the first test.
        entries: builds the entry.
        gate: finds the baseline and compares.
        modify: the user's changes to the entry.
    """

    connection: Connection
    header: RunHeader
    entries: EntryBuilder
    gate: BaselineGate
    modify: ModifyEntry

    def build(
        self,
        collected: Collected,
        outcome: PytestOutcome,
        read_git: Callable[[], GitState],
        records: Mapping[str, BaseModel],
    ) -> RunResult:
        """The result.

        Args:
            collected: what the tests handed over.
            outcome: how pytest's session ended.
            read_git: called only when an entry is going to be recorded.
            records: what was measured beside the answers, by the field of ``performance``.
        """
        settings = self.connection.settings
        performance = run_performance(
            collected.measurements,
            concurrency=self.entries.concurrency,
            repeat=settings.repeat,
        )
        public = {field: redact_fields(record, self.connection.redactor) for field, record in records.items()}
        performance = performance.model_copy(update=public)
        if collected.capacity is not None:
            performance = performance.model_copy(update={"capacity": collected.capacity.record})
        if collected.soak is not None:
            performance = performance.model_copy(update={"soak": collected.soak.record})
        performance = _with_energy_of_images(performance, collected)
        result = RunResult(self.header, collected, performance, self._verdict(collected, outcome))
        result = self._with_levels(result)
        if not _needs_entry(settings, result.verdict):
            return result
        git = read_git() if will_record(settings, result.verdict) else NOT_READ
        result = self._with_entry(result, git)
        return result if settings.baseline is None else self._with_comparison(result)

    def _verdict(self, collected: Collected, outcome: PytestOutcome) -> Verdict:
        if outcome.interrupted:
            return Verdict(Standing.INCOMPLETE, "the run was interrupted")
        connection = self.connection
        expected = Expected(
            measurements=[
                (sample.name, sample.nth, stage) for sample in connection.samples_in_order for stage in Stage
            ],
            expectations=[
                (sample.name, sample.nth)
                for sample in connection.samples_in_order
                if connection.judges_words_of(sample)
            ],
            look_alike=connection.look_alike,
            has_tagger=connection.settings.tagger_command is not None,
            has_server=connection.server is not None,
            has_capacity=connection.settings.capacity is not None,
            has_soak=connection.settings.soak is not None,
        )
        verdict = judge(collected, expected)
        # A failure elsewhere, such as in a fixture of the user's, is no measurement and yet no success.
        if verdict.standing is Standing.SUCCESS and outcome.failed:
            return verdict.failed_because("another test failed")
        return verdict

    def _with_levels(self, result: RunResult) -> RunResult:
        """The result, judged by the figures of the run itself; a part of a run is not judged."""
        measurements = result.measurements
        bounds = [bound for bound in self.connection.settings.fail_if if not bound.needs_baseline]
        if result.verdict.standing is Standing.INCOMPLETE or self.connection.server is None:
            unjudged = result.verdict.reason if bounds else None
            return replace(result, levels=judge_levels(measurements, ()), unjudged=unjudged)
        result = replace(result, levels=judge_levels(measurements, bounds))
        faults = [fault for level in result.levels for fault in level.faults]
        return replace(result, verdict=result.verdict.failed_because("; ".join(faults))) if faults else result

    def _with_entry(self, result: RunResult, git: GitState) -> RunResult:
        # The hooks come before the comparison: a baseline's entry went through them as well.
        baseline = self.gate.name if self.connection.server else None
        entry = self.entries.finish(
            result.collected, result.verdict, result.performance, git, baseline=baseline
        )
        try:
            return replace(result, entry=self.modify(entry))
        except RegistryError as error:
            return replace(result, entry=entry, entry_fault=str(error))

    def _with_comparison(self, result: RunResult) -> RunResult:
        is_incomplete = result.verdict.standing is Standing.INCOMPLETE
        if result.entry is None or self.connection.server is None or is_incomplete:
            return replace(result, comparison_fault=result.verdict.reason)
        if result.entry_fault is not None:
            return _incomparable(result, result.entry_fault)
        try:
            comparison = self.gate.compare(result.entry, result.measurements)
        except BaselineError as error:
            return _incomparable(result, self.connection.redactor.text(str(error)))
        result = replace(result, comparison=comparison, entry=_compared(result.entry, self.gate.name))
        reasons = {
            f"worse than {self.gate.name}": comparison.comparison.worse,
            f"not comparable with {self.gate.name}": comparison.comparison.unjudged,
        }
        faults = [f"{reason}: {', '.join(names)}" for reason, names in reasons.items() if names]
        return _failed(result, "; ".join(faults)) if faults else result


def will_record(settings: Settings, verdict: Verdict) -> bool:
    """Whether an entry is going to be written."""
    if verdict.standing is Standing.FAILED:
        return settings.record_failed
    return settings.recording and verdict.standing is Standing.SUCCESS


def _with_energy_of_images(performance: Performance, collected: Collected) -> Performance:
    """The figures, with the energy that one of the images took whose answers arrived."""
    if performance.energy is None:
        return performance
    images = {(measured.image, measured.sample) for measured in collected.measurements if measured.text}
    return performance.model_copy(update={"energy": performance.energy.of_images(len(images))})


def _public(server: Server, redactor: Redactor) -> Server:
    """The server without secrets: one that echoes the API key may do so in any of its names."""
    version = server.identity.version
    return replace(
        server,
        models={stage: redactor.text(name) for stage, name in server.models.items()},
        identity=replace(server.identity, version=None if version is None else redactor.text(version)),
    )


def _needs_entry(settings: Settings, verdict: Verdict) -> bool:
    return settings.report is not None or settings.baseline is not None or will_record(settings, verdict)


def _incomparable(result: RunResult, reason: str) -> RunResult:
    return replace(_failed(result, reason), comparison_fault=reason, incomparable=True)


def _failed(result: RunResult, reason: str) -> RunResult:
    """The result and its entry, failed for one more reason that only the comparison could show."""
    verdict = result.verdict.failed_because(reason)
    if result.entry is None:
        return replace(result, verdict=verdict)
    changes = {"status": "failed", "failure_reason": verdict.reason}
    return replace(result, verdict=verdict, entry=_with_verification(result.entry, changes))


def _compared(entry: Entry, baseline: str | None) -> Entry:
    """The entry with the name of its baseline: ``latest`` may be known only after the hooks."""
    return entry if entry.verification.baseline else _with_verification(entry, {"baseline": baseline})


def _with_verification(entry: Entry, changes: Mapping[str, str | None]) -> Entry:
    verification = entry.verification.model_copy(update=changes)
    return entry.model_copy(update={"verification": verification})
