"""Loading: parts of a Stable Diffusion model from one file or a diffusers folder, into modules.

Each part is a `Part`: an empty module, the bindings that say which tensors fill it, and where those lie.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from maquette.families.common.describe import UNET, VAE
from maquette.families.common.header import TensorEntry
from maquette.families.common.keymap import Binding
from maquette.families.common.layout import (
    UnetLayout,
    read_unet_layout,
    read_vae_layout,
    unet_config,
    vae_config,
)
from maquette.families.common.modules import empty_text_encoder, empty_unet, empty_vae
from maquette.families.common.source import DiffusersFolder, SingleFile
from maquette.families.common.text_keys import bare_text_key
from maquette.families.common.unet_keys import unet_bindings
from maquette.families.common.vae_keys import modern_vae_key, vae_bindings
from maquette.families.common.weights import fill

BOOKKEEPING = re.compile(
    r"^(model_ema\.|first_stage_model\.loss\.|alphas_cumprod|betas$|log_one_minus_alphas_cumprod$|logvar$|lvlb_weights$"
    r"|posterior_|sqrt_|v_pred$|ztsnr$|scale_factor$|denoiser\.sigmas$)|\.position_ids$|\.logit_scale$"
)
"""Tensors that training left behind and that no part of a model reads."""


@dataclass(frozen=True)
class Part:
    """A module without weights, and where its weights are."""

    module: nn.Module
    bindings: list[Binding]
    entries: Mapping[str, TensorEntry]
    where: str


def unet_from_file(
    source: SingleFile, config: Callable[[UnetLayout], dict[str, Any]] | None, heads: Callable[[int], int]
) -> Part:
    """Return the U-Net of a single file; `heads` of a level's channels, `config` of the family."""
    layout = read_unet_layout(source.shapes(), UNET, str(source.path))
    settings = unet_config(layout, tuple(heads(channels) for channels in layout.block_channels))
    module = empty_unet({**settings, **(config(layout) if config else {})})
    return Part(
        module, unet_bindings(layout, module.state_dict(), UNET), source.header.tensors, str(source.path)
    )


def vae_from_file(source: SingleFile, scaling_factor: float) -> Part:
    """Return the VAE of a single file."""
    layout = read_vae_layout(source.shapes(), VAE, str(source.path))
    module = empty_vae(vae_config(layout, scaling_factor))
    return Part(
        module, vae_bindings(layout, module.state_dict(), VAE), source.header.tensors, str(source.path)
    )


def unet_from_folder(source: DiffusersFolder) -> Part:
    """Return the U-Net of a diffusers folder."""
    return _from_folder(source, "unet", empty_unet(source.configs["unet"]), lambda key: key)


def vae_from_folder(source: DiffusersFolder) -> Part:
    """Return the VAE of a diffusers folder, whichever spelling of its attention it was written with."""
    return _from_folder(source, "vae", empty_vae(source.configs["vae"]), modern_vae_key)


def text_from_folder(source: DiffusersFolder, part: str, *, projection: bool) -> Part:
    """Return a text encoder of a diffusers folder."""
    module = empty_text_encoder(source.configs[part], projection=projection)
    return _from_folder(source, part, module, bare_text_key)


def _from_folder(
    source: DiffusersFolder, part: str, module: nn.Module, spelling: Callable[[str], str]
) -> Part:
    """Tie parameters to tensors whose names are equal after `spelling`."""
    entries = source.tensors(part)
    stored = {spelling(name): name for name in entries}
    bindings = []
    for key in module.state_dict():
        # a missing tensor keeps the parameter's own name, so that the error names it
        name = stored.get(spelling(key), key)
        bindings.append(Binding(name, key))
    return Part(module, bindings, entries, str(source.path / part))


def fill_part(part: Part, *, dtype: torch.dtype, device: torch.device | str) -> tuple[nn.Module, set[str]]:
    """Return the module with its weights, and the names of the tensors that were used."""
    used = fill(part.module, part.bindings, part.entries, dtype=dtype, device=device, where=part.where)
    return part.module, used


def unused_notes(entries: Iterable[str], used: set[str]) -> tuple[str, ...]:
    """Return a sentence about tensors that nothing reads, unless they are only training's bookkeeping."""
    left = sorted(name for name in entries if name not in used and not BOOKKEEPING.search(name))
    if not left:
        return ()
    shown = ", ".join(f"'{name}'" for name in left[:3])
    return (f"{len(left)} tensors of the base model are not used, e.g. {shown}.",)
