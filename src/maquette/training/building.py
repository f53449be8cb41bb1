"""The model and the engine of a job: made alike by the process that runs it and by those that compute parts of its batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel
    from maquette.lora.config import TrialSpec
    from maquette.project.settings import Settings
    from maquette.training.config import TrialSettings
    from maquette.training.engine import Engine
    from maquette.training.job import Job
    from maquette.training.texts import CaptionEncoder


def load_base(settings: Settings, device: str, precision: str) -> BaseModel:
    """Return the base that a run trains on, on its device, with the LoRAs in it that it is trained over."""
    from maquette import families
    from maquette.devices import DTYPES
    from maquette.lora.baking import bake
    from maquette.lora.config import with_strengths
    from maquette.training.int8_base import hold_in_int8

    wanted, int8 = settings.model, settings.training.base_precision == "int8"
    model = families.load(
        wanted.base,
        dtype=DTYPES[precision],
        # A card for which int8 is needed may not hold the whole base first.
        device="cpu" if int8 else device,
        stated=families.stated_by(settings.objective, wanted),
    )
    bake(model, with_strengths(wanted.base_weights, wanted.base_weights_multiplier))
    if int8:
        hold_in_int8(model.denoiser)
        model.to(device)
    return model


def engine_of(job: Job, model: BaseModel, placement: Placement, texts: CaptionEncoder) -> Engine:
    """Return what trains `job`'s adapters over `model`, as they begin."""
    from maquette.training.continuing import start_from_weights

    specs = [trial.spec(job.spec, job.info) for trial in job.trials]
    trials = [trial.trial for trial in job.trials]
    engine = build_engine(model, placement, texts, trials, specs, job.options, job.schedule.steps)
    for index, trial in enumerate(job.trials):
        start_from_weights(engine.adapter, index, trial, model)
    return engine


def build_engine(
    model: BaseModel,
    placement: Placement,
    texts: CaptionEncoder,
    trials: Sequence[TrialSettings],
    specs: Sequence[TrialSpec],
    options: Mapping[str, Any],
    total_steps: int,
) -> Engine:
    """Return what trains `trials` over `model`, with adapters of `specs` that change nothing yet."""
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.engine import Engine
    from maquette.training.job import parts_of

    adapter = LoraAdapter.attach(model, specs, parts=parts_of(trials))
    return Engine(model, adapter, trials, placement, total_steps=total_steps, options=options, texts=texts)
