"""What Stable Diffusion 1.x and 2.x do alike: one CLIP text encoder, a U-Net that knows no picture sizes, their LoRA's names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from maquette.families.common.conditioning import ClipText
from maquette.families.common.model import FamilySteps, LatentDiffusionModel, Networks
from maquette.families.common.modules import text_root
from maquette.families.common.targets import (
    attention_paths,
    check_unique,
    residual_paths,
    text_targets,
    unet_target,
)
from maquette.families.common.text import (
    check_clip_skip,
    join_chunks,
    run_text_encoder,
    split_chunks,
    weighed,
)
from maquette.families.protocol import LoraTarget, PictureSize, Tokens

TEXT_LORA, UNET_LORA = "lora_te", "lora_unet"


def encode_text(model: LatentDiffusionModel, tokens: Tokens, clip_skip: int) -> ClipText:
    """Return text_BTD: the hidden state `clip_skip` layers from the end (1: last), after the final norm.

    As the reference trainer defines it.
    """
    encoder = model.text_encoders[0]
    check_clip_skip(clip_skip, len(text_root(encoder).encoder.layers))  # type: ignore[union-attr, arg-type]
    ids = split_chunks(tokens.ids[0].to(model.device), model.chunk_length)
    hidden, last = run_text_encoder(encoder, ids)
    text = last if clip_skip == 1 else text_root(encoder).final_layer_norm(hidden[-clip_skip])  # type: ignore[operator]
    joined = join_chunks(text, captions=tokens.ids[0].shape[0])
    return ClipText(weighed(joined, tokens, 0, model.chunk_length))


def predict(
    model: LatentDiffusionModel,
    noisy_BCHW: Tensor,
    timesteps_B: Tensor,
    conditioning: ClipText,
    sizes: Sequence[PictureSize] | None,
) -> Tensor:
    """Return prediction_BCHW. These families do not know picture sizes: `sizes` changes nothing."""
    del sizes
    return model.denoiser(
        noisy_BCHW.to(model.device, model.dtype),
        timesteps_B.to(model.device),
        encoder_hidden_states=conditioning.text_BTD.to(model.device, model.dtype),
        return_dict=False,
    )[0]


def lora_targets(model: Networks) -> tuple[LoraTarget, ...]:
    """Return every adaptable layer: text encoder, then U-Net down, up, middle."""
    text = text_targets(model.text_encoders[0], key_prefix=TEXT_LORA, diffusers_name="text_encoder")
    unet = model.denoiser
    denoiser = (
        unet_target(unet, path, f"{UNET_LORA}_{path.replace('.', '_')}") for path in _unet_paths(unet)
    )
    return check_unique([*text, *denoiser])


def _unet_paths(unet: nn.Module) -> Iterator[str]:
    """Yield paths as sd-scripts creates its modules: in each block attentions, residual layers, resampler."""
    for block in _blocks(unet):
        module = unet.get_submodule(block)
        for number in range(len(getattr(module, "attentions", None) or ())):
            yield from attention_paths(unet, f"{block}.attentions.{number}")
        for number in range(len(module.resnets)):  # type: ignore[arg-type]
            yield from residual_paths(unet, f"{block}.resnets.{number}")
        for resampler in ("downsamplers", "upsamplers"):
            if getattr(module, resampler, None):
                yield f"{block}.{resampler}.0.conv"


def _blocks(unet: nn.Module) -> Iterator[str]:
    yield from (f"down_blocks.{number}" for number in range(len(unet.down_blocks)))  # type: ignore[arg-type]
    yield from (f"up_blocks.{number}" for number in range(len(unet.up_blocks)))  # type: ignore[arg-type]
    yield "mid_block"


STEPS = FamilySteps(encode_text, predict, lora_targets)
