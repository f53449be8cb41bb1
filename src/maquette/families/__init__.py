"""Base models: what they are, and how they load, encode, predict. One table holds every family."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from maquette.families.common.refuse import refusal, refuse_early
from maquette.families.common.source import Source, open_source
from maquette.families.protocol import (
    BaseModel,
    Conditioning,
    Family,
    LoraTarget,
    ModelInfo,
    PictureSize,
    Tokens,
)
from maquette.families.sd1 import StableDiffusion1
from maquette.families.sdxl import StableDiffusionXL

if TYPE_CHECKING:
    import torch

FAMILIES: dict[str, Family] = {family.name: family for family in (StableDiffusion1(), StableDiffusionXL())}
"""Every family, in the order in which they are asked whether a model is theirs."""

__all__ = [
    "FAMILIES",
    "BaseModel",
    "Conditioning",
    "Family",
    "LoraTarget",
    "ModelInfo",
    "PictureSize",
    "Tokens",
    "inspect",
    "load",
]


def inspect(name: str | Path) -> ModelInfo:
    """Return what the file, diffusers folder or hub model `name` is; neither reads weights nor imports torch.

    Raises ModelError that says what was found when it is no usable base model.
    """
    return _identify(open_source(name, weights=False))[1]


def load(
    name: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> BaseModel:
    """Return the base model `name` (file, diffusers folder, hub name) in `dtype` (None: float32) on `device`.

    Raises ModelError that says what was found when it is no usable base model.
    """
    import torch

    source = open_source(name)
    family, info = _identify(source)
    return family.load(info, source, dtype=dtype or torch.float32, device=device)


def _identify(source: Source) -> tuple[Family, ModelInfo]:
    """Return the family that a source is of, and what it is."""
    refuse_early(source)
    for family in FAMILIES.values():
        info = family.detect(source)
        if info is not None:
            return family, info
    raise refusal(source)
