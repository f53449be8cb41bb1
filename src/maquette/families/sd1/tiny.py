"""The tensors of Stable Diffusion 1.x single files, tiny and full, as names and shapes."""

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
from maquette.families.common.text_keys import hf_bindings
from maquette.families.common.unet_keys import unet_bindings
from maquette.families.common.vae_keys import vae_bindings
from maquette.families.sd1.keys import TEXT_NEWER
from maquette.families.sd1.spec import ACTIVATION, FULL_SIZES, NUM_HEADS, SPEC

Layouts = tuple[UnetLayout, VaeLayout, TextLayout]

TINY: Layouts = (
    UnetLayout(4, 4, (32, 64, 64, 64), 2, (1, 1, 1, 0), 1, 32, False, 128, 0),
    VaeLayout(3, 4, (32, 32, 32, 32), 2),
    TextLayout(49408, 77, 32, 64, 4, 0),
)
FULL: Layouts = FULL_SIZES


def file_shapes(layouts: Layouts) -> dict[str, tuple[int, ...]]:
    """Return every tensor of a single file of these sizes."""
    from maquette.families.common.modules import empty_text_encoder, empty_unet, empty_vae

    unet_layout, vae_layout, text_layout = layouts
    unet = empty_unet(unet_config(unet_layout, (NUM_HEADS,) * unet_layout.levels))
    vae = empty_vae(vae_config(vae_layout, SPEC.latent_scale))
    text = empty_text_encoder(text_config(text_layout, ACTIVATION), projection=False)
    return {
        **part_shapes(text, hf_bindings(text.state_dict(), TEXT_NEWER)),
        **part_shapes(vae, vae_bindings(vae_layout, vae.state_dict(), VAE)),
        **part_shapes(unet, unet_bindings(unet_layout, unet.state_dict(), UNET)),
    }
