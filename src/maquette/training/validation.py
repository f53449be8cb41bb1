"""The loss of pictures at fixed noise: the same question for every checkpoint, every run and every LoRA of a base.

Each picture is measured at the same levels of noise, spread evenly over those that the base is trained with, under noise that
follows from the picture's content and the validation's seed alone. No setting of the loss takes part: it is the plain squared
error of what the base predicts, so that runs with other weightings compare. Nothing here touches training's randomness.

Legend: P trials, N pictures, T levels of noise; a pass shows one picture at several levels under all trials.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from maquette.dataset.cache import LatentCache
from maquette.dataset.cache_folder import CacheFolder
from maquette.dataset.captions import item_caption
from maquette.dataset.records import Item
from maquette.events import Event
from maquette.runs.validation import ValidationPoint
from maquette.training.data import encoder_name, picture_size
from maquette.training.randomness import generator_at
from maquette.training.texts import CaptionEncoder

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel, Conditioning
    from maquette.lora.adapter import LoraAdapter

DRAWN = 4096
"""Timesteps that are drawn to learn how the base's training spreads them."""
MOST_ROWS = 8
"""Of one trial in a pass: without a backward pass they take less memory than a training batch of two."""


class Validator:
    """Measures pictures with a base and whatever adapters stand in it. `encode` comes first, while there is a VAE."""

    def __init__(
        self,
        model: BaseModel,
        placement: Placement,
        items: Sequence[Item],
        *,
        timesteps: int,
        seed: int,
        texts: CaptionEncoder,
        cache_folder: CacheFolder | None = None,
        antithetic: bool = False,
    ) -> None:
        """`antithetic` asks each level of noise twice, with a noise and its negative: what is linear in the noise cancels
        (`timesteps` counts both).
        """
        self.model = model
        self.placement = placement
        self.items = tuple(items)
        self.seed = seed
        self._antithetic = antithetic
        levels = -(-timesteps // 2) if antithetic else timesteps
        self.timesteps_T = spread_timesteps(model, levels, seed).repeat_interleave(2 if antithetic else 1)
        self._texts = texts
        self._cache = LatentCache(cache_folder, encoder_name(model), seed)

    def captions(self) -> list[str]:
        """Return the caption of each picture."""
        return [item_caption(item, self.seed, 0) for item in self.items]

    def encode(self) -> Iterator[Event]:
        """Encode every picture once."""
        yield from self._cache.fill(
            self.items,
            lambda pixels, generator: self.model.encode_pictures(pixels, generator=generator).float().cpu(),
        )

    @torch.no_grad()
    def measure(self, trials: int = 1) -> torch.Tensor:
        """Return the mean loss of each picture under each of `trials` adapters that stand in the base, float32 [P, N]."""
        return self.measure_levels(trials).mean(dim=2)

    @torch.no_grad()
    def measure_levels(self, trials: int = 1) -> torch.Tensor:
        """Return the loss of each picture at each level of noise under each of `trials` adapters, float32 [P, N, T]."""
        return torch.stack([self._of_picture(item, trials) for item in self.items], dim=1)

    @torch.no_grad()
    def measure_base(self, adapter: LoraAdapter) -> torch.Tensor:
        """Return the mean loss of each picture under the base without `adapter`, which stands in it, float32 [N]."""
        enabled = adapter.enabled
        adapter.enabled = False
        try:
            return self.measure()[0]
        finally:
            adapter.enabled = enabled

    def _of_picture(self, item: Item, trials: int) -> torch.Tensor:
        conditioning = self._conditioning(item, trials)
        losses = [self._pass(item, conditioning, part, trials) for part in _parts(len(self.timesteps_T))]
        return torch.cat(losses, dim=1)

    def _pass(self, item: Item, conditioning: Conditioning, part: range, trials: int) -> torch.Tensor:
        """Return the losses of one picture at some levels of noise, [P, T']."""
        model, device = self.model, self.placement.device
        clean_CHW = self._cache.latent(item)
        noise_BCHW = torch.stack([self._noise(item, level, clean_CHW) for level in part])
        rows = len(part) * trials
        clean = clean_CHW.expand(rows, *clean_CHW.shape).to(device)
        noise = noise_BCHW.repeat(trials, 1, 1, 1).to(device)
        timesteps = self.timesteps_T[part.start : part.stop].repeat(trials).to(device)
        text = conditioning.rows([trial for trial in range(trials) for _ in part])
        with self.placement.autocast():
            noisy = model.objective.add_noise(clean, noise, timesteps)
            prediction = model.predict(noisy, timesteps, text, [picture_size(item, False)] * rows)
            target = model.objective.target(clean, noise, timesteps)
        error_RCHW = functional.mse_loss(prediction.float(), target.float(), reduction="none")
        return error_RCHW.mean(dim=(1, 2, 3)).view(trials, len(part)).cpu()

    def _noise(self, item: Item, level: int, like_CHW: torch.Tensor) -> torch.Tensor:
        drawn, is_negative = divmod(level, 2) if self._antithetic else (level, 0)
        generator = generator_at(self.seed, "validation", item.picture.sha256, drawn)
        noise_CHW = torch.randn(like_CHW.shape, generator=generator)
        return -noise_CHW if is_negative else noise_CHW

    def _conditioning(self, item: Item, trials: int) -> Conditioning:
        """Return what the denoiser is told of a picture under each trial: text encoders may be adapted too."""
        return self._texts.conditioning([item_caption(item, self.seed, 0)] * trials)


def spread_timesteps(model: BaseModel, count: int, seed: int) -> torch.Tensor:
    """Return `count` timesteps at the middles of equal shares of those that the family's training draws, ascending."""
    drawn = model.objective.sample_timesteps(DRAWN, generator_at(seed, "validation timesteps"))
    middles = [int((index + 0.5) / count * DRAWN) for index in range(count)]
    return drawn.sort().values[middles]


def _parts(count: int) -> list[range]:
    return [range(start, min(start + MOST_ROWS, count)) for start in range(0, count, MOST_ROWS)]


# --- figures ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mean:
    """A mean over pictures and its standard error; None of a single picture."""

    value: float
    error: float | None


def mean_over_pictures(values: Sequence[float]) -> Mean:
    """Return the mean of one number a picture. Pictures are what varies: levels of noise of one picture are its own."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Mean(fmean(values), error)


def point_of(
    step: int, now: Sequence[float], base: Sequence[float] | None, previous: Sequence[float] | None
) -> ValidationPoint:
    """Return what the losses of the pictures say, beside the base's and those of the time before."""
    loss = mean_over_pictures(now)
    from_base = _change(now, base)
    from_previous = _change(now, previous)
    return ValidationPoint(
        step=step,
        loss=loss.value,
        error=loss.error,
        from_base=from_base.value if from_base else None,
        from_base_error=from_base.error if from_base else None,
        from_previous=from_previous.value if from_previous else None,
        from_previous_error=from_previous.error if from_previous else None,
    )


def _change(now: Sequence[float], before: Sequence[float] | None) -> Mean | None:
    """Return the mean change picture by picture; None without anything that it changed from."""
    if before is None or len(before) != len(now):
        return None
    return mean_over_pictures([one - other for one, other in zip(now, before, strict=True)])
