"""An external tagger: the program that people run every day, run once, its records judged like answers."""

from __future__ import annotations

import shlex
import shutil
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_setups.registry.entry import Stage
from pytest_setups.serving.processes.batch_program import ProgramResult, run_program
from pytest_setups.tagging.outputs import Output, TaggerError
from pytest_setups.tagging.records import Records, read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_setups.tagging.images import Sample


@dataclass(frozen=True, slots=True)
class Workplace:
    """The folder that a program works in: copies of the pictures, what it writes, and what it says."""

    folder: Path

    @property
    def images(self) -> Path:
        """The folder of the chosen pictures."""
        return self.folder / "images"

    @property
    def output(self) -> Path:
        """The file of JSON lines."""
        return self.folder / "output.jsonl"

    @property
    def summary(self) -> Path:
        """The file of a summary for people."""
        return self.folder / "summary.md"

    @property
    def log(self) -> Path:
        """What the program said."""
        return self.folder / "log.txt"

    def values(self) -> dict[str, str]:
        """The paths by placeholder."""
        return {"images": str(self.images), "output": str(self.output), "summary": str(self.summary)}

    def lay_out(self, samples: Sequence[Sample]) -> None:
        """Copy the pictures, so that a tagger that writes into pictures does not change the user's.

        They keep their bytes and names; of several with one name, each lies in a folder of its own.
        """
        self.images.mkdir(parents=True, exist_ok=True)
        for sample in samples:
            target = self.images / sample.name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(sample.path, target)

    def tidy(self) -> None:
        """Remove the copies; output and log stay."""
        shutil.rmtree(self.images, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Job:
    """What is run: the command, where, for how many seconds at most, and how its words are shown."""

    command: tuple[str, ...]
    workplace: Workplace
    timeout_s: float
    secrets: tuple[str | None, ...] = ()
    show: Callable[[str], None] | None = None

    @property
    def line(self) -> str:
        """The command as run, on one line."""
        return shlex.join(self.command)


class ExternalTagger:
    """Runs the program before the first output that is wanted, and reads its records."""

    chained = False

    def __init__(self, job: Job, samples: Sequence[Sample], ended: ProgramResult | None = None) -> None:
        """``ended`` is how the program ended when another process of this run has run it."""
        self.job = job
        self._samples = samples
        self._ended = ended
        self._records: Records | None = None
        self._running = threading.Lock()

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """What the program wrote for one stage of one picture."""
        ended, records = self.run()
        record = records.by_name.get(sample.name)
        if record is None:
            raise TaggerError(_no_record(sample.name, ended, records))
        return Output(
            stage=stage,
            text=record.text(stage),
            keywords=record.keywords if stage is Stage.KEYWORDS else None,
            caption=record.caption if stage is Stage.DESCRIPTION else "",
            fault=record.faults.get(stage),
            image_s=record.seconds,
            extra=record.extra,
        )

    def run(self) -> tuple[ProgramResult, Records]:
        """Run the program unless it was; how it ended, and its records."""
        with self._running:
            if self._ended is None:
                self._ended = self._run()
            if self._records is None:
                names = [sample.name for sample in self._samples]
                self._records = read_records(self.job.workplace.output, names, self.job.secrets)
        return self._ended, self._records

    def fault(self) -> str | None:
        """What is wrong with the run of the program as a whole, None when it ended well.

        Its last lines are told where it did not end in good order.
        """
        ended, records = self.run()
        reasons = [f"the tagger's command: {ended.fault}"] if ended.fault else []
        reasons += [f"the tagger's output: {fault}" for fault in records.faults]
        if ended.fault or (reasons and not records.by_name):
            reasons += ["its last lines:", *ended.last_lines] if ended.last_lines else ["it said nothing"]
        return "\n".join(reasons) or None

    def ended(self) -> dict[str, Any]:
        """How the program ended, for another process of this run."""
        return asdict(self.run()[0])

    def _run(self) -> ProgramResult:
        job = self.job
        try:
            job.workplace.lay_out(self._samples)
        except OSError as error:
            return ProgramResult(0.0, f"not run: {error.filename} cannot be copied: {error.strerror}")
        return run_program(
            job.command,
            log=job.workplace.log,
            timeout_s=job.timeout_s,
            show=job.show,
            secrets=job.secrets,
        )


def _no_record(name: str, ended: ProgramResult, records: Records) -> str:
    if name in records.spoilt:
        return f"the tagger's output: {records.spoilt[name]}"
    parts = [f"no record of {name} in the tagger's output"]
    if ended.fault:
        parts.append(f"the command: {ended.fault}")
    parts += records.faults
    if ended.last_lines:
        parts.append(f"it said last: {ended.last_lines[-1]}")
    return "; ".join(parts)
