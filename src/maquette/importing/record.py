"""From what was found of another trainer's run to a record that `runs`, `diff`, `evaluate` and `report` understand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from maquette import families
from maquette.errors import ConfigError, ModelError
from maquette.families.protocol import FamilySpec, ModelInfo
from maquette.files import sha256_file
from maquette.importing.curves import Curves, curves_of
from maquette.importing.found import ANOTHER, FoundLora, FoundRun
from maquette.importing.options import ImportOptions
from maquette.importing.pictures import FoundPictures, pictures_of
from maquette.importing.sd_metadata import json_in, request_of_metadata, whole_in
from maquette.kohya.options import SCRIPTS
from maquette.planning.takeover import Taken, take_over
from maquette.project.config_file import load_settings
from maquette.project.places import found_path
from maquette.project.request import TrainingRequest
from maquette.project.settings import SECTION_OF, Settings
from maquette.runs.environment import EnvironmentRecord
from maquette.runs.foreign import ForeignRecord
from maquette.runs.record import Checkpoint, RunRecord, RunState, ScheduleRecord, digest_of
from maquette.runs.validation import ValidationPoint, ValidationRecord

UNKNOWN = "unknown"
HASH = re.compile(r"^[0-9a-f]{64}$")
LEAST: frozenset[str] = frozenset({"base", "images", "trigger", "rank", "alpha", "learning_rate"})
"""Settings that are kept where all of them together are refused."""
NOT_OF_A_TRAINING = frozenset(
    {"file", "trainer", "spelling", "line", "script", "other", "problems", "unknown_options"}
)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A run as it is recorded, with its curves."""

    record: RunRecord
    curves: Curves


def imported(found: FoundRun, source: Path, options: ImportOptions) -> Imported:
    """Return the record of one run; what nobody says is named in it."""
    last = found.loras[-1] if found.loras else None
    metadata = last.facts.metadata if last is not None else {}
    spec = _spec(last)
    request = _request(found, metadata, spec)
    curves = curves_of(found.logs, found.trainer, (request.accumulation if request else None) or 1)
    pictures = pictures_of(request, metadata, options.images)
    base, unknown_base = _base(request, options)
    settings, taken, invalid = _settings(request, spec, base, pictures, options, metadata)
    info = _info(base, spec, last, metadata)
    record = _record(found, source, settings, info, pictures, curves, metadata)
    unknown = (
        *found.unknown, *pictures.unknown, *curves.unknown, *unknown_base, *invalid,
        *_missing(settings, record, request, last),
    )  # fmt: skip
    files = [*([found.settings.path] if found.settings else []), *curves.files]
    logged = curves.log.trainer if curves.log is not None and found.trainer == ANOTHER else None
    foreign = ForeignRecord(
        trainer=logged or found.trainer,
        source=str(source.resolve()),
        files=tuple(str(path.resolve()) for path in files),
        unknown=tuple(dict.fromkeys(unknown)),
        left_over=dict(taken.left) if taken else {},
    )
    notes = (
        f"Trained with {foreign.trainer}, imported from {foreign.source}.",
        *(f"Unknown: {each}." for each in foreign.unknown),
    )
    return Imported(record=record.with_(foreign=foreign, notes=notes), curves=curves)


# --- settings --------------------------------------------------------------------------------------------


def _spec(last: FoundLora | None) -> FamilySpec | None:
    family = last.facts.family if last is not None else None
    return families.FAMILIES[family].spec if family in families.FAMILIES else None


def _request(found: FoundRun, metadata: Mapping[str, str], spec: FamilySpec | None) -> TrainingRequest | None:
    """Return what was asked for: the settings file's, and over it what the LoRA file says was trained."""
    script = next(iter(spec.training_scripts), None) if spec is not None else None
    path = found.loras[-1].path if found.loras else Path()
    told = request_of_metadata(path, metadata, script or next(iter(SCRIPTS)))
    if found.settings is None or told is None:
        return found.settings.request if found.settings else told
    said = found.settings.request
    values = {
        each.name: value
        for each in fields(told)
        if each.name not in NOT_OF_A_TRAINING
        and (value := getattr(told, each.name)) not in (None, (), {}, False)
    }
    values.pop("base", None) if said.base else None  # the file's own has no folder
    if "steps" in values:
        values["epochs"] = None
    return replace(said, **values, spelling={**said.spelling, **told.spelling})


def _base(request: TrainingRequest | None, options: ImportOptions) -> tuple[str, list[str]]:
    """Return where the base lies, or its name where it does not lie here."""
    if options.base:
        return options.base, []
    named = request.base if request is not None else None
    if not named:
        return UNKNOWN, ["the base model: give it with --base"]
    here = found_path(Path(named), request.file) if request is not None else None
    if here is not None:
        return str(here), []
    is_hub = families.known_by_name(named) is not None
    return named, [] if is_hub else [
        f"where the base {named} lies here: give it with --base to draw with the run"
    ]


def _settings(
    request: TrainingRequest | None,
    spec: FamilySpec | None,
    base: str,
    pictures: FoundPictures,
    options: ImportOptions,
    metadata: Mapping[str, str],
) -> tuple[Settings, Taken | None, list[str]]:
    """Return the settings as Maquette's own, what had no counterpart, and which values could not be taken."""
    taken = take_over(request, spec) if request is not None else None
    values: dict[str, Any] = {
        name: value for name, value in (taken.settings() if taken else {}).items() if name in SECTION_OF
    }
    trigger = (
        options.trigger or (request.trigger if request else None) or metadata.get("modelspec.trigger_phrase")
    )
    values |= {"base": base, "images": pictures.images or Path(UNKNOWN)}
    values |= {"trigger": trigger} if trigger else {}
    if pictures.record.subsets:
        values["caption_extension"] = pictures.record.subsets[0].caption_extension
    if "steps" in values:
        values.pop("epochs", None)
    try:
        return load_settings(None, values), taken, []
    except ConfigError as error:
        kept: dict[str, Any] = {name: value for name, value in values.items() if name in LEAST}
        return load_settings(None, kept), taken, [f"most settings: {problem}" for problem in error.problems]


# --- the base --------------------------------------------------------------------------------------------


def _info(
    base: str, spec: FamilySpec | None, last: FoundLora | None, metadata: Mapping[str, str]
) -> ModelInfo:
    """Return what the base is: by its own file where it lies here, else by what was trained on it."""
    try:
        return families.inspect_or_known(base)
    except ModelError:
        pass
    title = (last.facts.architecture or last.facts.family_title) if last is not None else None
    told = metadata.get("modelspec.prediction_type", "")
    return ModelInfo(
        family=spec.name if spec is not None else UNKNOWN,
        title=title or (spec.title if spec is not None else UNKNOWN),
        prediction="v" if told.startswith("v") else "epsilon",
        dtype=UNKNOWN,
        resolution=spec.native_resolution_px if spec is not None else 0,
        source="single-file",
        layout="single-file",
        path=base,
        text_encoders=0,
        latent_channels=0,
        vae_factor=8,
        notes=("Not looked at: it does not lie here.",),
    )


# --- the record ------------------------------------------------------------------------------------------


def _record(
    found: FoundRun,
    source: Path,
    settings: Settings,
    info: ModelInfo,
    pictures: FoundPictures,
    curves: Curves,
    metadata: Mapping[str, str],
) -> RunRecord:
    # OneTrainer's steps are micro-steps; it takes its optimizer's every so many.
    micro_steps = settings.training.accumulation if found.trainer == "OneTrainer" else 1
    checkpoints = tuple(_checkpoint(each, micro_steps) for each in found.loras)
    step = max([curves.last_step, *(each.step for each in checkpoints)], default=0)
    checkpoints = tuple(replace(each, step=each.step or (step if each.final else 0)) for each in checkpoints)
    schedule = _schedule(settings, metadata, step, checkpoints, curves)
    base_sha256 = metadata.get("ss_new_sd_model_hash", "").lower()
    began, ended = _moment(metadata, "ss_training_started_at"), _moment(metadata, "ss_training_finished_at")
    oldest = min((each.path.stat().st_mtime for each in found.loras), default=source.stat().st_mtime)
    return RunRecord(
        run=found.name,
        state=_state(found, curves, step, schedule.steps),
        maquette_version="",
        created_at=began or _iso(oldest),
        finished_at=ended,
        digest=digest_of(settings, pictures.record, info),
        settings=settings,
        base=info,
        base_sha256=base_sha256 if HASH.match(base_sha256) else "",
        dataset=pictures.record,
        schedule=schedule,
        environment=EnvironmentRecord(python="", platform="", packages={}),
        step=step,
        final_loss=_final_loss(curves, schedule.steps_per_epoch),
        checkpoints=checkpoints,
        validation=_validation(curves, settings),
    )


def _checkpoint(lora: FoundLora, micro_steps: int) -> Checkpoint:
    metadata = lora.facts.metadata
    info = json_in(metadata, "training_info", dict)
    told = info.get("step") if isinstance(info.get("step"), int) else whole_in(metadata, "ss_steps")
    epoch = lora.epoch if lora.epoch is not None else whole_in(metadata, "ss_epoch")
    return Checkpoint(
        path=str(lora.path.resolve()),
        step=(lora.step or told or 0) // micro_steps,
        epoch=epoch or 0,
        final=lora.is_final,
        sha256=sha256_file(lora.path),
    )


def _schedule(
    settings: Settings,
    metadata: Mapping[str, str],
    step: int,
    checkpoints: tuple[Checkpoint, ...],
    curves: Curves,
) -> ScheduleRecord:
    log = curves.log
    batches = whole_in(metadata, "ss_num_batches_per_epoch") or 0
    accumulation = whole_in(metadata, "ss_gradient_accumulation_steps") or settings.training.accumulation
    planned = (
        whole_in(metadata, "ss_max_train_steps")
        or (log.planned_steps if log else None)
        or settings.training.steps
    )
    per_epoch = -(-batches // accumulation) if batches else (log.steps_per_epoch if log else None) or 0
    items = whole_in(metadata, "ss_num_train_images") or (log.train_items if log else None) or 0
    return ScheduleRecord(
        sum=f"{planned or step} steps, as its trainer says",
        train_items=items,
        regularization_items=whole_in(metadata, "ss_num_reg_images") or 0,
        batches_per_epoch=batches,
        steps_per_epoch=per_epoch,
        accumulation=accumulation,
        epochs=whole_in(metadata, "ss_num_epochs") or settings.training.epochs or 0,
        steps=planned or step,
        checkpoints=tuple(Path(each.path).name for each in checkpoints),
    )


def _state(found: FoundRun, curves: Curves, step: int, planned: int) -> RunState:
    log = curves.log
    if (
        any(each.is_final for each in found.loras)
        or (log is not None and log.finished)
        or (planned and step >= planned)
    ):
        return "finished"
    if not found.loras and not curves.files:
        return "prepared"  # its settings alone: nobody says that it ever began
    return "failed" if log is not None and (log.fatal is not None or log.counts) else "interrupted"


def _final_loss(curves: Curves, per_epoch: int) -> float | None:
    """Return the mean over the last epoch as far as it is known, else the last running mean."""
    losses = [row["loss"] for row in curves.rows if "loss" in row]
    if losses:
        return fmean(losses[-(per_epoch or len(losses)) :])
    return next((row["loss_average"] for row in reversed(curves.rows) if "loss_average" in row), None)


def _validation(curves: Curves, settings: Settings) -> ValidationRecord | None:
    if not curves.validation:
        return None
    points = tuple(ValidationPoint(step=step, loss=loss) for step, loss in curves.validation)
    seed = settings.validation.validation_seed
    return ValidationRecord(measured_on="held-out", seed=seed, timesteps=(), pictures=(), points=points)


def _moment(metadata: Mapping[str, str], key: str) -> str | None:
    try:
        return _iso(float(metadata[key]))
    except (KeyError, ValueError, OverflowError, OSError):
        return None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _missing(
    settings: Settings, record: RunRecord, request: TrainingRequest | None, last: FoundLora | None
) -> Iterator[str]:
    """Yield what the record needs and nobody said."""
    yield "versions of packages, device and processor"
    if not settings.subject.trigger:
        yield "the trigger: give it with --trigger to draw with the run"
    if request is None:
        rank = f" (the LoRA file has rank {last.facts.rank})" if last is not None and last.facts.rank else ""
        yield f"its settings{rank}: those of the record are Maquette's defaults"
    if not record.schedule.steps:
        yield "how many steps it took"
    if unplaced := [Path(each.path).name for each in record.checkpoints if not each.step]:
        yield f"after which step {', '.join(unplaced[:5])} was saved"
