"""The model and the engine of a job: made alike by the process that runs it and by those that compute parts of its batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel
    from maquette.training.engine import Engine
    from maquette.training.job import Job
    from maquette.training.texts import CaptionEncoder


def load_base(job: Job) -> BaseModel:
    """Return the base that `job` trains on, on its device, with the LoRAs in it that it is trained over."""
    from maquette import families
    from maquette.devices import DTYPES
    from maquette.lora.baking import bake
    from maquette.lora.config import with_strengths

    wanted = job.settings.model
    model = families.load(
        wanted.base,
        dtype=DTYPES[job.precision],
        device=job.device,
        stated=families.stated_by(job.settings.objective, wanted),
    )
    bake(model, with_strengths(wanted.base_weights, wanted.base_weights_multiplier))
    return model


def build_engine(job: Job, model: BaseModel, placement: Placement, texts: CaptionEncoder) -> Engine:
    """Return what trains `job`'s adapters over `model`, as they begin."""
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.continuing import start_from_weights
    from maquette.training.engine import Engine

    adapter = LoraAdapter.attach(
        model, [trial.spec(job.spec, job.info) for trial in job.trials], parts=job.parts
    )
    for index, trial in enumerate(job.trials):
        start_from_weights(adapter, index, trial, model)
    return Engine(
        model,
        adapter,
        [trial.trial for trial in job.trials],
        placement,
        total_steps=job.schedule.steps,
        options=job.options,
        texts=texts,
    )
