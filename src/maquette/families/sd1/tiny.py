"""The tensors of Stable Diffusion 1.x single files, tiny and full, as names and shapes."""

from __future__ import annotations

from maquette.families.common.describe import UNET, VAE
from maquette.families.common.layout import ModelLayout, TextLayout, UnetLayout, VaeLayout
from maquette.families.common.shapes import part_shapes
from maquette.families.common.text_keys import hf_bindings
from maquette.families.common.unet_keys import unet_bindings
from maquette.families.common.vae_keys import vae_bindings
from maquette.families.sd1.keys import TEXT_NEWER
from maquette.families.sd1.spec import PUBLISHED, SPEC

TINY = ModelLayout(
    SPEC.name,
    UnetLayout(4, 4, (32, 64, 64, 64), 2, (1, 1, 1, 0), 1, 32, False, 128, 0),
    VaeLayout(3, 4, (32, 32, 32, 32), 2),
    (TextLayout(49408, 77, 32, 64, 4, 0),),
)
FULL = PUBLISHED


def file_shapes(layout: ModelLayout) -> dict[str, tuple[int, ...]]:
    """Return every tensor of a single file of these sizes."""
    from maquette.families.sd1.skeleton import skeleton

    model = skeleton(layout)
    unet, vae, (text,) = model.denoiser, model.vae, model.text_encoders
    return {
        **part_shapes(text, hf_bindings(text.state_dict(), TEXT_NEWER)),
        **part_shapes(vae, vae_bindings(layout.vae, vae.state_dict(), VAE)),
        **part_shapes(unet, unet_bindings(layout.unet, unet.state_dict(), UNET)),
    }
