"""Tiny checkpoints and independent counterparts that the families' tests share."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from maquette.families import FAMILIES
from maquette.families.common.tokenizer import clip_tokenizer
from maquette.families.protocol import BaseModel, PictureSize

NAMES = tuple(FAMILIES)
CAPTIONS = ("sks man, a photo of a dog running", "masterpiece, 1girl, blue eyes, long hair")


def sizes_of(count: int) -> list[PictureSize]:
    """Return picture sizes that differ from row to row."""
    return [PictureSize((600 + 8 * row, 500), (16, 8 * row), (128, 128)) for row in range(count)]


def noisy_batch(model: BaseModel, count: int = 2, cells: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (latents, timesteps) of a fixed seed."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(count, model.info.latent_channels, cells, cells, generator=generator)
    return latents, torch.tensor([17, 811, 400, 3][:count])


def diffusers_pipeline(path: Path, model: BaseModel) -> Any:
    """Return diffusers' own pipeline over the single file's weights, names converted by diffusers.

    Only configurations come from `model`.
    """
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from diffusers.loaders import single_file_utils as convert
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    weights = load_file(path)
    two = model.info.text_encoders == 2
    unet_config: Any = dict(model.denoiser.config)  # type: ignore[arg-type]
    unet = UNet2DConditionModel.from_config(unet_config)
    unet.load_state_dict(convert.convert_ldm_unet_checkpoint(dict(weights), unet_config))
    vae_config: Any = dict(model.vae.config)  # type: ignore[arg-type]
    vae = AutoencoderKL.from_config(vae_config)
    vae.load_state_dict(convert.convert_ldm_vae_checkpoint(dict(weights), vae_config))
    first = CLIPTextModel(model.text_encoders[0].config)  # type: ignore[arg-type]
    prefix = "conditioner.embedders.0.transformer." if two else "cond_stage_model.transformer."
    theirs = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    load_text(first, theirs or open_clip_text(first, weights))
    parts = {
        "unet": unet.eval(),
        "vae": vae.eval(),
        "text_encoder": first.eval(),
        "scheduler": DDIMScheduler(clip_sample=False, steps_offset=1, beta_schedule="scaled_linear"),
    }
    if not two:
        return StableDiffusionPipeline(
            **parts,
            tokenizer=transformers_tokenizer(**({} if theirs else {"pad": "!"})),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    second = CLIPTextModelWithProjection(model.text_encoders[1].config)  # type: ignore[arg-type]
    load_text(
        second,
        convert.convert_open_clip_checkpoint(second, dict(weights), prefix="conditioner.embedders.1.model."),
    )
    return StableDiffusionXLPipeline(
        **parts,
        text_encoder_2=second.eval(),
        tokenizer=transformers_tokenizer(),
        tokenizer_2=transformers_tokenizer(pad="!"),
        add_watermarker=False,
    )


def open_clip_text(encoder: torch.nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return SD 2.x's text encoder, names converted by diffusers, without the layers that `encoder` does not have."""
    from diffusers.loaders import single_file_utils as convert

    found = convert.convert_open_clip_checkpoint(encoder, dict(weights), prefix="cond_stage_model.model.")
    own = {key.removeprefix("text_model.") for key in encoder.state_dict()}
    return {key: value for key, value in found.items() if key.removeprefix("text_model.") in own}


def load_text(encoder: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Fill a text encoder whether or not its version has the `text_model.` level."""
    own = {key.removeprefix("text_model."): key for key in encoder.state_dict()}
    named = {own.get(key.removeprefix("text_model.")): value for key, value in state.items()}
    encoder.load_state_dict({key: value for key, value in named.items() if key is not None}, strict=True)


def transformers_tokenizer(pad: str = "<|endoftext|>") -> Any:
    """Return transformers' tokenizer over the shipped merge list."""
    from transformers import CLIPTokenizer

    own = clip_tokenizer()
    return CLIPTokenizer(
        vocab=own.vocabulary,
        merges=list(own.ranks),
        unk_token="<|endoftext|>",
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token=pad,
        model_max_length=77,
    )


def rewrite_header(source: Path, target: Path, change: Any) -> Path:
    """Copy a safetensors file with its header table passed through `change`; tensors keep their bytes."""
    raw = source.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    table = json.loads(raw[8 : 8 + length])
    change(table)
    header = json.dumps(table).encode()
    target.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + length :])
    return target
