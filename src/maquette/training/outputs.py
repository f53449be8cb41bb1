"""What one trial leaves behind: its record, metrics, checkpoints, samples and state. The loop has one of these a trial."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.events import Artifact, Event, Message, Stage
from maquette.files import sha256_file
from maquette.logs.metrics import VALIDATION, MetricsLog, read_metrics, writes_tensorboard
from maquette.logs.trackers import Tracked, Trackers
from maquette.project.checkpoints import PlannedCheckpoint, by_step, step_file_name
from maquette.project.config_file import dump_settings
from maquette.project.settings import Settings
from maquette.runs.choice import read_choice
from maquette.runs.folder import RunFolder
from maquette.runs.picture_losses import apart_in_words
from maquette.runs.record import Checkpoint, RunRecord, Sample
from maquette.runs.validation import ValidationPoint
from maquette.training.job import Job, TrialRun

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.engine import StepResult
    from maquette.training.load_test import LoadTest
    from maquette.training.standing import Standing

SampleDrawer = Callable[["BaseModel", "LoraAdapter", int, Settings, int, str, Path], Stage[list[Sample]]]
"""Draws a trial's samples of a step into a folder (model, adapter, trial, settings, step, the LoRA file's name, folder); returns
a record of each.
Drawing lives above training, so it is handed in."""


CheckpointJudge = Callable[["BaseModel", "LoraAdapter", int, RunRecord, RunFolder, int], Stage[bool]]
"""Judges a trial's checkpoint of a step (model, adapter, trial, its record and folder, step); returns whether the run may end.
Judging lives above training, so it is handed in."""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What one trial of a finished run is: its folder, its LoRA, its loss over the last epoch, its record."""

    run: Path
    lora: Path
    final_loss: float
    record: RunRecord


class TrialOutput:
    """Writes the files of trial `index` of a job; `record` is what its run.json says."""

    def __init__(self, job: Job, index: int) -> None:
        self.job = job
        self.index = index
        self.run: TrialRun = job.trials[index]
        self.record = self.run.record
        pictures = reversed(list(enumerate(self.record.dataset.pictures)))
        self._places = {picture.path: place for place, picture in pictures}

    def note(self, **changes: Any) -> None:
        """Write `changes` into the record on disk."""
        self.job.claim.require_there()
        self.record = self.record.with_(**changes)
        self.record.write(self.run.folder)

    def open_metrics(self, first_step: int) -> MetricsLog:
        """Return the trial's log of steps; lines after `first_step` are dropped."""
        folder, saving = self.run.folder, self.run.settings.saving
        events = folder.events if saving.logging_dir is None else saving.logging_dir / self.run.name
        return MetricsLog(
            folder.metrics,
            events if writes_tensorboard(saving.tensorboard) else None,
            resume_step=first_step,
            trackers=self._trackers() if saving.trackers and self.job.smoke_steps is None else None,
        )

    def _trackers(self) -> Trackers:
        saving = self.run.settings.saving
        tables = dump_settings(self.run.settings)
        number = f"-{self.index + 1:02d}" if len(self.job.trials) > 1 else ""
        began = re.sub(r"\W", "", self.record.created_at)
        return Trackers(
            saving.trackers,
            Tracked(
                project=saving.tracker_project,
                name=saving.tracker_run + number if saving.tracker_run else self.run.name,
                identity=re.sub(r"\W", "_", f"{self.run.name}-{began}"),
                settings={
                    f"{section}.{name}": value
                    for section, table in tables.items()
                    for name, value in table.items()
                },
                folder=saving.logging_dir or saving.output,
                is_asked=saving.logging_dir is not None,
            ),
        )

    def log(self, metrics: MetricsLog, step: int, result: StepResult, more: Mapping[str, Any]) -> None:
        """Append what step `step` (1-based) measured for this trial, and `more`, which is the machine's."""
        names = [f"lr_{name}" for name in result.rate_names[self.index]]
        found = result.effective_rates[self.index] if result.effective_rates else ()
        metrics.write(
            step,
            {
                "loss": result.losses[self.index],
                "gradient_norm": result.gradient_norms[self.index],
                **dict(zip(names, result.learning_rates[self.index], strict=True)),
                **result.more[self.index],
                **{f"effective_{name}": rate for name, rate in zip(names, found, strict=False)},
                **more,
                "shown": self._shown(result),
            },
        )
        self.record = self.record.with_(step=step)

    def _shown(self, result: StepResult) -> list[tuple[int, float, float]]:
        """Return which pictures of the record a step showed, each with its timestep and its loss."""
        return [
            (self._places.get(name, -1), float(f"{timestep:.6g}"), float(f"{loss:.6g}"))
            for shown in result.shown
            for name, timestep, loss in zip(
                shown.names,
                shown.timesteps_PB[self.index].tolist(),
                shown.losses_PB[self.index].tolist(),
                strict=True,
            )
        ]

    def compare_pictures(self) -> Iterator[Event]:
        """Say in the record how each picture of the subject was fitted over the run, and name those that stand apart."""
        from maquette.logs.picture_losses import picture_losses

        found = picture_losses(subject_rows(self.record, read_metrics(self.run.folder.metrics)))
        self.record = self.record.with_(picture_losses=found)
        for each in found:
            if each.standing and each.standing != "ahead":
                path = Path(self.record.dataset.pictures[each.picture].path)
                yield Message(apart_in_words(path.name, each), "warning")

    def log_validation(
        self,
        metrics: MetricsLog,
        step: int,
        losses: Sequence[float],
        base: Sequence[float] | None,
        previous: Sequence[float] | None,
    ) -> ValidationPoint:
        """Append what validation measured after `step` steps, and say it in the record. Return it."""
        from maquette.training.validation import point_of

        known = self.record.validation
        assert known is not None
        point = point_of(step, losses, base if step else None, previous)
        named = {f"validation_{name}": value for name, value in asdict(point).items() if name != "step"}
        metrics.write(step, {**named, "pictures": list(losses)}, VALIDATION)
        points = (*(each for each in known.points if each.step != step), point)
        self.note(validation=replace(known, points=points))
        return point

    def has_validation(self, step: int) -> bool:
        """Return whether validation was measured after `step` steps."""
        return self.record.validation is not None and self.record.validation.point_at(step) is not None

    def due(self, step: int) -> list[PlannedCheckpoint]:
        """Return the checkpoints that are written after `step` steps."""
        return [planned for planned in self.run.checkpoints if planned.step == step]

    def here(self, step: int) -> PlannedCheckpoint:
        """Return the file of a step after which none was planned."""
        return by_step(self.run.name, step, -(-step // self.job.schedule.steps_per_epoch))

    def has(self, planned: PlannedCheckpoint) -> bool:
        """Return whether the checkpoint was written, and is still there."""
        path = self.run.folder.checkpoints / planned.file_name
        # Of that very step: the final file of a run that is trained longer is replaced in the end.
        known = {(self.run.folder.path / entry.path, entry.step) for entry in self.record.checkpoints}
        return (path, planned.step) in known and path.is_file()

    def has_samples(self, step: int) -> bool:
        """Return whether the samples of `step` were drawn."""
        return any(entry.step == step for entry in self.record.samples)

    def save_checkpoint(
        self, standing: Standing, planned: PlannedCheckpoint, base_sha256: str
    ) -> Iterator[Event]:
        """Write the trial's LoRA as it is now, and say so in the record."""
        from maquette.training.export import save_checkpoint
        from maquette.training.load_test import load_test
        from maquette.world.pack import is_small_world

        path = self.run.folder.checkpoints / planned.file_name
        state = standing.adapter.state_dict(standing.place)
        saved = save_checkpoint(path, state, self.job, self.run, planned, base_sha256)
        yield from (Message(note, "warning") for note in saved.notes)
        tested = load_test(path, state, self.run.settings.saving.save_precision, trained=self.run.parts)
        if is_small_world(self.record.base.title):
            tested = replace(
                tested, skipped=()
            )  # no drawing program knows its layers, and none is asked to draw with it
        yield from (Message(text, "warning") for text in tested.warnings() if not planned.final)
        entry = Checkpoint(
            path=path.relative_to(self.run.folder.path).as_posix(),
            step=planned.step,
            epoch=planned.epoch,
            final=planned.final,
            sha256=sha256_file(path),
        )
        others = tuple(known for known in self.record.checkpoints if known.path != entry.path)
        self.note(checkpoints=(*others, entry))
        yield Artifact("checkpoint", path)
        if planned.final:
            yield from (Message(text, "warning") for text in tested.warnings())
            self._require_effect(tested, planned.step)

    def _require_effect(self, tested: LoadTest, steps: int) -> None:
        """Raise TrainingError for a finished LoRA that changes nothing; beside others that learn it is said alone."""
        if len(self.job.trials) == 1:
            tested.require_effect(steps)

    def draw_samples(self, standing: Standing, draw: SampleDrawer, step: int) -> Iterator[Event]:
        """Draw the trial's samples of `step`, and say so in the record."""
        folder = self.run.folder
        trial = (standing.model, standing.adapter, standing.place, self.run.settings)
        drawn = yield from draw(*trial, step, self._file_of(step), folder.samples)
        known = tuple(entry for entry in self.record.samples if entry.step != step)
        self.note(samples=(*known, *drawn))
        for entry in drawn:
            yield Artifact("sample", folder.path / entry.path)

    def _file_of(self, step: int) -> str:
        """Return the name of the LoRA file of `step`; where none is saved then, the name that it would have."""
        saved = [Path(entry.path).name for entry in self.record.checkpoints if entry.step == step]
        return saved[-1] if saved else step_file_name(self.run.name, step)

    def save_state(self, standing: Standing, step: int) -> None:
        """Write what resuming after `step` steps needs."""
        from maquette.training.state import save_state

        folder, digest = self.run.folder.state, self.run.digest
        save_state(folder, step, digest, standing.parameters, standing.optimizer, standing.scaler)

    def restore(self, standing: Standing) -> None:
        """Put the state that the trial goes on from where it stands; nothing happens where it begins anew."""
        if self.run.resume is not None:
            standing.restore(self.run.resume)

    def _best(self) -> Path | None:
        """Return the checkpoint that was judged best, of a trial that ended early; None where it ran to its end."""
        choice = read_choice(self.run.folder.path) if self.record.step < self.job.schedule.steps else None
        return None if choice is None else self.run.folder.path / choice.checkpoint

    def judge(self, standing: Standing, judge: CheckpointJudge, step: int) -> Stage[bool]:
        """Judge the trial's checkpoint of `step`; return whether it may end there."""
        trial = (standing.model, standing.adapter, standing.place, self.record, self.run.folder)
        return (yield from judge(*trial, step))

    def final_loss(self) -> float:
        """Return the mean loss over the last epoch's steps: one step's loss alone says nothing."""
        steps = self.job.schedule.steps_per_epoch
        losses = [row["loss"] for row in read_metrics(self.run.folder.metrics)][-steps:]
        return sum(losses) / len(losses) if losses else float("nan")

    def result(self) -> TrialResult:
        """Return what the finished trial is."""
        planned = self.run.folder.checkpoints / self.run.checkpoints[-1].file_name
        return TrialResult(
            run=self.run.folder.path,
            lora=self._best() or planned,
            final_loss=self.record.final_loss or 0.0,
            record=self.record,
        )


def subject_rows(record: RunRecord, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the steps' rows with the subject's pictures alone: of regularization pictures nothing is to be learnt."""
    dataset = record.dataset
    subject = {
        place
        for place, each in enumerate(dataset.pictures)
        if not dataset.subsets[each.subset].is_regularization
    }
    for row in rows:
        yield {**row, "shown": [each for each in row.get("shown", ()) if each[0] in subject]}
