"""The trials of a job: what may differ between them, where each one's files go, and where each goes on.

One trial is an ordinary run: its files lie in the run's own folder. Several lie each in a folder of its own below it, which is
a whole run's folder: with a record, metrics, checkpoints, samples and state, as if it had been trained alone.

    RUN/trials/NAME-01/run.json, metrics.jsonl, checkpoints/NAME-01.safetensors, …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from maquette.dataset.records import Dataset
from maquette.dataset.repeats import Schedule
from maquette.errors import ConfigError, OutputError, Problem
from maquette.events import Message
from maquette.project.checkpoints import plan_checkpoints
from maquette.project.config_file import dump_settings
from maquette.project.settings import Settings
from maquette.runs.folder import RunFolder
from maquette.runs.record import (
    RunRecord,
    dataset_record,
    digest_of,
    environment,
    now,
    read_record,
    schedule_record,
)
from maquette.training.config import trial_of
from maquette.training.job import TrialRun

if TYPE_CHECKING:
    from maquette.families.protocol import ModelInfo
    from maquette.training.state import SavedState

TRIALS = "trials"
"""Folder below a run of several trials that holds theirs."""
OWN_TRAINING = (
    "learning_rate",
    "unet_lr",
    "text_encoder_lr",
    "optimizer",
    "optimizer_args",
    "weight_decay",
    "lr_scheduler",
    "warmup_steps",
    "lr_cycles",
    "lr_power",
    "max_grad_norm",
    "min_snr_gamma",
    "noise_offset",
    "prior_loss_weight",
    "seed",
)
"""Settings of `[training]` in which trials may differ, beside all of `[lora]`."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the trials of a job have in common: the run's settings and name, its pictures, steps and base."""

    settings: Settings
    name: str
    folder: RunFolder
    dataset: Dataset
    schedule: Schedule
    info: ModelInfo
    resume: bool

    @property
    def pictures_seed(self) -> int:
        """The seed of the pictures' order and captions, which all trials see alike."""
        return self.settings.training.seed


def require_alike(shared: Settings, trials: Sequence[Settings]) -> None:
    """Raise ConfigError, naming every setting in which `trials` differ but must not: they share base and pictures."""
    common = _common(shared)
    problems = []
    for number, trial in enumerate(trials, 1):
        for name, value in _common(trial).items():
            if value != common[name]:
                given = f"{value!r}, where the run has {common[name]!r}"
                remedy = f"Trials may differ in [lora] and in {', '.join(OWN_TRAINING)}."
                problems.append(
                    Problem(f"trial {number}: {name}", given, "the same for all trials of a run", remedy)
                )
    if problems:
        raise ConfigError(problems)


def _common(settings: Settings) -> dict[str, Any]:
    tables = dump_settings(settings)
    return {
        f"[{section}] {name}": value
        for section, table in tables.items()
        for name, value in table.items()
        if section != "lora" and not (section == "training" and name in OWN_TRAINING)
    }


def trial_runs(shared: Shared, trials: Sequence[Settings]) -> tuple[TrialRun, ...]:
    """Return a record for each of `trials`; resumed ones go on from one and the same step.

    Raises OutputError when a run cannot be resumed: it is finished, changed, or its trials' states do not meet.
    """
    alone = len(trials) == 1
    runs = []
    for number, settings in enumerate(trials, 1):
        name = shared.name if alone else f"{shared.name}-{number:02d}"
        folder = shared.folder if alone else RunFolder(shared.folder.path / TRIALS / name)
        runs.append(_trial_run(shared, settings, name, folder))
    return _at_one_step(runs) if shared.resume else tuple(runs)


def _trial_run(shared: Shared, settings: Settings, name: str, folder: RunFolder) -> TrialRun:
    schedule, saving = shared.schedule, settings.saving
    checkpoints = plan_checkpoints(
        name,
        total_steps=schedule.steps,
        steps_per_epoch=schedule.steps_per_epoch,
        every_steps=saving.save_every_steps,
        every_epochs=saving.save_every_epochs,
    )
    record = _new_record(shared, settings, name, tuple(planned.file_name for planned in checkpoints))
    state = None
    if shared.resume:
        record, state = _resumed(record, folder)
    return TrialRun(
        settings=settings,
        trial=trial_of(settings),
        name=name,
        folder=folder,
        checkpoints=checkpoints,
        digest=record.digest,
        record=record,
        resume=state,
    )


def _new_record(shared: Shared, settings: Settings, name: str, checkpoints: tuple[str, ...]) -> RunRecord:
    """Return the record of a trial that begins now."""
    pictures = dataset_record(shared.dataset)
    # A trial of another seed than the run's sees the pictures in the run's order: its record says so.
    own_order = settings.training.seed == shared.pictures_seed
    pictures_seed = None if own_order else shared.pictures_seed
    return RunRecord(
        run=name,
        created_at=now(),
        digest=digest_of(settings, pictures, shared.info, pictures_seed),
        settings=settings,
        base=shared.info,
        dataset=pictures,
        schedule=schedule_record(shared.schedule, checkpoints, pictures_seed),
        environment=environment(),
    )


# --- resuming --------------------------------------------------------------------------------------------


def _resumed(fresh: RunRecord, folder: RunFolder) -> tuple[RunRecord, SavedState | None]:
    """Return the record of the run in `folder` as it goes on, and its newest state; `fresh` is what it would be anew.

    Raises OutputError where the run is finished, or is no longer what it was.
    """
    from maquette.training.state import latest_state

    record = read_record(folder.path)
    if record.state == "finished":
        raise OutputError(
            Problem(
                str(folder.path),
                "this run is finished",
                "an interrupted run",
                "Start a new run to train longer.",
            )
        )
    state = latest_state(folder.state, fresh.schedule.steps)
    if not record.makes_the_weights_of(fresh) or (state is not None and state.digest != record.digest):
        raise OutputError(
            Problem(
                str(folder.path),
                "pictures, captions or settings changed since the run began",
                "the same ones: a resumed run equals an uninterrupted one",
                "Put them back as they were, or start a new run.",
            )
        )
    kept = ("created_at", "digest", "base_sha256", "device", "timings", "checkpoints", "samples",
            "resumed_at_steps", "notes")  # fmt: skip
    return fresh.with_(**{name: getattr(record, name) for name in kept}), state


def state_notes(run: TrialRun) -> tuple[Message, ...]:
    """Return what a person should know of the state that a trial goes on from."""
    state = run.resume
    if state is None:
        return ()
    notes = [
        f"{run.folder.state}: {damage}; going on from the state of step {state.step}"
        for damage in state.passed_over
    ]
    if not state.has_checksum:
        notes.append(
            f"{state.path} has no checksum (an earlier release wrote it): damage to it would not be seen"
        )
    return tuple(Message(note, "warning") for note in notes)


def _at_one_step(runs: Sequence[TrialRun]) -> tuple[TrialRun, ...]:
    """Return `runs` with states of one step: a stop between two trials' saves leaves one of them a state ahead."""
    step = min(run.resume.step if run.resume else 0 for run in runs)
    return tuple(_back_at(run, step) for run in runs)


def _back_at(run: TrialRun, step: int) -> TrialRun:
    from maquette.training.state import state_at

    state = run.resume
    if state is not None and state.step != step:
        state = state_at(run.folder.state, step) if step else None
        if step and state is None:
            raise OutputError(
                Problem(
                    str(run.folder.path),
                    f"it has no whole state of step {step}, where another trial stopped",
                    "states of one step for all trials of a run",
                    "Train anew under another --name, or resume each trial by itself.",
                )
            )
    record = run.record.with_(
        checkpoints=tuple(entry for entry in run.record.checkpoints if entry.step <= step),
        resumed_at_steps=(*run.record.resumed_at_steps, step),
        step=step,
    )
    return replace(run, resume=state, record=record)
