"""The tagger of ``--setup-tagger-command``: a program that is run once; its records are the outputs."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_setups.registry.entry import Stage
from pytest_setups.serving.processes.batch_program import ProgramResult, run_program
from pytest_setups.tagging.outputs import Output, TaggerError
from pytest_setups.tagging.records import Records, read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_setups.tagging.images import Sample


@dataclass(frozen=True, slots=True)
class TaggerFolder:
    """The folder that a tagger program works in: copies of the sample images, its output, its log."""

    path: Path

    @property
    def images(self) -> Path:
        """The folder of the copied sample images."""
        return self.path / "images"

    @property
    def output(self) -> Path:
        """The file that the program writes its JSON lines to."""
        return self.path / "output.jsonl"

    @property
    def summary(self) -> Path:
        """The file that the program may write a summary for people to."""
        return self.path / "summary.md"

    @property
    def log(self) -> Path:
        """The file of what the program printed."""
        return self.path / "log.txt"

    def placeholders(self) -> dict[str, str]:
        """The paths by the placeholders of the command."""
        return {"images": str(self.images), "output": str(self.output), "summary": str(self.summary)}

    def copy_images(self, samples: Sequence[Sample]) -> None:
        """Copy the sample images under their names; a name with parent folders gets these folders.

        Raises:
            OSError: an image cannot be copied.
        """
        # Copies, not links: taggers write metadata into the files they are given.
        self.images.mkdir(parents=True, exist_ok=True)
        for sample in samples:
            # Names that only whole paths tell apart begin with a slash.
            target = self.images / sample.name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(sample.path, target)

    def remove_images(self) -> None:
        """Remove the copies; the output and the log stay for whoever looks into a failure."""
        shutil.rmtree(self.images, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class TaggerJob:
    """What is run, and how.

    Attributes:
        command: the program and its arguments, placeholders filled in.
        folder: where it reads its images and writes its output.
        timeout_s: seconds after which it is stopped.
        secrets: values that are hidden in its log and its records.
        show: called with each line that it prints, as it comes.
    """

    command: tuple[str, ...]
    folder: TaggerFolder
    timeout_s: float
    secrets: tuple[str | None, ...] = ()
    show: Callable[[str], None] | None = None

    @property
    def command_line(self) -> str:
        """The command as run, on one line, quoted for a shell."""
        return shlex.join(self.command)

    def run(self, samples: Sequence[Sample]) -> ProgramResult:
        """Copy the sample images and run the program to its end."""
        try:
            self.folder.copy_images(samples)
        except OSError as error:
            return ProgramResult(0.0, f"not run: cannot copy {error.filename}: {error.strerror}")
        return run_program(
            self.command,
            log=self.folder.log,
            timeout_s=self.timeout_s,
            show=self.show,
            secrets=self.secrets,
        )


@dataclass(frozen=True, slots=True)
class TaggerRun:
    """A finished run of the program: how it ended, and the records that it wrote."""

    program: ProgramResult
    records: Records

    def fault(self) -> str | None:
        """What is wrong with the run as a whole, in several lines; None when it ended well.

        The last lines that the program printed are quoted where it failed or wrote no record at all.
        """
        program, records = self.program, self.records
        reasons = [f"the tagger's command: {program.fault}"] if program.fault else []
        reasons += [f"the tagger's output: {fault}" for fault in records.faults]
        if program.fault or (reasons and not records.by_name):
            reasons += (
                ["its last lines:", *program.last_lines] if program.last_lines else ["it printed nothing"]
            )
        return "\n".join(reasons) or None

    def missing_record(self, name: str) -> str:
        """Why there is no record of the sample image with this name, on one line."""
        program, records = self.program, self.records
        if name in records.rejected:
            return f"the tagger's output: {records.rejected[name]}"
        reasons = [f"no record of {name} in the tagger's output"]
        if program.fault:
            reasons.append(f"the command: {program.fault}")
        reasons += records.faults
        if program.last_lines:
            reasons.append(f"its last line: {program.last_lines[-1]}")
        return "; ".join(reasons)


class CommandTagger:
    """Runs the program before the first output that is needed, and gives its records as outputs.

    ``result`` is how the program ended where another process of this run has already run it.
    """

    # The program makes its descriptions as it likes: no caption or keywords are passed to it.
    chained = False

    def __init__(
        self, job: TaggerJob, samples: Sequence[Sample], result: ProgramResult | None = None
    ) -> None:
        self.job = job
        self._samples = samples
        self._result = result
        self._run: TaggerRun | None = None

    def tag(self, stage: Stage, sample: Sample, caption: str, keywords: Sequence[str]) -> Output:
        """The output that the program wrote for one stage of one image.

        Raises:
            TaggerError: there is no valid record of the image.
        """
        run = self.run()
        record = run.records.by_name.get(sample.name)
        if record is None:
            raise TaggerError(run.missing_record(sample.name))
        return Output(
            stage=stage,
            text=record.text(stage),
            keywords=record.keywords if stage is Stage.KEYWORDS else None,
            # For the check that a description does not only repeat the caption.
            caption=record.caption if stage is Stage.DESCRIPTION else "",
            fault=record.faults.get(stage),
            image_s=record.seconds,
            extra=record.extra,
        )

    def run(self) -> TaggerRun:
        """Run the program, unless that was done before, and read its records."""
        if self._run is None:
            result = self._result or self.job.run(self._samples)
            names = [sample.name for sample in self._samples]
            self._run = TaggerRun(result, read_records(self.job.folder.output, names, self.job.secrets))
        return self._run
