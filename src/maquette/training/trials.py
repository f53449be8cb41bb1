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
from maquette.files import sha256_file
from maquette.project.checkpoints import PlannedCheckpoint, by_step, plan_checkpoints
from maquette.project.config_file import dump_settings
from maquette.project.schedules import SCHEDULES
from maquette.project.settings import Settings
from maquette.runs.environment import environment
from maquette.runs.folder import RunFolder
from maquette.runs.places import as_found
from maquette.runs.record import (
    RunRecord,
    dataset_record,
    digest_of,
    now,
    read_record,
    schedule_record,
)
from maquette.training.claiming import trial_folder
from maquette.training.config import trial_of
from maquette.training.continuing import weights_of
from maquette.training.job import TrialRun
from maquette.training.schedules import (
    WITHOUT_LENGTH,
    depends_on_length,
    learning_rate_factor,
    schedule_in_force,
    shape_of,
)

if TYPE_CHECKING:
    from maquette.families.protocol import ModelInfo
    from maquette.training.state import SavedState

LENGTH = ("steps", "epochs")
OWN_TRAINING = (
    "learning_rate",
    "unet_lr",
    "text_encoder_lr",
    "text_encoder_2_lr",
    "loraplus_lr_ratio",
    "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio",
    "optimizer",
    "optimizer_args",
    "weight_decay",
    "ema_decay",
    "lr_scheduler",
    "lr_scheduler_args",
    "warmup_steps",
    "lr_decay_steps",
    "lr_cycles",
    "lr_power",
    "lr_timescale",
    "lr_min_ratio",
    "max_grad_norm",
    "seed",
)
"""Settings of `[training]` in which trials may differ."""
SHARED_LORA = ("adapter",)
"""Settings of `[lora]` in which trials must agree: a pass over the base serves adapters of one kind."""
OWN_SECTIONS = ("lora", "objective")
"""Sections in which trials may differ in everything, but for what OF_THE_BASE names."""
OF_THE_BASE = ("prediction", "zero_terminal_snr", "check_prediction")
"""Settings of these sections that say what the base is, which trials share."""


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
    sections = ", ".join(f"[{section}]" for section in OWN_SECTIONS)
    problems = []
    for number, trial in enumerate(trials, 1):
        for name, value in _common(trial).items():
            if value != common[name]:
                given = f"{value!r}, where the run has {common[name]!r}"
                remedy = f"Trials may differ in {sections} and in {', '.join(OWN_TRAINING)}."
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
        if (section not in OWN_SECTIONS or name in OF_THE_BASE or name in SHARED_LORA)
        and not (section == "training" and name in OWN_TRAINING)
    }


def trial_runs(shared: Shared, trials: Sequence[Settings]) -> tuple[TrialRun, ...]:
    """Return a record for each of `trials`; resumed ones go on from one and the same step.

    Raises OutputError when a run cannot be resumed: it is finished, changed, or its trials' states do not meet.
    """
    runs = []
    for number, settings in enumerate(trials, 1):
        name, folder = trial_folder(shared.folder, shared.name, number, len(trials))
        runs.append(_trial_run(shared, settings, name, folder))
    return _at_one_step(runs) if shared.resume else tuple(runs)


def _trial_run(shared: Shared, settings: Settings, name: str, folder: RunFolder) -> TrialRun:
    known = read_record(folder.path) if shared.resume else None
    checkpoints = _planned_checkpoints(shared, settings, name, known)
    record = _new_record(shared, settings, name, tuple(planned.file_name for planned in checkpoints))
    state: SavedState | None = None
    messages: tuple[Message, ...] = ()
    if known is not None:
        record, state, messages = _resumed(record, known, folder)
    return TrialRun(
        settings=settings,
        trial=trial_of(settings),
        name=name,
        folder=folder,
        checkpoints=checkpoints,
        digest=record.digest,
        record=record,
        weights=weights_of(settings.lora),
        resume=state,
        messages=messages,
    )


def _planned_checkpoints(
    shared: Shared, settings: Settings, name: str, known: RunRecord | None
) -> tuple[PlannedCheckpoint, ...]:
    """Return the files that a trial writes. One that is trained longer keeps where it ended before under that step's name."""
    schedule, saving = shared.schedule, settings.saving
    planned = plan_checkpoints(
        name,
        total_steps=schedule.steps,
        steps_per_epoch=schedule.steps_per_epoch,
        every_steps=saving.save_every_steps,
        every_epochs=saving.save_every_epochs,
    )
    ends = [entry for entry in known.checkpoints if entry.final] if known is not None else []
    kept = [
        by_step(name, entry.step, entry.epoch)
        for entry in ends
        if entry.step < schedule.steps and not any(each.step == entry.step for each in planned)
    ]
    return tuple(sorted((*planned, *kept), key=lambda each: (each.step, each.final)))


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
        lora_files=_lora_files(settings),
        environment=environment(),
    )


def _lora_files(settings: Settings) -> dict[str, str]:
    found = [
        *settings.model.base_weights,
        *([settings.lora.network_weights] if settings.lora.network_weights else []),
    ]
    return {str(path): sha256_file(path) for path in found}


# --- resuming --------------------------------------------------------------------------------------------


def _resumed(
    fresh: RunRecord, known: RunRecord, folder: RunFolder
) -> tuple[RunRecord, SavedState | None, tuple[Message, ...]]:
    """Return the record of the run in `folder` as it goes on, its newest state, and what a person should know of it.

    `fresh` is what it would be anew, `known` what it says of itself. Raises OutputError where it is finished and not to be
    trained longer, or is no longer what it was.
    """
    from maquette.training.state import latest_state

    steps, before = fresh.schedule.steps, known.schedule.steps
    found = as_found(known, folder.path)
    there = known if _has_paths_of(fresh, known) else found
    asks_longer = fresh.settings.with_resumable(there.settings) != there.settings
    is_done = known.state == "finished" and known.step >= before  # one that stopped early may go on
    if steps <= before and (is_done or asks_longer):
        raise OutputError(_no_longer(folder, known, steps, asks_longer))
    state = latest_state(folder.state, steps)
    if not there.makes_the_weights_of(_as_long_as(fresh, there)) or (
        state is not None and state.digest != known.digest
    ):
        raise OutputError(
            Problem(
                str(folder.path),
                "pictures, captions, settings or the LoRA that it goes on from changed since the run began",
                "the same ones: a resumed run equals an uninterrupted one",
                "Put them back as they were, or start a new run.",
            )
        )
    kept = ("created_at", "digest", "base_sha256", "device", "timings", "checkpoints", "samples",
            "validation", "resumed_at_steps", "notes")  # fmt: skip
    record = fresh.with_(**{name: getattr(known, name) for name in kept})
    if there is found:
        record = record.with_(**_as_written(fresh, known))
    messages = _of_the_state(folder, state)
    if steps > before:
        longer = told_of_length(fresh.settings, state.step if state else 0, before, steps)
        messages = (*messages, longer)
        record = record.with_(notes=(*known.notes, longer.text))
    return record, state, messages


def _has_paths_of(fresh: RunRecord, known: RunRecord) -> bool:
    return all(
        getattr(fresh.settings, name) == getattr(known.settings, name) for name in ("model", "dataset")
    )


def _as_written(fresh: RunRecord, known: RunRecord) -> dict[str, Any]:
    """Return what names files as the record has it, where these were found elsewhere: so they are found again after a move."""
    settings = known.settings.with_resumable(fresh.settings)
    settings = settings.model_copy(update={"training": fresh.settings.training})
    return {"settings": settings, "dataset": known.dataset, "lora_files": known.lora_files}


def _no_longer(folder: RunFolder, known: RunRecord, steps: int, asked: bool) -> Problem:
    before = known.schedule.steps
    return Problem(
        str(folder.path),
        f"{steps} steps asked for, and it has {before}" if asked else "this run is finished",
        f"more than {before} steps" if asked else "an interrupted run, or more steps than it was planned for",
        f"To train it longer: maquette train --resume {folder.path} --steps N, with N above {before}.",
    )


def _as_long_as(fresh: RunRecord, known: RunRecord) -> RunRecord:
    """Return `fresh` with the length that `known` was planned for: all else decides whether both are one run."""
    length = {name: getattr(known.settings.training, name) for name in LENGTH}
    training = fresh.settings.training.model_copy(update=length)
    return fresh.model_copy(update={"settings": fresh.settings.model_copy(update={"training": training})})


def told_of_length(settings: Settings, done: int, before: int, steps: int) -> Message:
    """Say what training to `steps`, where `before` were planned, makes of the weights."""
    trial = trial_of(settings)
    text = f"The run was planned for {before} steps and is trained to {steps}"
    name = schedule_in_force(trial)
    if not depends_on_length(trial):
        return Message(f"{text}, to the weights of a run planned so: {name} does not depend on it.")
    if name not in SCHEDULES:
        return Message(f"{text}, with the rates that lr_scheduler_args give {name}.", "warning")
    last = learning_rate_factor(name, max(done - 1, 0), shape_of(trial, before))
    next_ = learning_rate_factor(name, done, shape_of(trial, steps))
    return Message(
        f"{text}. lr_scheduler {trial.lr_scheduler} depends on the length: step {done} had {last:.0%} of the rate, "
        f"step {done + 1} has {next_:.0%}, as over {steps} steps. A run planned so from the start has other weights; with "
        f"{' or '.join(WITHOUT_LENGTH[:2])} it has the same.",
        "warning",
    )


def _of_the_state(folder: RunFolder, state: SavedState | None) -> tuple[Message, ...]:
    """Return what a person should know of the state that a trial goes on from."""
    if state is None:
        return ()
    notes = [
        f"{folder.state}: {damage}; going on from the state of step {state.step}"
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
    validation = run.record.validation
    record = run.record.with_(
        validation=validation and replace(validation, points=validation.up_to(step)),
        checkpoints=tuple(entry for entry in run.record.checkpoints if entry.step <= step),
        resumed_at_steps=(*run.record.resumed_at_steps, step),
        step=step,
    )
    return replace(run, resume=state, record=record)
