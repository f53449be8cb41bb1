"""Loading Stable Diffusion XL from a single file or a diffusers folder."""

from __future__ import annotations

from typing import Any

import torch

from maquette.errors import ModelError, Problem
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
from maquette.families.common.layout import (
    UnetLayout,
    read_hf_text_layout,
    read_open_clip_layout,
    text_config,
)
from maquette.families.common.model import FamilySteps, LatentDiffusionModel, vae_dtype_for
from maquette.families.common.modules import empty_text_encoder
from maquette.families.common.places import WeightPlace, places_of
from maquette.families.common.source import DiffusersFolder, SingleFile, Source
from maquette.families.common.text_keys import hf_bindings, open_clip_bindings
from maquette.families.common.tokenizer import ClipTokenizer
from maquette.families.common.tokenizers import file_tokenizer, folder_tokenizer
from maquette.families.protocol import ModelInfo
from maquette.families.sdxl.encode import encode_text
from maquette.families.sdxl.keys import TEXT_2, first_text_prefix, lora_targets
from maquette.families.sdxl.predict import predict
from maquette.families.sdxl.spec import ACTIVATIONS, HEAD_WIDTH, NUM_SIZES, SECOND_PAD_ID, SPEC

STEPS = FamilySteps(encode_text, predict, lora_targets)


def load(
    info: ModelInfo, source: Source, *, dtype: torch.dtype, device: torch.device | str
) -> LatentDiffusionModel:
    """Return the model with weights in `dtype` on `device`; the VAE stays in float32 where float16 is asked.

    Raises ModelError when tensors are missing or do not fit.
    """
    if isinstance(source, SingleFile):
        parts, tokenizer, scale = _file_parts(source)
    else:
        parts, tokenizer, scale = _folder_parts(source)
    precisions = (dtype, dtype, dtype, vae_dtype_for(SPEC, dtype))
    filled = [fill_part(part, dtype=own, device=device) for part, own in zip(parts, precisions, strict=True)]
    (denoiser, _), (first, _), (second, _), (picture_coder, _) = filled
    used = set().union(*(names for _, names in filled))
    return LatentDiffusionModel(
        info=info,
        spec=SPEC,
        steps=STEPS,
        denoiser=denoiser,
        text_encoders=(first, second),
        vae=picture_coder,
        tokenizers=(tokenizer, tokenizer.with_pad(SECOND_PAD_ID)),
        latent_scale=scale,
        notes=unused_notes(source.header.tensors, used) if isinstance(source, SingleFile) else (),
    )


def weight_places(source: Source) -> tuple[WeightPlace, ...]:
    """Return where `source` has the weight of each adaptable layer; ModelError when tensors are missing or misfit."""
    (unet, first, second, _), *_ = (
        _file_parts(source) if isinstance(source, SingleFile) else _folder_parts(source)
    )
    return places_of(unet, (first, second), STEPS.lora_targets)


def _file_parts(source: SingleFile) -> tuple[tuple[Part, Part, Part, Part], ClipTokenizer, float]:
    tokenizer = file_tokenizer(source)
    first = _first_text(source, tokenizer.end_id)
    second, pooled_width = _second_text(source, tokenizer.end_id)

    def extras(layout: UnetLayout) -> dict[str, Any]:
        return size_conditioning(layout, pooled_width, str(source.path))

    unet = unet_from_file(source, extras, lambda channels: max(1, channels // HEAD_WIDTH))
    return (unet, first, second, vae_from_file(source, SPEC.latent_scale)), tokenizer, SPEC.latent_scale


def size_conditioning(layout: UnetLayout, pooled_width: int, where: str) -> dict[str, Any]:
    """Return the diffusers settings for the extra vector: pooled text, then six embedded sizes."""
    size_width, left = divmod(layout.extra_width - pooled_width, NUM_SIZES)
    if left or size_width < 2:
        raise ModelError(
            Problem(
                where,
                f"its U-Net takes {layout.extra_width} extra numbers, its pooled text has {pooled_width}",
                "the pooled text and six picture sizes",
                "Use an SDXL base model.",
            )
        )
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": size_width,
        "projection_class_embeddings_input_dim": layout.extra_width,
        "sample_size": 128,
    }


def _first_text(source: SingleFile, end_token: int) -> Part:
    prefix = first_text_prefix(source)
    layout = read_hf_text_layout(source.shapes(), prefix, str(source.path))
    module = empty_text_encoder(text_config(layout, ACTIVATIONS[0], end_token=end_token), projection=False)
    return Part(module, hf_bindings(module.state_dict(), prefix), source.header.tensors, str(source.path))


def _second_text(source: SingleFile, end_token: int) -> tuple[Part, int]:
    """Return the second encoder and the width of its pooled text."""
    layout = read_open_clip_layout(source.shapes(), TEXT_2, str(source.path))
    module = empty_text_encoder(text_config(layout, ACTIVATIONS[1], end_token=end_token), projection=True)
    linear = f"{TEXT_2}text_projection.weight" in source.header.tensors
    bindings = open_clip_bindings(layout.layers, module.state_dict(), TEXT_2, linear_projection=linear)
    return Part(module, bindings, source.header.tensors, str(source.path)), layout.projection_width


def _folder_parts(source: DiffusersFolder) -> tuple[tuple[Part, Part, Part, Part], ClipTokenizer, float]:
    first = text_from_folder(source, "text_encoder", projection=False)
    second = text_from_folder(source, "text_encoder_2", projection=True)
    scale = float(source.configs["vae"].get("scaling_factor", SPEC.latent_scale))
    parts = (unet_from_folder(source), first, second, vae_from_folder(source))
    return parts, folder_tokenizer(source, "tokenizer"), scale
