"""The tensors of Stable Diffusion XL single files, tiny and full, as names and shapes."""

from __future__ import annotations

from maquette.families.common.describe import UNET, VAE
from maquette.families.common.layout import ModelLayout, TextLayout, UnetLayout, VaeLayout
from maquette.families.common.shapes import part_shapes
from maquette.families.common.text_keys import hf_bindings, open_clip_bindings
from maquette.families.common.unet_keys import unet_bindings
from maquette.families.common.vae_keys import vae_bindings
from maquette.families.sdxl.keys import TEXT_1_NEWER, TEXT_2
from maquette.families.sdxl.spec import PUBLISHED, SPEC

TINY = ModelLayout(
    SPEC.name,
    UnetLayout(4, 4, (32, 64, 64), 2, (0, 1, 2), 2, 32 + 64, True, 128, 64 + 6 * 32),
    VaeLayout(3, 4, (32, 32, 32, 32), 2),
    (TextLayout(49408, 77, 32, 64, 3, 0), TextLayout(49408, 77, 64, 128, 3, 64)),
)
FULL = PUBLISHED


def file_shapes(layout: ModelLayout) -> dict[str, tuple[int, ...]]:
    """Return every tensor of a single file of these sizes."""
    from maquette.families.sdxl.skeleton import skeleton

    model = skeleton(layout)
    unet, vae, (first, second) = model.denoiser, model.vae, model.text_encoders
    return {
        **part_shapes(first, hf_bindings(first.state_dict(), TEXT_1_NEWER)),
        **part_shapes(second, open_clip_bindings(layout.texts[1].layers, second.state_dict(), TEXT_2)),
        **part_shapes(vae, vae_bindings(layout.vae, vae.state_dict(), VAE)),
        **part_shapes(unet, unet_bindings(layout.unet, unet.state_dict(), UNET)),
    }
