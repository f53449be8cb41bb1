"""The discrete diffusion objective of Stable Diffusion: noise schedule, target and loss weights.

Legend: clean x0, noise eps, noisy x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps, snr = abar / (1 - abar).
Operations and their order are those of diffusers' DDPMScheduler, so results agree to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from maquette.families.common.clip_options import NUM_TIMESTEPS
from maquette.families.protocol import Prediction

BETA_START, BETA_END = 0.00085, 0.012
MAX_SNR = 1000.0
"""Ceiling of the SNR in all weights but min-SNR's, as in the reference trainer."""


class DiscreteDiffusion:
    """Epsilon or v prediction over 1000 timesteps with scaled-linear betas.

    `zero_terminal_snr` rescales the schedule so that the last timestep is pure noise (arXiv:2305.08891,
    algorithm 1). The SNR table is made after that; the reference trainer keeps the one from before it, which
    weights the last timesteps as if they still held signal (0.0047 instead of 0 at t = 999).
    """

    num_timesteps = NUM_TIMESTEPS

    def __init__(self, prediction: Prediction = "epsilon", *, zero_terminal_snr: bool = False) -> None:
        self.prediction = prediction
        self.zero_terminal_snr = zero_terminal_snr
        betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, NUM_TIMESTEPS, dtype=torch.float32) ** 2
        if zero_terminal_snr:
            betas = _rescale_to_zero_terminal_snr(betas)
        self.alphas_cumprod = torch.cumprod(1.0 - betas, dim=0)
        self.snr = (torch.sqrt(self.alphas_cumprod) / torch.sqrt(1.0 - self.alphas_cumprod)) ** 2

    def rivals(self) -> dict[Prediction, DiscreteDiffusion]:
        """Return the objectives of the same schedule for whatever else a denoiser may predict, by what that is."""
        others: list[Prediction] = ["v" if self.prediction == "epsilon" else "epsilon"]
        return {each: DiscreteDiffusion(each, zero_terminal_snr=self.zero_terminal_snr) for each in others}

    def sample_timesteps(
        self,
        count: int,
        generator: torch.Generator | None = None,
        *,
        min_timestep: float | None = None,
        max_timestep: float | None = None,
    ) -> Tensor:
        """Return int64 timesteps_B on the CPU, uniform from `min_timestep` to below `max_timestep`."""
        first, end = _bounds(min_timestep, max_timestep)
        return torch.randint(first, end, (count,), generator=generator, dtype=torch.int64)

    def timesteps_at(
        self, shares_B: Tensor, *, min_timestep: float | None = None, max_timestep: float | None = None
    ) -> Tensor:
        """Return int64 timesteps_B: shares are cut into as many equal parts as there are timesteps."""
        first, end = _bounds(min_timestep, max_timestep)
        return (first + shares_B * (end - first)).to(torch.int64).clamp(first, end - 1)

    def shares(self, timesteps_B: Tensor) -> Tensor:
        """Return t / 1000, float32 [B]."""
        return timesteps_B.float() / NUM_TIMESTEPS

    def noise_levels(self, timesteps_B: Tensor) -> Tensor:
        """Return sqrt((1 - abar) / abar), float32 [B]; infinite where nothing of the picture is left."""
        abar = self.alphas_cumprod.to(timesteps_B.device)[timesteps_B]
        return ((1.0 - abar) / abar) ** 0.5

    def add_noise(self, clean_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """Return noisy_BCHW."""
        signal, spread = self._scales(clean_BCHW, timesteps_B)
        return signal * clean_BCHW + spread * noise_BCHW

    def target(self, clean_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """Return the noise, or the velocity v = sqrt(abar) eps - sqrt(1 - abar) x0 (arXiv:2202.00512)."""
        if self.prediction == "epsilon":
            return noise_BCHW
        signal, spread = self._scales(clean_BCHW, timesteps_B)
        return signal * noise_BCHW - spread * clean_BCHW

    def loss_weights(
        self,
        timesteps_B: Tensor,
        *,
        min_snr_gamma: float | None = None,
        scale_v_pred_loss_like_noise_pred: bool = False,
        v_pred_like_loss: float | None = None,
        debiased_estimation_loss: bool = False,
        **others: Any,
    ) -> Tensor:
        """Return float32 weights_B on the timesteps' device.

        min-SNR (arXiv:2303.09556): min(snr, gamma) / snr for epsilon, / (snr + 1) for v.
        With c = snr / (snr + 1), the share of signal: v's loss like the noise's is c, noise's loss with v's added 1 + k / c.
        Debiased (arXiv:2310.08442): 1 / sqrt(snr) for epsilon, 1 / (snr + 1) for v. Several: their product.
        """
        assert not others, f"no such settings of the loss: {sorted(others)}"
        snr = self.snr.to(timesteps_B.device)[timesteps_B]
        weights = torch.ones_like(snr)
        if min_snr_gamma is not None:
            weights = weights * self._min_snr(snr, min_snr_gamma)
        snr = torch.clamp(snr, max=MAX_SNR)
        share = snr / (snr + 1)
        if scale_v_pred_loss_like_noise_pred:
            weights = weights * share
        if v_pred_like_loss:
            weights = weights * (1 + v_pred_like_loss / share)
        if debiased_estimation_loss:
            weights = weights * (1 / (snr + 1) if self.prediction == "v" else 1 / torch.sqrt(snr))
        return weights

    def _min_snr(self, snr: Tensor, gamma: float) -> Tensor:
        least = torch.clamp(snr, max=gamma)
        if self.prediction == "v":
            return torch.div(least, snr + 1)
        return torch.where(
            snr > 0, torch.div(least, snr), 1.0
        )  # the limit of min(snr, gamma) / snr at snr = 0

    def _scales(self, like: Tensor, timesteps_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(abar) and sqrt(1 - abar) as [B, 1, 1, 1], in the latent's dtype and on its device."""
        table = self.alphas_cumprod.to(device=like.device, dtype=like.dtype)
        abar = table[timesteps_B.to(like.device)].reshape(-1, *[1] * (like.dim() - 1))
        return abar**0.5, (1 - abar) ** 0.5


def _bounds(min_timestep: float | None, max_timestep: float | None) -> tuple[int, int]:
    """Return the first timestep and the one behind the last; equal ones mean that one timestep, as in sd-scripts."""
    first = 0 if min_timestep is None else int(min_timestep)
    end = NUM_TIMESTEPS if max_timestep is None else int(max_timestep)
    return (first, end) if first < end else (min(end, NUM_TIMESTEPS - 1), min(end, NUM_TIMESTEPS - 1) + 1)


def _rescale_to_zero_terminal_snr(betas: Tensor) -> Tensor:
    """Return betas whose sqrt(abar) runs linearly from its old first value to zero."""
    root = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    root = (root - last) * (first / (first - last))
    abar = root**2
    return 1 - torch.cat([abar[0:1], abar[1:] / abar[:-1]])
