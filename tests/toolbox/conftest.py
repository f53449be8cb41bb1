"""A tiny base of each family, and LoRAs of every kind for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from maquette.families import BaseModel, load, weight_places
from maquette.families.tiny import write_tiny
from maquette.lora.adapter import LoraAdapter
from maquette.lora.choosing import LayerChoice
from maquette.lora.config import TrialSpec
from maquette.lora.files import save_lora
from maquette.lora.size import Precision

MakeLora = Callable[..., Path]


CHOICE = LayerChoice(
    include=(
        "text_encoder*.text_model.encoder.layers.1",
        "unet.down_blocks.0.*.0",
        "unet.down_blocks.1",
        "unet.mid_block.resnets",
        "unet.up_blocks.1.attentions.0",
    )
)
"""A part of the layers: every kind of them, in most places that a block can have."""


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny single-file model of each family, float32."""
    folder = tmp_path_factory.mktemp("bases")
    return {name: write_tiny(name, folder / f"{name}.safetensors", seed=3) for name in ("sd1", "sd2", "sdxl")}


@pytest.fixture(scope="session")
def make_lora(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> MakeLora:
    """Write a LoRA of a kind with weights as training might leave them; the same file for the same words."""
    folder = tmp_path_factory.mktemp("loras")

    def make(
        family: str = "sd1",
        kind: str = "lora",
        *,
        rank: int = 4,
        alpha: float = 2.0,
        seed: int = 1,
        dtype: Precision = "fp32",
        **metadata: str,
    ) -> Path:
        place = folder / f"{family}-{kind}-{rank}-{alpha:g}-{seed}-{dtype}-{len(metadata)}.safetensors"
        if not place.is_file():
            model = loaded(bases[family])
            spec = TrialSpec(
                kind=kind, rank=rank, alpha=alpha, conv_rank=rank, conv_alpha=alpha, seed=seed, choice=CHOICE
            )
            adapter = LoraAdapter.attach(model, [spec])
            state = adapter.state_dict(0)
            adapter.detach()
            save_lora(place, trained(state, seed), metadata, dtype=dtype)
        return place

    return make


def trained(state: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return the state with every weight moved from where it began, alphas aside."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value
        if name.endswith(".alpha")
        else value + torch.empty(value.shape).uniform_(-0.1, 0.1, generator=generator)
        for name, value in state.items()
    }


@cache
def loaded(base: Path) -> BaseModel:
    """Return the model of a file that stays as it is."""
    return load(base)


def weights_of(base: Path) -> dict[str, Tensor]:
    """Return the weight of each adaptable layer of a model, by kohya key."""
    _, places = weight_places(base)
    tensors = load_file(base)
    return {place.target.key: place.of(tensors[place.entry.name]).float() for place in places}


def changes_of(base: Path, lora: Path) -> dict[str, Tensor]:
    """Return what training's own adapter adds to each weight of `base` for the LoRA in a file."""
    from maquette.lora.files import read_lora

    model = loaded(base)
    adapter = LoraAdapter.attach(model, [read_lora(lora, model.lora_targets()).state])
    try:
        return {key: layer.delta(0) for key, layer in adapter.layers.items()}
    finally:
        adapter.detach()
