"""The loaded latent diffusion model, put together from parts: what SD 1.x, 2.x and SDXL share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from maquette.families.common import vae as picture_coder
from maquette.families.common.conditioning import ClipText
from maquette.families.common.objective import DiscreteDiffusion
from maquette.families.common.recomputing import (
    module_names,
    recompute_denoiser,
    recompute_text,
    switch_text,
)
from maquette.families.common.samplers import make_sampler
from maquette.families.common.tokenizer import ClipTokenizer
from maquette.families.protocol import (
    FamilySpec,
    LoraTarget,
    ModelInfo,
    Objective,
    PictureSize,
    Randomness,
    Sampler,
    Tokens,
)


class Networks(Protocol):
    """As much of a model as its adaptable layers are found by."""

    denoiser: nn.Module
    text_encoders: tuple[nn.Module, ...]


@dataclass(frozen=True)
class FamilySteps:
    """What differs between families, as functions of the model."""

    encode_text: Callable[[LatentDiffusionModel, Tokens, int], ClipText]
    predict: Callable[[LatentDiffusionModel, Tensor, Tensor, ClipText, Sequence[PictureSize] | None], Tensor]
    lora_targets: Callable[[Networks], tuple[LoraTarget, ...]]


class LatentDiffusionModel:
    """A frozen base model: denoiser, text encoders, VAE, tokenizers and objective. See protocol.BaseModel."""

    text_type = ClipText

    def __init__(
        self,
        *,
        info: ModelInfo,
        spec: FamilySpec,
        steps: FamilySteps,
        denoiser: nn.Module,
        text_encoders: tuple[nn.Module, ...],
        vae: nn.Module,
        tokenizers: tuple[ClipTokenizer, ...],
        latent_scale: float,
        notes: Sequence[str] = (),
    ) -> None:
        self.info, self.spec, self._steps = info, spec, steps
        self.denoiser, self.text_encoders, self.vae = denoiser, text_encoders, vae
        self.tokenizers = tokenizers
        self.latent_scale = latent_scale
        self.notes = list(notes)
        self.objective: Objective = DiscreteDiffusion(
            info.prediction, zero_terminal_snr=info.zero_terminal_snr
        )

    @property
    def family(self) -> str:
        """The family's name."""
        return self.spec.name

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return picture_coder.device_of(self._anchor)

    @property
    def dtype(self) -> torch.dtype:
        """The denoiser's precision."""
        return picture_coder.dtype_of(self._anchor)

    @property
    def vae_dtype(self) -> torch.dtype:
        """The VAE's precision."""
        return picture_coder.dtype_of(self.vae)

    @property
    def _anchor(self) -> nn.Module:
        """A denoiser layer that no LoRA touches: it tells where the base is, whatever stands in the tree."""
        return self.denoiser.get_submodule("conv_in")

    @property
    def text_unit(self) -> int:
        """Tokens of a caption that one pass of the text encoders reads."""
        return self.chunk_length - 2

    @property
    def chunk_length(self) -> int:
        """Tokens in one pass of the text encoders, begin and end included."""
        config: Any = self.text_encoders[0].config
        return int(config.max_position_embeddings)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LatentDiffusionModel:
        """Move all parts; the VAE keeps float32 where the family's VAE cannot do `dtype`. Returns itself."""
        for module in (self.denoiser, *self.text_encoders):
            # diffusers' own `to` warns of modules to be kept in float32 even where there are none.
            nn.Module.to(module, device=device, dtype=dtype)
        nn.Module.to(
            self.vae, device=device, dtype=None if dtype is None else vae_dtype_for(self.spec, dtype)
        )
        return self

    def tokenize(
        self, captions: Sequence[str], *, max_tokens: int | None = None, weighted: bool = False
    ) -> Tokens:
        """Return token ids of up to `max_tokens` (multiple of 75; None: 75); the rest is counted and cut."""
        chunk = self.text_unit
        if weighted:
            return self._with_weights(captions, max_tokens or chunk)
        ids, dropped = [], [0] * len(captions)
        for tokenizer in self.tokenizers:
            rows = [tokenizer.padded(text, max_tokens=max_tokens or chunk, chunk=chunk) for text in captions]
            ids.append(torch.tensor([row for row, _ in rows], dtype=torch.int64))
            dropped = [max(old, new) for old, (_, new) in zip(dropped, rows, strict=True)]
        return Tokens(tuple(ids), tuple(dropped))

    def _with_weights(self, captions: Sequence[str], max_tokens: int) -> Tokens:
        """Return token ids and weights of captions with emphasis."""
        ids, weights, dropped = [], [], [0] * len(captions)
        for tokenizer in self.tokenizers:
            rows = [
                tokenizer.weighted(text, max_tokens=max_tokens, chunk=self.text_unit) for text in captions
            ]
            ids.append(torch.tensor([row for row, _, _ in rows], dtype=torch.int64))
            weights.append(torch.tensor([row for _, _, row in rows], dtype=torch.float32))
            dropped = [max(old, new) for old, (_, new, _) in zip(dropped, rows, strict=True)]
        return Tokens(tuple(ids), tuple(dropped), tuple(weights))

    def encode_text(self, tokens: Tokens, *, clip_skip: int | None = None, **others: Any) -> ClipText:
        """Return what the denoiser is told, differentiable; `clip_skip` None: the family's."""
        assert not others, f"no such settings of the text: {sorted(others)}"
        return self._steps.encode_text(
            self, tokens, self.spec.default("clip_skip") if clip_skip is None else clip_skip
        )

    @torch.no_grad()
    def encode_pictures(self, pixels_BCHW: Tensor, *, generator: Randomness = None) -> Tensor:
        """Return one posterior sample, already scaled, float32 [B, C, H/f, W/f], of pixels in [-1, 1]."""
        return picture_coder.encode(self.vae, pixels_BCHW, generator) * self.latent_scale

    @torch.no_grad()
    def decode_latents(self, latent_BCHW: Tensor) -> Tensor:
        """Return float32 pixels_BCHW in [-1, 1] of scaled latents."""
        return picture_coder.decode(self.vae, latent_BCHW.float() / self.latent_scale)

    def predict(
        self,
        noisy_BCHW: Tensor,
        timesteps_B: Tensor,
        conditioning: Any,
        sizes: Sequence[PictureSize] | None = None,
    ) -> Tensor:
        """Return prediction_BCHW in the denoiser's precision, by whatever modules stand in the tree."""
        return self._steps.predict(self, noisy_BCHW, timesteps_B, conditioning, sizes)

    def lora_targets(self) -> tuple[LoraTarget, ...]:
        """Return every adaptable layer, text encoders first, in the reference trainer's order."""
        return self._steps.lora_targets(self)

    def sampler(self, name: str) -> Sampler:
        """Return a fresh diffusers scheduler set up for this model."""
        return make_sampler(name, self.info.prediction, zero_terminal_snr=self.info.zero_terminal_snr)

    def set_gradient_checkpointing(self, enabled: bool, blocks: Collection[str] | None = None) -> None:
        """Recompute activations in the backward pass (a fifth more time, far less memory), or stop doing so.

        `blocks` names those that are computed again (None: all); the others keep what they computed. Both libraries only
        checkpoint modules in training mode; nothing here has dropout or batch statistics, so that mode changes no number.
        """
        for module in (self.denoiser, *self.text_encoders):
            module.train(enabled)
        unet: Any = self.denoiser
        if not enabled:
            unet.disable_gradient_checkpointing()
            for encoder in self.text_encoders:
                switch_text(encoder, False)
            return
        names = module_names(self.denoiser, self.text_encoders)
        recompute_denoiser(unet, names, blocks)
        for encoder in self.text_encoders:
            recompute_text(encoder, names, blocks)

    def compile_blocks(self, mode: str = "default") -> None:
        """Compile each of the denoiser's transformer blocks for the sizes that it meets."""
        unet: Any = self.denoiser
        unet.compile_repeated_blocks(dynamic=False, mode=mode)

    def vae_fingerprint(self) -> str:
        """Return a hash of the VAE's weights in their present precision."""
        digest = hashlib.sha256()
        for name, tensor in self.vae.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()


def vae_dtype_for(spec: FamilySpec, dtype: torch.dtype) -> torch.dtype:
    """Return the precision that the family's VAE runs in when the rest runs in `dtype`."""
    return torch.float32 if dtype == torch.float16 and not spec.half_precision_vae else dtype
