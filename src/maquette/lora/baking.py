"""LoRAs that become part of the base before anything stands on it."""

from __future__ import annotations

from collections.abc import Iterable

from maquette.families.protocol import BaseModel
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import Baked
from maquette.lora.files import read_lora


def bake(model: BaseModel, loras: Iterable[Baked]) -> None:
    """Add each LoRA's change to the base's weights, one after the other, at the base's precision.

    Raises LoraError where a file does not fit; those before it are part of the base by then.
    """
    for path, strength in loras:
        lora = read_lora(path, model.lora_targets())
        adapter = LoraAdapter.attach(model, [lora.state])
        adapter.set_multiplier(strength)
        adapter.bake()
