"""The base model of a run, as the run trained with it."""

from __future__ import annotations

from typing import Any

from maquette.project.settings import Settings


def load_base(settings: Settings) -> Any:
    """Return the run's base model on the device and in the precision that it was trained with."""
    from maquette import families
    from maquette.devices import chosen
    from maquette.lora.baking import bake
    from maquette.lora.config import with_strengths

    place = chosen(settings.training.device, settings.training.precision)
    model = families.load(
        settings.model.base,
        dtype=place.weight_dtype,
        device=str(place.device),
        stated=families.stated_by(settings.objective, settings.model),
    )
    bake(model, with_strengths(settings.model.base_weights, settings.model.base_weights_multiplier))
    return model
