"""`[model]`: the base model that is adapted."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from maquette.project.fields import Section


class ModelSettings(Section):
    """`[model]`: the base model that is adapted."""

    base: str = Field(
        description="The base model: a .safetensors checkpoint, a diffusers folder, or a hub name. The file tells its family."
    )
    vae: str = Field(
        "",
        description="VAE that encodes and draws in the base's place: a .safetensors file, a folder, or a hub name. Default: its "
        "own.",
    )
    no_half_vae: bool = Field(
        False,
        description="Compute the VAE in float32 whatever the precision. One that overflows in fp16 does so anyhow.",
    )
    base_weights: tuple[Path, ...] = Field(
        (),
        description="LoRA files that are merged into the base before training. Draw with them too afterwards.",
    )
    base_weights_multiplier: tuple[float, ...] = Field(
        (), description="Strength of each of base_weights, in their order. Default: 1."
    )
    clip_skip: int | None = Field(
        None,
        ge=1,
        le=12,
        description="Text layer counted from the end whose output conditions the picture; 1 is the last. Default: the family's.",
    )
