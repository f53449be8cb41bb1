"""What an evaluation is asked of: a run's checkpoints, LoRA files of any trainer, or a folder of them.

A run brings base, trigger, captions and sampling with it. Files bring what their metadata say; the base must be named, and the
trigger where they do not say it. A file that lies in its run's folder is that run's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maquette.drawing.scene import Companion
from maquette.errors import ConfigError, LoraError, OutputError, Problem
from maquette.evaluating.files import LABELLED, columns_of_files, loras_in
from maquette.evaluating.first_look import LookCheckpoint
from maquette.evaluating.options import EvaluateOptions
from maquette.lora.facts import LoraFacts
from maquette.lora.told import captions_told, clip_skip_told, size_told
from maquette.project.config_file import CONFIG_NAME
from maquette.project.profile import Profile
from maquette.project.profile_file import profile_path_near, read_profile
from maquette.project.settings import ModelSettings, Settings, SubjectSettings
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.places import as_found
from maquette.runs.record import Checkpoint, RunRecord, read_record

OUTPUT = Path("evaluations")
"""Where evaluations of files go: a folder for each, below the working folder."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Columns to draw, and what they are drawn with. `record` and `run` are those of their run, where it is known."""

    title: str
    settings: Settings
    checkpoints: tuple[LookCheckpoint, ...]
    output: Path
    """Folder of the pictures and their records."""
    report: Path
    record: RunRecord | None = None
    run: RunFolder | None = None
    profile: Profile | None = None
    captions: tuple[str, ...] = ()
    size_wh: tuple[int, int] | None = None
    """What the pictures are drawn at; None is the base's own."""
    beside: tuple[Companion, ...] = ()
    """LoRAs that become part of the base, for every column."""
    notes: tuple[str, ...] = ()

    @property
    def training(self) -> list[Path]:
        """Return the pictures that were trained on, as far as they are known and there."""
        own = self.record.dataset.subject if self.record else ()
        return [path for each in own if (path := Path(each.path)).is_file()]


def asked_of(targets: Sequence[Path], options: EvaluateOptions) -> Asked:
    """Return what `targets` (a run, LoRA files, folders) and `options` ask for. Raises MaquetteError with what is missing."""
    targets = [target.parent if target.name == RECORD_NAME else target for target in targets]
    runs = [target for target in targets if (target / RECORD_NAME).is_file()]
    if runs and len(targets) > 1:
        given = f"{runs[0]} beside {len(targets) - 1} others"
        raise ConfigError(
            Problem(
                "evaluate", given, "one run, or files and folders of files", "Evaluate the run by itself."
            )
        )
    asked = _of_run(RunFolder(runs[0]), options) if runs else _of_files(targets, options)
    settings = _sampled(_beside(asked.settings, options), options)
    return replace(
        asked,
        settings=settings,
        checkpoints=tuple(at_strengths(asked.checkpoints, options.strengths)),
        size_wh=options.size or asked.size_wh,
        beside=tuple(_companions(settings.model)),
    )


# --- a run -----------------------------------------------------------------------------------------------


def _of_run(run: RunFolder, options: EvaluateOptions) -> Asked:
    record = as_found(read_record(run.path), run.path)
    checkpoints = checkpoints_of(run, record)
    if not checkpoints:
        remedy = "Train it further: maquette train --resume"
        raise OutputError(Problem(str(run.path), "has no checkpoint yet", "a run with LoRA files", remedy))
    output = options.output or run.evaluation
    report = run.path / "report.html" if options.output is None else output / "report.html"
    return replace(
        _with_record(record, run, options),
        checkpoints=tuple(checkpoints),
        output=output,
        report=report,
    )


def _with_record(record: RunRecord, run: RunFolder, options: EvaluateOptions) -> Asked:
    """Return what a run's record says, and what was said beside it."""
    settings = record.settings
    first = next((Path(each.path) for each in record.dataset.subject), None)
    near = profile_path_near(first) if first is not None else None
    named = options.profile or near
    profile = read_profile(named) if named is not None else None
    model = settings.model.model_copy(update={"base": options.base or settings.model.base})
    subject = SubjectSettings(
        trigger=options.trigger if options.trigger is not None else settings.subject.trigger,
        class_word=options.class_word
        or settings.subject.class_word
        or (profile.class_word if profile else ""),
    )
    return Asked(
        title=record.run,
        settings=settings.model_copy(update={"model": model, "subject": subject}),
        checkpoints=(),
        output=run.evaluation,
        report=run.path / "report.html",
        record=record,
        run=run,
        profile=profile,
        captions=tuple(record.dataset.captions),
        size_wh=settings.dataset.resolution,
    )


def checkpoints_of(folder: RunFolder, record: RunRecord) -> list[LookCheckpoint]:
    """Return the run's LoRA files in the order of steps, labelled for a person; files that are gone are left out."""
    found = []
    for entry in sorted(record.checkpoints, key=lambda entry: (entry.step, entry.final)):
        path = folder.path / entry.path
        if path.is_file():
            found.append(LookCheckpoint(label=_label(entry), step=entry.step, path=path))
    return found


def _label(entry: Checkpoint) -> str:
    return f"final ({entry.step})" if entry.final else f"step {entry.step}"


# --- files -----------------------------------------------------------------------------------------------


def _of_files(targets: Sequence[Path], options: EvaluateOptions) -> Asked:
    loras, notes = _loras(targets)
    columns = columns_of_files(loras)
    first = targets[0]
    output = options.output or OUTPUT / (first.stem if first.is_file() else first.resolve().name)
    run = _run_of(loras)
    if run is not None:
        record = as_found(read_record(run.path), run.path)
        asked = _with_record(record, run, options)
        known = {entry.path.resolve(): entry for entry in checkpoints_of(run, record)}
        columns = [known.get(column.path.resolve(), column) for column in columns]
    else:
        asked = _without_record(loras, options)
    return replace(
        asked,
        checkpoints=tuple(columns),
        output=output,
        report=output / "report.html",
        notes=tuple(notes),
    )


def _loras(targets: Sequence[Path]) -> tuple[list[LoraFacts], list[str]]:
    """Return what the LoRA files among `targets` are, and what was left out of folders. Raises LoraError, ConfigError."""
    found: dict[Path, LoraFacts] = {}
    notes: list[str] = []
    problems: list[Problem] = []
    for target in targets:
        if (target / CONFIG_NAME).is_file():
            runs = sorted(path.parent for path in target.glob(f"*/*/{RECORD_NAME}"))
            remedy = (
                f"Name a run: {', '.join(map(str, runs[-3:]))}" if runs else "Train it first: maquette train"
            )
            problems.append(Problem(str(target), "is a project", "a run of it, or LoRA files", remedy))
            continue
        try:
            of_target, left_out = loras_in(target)
        except (LoraError, ConfigError) as error:
            problems += error.problems
            continue
        found |= {facts.path.resolve(): facts for facts in of_target}
        notes += left_out
    if problems:
        raise ConfigError(problems)
    return list(found.values()), notes


def _run_of(loras: Sequence[LoraFacts]) -> RunFolder | None:
    """Return the run whose folder all the files lie in, where its record names every one."""
    folders = {facts.path.resolve().parent.parent for facts in loras}
    if len(folders) != 1 or not ((folder := folders.pop()) / RECORD_NAME).is_file():
        return None
    named = {(folder / entry.path).resolve() for entry in read_record(folder).checkpoints}
    return RunFolder(folder) if all(facts.path.resolve() in named for facts in loras) else None


def _without_record(loras: Sequence[LoraFacts], options: EvaluateOptions) -> Asked:
    """Return what the files themselves and the options say. Raises ConfigError with everything that neither says."""
    profile = read_profile(options.profile) if options.profile is not None else None
    trigger = options.trigger if options.trigger is not None else _trigger(loras, profile)
    problems = []
    if options.base is None:
        remedy = f"Add --base FILE{_base_told(loras)}."
        problems.append(Problem("--base", "not given", "the base model that the LoRA was trained on", remedy))
    if not trigger and options.trigger is None and not (options.prompts or options.prompt_file):
        remedy = f"Add --trigger WORD{_captions_begin(loras)}, or name prompts with --prompt."
        problems.append(Problem("--trigger", "not given", "the word that means the subject", remedy))
    if problems:
        raise ConfigError(problems)
    assert options.base is not None
    clip_skip = clip_skip_told(loras[0])
    settings = Settings(
        model=ModelSettings(base=options.base, clip_skip=clip_skip),
        subject=SubjectSettings(
            trigger=trigger, class_word=options.class_word or (profile.class_word if profile else "")
        ),
    )
    return Asked(
        title=loras[0].path.stem if len(loras) == 1 else f"{len(loras)} LoRAs",
        settings=settings,
        checkpoints=(),
        output=OUTPUT,
        report=OUTPUT,
        profile=profile,
        captions=tuple(dict.fromkeys(tag for facts in loras for tag in captions_told(facts.metadata))),
        size_wh=size_told(loras[0].metadata),
    )


def _trigger(loras: Sequence[LoraFacts], profile: Profile | None) -> str:
    """Return the word that the profile or the files themselves give as the trigger; empty where they give none, or several."""
    if profile is not None:
        return profile.opening
    told = {facts.metadata.get("modelspec.trigger_phrase", "").strip() for facts in loras}
    return told.pop() if len(told) == 1 else ""


def _base_told(loras: Sequence[LoraFacts]) -> str:
    """Return what the files say of their base, as a sentence goes on."""
    names = {
        Path(name.replace("\\", "/")).name
        for facts in loras
        if (name := facts.metadata.get("ss_sd_model_name"))
    }
    kinds = {title for facts in loras if (title := facts.family_title or facts.architecture)}
    told = [*([f"its metadata name {', '.join(sorted(names)[:3])}"] if names else []), *sorted(kinds)]
    return f" ({'; '.join(told)})" if told else ""


def _captions_begin(loras: Sequence[LoraFacts]) -> str:
    tags = captions_told(loras[0].metadata)
    return f" (its captions hold {', '.join(repr(tag) for tag in tags[:3])})" if tags else ""


# --- what was said beside it -----------------------------------------------------------------------------


def at_strengths(columns: Sequence[LookCheckpoint], strengths: Sequence[float]) -> Iterator[LookCheckpoint]:
    """Yield each column at each strength; at a strength of one it keeps its label."""
    for column in columns:
        for strength in strengths:
            label = column.label if strength == 1.0 else LABELLED.format(column.label, strength)
            yield replace(column, label=label, strength=strength)


def _beside(settings: Settings, options: EvaluateOptions) -> Settings:
    """Return the settings with the LoRAs that are active too, behind those that the run merged into its base."""
    if not options.beside:
        return settings
    model, named = settings.model, len(settings.model.base_weights)
    strengths = (*model.base_weights_multiplier, *([1.0] * (named - len(model.base_weights_multiplier))))
    update = {
        "base_weights": (*model.base_weights, *(path for path, _ in options.beside)),
        "base_weights_multiplier": (*strengths, *(strength for _, strength in options.beside)),
    }
    return settings.model_copy(update={"model": model.model_copy(update=update)})


def _companions(model: ModelSettings) -> Iterator[Companion]:
    """Yield what pictures say of the LoRAs that are part of the base. Raises LoraError for one that is none."""
    from maquette.lora.config import with_strengths
    from maquette.lora.files import inspect_lora
    from maquette.lora.metadata import MODEL_HASH

    for path, strength in with_strengths(model.base_weights, model.base_weights_multiplier):
        told = inspect_lora(path).metadata
        yield Companion(name=path.name, strength=strength, hash=told.get(MODEL_HASH, ""))


def _sampled(settings: Settings, options: EvaluateOptions) -> Settings:
    """Return the settings with the sampling, the device and the kind of base that the options name."""
    changes: dict[str, dict[str, Any]] = {
        "samples": {
            "negative_prompt": options.negative,
            "sample_steps": options.steps,
            "guidance": options.guidance,
            "sampler": options.sampler,
        },
        "model": {"clip_skip": options.clip_skip},
        "training": {"device": options.device, "precision": options.precision},
        "objective": {"prediction": options.prediction, "zero_terminal_snr": options.zero_terminal_snr},
    }
    changed = {
        section: getattr(settings, section).model_copy(
            update={name: value for name, value in values.items() if value is not None}
        )
        for section, values in changes.items()
    }
    return settings.model_copy(update=changed)
