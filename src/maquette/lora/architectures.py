"""Models that Maquette does not train, told by the names of their layers: a LoRA of theirs is not broken, only not ours.

Names are compared without wrappers, dots as underlines: `transformer.single_transformer_blocks.0.attn.to_q` and
`lora_unet_single_transformer_blocks_0_attn_to_q` are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from maquette.lora.names import plain_name

SHARE = 0.5
"""From this share of a file's modules on, they are of the architecture whose marks they carry."""
_STREAMS = r"^(double_blocks|single_blocks|(single_)?transformer_blocks)_\d+_"
_PREFIXES = re.compile(
    r"^(lora_unet_|lora_transformer_|lycoris_|diffusion_model_|transformer_(?!blocks)|model_)+"
)


@dataclass(frozen=True)
class Architecture:
    """A model: its title, and what the names of its layers look like."""

    title: str
    most: str
    """What most of its modules' names match."""
    one: str = ""
    """What at least one name must match, where `most` is shared with another architecture."""


ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture("Stable Cascade", r"^lora_prior_(unet|te)_"),
    Architecture("HiDream", r"^(double|single)_stream_blocks_\d+_"),
    Architecture("FLUX.2", _STREAMS, r"to_qkv_mlp_proj|stream_modulation_"),
    Architecture("Chroma", _STREAMS, r"distilled_guidance_layer"),
    Architecture("HunyuanVideo", _STREAMS, r"(img|txt)_mlp_fc[12]|token_refiner"),
    Architecture("Qwen-Image", r"^transformer_blocks_\d+_", r"(img|txt)_(mlp_net|mod_1)"),
    Architecture("FLUX.1", _STREAMS, r"^(single_blocks|double_blocks|single_transformer_blocks)_"),
    Architecture("AuraFlow", r"^(joint|single)_transformer_blocks_\d+_"),
    Architecture(
        "Stable Diffusion 3",
        r"^(joint_blocks|transformer_blocks)_\d+_",
        r"^joint_blocks_|attn2?_add_[qkv]_proj",
    ),
    Architecture("Wan", r"^blocks_\d+_((self|cross)_attn_(q|k|v|o|k_img|v_img)|ffn_[02])$"),
    Architecture("Wan", r"^blocks_\d+_(attn[12]_(to|add)_|ffn_net)", r"^blocks_\d+_attn2_"),
    Architecture(
        "Anima or Cosmos", r"^blocks_\d+_", r"adaln_modulation|(self|cross)_attn_(q|k|v|output)_proj"
    ),
    Architecture(
        "Z-Image or Lumina 2", r"^(layers|noise_refiner|context_refiner)_\d+_(attention|feed_forward|adaLN)"
    ),
    Architecture("PixArt, Sana, LTX-Video or CogVideoX", r"^transformer_blocks_\d+_(attn[12]|ff)"),
    Architecture("a language model", r"^(language_model_)?layers_\d+_(self_attn|mlp)_"),
)
"""In the order in which they are tried: who shares another's names and has some of its own comes first."""


def architecture_of(modules: Iterable[str]) -> str | None:
    """Return the title of the architecture that most of these modules are of; None where the table knows none."""
    names = [_PREFIXES.sub("", plain_name(name).replace(".", "_")) for name in modules]
    for architecture in ARCHITECTURES:
        marked = sum(re.search(architecture.most, name) is not None for name in names)
        told = not architecture.one or any(re.search(architecture.one, name) for name in names)
        if names and marked >= SHARE * len(names) and told:
            return architecture.title
    return None
