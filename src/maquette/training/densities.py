"""How often each share of the way from a picture to pure noise is drawn.

A density is told by its quantiles: which share of the way stands at which share of all draws. So one uniform number makes one
timestep, and equally spaced numbers make a stratified set. Legend: u draws in [0, 1), s shares of the way in [0, 1].
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from maquette.project.settings import ObjectiveSettings

CELLS = 4096
"""Into so many parts the way is cut where a density has no quantile function of its own."""


def quantiles(wanted: ObjectiveSettings, u: Tensor) -> Tensor:
    """Return the shares of the way, float32 in [0, 1], that stand at the shares `u` of all draws of `wanted`'s density.

    sigmoid: of a normal number times `sigmoid_scale` (logit-normal, arXiv:2403.03206). shift: that, moved towards noise by
    s k / (1 + (k - 1) s) with k = `timestep_shift`. beta: the beta distribution (arXiv:2407.12173).
    """
    if wanted.timestep_sampling in ("sigmoid", "shift"):
        s = torch.sigmoid(wanted.sigmoid_scale * torch.special.ndtri(u.float()))
        k = wanted.timestep_shift if wanted.timestep_sampling == "shift" else 1.0
        return s * k / (1 + (k - 1) * s)
    if wanted.timestep_sampling == "beta":
        return _interpolated(u.float(), _beta_masses(*wanted.timestep_beta).to(u.device))
    return u.float()


@lru_cache(maxsize=8)
def _beta_masses(a: float, b: float) -> Tensor:
    """Return the share of all draws below each cell's end, float32 [CELLS + 1], of the beta distribution.

    The first and last cells are taken by the power law that rules there: with exponents below 1 their density has no bound.
    """
    edges = torch.linspace(0, 1, CELLS + 1, dtype=torch.float64)
    middles = (edges[1:] + edges[:-1]) / 2
    masses = torch.exp((a - 1) * torch.log(middles) + (b - 1) * torch.log1p(-middles)) / CELLS
    masses[0], masses[-1] = CELLS**-a / a, CELLS**-b / b
    total = math.exp(math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))
    below = torch.cat([torch.zeros(1, dtype=torch.float64), masses.cumsum(0)]) / total
    return (below / below[-1]).float()


def _interpolated(u: Tensor, below: Tensor) -> Tensor:
    """Return where on the way the share `u` of all draws lies, on the straight line within its cell."""
    cell = (torch.searchsorted(below, u, right=True) - 1).clamp(0, CELLS - 1)
    start, end = below[cell], below[cell + 1]
    within = ((u - start) / (end - start).clamp_min(torch.finfo(torch.float32).tiny)).clamp(0, 1)
    return (cell + within) / CELLS
