"""The loaded model, its objective and its sampler. See protocol.BaseModel."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.families.common.conditioning import Rows
from maquette.families.common.targets import make_target
from maquette.families.protocol import LoraPart, LoraTarget, ModelInfo, PictureSize, Tokens
from tests.flow_family import SPEC, Bytes, FlowLayout
from tests.flow_family.networks import ByteReader, FlowTransformer, Folding


@dataclass(frozen=True)
class FlowText(Rows):
    """What the transformer reads."""

    text_BTD: Tensor


class FlowMatching:
    """A straight way from picture (time 0) to noise (time 1)."""

    def sample_timesteps(
        self,
        count: int,
        generator: torch.Generator | None = None,
        *,
        min_timestep: float | None = None,
        max_timestep: float | None = None,
    ) -> Tensor:
        """Return times_B in (0, 1), most of them in the middle."""
        return self.timesteps_at(
            torch.sigmoid(torch.randn(count, generator=generator)),
            min_timestep=min_timestep,
            max_timestep=max_timestep,
        )

    def timesteps_at(
        self, shares_B: Tensor, *, min_timestep: float | None = None, max_timestep: float | None = None
    ) -> Tensor:
        first, last = min_timestep or 0.0, 1.0 if max_timestep is None else max_timestep
        return first + (last - first) * shares_B

    def shares(self, timesteps_B: Tensor) -> Tensor:
        return timesteps_B.float()

    def noise_levels(self, timesteps_B: Tensor) -> Tensor:
        return timesteps_B / (1 - timesteps_B)

    def add_noise(self, clean_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        time = timesteps_B.view(-1, 1, 1, 1)
        return (1 - time) * clean_BCHW + time * noise_BCHW

    def target(self, clean_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        return noise_BCHW - clean_BCHW

    def rivals(self) -> dict[str, Any]:
        return {}

    def loss_weights(self, timesteps_B: Tensor, *, late_weight: float = 0.0, **others: Any) -> Tensor:
        assert not others, others
        return 1 + late_weight * timesteps_B.float()


class FlowEuler:
    """Equal steps from noise to picture."""

    init_noise_sigma = 1.0
    timesteps = torch.empty(0)

    def set_timesteps(self, num_inference_steps: int, *, device: torch.device | str) -> None:
        self.length = 1 / num_inference_steps
        self.timesteps = torch.linspace(1, self.length, num_inference_steps, device=device)

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        return sample

    def step(
        self, model_output: Tensor, timestep: Tensor, sample: Tensor, *, return_dict: bool
    ) -> tuple[Tensor]:
        return (sample - self.length * model_output,)


class FlowModel:
    """A frozen base model."""

    latent_scale = 1.0
    text_unit = SPEC.text_unit
    spec = SPEC
    family = SPEC.name
    text_type = FlowText

    def __init__(self, info: ModelInfo, layout: FlowLayout) -> None:
        self.info, self.notes = info, list[str]()
        self.denoiser: nn.Module = FlowTransformer(
            layout.latent_channels, layout.width, layout.depth, layout.heads, layout.text_width
        )
        self.text_encoders: tuple[nn.Module, ...] = (ByteReader(layout.text_width),)
        self.vae: nn.Module = Folding(layout.vae_factor)
        self.objective = FlowMatching()
        for module in (self.denoiser, *self.text_encoders):
            module.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.denoiser.get_parameter("enter.weight").device

    @property
    def dtype(self) -> torch.dtype:
        return self.denoiser.get_parameter("enter.weight").dtype

    @property
    def vae_dtype(self) -> torch.dtype:
        return torch.float32

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> FlowModel:
        for module in (self.denoiser, *self.text_encoders):
            module.to(device=device, dtype=dtype)
        self.vae.to(device=device)
        return self

    def tokenize(self, captions: Sequence[str], *, max_tokens: int | None = None) -> Tokens:
        most = max_tokens or SPEC.text_unit
        rows = [Bytes().encode(caption) for caption in captions]
        ids = torch.tensor([(row[:most] + [0] * most)[:most] for row in rows], dtype=torch.int64)
        return Tokens((ids,), tuple(max(0, len(row) - most) for row in rows))

    def encode_text(self, tokens: Tokens, *, loudness: float = 1.0, **others: Any) -> FlowText:
        assert not others, others
        return FlowText(self.text_encoders[0](tokens.ids[0].to(self.device)) * loudness)

    @torch.no_grad()
    def encode_pictures(self, pixels_BCHW: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        assert isinstance(self.vae, Folding)
        return self.vae.encode(pixels_BCHW.to(self.device).float())

    @torch.no_grad()
    def decode_latents(self, latent_BCHW: Tensor) -> Tensor:
        assert isinstance(self.vae, Folding)
        return self.vae.decode(latent_BCHW.float()).clamp(-1, 1)

    def predict(
        self,
        noisy_BCHW: Tensor,
        timesteps_B: Tensor,
        conditioning: Any,
        sizes: Sequence[PictureSize] | None = None,
    ) -> Tensor:
        text_BTD = conditioning.text_BTD.to(self.device, self.dtype)
        noisy_BCHW = noisy_BCHW.to(self.device, self.dtype)
        return self.denoiser(noisy_BCHW, timesteps_B.to(self.device), text_BTD)  # type: ignore[no-any-return]

    def lora_targets(self) -> tuple[LoraTarget, ...]:
        text = _linear_layers("text_encoder", self.text_encoders[0], "lora_bytes", "text_encoder")
        return (*text, *_linear_layers("denoiser", self.denoiser, "lora_flow", "transformer"))

    def sampler(self, name: str) -> FlowEuler:
        if name != SPEC.default_sampler:
            known = [SPEC.default_sampler]
            raise ConfigError(Problem("sampler", f"'{name}'", "a known sampler", did_you_mean(name, known)))
        return FlowEuler()

    def set_gradient_checkpointing(self, enabled: bool, blocks: Collection[str] | None = None) -> None:
        assert isinstance(self.denoiser, FlowTransformer)
        for number, block in enumerate(self.denoiser.blocks):
            block.is_recomputed = enabled and (blocks is None or f"denoiser.blocks.{number}" in blocks)

    def compile_blocks(self, mode: str = "default") -> None:
        assert isinstance(self.denoiser, FlowTransformer)
        for block in self.denoiser.blocks:
            block.compile(dynamic=False, mode=mode)

    def vae_fingerprint(self) -> str:
        return hashlib.sha256(b"folded").hexdigest()


def _linear_layers(part: LoraPart, root: nn.Module, prefix: str, component: str) -> Iterator[LoraTarget]:
    for path, module in root.named_modules():
        if isinstance(module, nn.Linear) and "block" in path:
            yield make_target(part, root, path, f"{prefix}_{path.replace('.', '_')}", f"{component}.{path}")


def load(info: ModelInfo, layout: FlowLayout, path: Path) -> FlowModel:
    """Return the model with the weights of the file."""
    with torch.device("meta"):
        model = FlowModel(info, layout)
    tensors = load_file(path)
    for prefix, module in (("transformer.", model.denoiser), ("text.", model.text_encoders[0])):
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        module.load_state_dict(own, assign=True)
        module.requires_grad_(False)
    model.vae = Folding(layout.vae_factor)
    return model
