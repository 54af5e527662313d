"""Collecting a run: the lines that test reports carry become measurements and evidence."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_setups.registry.entry import Stage
from pytest_setups.registry.measurement import Measurement, compact
from pytest_setups.run.evidence import (
    CapacityEvidence,
    ExpectationEvidence,
    ModelsEvidence,
    SoakEvidence,
    TaggerEvidence,
    VisionEvidence,
    parse_evidence,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_setups.registry.measurement import ImageSample

MeasurementKey = tuple[str, int, Stage]
"""An image's name, which of its samples, and the stage."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What the tests of a run handed over.

    Attributes:
        measurements: the last attempt at each measurement, sorted by image, sample and stage.
        first_fault: the first failed measurement, in the order of time, that a fault of the server failed;
            None where there is none, or where all of them passed when they were run again.
        lines: every attempt as one line of JSON, in the same order.
        models: whether the server lists the models; None when the test did not run.
        vision: the vision proof; None when the test did not run.
        tagger: how a tagger command ended; None without one.
        expectations: how each sample of an image meets what is expected of it, sorted.
        capacity: the capacity of the server; None when the test did not run.
        soak: how the server did over a long time; None when the test did not run.
    """

    measurements: Sequence[Measurement]
    lines: Sequence[str]
    models: ModelsEvidence | None
    vision: VisionEvidence | None
    tagger: TaggerEvidence | None
    expectations: Mapping[ImageSample, ExpectationEvidence]
    capacity: CapacityEvidence | None = None
    soak: SoakEvidence | None = None
    first_fault: Measurement | None = None

    @property
    def image_names(self) -> list[str]:
        """The names of the images that were measured, sorted."""
        return sorted({measurement.image for measurement in self.measurements})


@dataclass(slots=True)
class Collector:
    """Takes lines until the run ends; of several attempts at one measurement all are kept.

    Kept are the lines, which pytest's own reports hold anyway: measurements take several times the memory.
    """

    _attempts: dict[MeasurementKey, list[str]] = field(default_factory=lambda: defaultdict(list))
    _faults: dict[MeasurementKey, Measurement] = field(default_factory=dict)
    _models: ModelsEvidence | None = None
    _vision: VisionEvidence | None = None
    _tagger: TaggerEvidence | None = None
    _expectations: dict[ImageSample, ExpectationEvidence] = field(default_factory=dict)
    _capacity: CapacityEvidence | None = None
    _soak: SoakEvidence | None = None

    def add(self, line: str) -> None:
        """Take what a test's report carried."""
        evidence = parse_evidence(line)
        if isinstance(evidence, Measurement):
            self._add_measurement(evidence, line)
        elif isinstance(evidence, ModelsEvidence):
            self._models = evidence
        elif isinstance(evidence, TaggerEvidence):
            self._tagger = evidence
        elif isinstance(evidence, ExpectationEvidence):
            self._expectations[evidence.image, evidence.sample] = evidence
        elif isinstance(evidence, CapacityEvidence):
            self._capacity = evidence
        elif isinstance(evidence, SoakEvidence):
            self._soak = evidence
        else:
            self._vision = evidence

    def collected(self) -> Collected:
        """What has been taken so far."""
        # Workers report in any order; a results file is the same for the same measurements.
        order = list(Stage)
        keys = sorted(self._attempts, key=lambda key: (*key[:2], order.index(key[2])))
        measurements: list[Measurement] = []
        lines: list[str] = []
        passed: set[MeasurementKey] = set()
        for key in keys:
            measurement, line = self._last_attempt(key)
            measurements.append(compact(measurement))
            lines += [*self._attempts[key][:-1], line]
            if measurement.passed:
                passed.add(key)
        return Collected(
            measurements=measurements,
            lines=lines,
            models=self._models,
            vision=self._vision,
            tagger=self._tagger,
            expectations=dict(sorted(self._expectations.items())),
            capacity=self._capacity,
            soak=self._soak,
            first_fault=next((fault for key, fault in self._faults.items() if key not in passed), None),
        )

    def _last_attempt(self, key: MeasurementKey) -> tuple[Measurement, str]:
        """The last attempt at a measurement, and its line; a description carries the result of its image."""
        image, sample, stage = key
        line = self._attempts[key][-1]
        measurement = Measurement.model_validate_json(line)
        evidence = self._expectations.get((image, sample))
        if stage is not Stage.DESCRIPTION or evidence is None or evidence.result is None:
            return measurement, line
        measurement = measurement.model_copy(update={"expectations": evidence.result})
        return measurement, measurement.model_dump_json()

    def _add_measurement(self, measurement: Measurement, line: str) -> None:
        image = sys.intern(measurement.image)  # the stages of an image share its name
        key = image, measurement.sample, measurement.stage
        if measurement.server_fault is not None:
            self._faults.setdefault(key, measurement)
        attempts = self._attempts[key]
        if attempts:  # a rerun: only this process knows how many came before
            line = measurement.model_copy(update={"attempt": len(attempts) + 1}).model_dump_json()
        attempts.append(line)
