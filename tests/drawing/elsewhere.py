"""Sampling as ComfyUI does it, written from its definitions: noise levels sigma, a denoiser that returns clean latents.

sigma(t) = sqrt((1 - abar_t) / abar_t), between two timesteps on a straight line of log sigma
sgm_uniform   n + 1 timesteps in equal strides from the last to the first, without the first
karras        equal strides of sigma^(1/7) from the highest to the lowest noise level
Either ends at 0. Drawing begins with noise * sqrt(1 + sigma²); noise of the way comes from the next seed's generator.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from maquette.drawing.request import DrawRequest

Denoise = Callable[[Tensor, Tensor], Tensor]


def sigma_table(model: Any) -> Tensor:
    """Return sigma of every timestep, double precision."""
    abar = model.objective.alphas_cumprod.double()
    return ((1 - abar) / abar).sqrt()


def sgm_uniform(table: Tensor, steps: int) -> Tensor:
    return _at(table, torch.linspace(len(table) - 1, 0, steps + 1, dtype=torch.float64)[:-1])


def normal(table: Tensor, steps: int) -> Tensor:
    return _at(table, torch.linspace(len(table) - 1, 0, steps, dtype=torch.float64))


def ddim_uniform(table: Tensor, steps: int) -> Tensor:
    return torch.cat([table[1 :: len(table) // steps].flip(0), table.new_zeros(1)])


def karras(table: Tensor, steps: int) -> Tensor:
    low, high = table[0] ** (1 / 7), table[-1] ** (1 / 7)
    return torch.cat([(high + torch.linspace(0, 1, steps) * (low - high)) ** 7, table.new_zeros(1)])


SCHEDULERS = {"sgm_uniform": sgm_uniform, "normal": normal, "ddim_uniform": ddim_uniform, "karras": karras}


def _at(table: Tensor, timesteps: Tensor) -> Tensor:
    below = timesteps.floor().long()
    above = (below + 1).clamp(max=len(table) - 1)
    share = timesteps - below
    levels = (table.log()[below] * (1 - share) + table.log()[above] * share).exp()
    return torch.cat([levels, table.new_zeros(1)])


@torch.no_grad()
def drawn_elsewhere(model: Any, request: DrawRequest, sampler: str, scheduler: str) -> Any:
    """Return the picture that a program with these names draws of `request`."""
    from maquette.drawing.draw import to_pictures

    table = sigma_table(model)
    sigmas = SCHEDULERS[scheduler](table, request.steps).float()
    shape = (1, 4, request.height_px // model.info.vae_factor, request.width_px // model.info.vae_factor)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(request.seed))
    fresh = torch.Generator().manual_seed(request.seed + 1)
    latent = SAMPLERS[sampler](
        _denoiser(model, request, table), noise * (1 + sigmas[0] ** 2).sqrt(), sigmas, fresh
    )
    return to_pictures(model.decode_latents(latent))[0]


def _denoiser(model: Any, request: DrawRequest, table: Tensor) -> Denoise:
    texts = model.encode_text(model.tokenize([request.prompt, request.negative]))

    def denoise(latent: Tensor, sigma: Tensor) -> Tensor:
        timestep = (table.log() - sigma.double().log()).abs().argmin()
        scaled = latent / (sigma**2 + 1).sqrt()
        predicted = model.predict(scaled.repeat(2, 1, 1, 1), timestep.repeat(2), texts, None)
        if model.info.prediction == "v":
            clean = latent / (sigma**2 + 1) - predicted * sigma / (sigma**2 + 1).sqrt()
        else:
            clean = latent - sigma * predicted
        told, plain = clean.chunk(2)
        return plain + request.guidance * (told - plain)

    return denoise


def euler(denoise: Denoise, latent: Tensor, sigmas: Tensor, _: Any) -> Tensor:
    for now, then in pairwise(sigmas):
        latent = latent + (latent - denoise(latent, now)) / now * (then - now)
    return latent


def euler_ancestral(denoise: Denoise, latent: Tensor, sigmas: Tensor, fresh: Any) -> Tensor:
    for now, then in pairwise(sigmas):
        clean = denoise(latent, now)
        up = then * (1 - then**2 / now**2).sqrt()
        down = (then**2 - up**2).sqrt()
        latent = latent + (latent - clean) / now * (down - now)
        if then > 0:
            latent = latent + up * torch.randn(latent.shape, generator=fresh)
    return latent


def heun(denoise: Denoise, latent: Tensor, sigmas: Tensor, _: Any) -> Tensor:
    for now, then in pairwise(sigmas):
        slope = (latent - denoise(latent, now)) / now
        ahead = latent + slope * (then - now)
        if then > 0:
            slope = (slope + (ahead - denoise(ahead, then)) / then) / 2
        latent = latent + slope * (then - now)
    return latent


def dpmpp_2m(denoise: Denoise, latent: Tensor, sigmas: Tensor, _: Any) -> Tensor:
    """DPM-Solver++(2M), arXiv:2211.01095, in the variable exploding form: h = log(now / then)."""
    before, last_h = None, torch.zeros(())
    for now, then in pairwise(sigmas):
        clean = denoise(latent, now)
        if then == 0:
            return clean
        h = (now / then).log()
        estimate = clean if before is None else clean + h / (2 * last_h) * (clean - before)
        latent = then / now * latent + (1 - (-h).exp()) * estimate
        before, last_h = clean, h
    return latent


SAMPLERS = {
    "euler": euler,
    "ddim": euler,
    "euler_ancestral": euler_ancestral,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
}
