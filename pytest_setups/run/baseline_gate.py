"""The baseline of a run: loaded before anything is started, checked before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_setups.registry.store import Registry
from pytest_setups.regression.baseline import LATEST, Gate, latest_baseline, load_baseline
from pytest_setups.regression.bounds import judge_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_setups.config.settings import Settings
    from pytest_setups.redaction import Redactor
    from pytest_setups.registry.entry import Entry
    from pytest_setups.registry.measurement import Measurement
    from pytest_setups.regression.baseline import Baseline
    from pytest_setups.regression.comparison import Comparison


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """A run beside its baseline.

    Attributes:
        baseline: the earlier entry with its measurements.
        comparison: the figures of both.
    """

    baseline: Baseline
    comparison: Comparison


class BaselineGate:
    """Finds the baseline that the user named, and compares the run with it."""

    def __init__(self, settings: Settings, redactor: Redactor) -> None:
        self._settings = settings
        self._redactor = redactor
        self._registry = Registry(settings.registry)
        self._baseline: Baseline | None = None

    def load(self) -> None:
        """Load a baseline that is named, before anything is started.

        Raises:
            BaselineError: there is none of that name.
        """
        name = self._settings.baseline
        if name is not None and name != LATEST:
            self._baseline = load_baseline(self._registry, name)

    def check(self, draft: Entry) -> None:
        """See, before anything is measured, that the server that answered compares with the baseline.

        Which models a tagger command uses is known only at the end, and judged then.

        Raises:
            BaselineError: it does not compare, or there is no latest entry that does.
        """
        # Refused now, not after an hour of measuring.
        unknown = ["tagger.models"] if self._settings.tagger_command else []
        allowed = [*self._settings.baseline_allow, *unknown]
        replace(self._gate(draft, allowed), allowed=allowed).check(draft)

    def compare(self, entry: Entry, measurements: Sequence[Measurement]) -> BaselineComparison:
        """Compare the run with its baseline.

        Raises:
            BaselineError: the two do not compare.
        """
        gate = self._gate(entry, self._settings.baseline_allow)
        public = replace(gate.baseline, name=self.name or "")
        return BaselineComparison(public, gate.compare(entry, measurements))

    @property
    def name(self) -> str | None:
        """The baseline's slug or path as it may be shown, None before it is found."""
        return self._redactor.text(self._baseline.name) if self._baseline else None

    def _gate(self, entry: Entry, allowed: Sequence[str]) -> Gate:
        """The gate; ``latest`` is looked up here, by the entry that it will be compared with."""
        if self._baseline is None:
            timed = judge_times(self._settings.fail_if)
            self._baseline = latest_baseline(self._registry, entry, allowed, timed=timed)
        return Gate(self._baseline, self._settings.fail_if, self._settings.baseline_allow)
