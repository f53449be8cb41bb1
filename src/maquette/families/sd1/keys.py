"""Names of Stable Diffusion 1.x: where a single file keeps its parts, and what LoRA files call the layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maquette.families.common.source import SingleFile

if TYPE_CHECKING:
    from torch import nn

    from maquette.families.common.model import LatentDiffusionModel
    from maquette.families.protocol import LoraTarget

TEXT = "cond_stage_model.transformer."
TEXT_NEWER = "cond_stage_model.transformer.text_model."
TEXT_LORA, UNET_LORA = "lora_te", "lora_unet"


def text_prefix(source: SingleFile) -> str:
    """Return where the text encoder's tensors are: only newer files have a `text_model.` level."""
    return TEXT_NEWER if any(name.startswith(TEXT_NEWER) for name in source.header.tensors) else TEXT


def lora_targets(model: LatentDiffusionModel) -> tuple[LoraTarget, ...]:
    """Return every adaptable layer: text encoder, then U-Net down, up, middle."""
    from maquette.families.common.targets import check_unique, text_targets, unet_target

    text = text_targets(model.text_encoders[0], key_prefix=TEXT_LORA, diffusers_name="text_encoder")
    unet = model.denoiser
    denoiser = (
        unet_target(unet, path, f"{UNET_LORA}_{path.replace('.', '_')}") for path in _unet_paths(unet)
    )
    return check_unique([*text, *denoiser])


def _unet_paths(unet: nn.Module) -> Iterator[str]:
    """Yield paths as sd-scripts creates its modules: in each block attentions, residual layers, resampler."""
    from maquette.families.common.targets import attention_paths, residual_paths

    for block in _blocks(unet):
        module = unet.get_submodule(block)
        for number in range(len(getattr(module, "attentions", None) or ())):
            yield from attention_paths(unet, f"{block}.attentions.{number}")
        for number in range(len(module.resnets)):  # type: ignore[arg-type]
            yield from residual_paths(unet, f"{block}.resnets.{number}")
        for resampler in ("downsamplers", "upsamplers"):
            if getattr(module, resampler, None):
                yield f"{block}.{resampler}.0.conv"


def _blocks(unet: nn.Module) -> Iterator[str]:
    yield from (f"down_blocks.{number}" for number in range(len(unet.down_blocks)))  # type: ignore[arg-type]
    yield from (f"up_blocks.{number}" for number in range(len(unet.up_blocks)))  # type: ignore[arg-type]
    yield "mid_block"
