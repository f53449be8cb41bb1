"""A run trained again from its record, and its weights compared bit for bit.

Same settings, captions as recorded, pictures by content. What has no effect on weights (samples, validation, trackers) is left
out.
Where the bits differ, the first step whose losses differ is named, and what differs between the two environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maquette.comparing.diff import Change, environment_differences
from maquette.comparing.needs import Needs, needs_of
from maquette.comparing.options import ReproduceOptions
from maquette.comparing.sides import environment_now, side_of_run
from maquette.comparing.weights import StepDifference, WeightsCompared, compare_weights, first_difference
from maquette.errors import ModelError, OutputError, Problem
from maquette.events import Artifact, Event, Finished, Message, Stage, Started, mapped
from maquette.files import sha256_file
from maquette.locking import holder_of
from maquette.project.checkpoints import by_step
from maquette.project.settings import Settings
from maquette.runs.folder import RunFolder
from maquette.runs.record import PACKED, Checkpoint, RunRecord, read_record, require_begun
from maquette.stopping import Stop, Stopped
from maquette.training.job import Job
from maquette.training.loop import run_job
from maquette.training.prepare import Judge, prepare

SUFFIX = "-reproduced"


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What training a run again gave."""

    run: Path
    reproduced: Path | None
    """The folder of the new run; None where nothing was trained."""
    steps: int
    identical: bool | None
    """Whether all compared files hold the same bits; None where nothing was trained."""
    compared: tuple[WeightsCompared, ...] = ()
    not_compared: tuple[str, ...] = ()
    """Files of the record that are gone or changed, in words."""
    first_difference: StepDifference | None = None
    environment: Mapping[str, Change] | None = None
    """What differs between then and now; of what both records say."""
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        first = self.first_difference
        return {
            "run": str(self.run),
            "reproduced": str(self.reproduced) if self.reproduced else None,
            "steps": self.steps,
            "identical": self.identical,
            "checkpoints": {
                each.name: {
                    "step": each.step,
                    "identical": each.is_identical,
                    "tensors": each.tensors,
                    "differing": len(each.differing),
                    "largest_difference": each.largest,
                }
                for each in self.compared
            },
            "not_compared": list(self.not_compared),
            "first_differing_step": first.step if first else None,
            "first_difference": {name: {"a": a, "b": b} for name, (a, b) in first.values.items()}
            if first
            else {},
            "environment": {
                name: {"a": change.a, "b": change.b} for name, change in (self.environment or {}).items()
            },
            "unknown": list(self.unknown),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A LoRA file of the run that is as the run wrote it."""

    path: Path
    entry: Checkpoint

    @property
    def name(self) -> str:
        return self.path.name


def reproduce_events(
    run: Path, options: ReproduceOptions, *, judge: Judge, stop: Stop | None = None
) -> Stage[Reproduction]:
    """Train `run` again into a folder of its own and compare. Raises MaquetteError with all that changed since.

    `judge` is asked as for any run (`rules.verdict.judge`): whether this machine can do it at all.
    """
    require_begun(run)
    record = read_record(run)
    kept, lost = _kept_files(run, record)
    refused = _refusals(run, record, kept)
    if record.foreign is not None:
        raise OutputError(refused)
    needs = needs_of(run, record, base=options.base, images=options.images)
    if problems := [*refused, *needs.problems]:
        raise OutputError(problems)
    yield from (Message(note) for note in _notes(record, needs))
    yield from (Message(text, "warning") for text in lost)
    last = max(each.entry.step for each in kept)
    if options.dry_run:
        return _untrained(run, record, last, tuple(lost), needs)
    job = _job(run, record, needs, options, judge)
    again = job.folder
    yield Artifact("run", again.path)
    yield from _trained(job, last, stop)
    yield Started("compare", len(kept), "file")
    compared, missing = _compared(kept, record, again)
    yield Finished("compare")
    return _result(run, record, again, last, compared, (*lost, *missing), needs)


def _untrained(run: Path, record: RunRecord, steps: int, lost: tuple[str, ...], needs: Needs) -> Reproduction:
    """Return what is known without training: that everything is here, and what differs between then and now."""
    then = side_of_run(run, record)
    return Reproduction(
        run=run,
        reproduced=None,
        steps=steps,
        identical=None,
        not_compared=lost,
        environment=environment_differences(then.environment, environment_now()[0]),
        unknown=then.unknown,
        notes=_notes(record, needs),
    )


def _notes(record: RunRecord, needs: Needs) -> tuple[str, ...]:
    """Return what a person should know of the comparison."""
    return (*needs.notes, *([PACKED] if PACKED in record.notes else []))


def _kept_files(run: Path, record: RunRecord) -> tuple[list[_Kept], list[str]]:
    """Return the run's LoRA files that are as it wrote them, and in words those that are not."""
    kept, lost = [], []
    for entry in record.checkpoints:
        path = run / entry.path
        if not path.is_file():
            lost.append(f"{path} is gone")
        elif entry.sha256 and sha256_file(path) != entry.sha256:
            lost.append(f"{path} is no longer as the run wrote it")
        else:
            kept.append(_Kept(path=path, entry=entry))
    return kept, lost


def _refusals(run: Path, record: RunRecord, kept: list[_Kept]) -> list[Problem]:
    problems = []
    if record.foreign is not None:
        given = f"{record.foreign.trainer} trained it; it was imported"
        remedy = (
            "Train its settings anew: maquette init PROJECT --from FILE, with its trainer's settings file."
        )
        return [Problem(str(run), given, "a run that Maquette trained", remedy)]
    if record.state in ("prepared", "running") and holder_of(run) is not None:
        problems.append(
            Problem(str(run), "is being trained now", "a run that has ended", "Wait until it has ended.")
        )
    if not kept:
        given = "has no LoRA file left as it wrote it"
        remedy = "Put one of its checkpoints back; without one there is nothing to compare with."
        problems.append(Problem(str(run), given, "a LoRA file of the run", remedy))
    return problems


def _job(run: Path, record: RunRecord, needs: Needs, options: ReproduceOptions, judge: Judge) -> Job:
    settings = _as_trained(record, needs.settings)
    saving = settings.saving.model_copy(
        update={
            "output": options.output or run.resolve().parent,
            "name": f"{record.run}{SUFFIX}",
            "trackers": (),
            "tensorboard": False,
            "logging_dir": None,
        }
    )
    settings = settings.model_copy(update={"saving": saving})
    job = _saving_as(record, prepare(settings, judge=judge, next_name=True, recorded=needs.dataset))
    seed = record.schedule.pictures_seed
    if seed is None:
        return job
    # A trial saw the pictures in the order of its search, whose seed was another than its own.
    return replace(job, dataset=replace(job.dataset, seed=seed))


def _saving_as(record: RunRecord, job: Job) -> Job:
    """Return the job with the files that the run saved beside those that were planned: asked for while it trained."""
    (trial,) = job.trials
    per_epoch = job.schedule.steps_per_epoch
    planned = {each.step for each in trial.checkpoints}
    asked = sorted({entry.step for entry in record.checkpoints} - planned)
    more = tuple(by_step(trial.name, step, -(-step // per_epoch)) for step in asked)
    return replace(job, trials=(replace(trial, checkpoints=(*more, *trial.checkpoints)),))


def _as_trained(record: RunRecord, settings: Settings) -> Settings:
    """Return settings with the precision that `auto` meant then."""
    training = settings.training
    if record.device is None or training.precision != "auto":
        return settings
    precision = training.model_copy(update={"precision": record.device.precision})
    return settings.model_copy(update={"training": precision})


def _trained(job: Job, last: int, stop: Stop | None) -> Stage[None]:
    """Train `job` as far as the run's last file; a run that ended there early is left there, too."""
    own = stop or Stop()
    reached = False

    def heard(event: Event) -> Event:
        nonlocal reached
        done = (
            max((entry.step for entry in read_record(job.folder.path).checkpoints), default=0)
            if (isinstance(event, Artifact) and event.kind == "checkpoint")
            else 0
        )
        if last < job.schedule.steps and done >= last:
            reached = True
            own.ask("the run that is reproduced ended here")
        return event

    with job:
        try:
            yield from mapped(run_job(job, stop=own), heard)
        except Stopped:
            if not reached:
                raise


def _compared(
    kept: list[_Kept], record: RunRecord, again: RunFolder
) -> tuple[tuple[WeightsCompared, ...], tuple[str, ...]]:
    """Return each file of the run beside the one of the same step, and in words those that have none."""
    made = {
        (entry.step, entry.final): again.path / entry.path for entry in read_record(again.path).checkpoints
    }
    compared, missing = [], []
    for each in kept:
        entry = each.entry
        other = made.get((entry.step, entry.final)) or made.get((entry.step, not entry.final))
        if other is None:
            missing.append(f"{each.name}: the new run has no file of step {entry.step}")
            continue
        try:
            compared.append(compare_weights(each.name, entry.step, each.path, other))
        except ModelError as error:
            missing.append(str(error))
    return tuple(compared), tuple(missing)


def _result(
    run: Path,
    record: RunRecord,
    again: RunFolder,
    last: int,
    compared: tuple[WeightsCompared, ...],
    not_compared: tuple[str, ...],
    needs: Needs,
) -> Reproduction:
    then, now = side_of_run(run, record), side_of_run(again.path, read_record(again.path))
    identical = bool(compared) and all(each.is_identical for each in compared)
    first = None if identical else first_difference(RunFolder(run).metrics, again.metrics, last)
    return Reproduction(
        run=run,
        reproduced=again.path,
        steps=last,
        identical=identical,
        compared=compared,
        not_compared=not_compared,
        first_difference=first,
        environment=environment_differences(then.environment, now.environment),
        unknown=then.unknown,
        notes=_notes(record, needs),
    )
