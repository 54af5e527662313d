"""What the suite's tests do: ask, leave the evidence on their item, and fail with the server's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_setups.api.client import ServerError
from pytest_setups.checks.output_checks import check_outcome
from pytest_setups.plugin.user_hooks import OwnChecks
from pytest_setups.proofs.vision import prove_vision
from pytest_setups.redaction import one_line
from pytest_setups.registry.entry import Stage
from pytest_setups.registry.measurement import FailedCheck, Measurement
from pytest_setups.run.evidence import ModelsEvidence, TaggerEvidence, VisionEvidence, measurement_of
from pytest_setups.tagging.outputs import Tagging

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_setups.run.connection import Session
    from pytest_setups.run.evidence import Evidence
    from pytest_setups.tagging.command_tagger import ExternalTagger
    from pytest_setups.tagging.images import Sample

EVIDENCE: Final = pytest.StashKey[str]()
STAGE_TESTS: Final = {f"test_{stage.value}": stage for stage in Stage}


@dataclass(frozen=True, slots=True)
class Asking:
    """The session on behalf of one test."""

    session: Session
    item: pytest.Item

    def models(self) -> None:
        """Fail unless the server listed its models and one serves each stage."""
        reason = None if self.session.server else self.session.fault or "the server was not asked"
        self._leave(ModelsEvidence(passed=reason is None, reason=reason))
        if reason is not None:
            pytest.fail(reason, pytrace=False)

    def vision(self) -> None:
        """Fail unless the model sees."""
        reason = self.session.fault
        if reason is None:
            try:
                evidence = VisionEvidence.of(prove_vision(self.session.client, self.session.request))
            except ServerError as error:
                evidence = VisionEvidence(seen=False, reason=str(error))
        else:
            evidence = VisionEvidence(seen=False, reason=reason)
        self._leave(evidence)
        if not evidence.seen:
            pytest.fail(evidence.reason or "the model does not see", pytrace=False)

    def tagger(self) -> None:
        """Fail unless the external tagger ended well and wrote records of the pictures it was given."""
        reason = self.session.fault
        if reason is None:
            evidence = _tagger_evidence(self.session.external)
        else:
            evidence = TaggerEvidence(passed=False, reason=reason)
        self._leave(evidence)
        if evidence.reason is not None:
            pytest.fail(evidence.reason, pytrace=False)

    def stage(self, sample: Sample, stage: Stage) -> None:
        """Fail unless the output of this stage is populated."""
        reason = self.session.fault
        if reason is None:
            outcome = check_outcome(self.session.asker(plan(self.item.session.items)).take(sample, stage))
            measurement = measurement_of(OwnChecks(self.item.config).judge(outcome))
        else:
            failure = FailedCheck(check="server", reason=reason)
            measurement = Measurement(
                image=sample.name, stage=stage.value, sample=sample.nth, passed=False, failures=(failure,)
            )
        self._leave(measurement)
        if not measurement.passed:
            pytest.fail(explain(measurement), pytrace=False)

    def _leave(self, evidence: Evidence) -> None:
        self.item.stash[EVIDENCE] = evidence.model_dump_json()


def tag(session: Session, items: Sequence[pytest.Item], sample: Sample, checks: OwnChecks) -> Tagging:
    """All three outputs of an image, or fail the test with the reason."""
    asker = session.asker(plan(items))
    outcomes = [checks.judge(check_outcome(asker.take(sample, stage))) for stage in Stage]
    failed = [explain(measurement_of(outcome)) for outcome in outcomes if outcome.failures]
    if failed:
        pytest.fail("\n".join(failed), pytrace=False)
    return Tagging.of(sample, outcomes)


def _tagger_evidence(tagger: ExternalTagger) -> TaggerEvidence:
    reason, workplace = tagger.fault(), tagger.job.workplace
    return TaggerEvidence(
        passed=reason is None,
        reason=reason,
        command=tagger.job.line,
        places={f"{{{name}}}": path for name, path in workplace.values().items()},
        seconds=tagger.run()[0].seconds,
        log=str(workplace.log),
    )


def explain(measurement: Measurement) -> str:
    """Why a measurement failed: a line a check, then the answer."""
    lines = [f"{failure.check}: {failure.reason}" for failure in measurement.failures]
    if measurement.text:
        lines.append(
            f"the {measurement.stage} of {measurement.image} was: {one_line(measurement.text, 500)!r}"
        )
    return "\n".join(lines)


def plan(items: Iterable[pytest.Item]) -> dict[Sample, Sequence[Stage]]:
    """The images of the suite's tests in their order, each with the stages that will be taken."""
    planned: dict[Sample, list[Stage]] = {}
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and item.originalname in STAGE_TESTS
            and item.nodeid.startswith("setup::")
        ):
            sample: Any = item.callspec.params["setup_image"]
            planned.setdefault(sample, []).append(STAGE_TESTS[item.originalname])
    return {sample: sorted(stages, key=list(Stage).index) for sample, stages in planned.items()}
