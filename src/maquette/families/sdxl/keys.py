"""Names of Stable Diffusion XL: where a single file keeps its parts, and what LoRA files call the layers.

LoRA files name the U-Net's layers by the original layout's blocks (`lora_unet_input_blocks_4_1_…`), as
sd-scripts writes them; every drawing program reads that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from maquette.families.common.layout import UnetLayout
    from maquette.families.common.model import Networks
    from maquette.families.common.source import SingleFile
    from maquette.families.protocol import LoraTarget

TEXT_1, TEXT_1_NEWER = (
    "conditioner.embedders.0.transformer.",
    "conditioner.embedders.0.transformer.text_model.",
)
TEXT_2 = "conditioner.embedders.1.model."
TEXT_LORA, UNET_LORA = ("lora_te1", "lora_te2"), "lora_unet"


def first_text_prefix(source: SingleFile) -> str:
    """Return where the first text encoder's tensors are: only newer files have a `text_model.` level."""
    return TEXT_1_NEWER if any(name.startswith(TEXT_1_NEWER) for name in source.header.tensors) else TEXT_1


def lora_targets(model: Networks) -> tuple[LoraTarget, ...]:
    """Return every adaptable layer: both text encoders, then U-Net input, middle, output blocks."""
    from maquette.families.common.targets import check_unique, text_targets, unet_target

    found: list[LoraTarget] = []
    for encoder, prefix, name in zip(
        model.text_encoders, TEXT_LORA, ("text_encoder", "text_encoder_2"), strict=True
    ):
        found += text_targets(encoder, key_prefix=prefix, diffusers_name=name)
    unet = model.denoiser
    found += [
        unet_target(unet, path, f"{UNET_LORA}_{name.replace('.', '_')}") for path, name in _unet_paths(unet)
    ]
    return check_unique(found)


def _unet_paths(unet: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield (diffusers path, original name), in the order of the original's blocks.

    Inside an attention both layouts call the layers alike; residual layers are renamed by the table.
    """
    from maquette.families.common.targets import attention_paths, residual_paths
    from maquette.families.common.unet_keys import unet_blocks, unet_table

    layout = layout_of(unet)
    table = unet_table(layout)
    for _, block in unet_blocks(layout):
        if ".attentions." in block:
            paths = attention_paths(unet, block)
        elif ".resnets." in block:
            paths = residual_paths(unet, block)
        else:
            paths = iter((block,))
        for path in paths:
            name = table.restore(path)
            assert name is not None, f"no original name for {path}"
            yield path, name


def layout_of(unet: nn.Module) -> UnetLayout:
    """Return the sizes of a diffusers U-Net, as far as names depend on them."""
    from maquette.families.common.layout import UnetLayout

    config: Any = unet.config
    return UnetLayout(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_channels=tuple(config.block_out_channels),
        layers_per_block=config.layers_per_block,
        attention_depth=tuple(int(kind.startswith("CrossAttn")) for kind in config.down_block_types),
        mid_depth=1,
        cross_width=0,
        linear_projection=bool(config.use_linear_projection),
        time_width=0,
        extra_width=0,
    )
