"""The tensors of Stable Diffusion XL single files, tiny and full, as names and shapes."""

from __future__ import annotations

from maquette.families.common.describe import UNET, VAE
from maquette.families.common.layout import (
    TextLayout,
    UnetLayout,
    VaeLayout,
    text_config,
    unet_config,
    vae_config,
)
from maquette.families.common.shapes import part_shapes
from maquette.families.common.text_keys import hf_bindings, open_clip_bindings
from maquette.families.common.unet_keys import unet_bindings
from maquette.families.common.vae_keys import vae_bindings
from maquette.families.sdxl.keys import TEXT_1_NEWER, TEXT_2
from maquette.families.sdxl.spec import ACTIVATIONS, FULL_SIZES, HEAD_WIDTH, SPEC

Layouts = tuple[UnetLayout, VaeLayout, TextLayout, TextLayout]

TINY: Layouts = (
    UnetLayout(4, 4, (32, 64, 64), 2, (0, 1, 2), 2, 32 + 64, True, 128, 64 + 6 * 32),
    VaeLayout(3, 4, (32, 32, 32, 32), 2),
    TextLayout(49408, 77, 32, 64, 3, 0),
    TextLayout(49408, 77, 64, 128, 3, 64),
)
FULL: Layouts = FULL_SIZES


def file_shapes(layouts: Layouts) -> dict[str, tuple[int, ...]]:
    """Return every tensor of a single file of these sizes."""
    from maquette.families.common.modules import empty_text_encoder, empty_unet, empty_vae
    from maquette.families.sdxl.load import size_conditioning

    unet_layout, vae_layout, first_layout, second_layout = layouts
    heads = tuple(max(1, channels // HEAD_WIDTH) for channels in unet_layout.block_channels)
    extras = size_conditioning(unet_layout, second_layout.projection_width, "layout")
    unet = empty_unet({**unet_config(unet_layout, heads), **extras})
    vae = empty_vae(vae_config(vae_layout, SPEC.latent_scale))
    first = empty_text_encoder(text_config(first_layout, ACTIVATIONS[0]), projection=False)
    second = empty_text_encoder(text_config(second_layout, ACTIVATIONS[1]), projection=True)
    return {
        **part_shapes(first, hf_bindings(first.state_dict(), TEXT_1_NEWER)),
        **part_shapes(second, open_clip_bindings(second_layout.layers, second.state_dict(), TEXT_2)),
        **part_shapes(vae, vae_bindings(vae_layout, vae.state_dict(), VAE)),
        **part_shapes(unet, unet_bindings(unet_layout, unet.state_dict(), UNET)),
    }
