"""Measures any LoRA file on any pictures at fixed noise, beside its base: the question that a run's validation asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.dataset.config import DatasetSource
from maquette.dataset.facts import DatasetInput
from maquette.dataset.held_pictures import held_pictures, items_of, plainly
from maquette.dataset.planned import bucketed
from maquette.dataset.reading import read_dataset
from maquette.dataset.records import Picture
from maquette.dataset.strict import dataset_of
from maquette.errors import ConfigError, LoraError, Problem
from maquette.evaluating.validate_options import ValidateOptions
from maquette.events import Finished, Progress, Stage, Started
from maquette.families.options import family_options
from maquette.project.config_file import load_settings
from maquette.project.request_maquette import UNSAVED, request_of
from maquette.project.settings import Settings
from maquette.runs.places import as_found
from maquette.runs.record import RECORD_NAME, read_record
from maquette.runs.validation import ValidationPoint

STAGE = "validate"
PACK = 4
"""LoRAs that are measured in one pass over the base."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One LoRA file, or the base alone (`lora` None): its loss, the change from the base, each picture's own loss."""

    lora: Path | None
    point: ValidationPoint
    losses: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What each file makes of the same pictures, the base first."""

    measured: tuple[Measured, ...]
    pictures: tuple[Path, ...]
    timesteps: tuple[float, ...]


def validate_events(targets: Sequence[Path], options: ValidateOptions) -> Stage[Validated]:
    """Measure `targets`: a run's folder means its checkpoints, a file itself. Raises MaquetteError with what is missing."""
    runs = [target for target in targets if (target / RECORD_NAME).is_file()]
    settings = _settings(runs, options)
    loras = [path for target in targets for path in (_checkpoints(target) if target in runs else [target])]
    if not loras:
        given = "no LoRA file" if not targets else f"no checkpoint in {', '.join(map(str, targets))}"
        raise ConfigError(Problem("validate", given, "a run or LoRA files", "Name one."))
    pictures, datasets = _pictures(settings, options)
    return (yield from _measured(settings, pictures, datasets, loras, options))


def _settings(runs: Sequence[Path], options: ValidateOptions) -> Settings:
    """Return the settings under which all are measured: the first run's, or what was given."""
    if runs:
        return as_found(read_record(runs[0]), runs[0]).settings
    missing = [f"--{name}" for name in ("base", "images") if getattr(options, name) is None]
    if missing:
        remedy = "Name them, or a run's folder."
        raise ConfigError(
            Problem(", ".join(missing), "not given", "base and pictures for LoRA files outside a run", remedy)
        )
    given = {"base": options.base, "images": options.images, "resolution": options.resolution}
    return load_settings(None, {name: value for name, value in given.items() if value is not None})


def _checkpoints(run: Path) -> list[Path]:
    entries = sorted(read_record(run).checkpoints, key=lambda entry: (entry.step, entry.final))
    return [run / entry.path for entry in entries if (run / entry.path).is_file()]


def _pictures(
    settings: Settings, options: ValidateOptions
) -> tuple[tuple[Picture, ...], tuple[DatasetSource, ...]]:
    """Return what is measured, and the tables that say at which size."""
    from maquette.training.prepare import dataset_input

    if options.images is not None:
        asked = dataset_input(settings)
        facts = read_dataset(DatasetInput(images=options.images, options=asked.options))
        own = dataset_of(facts).pictures
        shown = plainly(picture for picture in own if not picture.subset.is_regularization)
        return shown, facts.plan.datasets
    facts = read_dataset(dataset_input(settings))
    pictures = held_pictures(facts)
    if not pictures:
        given, remedy = "the run held no pictures out", "Name a folder: --images DIR"
        raise ConfigError(Problem("--images", given, "pictures to measure with", remedy))
    return pictures, facts.plan.datasets


def _measured(
    settings: Settings,
    pictures: Sequence[Picture],
    datasets: Sequence[DatasetSource],
    loras: Sequence[Path],
    options: ValidateOptions,
) -> Stage[Validated]:
    from maquette.devices import chosen
    from maquette.evaluating.base import load_base
    from maquette.lora.files import read_lora
    from maquette.training.texts import CaptionEncoder
    from maquette.training.validation import Validator, point_of

    states: list[Any] = [read_lora(path).state for path in loras]
    model = load_base(settings)
    items, _, _ = bucketed(items_of(pictures), datasets, request_of(settings, UNSAVED), model.info.vae_factor)
    placement = chosen(settings.training.device, settings.training.precision)
    validator = Validator(
        model,
        placement,
        items,
        timesteps=options.timesteps,
        seed=options.seed,
        # A file may hold a text encoder's part: captions are encoded under each.
        texts=CaptionEncoder(
            model, placement, family_options(model.spec, settings.family_values()), trains=True
        ),
    )
    yield from validator.encode()
    yield Started(STAGE, len(loras) + 1, "LoRA")
    base = validator.measure()[0].tolist()
    found = [Measured(lora=None, point=point_of(0, base, None, None), losses=tuple(base))]
    yield Progress(STAGE, 1, len(loras) + 1, "LoRA")
    for start in range(0, len(loras), PACK):
        measured = losses_of_pack(model, states[start : start + PACK], validator.measure)
        for path, each in zip(loras[start : start + PACK], measured, strict=True):
            losses = each.tolist()
            point = point_of(len(found), losses, base, list(found[-1].losses))
            found.append(Measured(lora=path, point=point, losses=tuple(losses)))
        yield Progress(STAGE, len(found), len(loras) + 1, "LoRA")
    yield Finished(STAGE)
    return Validated(
        measured=tuple(found),
        pictures=tuple(item.picture.path for item in items),
        timesteps=tuple(float(each) for each in validator.timesteps_T),
    )


def losses_of_pack(model: Any, states: Sequence[Any], measure: Callable[[int], Any]) -> list[Any]:
    """Return what `measure(trials)` gives of each of `states`: all in one pass, those of different kinds each by itself."""
    from maquette.lora.adapter import LoraAdapter

    try:
        adapter = LoraAdapter.attach(model, list(states))
    except LoraError:
        if len(states) == 1:
            raise
        return [found for state in states for found in losses_of_pack(model, [state], measure)]
    adapter.to(model.device)
    try:
        return list(measure(len(states)))
    finally:
        adapter.detach()
