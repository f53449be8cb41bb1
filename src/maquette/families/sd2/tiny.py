"""The tensors of Stable Diffusion 2.x single files, tiny and full, as names and shapes."""

from __future__ import annotations

from dataclasses import replace

from maquette.families.common.describe import UNET, VAE
from maquette.families.common.layout import ModelLayout, TextLayout, UnetLayout, VaeLayout, text_config
from maquette.families.common.modules import empty_text_encoder
from maquette.families.common.shapes import part_shapes
from maquette.families.common.text_keys import open_clip_bindings
from maquette.families.common.unet_keys import unet_bindings
from maquette.families.common.vae_keys import vae_bindings
from maquette.families.sd2.keys import TEXT
from maquette.families.sd2.spec import ACTIVATION, PUBLISHED, SPEC

TINY = ModelLayout(
    SPEC.name,
    UnetLayout(4, 4, (32, 64, 64, 64), 2, (1, 1, 1, 0), 1, 64, True, 128, 0),
    VaeLayout(3, 4, (32, 32, 32, 32), 2),
    (TextLayout(49408, 77, 64, 128, 3, 0),),
)
FULL = PUBLISHED


def file_shapes(layout: ModelLayout) -> dict[str, tuple[int, ...]]:
    """Return every tensor of a single file of these sizes."""
    from maquette.families.sd2.skeleton import skeleton

    model = skeleton(layout)
    unet, vae = model.denoiser, model.vae
    return {
        **_text_shapes(layout.texts[0]),
        **part_shapes(vae, vae_bindings(layout.vae, vae.state_dict(), VAE)),
        **part_shapes(unet, unet_bindings(layout.unet, unet.state_dict(), UNET)),
    }


def _text_shapes(read: TextLayout) -> dict[str, tuple[int, ...]]:
    """Return the text encoder's tensors, with the last layer and the projection that are not read."""
    whole = replace(read, layers=read.layers + 1, projection_width=read.width)
    module = empty_text_encoder(text_config(whole, ACTIVATION), projection=True)
    return part_shapes(module, open_clip_bindings(whole.layers, module.state_dict(), TEXT))
