"""Loading Stable Diffusion 2.x from a single file or a diffusers folder."""

from __future__ import annotations

import torch

from maquette.families.common.assemble import (
    Part,
    fill_part,
    text_from_folder,
    unet_from_file,
    unet_from_folder,
    unused_notes,
    vae_from_file,
    vae_from_folder,
)
from maquette.families.common.layout import text_config
from maquette.families.common.model import LatentDiffusionModel
from maquette.families.common.modules import empty_text_encoder, text_root
from maquette.families.common.one_encoder import STEPS
from maquette.families.common.places import WeightPlace, places_of
from maquette.families.common.source import DiffusersFolder, SingleFile, Source
from maquette.families.common.text_keys import open_clip_bindings
from maquette.families.common.tokenizer import ClipTokenizer
from maquette.families.common.tokenizers import file_tokenizer, folder_tokenizer
from maquette.families.protocol import ModelInfo
from maquette.families.sd2.keys import TEXT, read_text, unread_text
from maquette.families.sd2.spec import ACTIVATION, HEAD_WIDTH, PAD_ID, SPEC


def load(
    info: ModelInfo, source: Source, *, dtype: torch.dtype, device: torch.device | str
) -> LatentDiffusionModel:
    """Return the model with weights in `dtype` on `device`; ModelError when tensors are missing or misfit."""
    if isinstance(source, SingleFile):
        unet, text, vae, tokenizer, scale = _file_parts(source)
    else:
        unet, text, vae, tokenizer, scale = _folder_parts(source)
    filled = [fill_part(part, dtype=dtype, device=device) for part in (unet, text, vae)]
    (denoiser, _), (encoder, _), (picture_coder, _) = filled
    notes: tuple[str, ...] = ()
    if isinstance(source, SingleFile):
        layers = len(text_root(encoder).encoder.layers)  # type: ignore[union-attr, arg-type]
        used = unread_text(source, layers).union(*(names for _, names in filled))
        notes = unused_notes(source.header.tensors, used)
    return LatentDiffusionModel(
        info=info,
        spec=SPEC,
        steps=STEPS,
        denoiser=denoiser,
        text_encoders=(encoder,),
        vae=picture_coder,
        tokenizers=(tokenizer.with_pad(PAD_ID),),
        latent_scale=scale,
        notes=notes,
    )


def heads(channels: int) -> int:
    """Return the attention heads of a level of the U-Net."""
    return max(1, channels // HEAD_WIDTH)


def weight_places(source: Source) -> tuple[WeightPlace, ...]:
    """Return where `source` has the weight of each adaptable layer; ModelError when tensors are missing or misfit."""
    unet, text, *_ = _file_parts(source) if isinstance(source, SingleFile) else _folder_parts(source)
    return places_of(unet, (text,), STEPS.lora_targets)


def _file_parts(source: SingleFile) -> tuple[Part, Part, Part, ClipTokenizer, float]:
    tokenizer = file_tokenizer(source)
    return (
        unet_from_file(source, None, heads),
        _text_from_file(source, tokenizer.end_id),
        vae_from_file(source, SPEC.latent_scale),
        tokenizer,
        SPEC.latent_scale,
    )


def _text_from_file(source: SingleFile, end_token: int) -> Part:
    layout = read_text(source)
    module = empty_text_encoder(text_config(layout, ACTIVATION, end_token=end_token), projection=False)
    bindings = open_clip_bindings(layout.layers, module.state_dict(), TEXT)
    return Part(module, bindings, source.header.tensors, str(source.path))


def _folder_parts(source: DiffusersFolder) -> tuple[Part, Part, Part, ClipTokenizer, float]:
    text = text_from_folder(source, "text_encoder", projection=False)
    scale = float(source.configs["vae"].get("scaling_factor", SPEC.latent_scale))
    return (
        unet_from_folder(source),
        text,
        vae_from_folder(source),
        folder_tokenizer(source, "tokenizer"),
        scale,
    )
