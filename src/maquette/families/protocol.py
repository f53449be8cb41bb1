"""What a model family is to the rest of the program. Nothing outside families/ knows more than this file.

Shape legend: B pictures, T text tokens, D text width, C channels of latents or pixels, H W height, width.
Only types live here: reading it never imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from maquette.families.common.source import Source

Prediction = Literal["epsilon", "v"]
LayerKind = Literal["linear", "conv1x1", "conv3x3"]
LoraPart = Literal["text_encoder", "denoiser"]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a base model is, as found in its file or folder without reading weights."""

    family: str
    """Key of the FAMILIES table."""
    title: str
    """The family in words, with the model's own title when it carries one."""
    prediction: Prediction
    """What the denoiser predicts: the noise, or the velocity v."""
    dtype: str
    """Precision in which most denoiser weights are stored: float16, bfloat16 or float32."""
    resolution: int
    """Native edge of a square picture, px."""
    source: Literal["single-file", "diffusers", "hub"]
    """Where it came from."""
    layout: Literal["single-file", "diffusers"]
    """How its tensors are named: original (A1111/kohya) or diffusers."""
    path: str
    """The file or folder on this machine; the name itself for a hub model that is not downloaded yet."""
    text_encoders: int
    """How many text encoders it has."""
    latent_channels: int
    """Channels of a latent."""
    vae_factor: int
    """Pixels per latent cell along one edge."""
    zero_terminal_snr: bool = False
    """Trained with the noise schedule whose last timestep is pure noise."""
    notes: tuple[str, ...] = ()
    """What a person should know, e.g. tensors in the file that are not used."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a record or `--json`."""
        return {**asdict(self), "notes": list(self.notes)}


@dataclass(frozen=True)
class PictureSize:
    """Where a training crop came from, in pixels; (height, width) and (top, left)."""

    original_hw: tuple[int, int]
    crop_top_left: tuple[int, int]
    target_hw: tuple[int, int]


@dataclass(frozen=True)
class Tokens:
    """Token ids of B captions, one tensor per text encoder."""

    ids: tuple[Tensor, ...]
    """int64 [B, 77 * chunks] each, every chunk with its own begin and end token."""
    dropped: tuple[int, ...]
    """Per caption, how many tokens did not fit and were cut off."""


@dataclass(frozen=True)
class Conditioning:
    """What the text says, as the denoiser takes it."""

    text_BTD: Tensor
    pooled_BD: Tensor | None = None

    def __len__(self) -> int:
        return self.text_BTD.shape[0]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Conditioning:
        """Return a copy on `device` and in `dtype` (None keeps)."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def rows(self, index: Any) -> Conditioning:
        """Return the rows that `index` (slice, list or int64 tensor) picks."""
        return self._map(lambda tensor: tensor[index])

    def detach(self) -> Conditioning:
        """Return it without its gradient history."""
        return self._map(lambda tensor: tensor.detach())

    @staticmethod
    def cat(parts: Sequence[Conditioning]) -> Conditioning:
        """Return the rows of all `parts`, one after the other; text lengths must agree."""
        import torch

        pooled = [part.pooled_BD for part in parts if part.pooled_BD is not None]
        return Conditioning(
            torch.cat([part.text_BTD for part in parts]), torch.cat(pooled) if pooled else None
        )

    def _map(self, change: Any) -> Conditioning:
        pooled = None if self.pooled_BD is None else change(self.pooled_BD)
        return replace(self, text_BTD=change(self.text_BTD), pooled_BD=pooled)


@dataclass(frozen=True)
class LoraTarget:
    """One layer that a LoRA may adapt."""

    part: LoraPart
    module: nn.Module
    """The Linear or Conv2d itself."""
    parent: nn.Module
    attribute: str
    """`getattr(parent, attribute) is module`; a digit when the parent is a list."""
    key: str
    """Name in a kohya file, without `.lora_down.weight`."""
    diffusers_key: str
    """Dotted path as diffusers and PEFT name it, starting with `unet.` or `text_encoder.`"""
    kind: LayerKind
    default: bool
    """False for the layers that only `conv_dim` adds."""


class Objective(Protocol):
    """The training objective: timesteps, noising, target and loss weights."""

    num_timesteps: int

    def sample_timesteps(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return timesteps_B."""

    def add_noise(self, clean_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """Return noisy_BCHW."""

    def target(self, clean_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """Return what the denoiser should predict."""

    def loss_weights(
        self, timesteps_B: Tensor, *, min_snr_gamma: float | None = None, debiased: bool = False
    ) -> Tensor:
        """Return one float32 weight per sample."""


class BaseModel(Protocol):
    """A loaded base model. Its modules are frozen; a LoRA may stand in their place."""

    info: ModelInfo
    spec: FamilySpec
    denoiser: nn.Module
    text_encoders: tuple[nn.Module, ...]
    vae: nn.Module
    objective: Objective
    latent_scale: float
    notes: list[str]

    @property
    def family(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def vae_dtype(self) -> torch.dtype: ...

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> BaseModel:
        """Move all parts; the VAE keeps float32 where the family's VAE cannot do `dtype`. Returns itself."""

    def tokenize(self, captions: Sequence[str], *, max_tokens: int = 75) -> Tokens:
        """Return token ids; `max_tokens` (75, 150 or 225) per caption, what is longer is counted and cut."""

    def encode_text(self, tokens: Tokens, *, clip_skip: int | None = None) -> Conditioning:
        """Return what the denoiser is told, differentiable in the text encoders."""

    def encode_pictures(self, pixels_BCHW: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return one posterior sample, already scaled, float32 [B, C, H/f, W/f], of pixels in [-1, 1]."""

    def decode_latents(self, latent_BCHW: Tensor) -> Tensor:
        """Return float32 pixels_BCHW in [-1, 1]."""

    def predict(
        self,
        noisy_BCHW: Tensor,
        timesteps_B: Tensor,
        conditioning: Conditioning,
        sizes: Sequence[PictureSize] | None = None,
    ) -> Tensor:
        """Return prediction_BCHW by whatever modules stand in the tree at present."""

    def lora_targets(self) -> tuple[LoraTarget, ...]:
        """Return every adaptable layer in the reference trainer's order of creation, text encoders first."""

    def sampler(self, name: str) -> Any:
        """Return a fresh diffusers scheduler set up for this model."""

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Trade time for memory: recompute activations in the backward pass."""

    def vae_fingerprint(self) -> str:
        """Return a hash of the VAE's weights, for caches of latents."""


@dataclass(frozen=True, kw_only=True)
class FamilySpec:
    """A family's constants."""

    name: str
    title: str
    native_resolution_px: int
    latent_scale: float
    default_clip_skip: int
    """The clip skip that the family is drawn with when nothing is said."""
    modelspec_architecture: str
    ss_base_model_version: str
    default_sampler: str
    default_guidance: float
    bucket_step_px: int = 64
    clip_skip_is_fixed: bool = False
    """True where the family knows no other clip skip than its default."""
    half_precision_vae: bool = True
    """False where the VAE overflows in float16."""
    training_scripts: tuple[str, ...] = ()
    """File names of sd-scripts' LoRA trainers for this family."""
    name_pattern: str = ""
    """What file and hub names of this family usually contain: a regular expression, case ignored unless it says so."""
    plain_name_pattern: str = ""
    """Names of the family's own, photographic base without anyone's fine-tuning; empty where its bias is weak."""
    file_words: str = ""
    """Words by which people name a LoRA's file after this family: a regular expression, case ignored."""
    text_step: int = 75
    """Texts are read in units of so many tokens."""
    download_bytes: int = 0
    """The least that a download of the published model from the hub takes."""


class Layout(Protocol):
    """The sizes of a base model's parts: a frozen dataclass of plain values, so that equal layouts have equal networks.

    Only its family reads more of it than these.
    """

    @property
    def family(self) -> str:
        """Key of the FAMILIES table."""

    @property
    def latent_channels(self) -> int: ...

    @property
    def vae_factor(self) -> int: ...

    @property
    def text_encoders(self) -> int: ...

    def __hash__(self) -> int: ...


class Family(Protocol):
    """One row of the FAMILIES table."""

    spec: FamilySpec

    @property
    def name(self) -> str: ...

    def detect(self, source: Source) -> ModelInfo | None:
        """Return what `source` is when it is of this family, by its tensors or configuration, never its name.

        Raises ModelError when it is of this family but cannot be used.
        """

    def load(
        self, info: ModelInfo, source: Source, *, dtype: torch.dtype, device: torch.device | str
    ) -> BaseModel:
        """Return the model with weights in `dtype` on `device`."""

    def layout(self, source: Source | None) -> Layout:
        """Return the sizes of the parts in `source`; of the published model for None. Needs no torch."""

    def skeleton(self, layout: Any) -> BaseModel:
        """Return the networks of a `layout` of this family on the meta device: shapes without weights."""
