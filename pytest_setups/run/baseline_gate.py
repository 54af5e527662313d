"""Comparing a run with its baseline: found before the server is asked, judged when all is measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_setups.registry.entry import ImageRef
from pytest_setups.registry.repository import GitState
from pytest_setups.registry.store import Registry, RegistryError
from pytest_setups.regression.baseline import LATEST, BaselineError, Gate, latest_baseline, load_baseline
from pytest_setups.regression.bounds import judge_times
from pytest_setups.run.collector import Standing, Verdict

if TYPE_CHECKING:
    from pytest_setups.registry.entry import Entry
    from pytest_setups.regression.baseline import Baseline
    from pytest_setups.regression.comparison import Comparison
    from pytest_setups.run.collector import Run

NOT_READ = GitState(None, None, "not read")


class Comparing:
    """The comparison of a run, where the user names a baseline.

    ``baseline``, ``compared`` and the ``entry`` that was compared are None until they are known;
    ``fault`` says why nothing could be compared, and ``misfit`` that it is for the baseline's sake.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._settings = run.session.settings
        self._registry = Registry(self._settings.registry)
        self.baseline: Baseline | None = None
        self.compared: Comparison | None = None
        self.entry: Entry | None = None
        self.fault: str | None = None
        self.misfit = False

    def find(self) -> None:
        """Load a baseline that is named, before anything is started.

        Raises:
            BaselineError: there is none.
        """
        name = self._settings.baseline
        if name is not None and name != LATEST:
            self.baseline = load_baseline(self._registry, name)

    def check(self) -> None:
        """See, before anything is measured, that the server that was met compares with the baseline.

        Which models an external tagger uses is known only at the end, and judged then.

        Raises:
            BaselineError: it does not compare, or there is no latest entry that does.
        """
        if self._settings.baseline is None or self._run.session.server is None:
            return
        unknown = ["tagger.models"] if self._settings.tagger_command else []
        allowed, entry = [*self._settings.baseline_allow, *unknown], self._expected()
        if self._settings.baseline == LATEST:
            timed = judge_times(self._settings.fail_if)
            self.baseline = latest_baseline(self._registry, entry, allowed, timed=timed)
        gate = self._gate()
        replace(gate, allowed=allowed).check(entry)
        self._run.baseline = gate.baseline.name

    def judge(self, verdict: Verdict) -> Verdict:
        """The verdict on a run after the comparison: a broken bound makes it a failed one."""
        if self._settings.baseline is None:
            return verdict
        if verdict.standing is Standing.INCOMPLETE or self._run.session.server is None:
            self.fault = verdict.reason
            return verdict
        try:
            self.entry = self._run.finish.modify(self._run.entry(NOT_READ, verdict))
            self.compared = self._gate().compare(self.entry, self._run.public_measurements)
        except (BaselineError, RegistryError) as error:
            self.fault, self.misfit = str(error), True
            return _with_reason(verdict, self.fault)
        if not self.compared.broken:
            return verdict
        return _with_reason(
            verdict, f"worse than {self._gate().baseline.name}: {', '.join(self.compared.broken)}"
        )

    def _gate(self) -> Gate:
        if self.baseline is None:
            message = "there is no baseline"
            raise LookupError(message)
        return Gate(self.baseline, self._settings.fail_if, self._settings.baseline_allow)

    def _expected(self) -> Entry:
        """The entry that this run will make, as far as it is known before the tests."""
        samples = self._run.session.samples
        images = [
            ImageRef(name=self._run.public(name), sha256=self._run.file_sha256(name)) for name in samples
        ]
        entry = self._run.finish.modify(self._run.entry(NOT_READ, Verdict(Standing.SUCCESS)))
        verification = entry.verification.model_copy(update={"images": images})
        return entry.model_copy(update={"verification": verification})


def _with_reason(verdict: Verdict, reason: str) -> Verdict:
    return Verdict(Standing.FAILED, "; ".join(filter(None, (verdict.reason, reason))))
