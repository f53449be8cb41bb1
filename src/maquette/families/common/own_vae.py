"""A VAE of its own in the place of the base's: from one file in either naming, a diffusers folder, or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.errors import ModelError, Problem
from maquette.families.common.describe import VAE
from maquette.families.common.header import TensorEntry, read_header
from maquette.families.common.hub import HUB_NAME, fetch_vae
from maquette.families.common.layout import read_vae_layout, vae_config
from maquette.families.common.vae_keys import modern_vae_key, vae_bindings
from maquette.families.common.weight_files import read_json, weight_files

if TYPE_CHECKING:
    import torch
    from torch import nn

    from maquette.families.protocol import ModelInfo

ORIGINAL = "encoder.down.0.block.0.conv1.weight"
DIFFUSERS = "encoder.down_blocks.0.resnets.0.conv1.weight"
REPAIRED = "fp16"
"""Part of the names of VAEs that were repaired so as not to overflow in half precision, such as sdxl-vae-fp16-fix."""


@dataclass(frozen=True)
class OwnVae:
    """Where a VAE's tensors lie, and how they are named."""

    where: str
    entries: dict[str, TensorEntry]
    config: dict[str, Any]
    prefix: str | None
    """Before its original names; None for diffusers' names."""

    @property
    def is_repaired(self) -> bool:
        """Whether its name says that it does not overflow in half precision."""
        return REPAIRED in Path(self.where).name.lower()


def open_vae(name: str) -> OwnVae:
    """Return the VAE called `name`, its weights unread. Raises ModelError that says what was found where it is none."""
    path = Path(name).expanduser()
    if not path.exists() and HUB_NAME.match(name) and not path.suffix:
        return _folder(fetch_vae(name), name)
    return _folder(path, name) if path.is_dir() else _file(path)


def require_vae(name: str, info: ModelInfo) -> None:
    """Raise ModelError where the VAE called `name` makes other latents than the base that `info` describes."""
    own = open_vae(name)
    channels = int(own.config.get("latent_channels", 4))
    factor = 2 ** (len(own.config.get("block_out_channels", (0, 0, 0, 0))) - 1)
    if (channels, factor) != (info.latent_channels, info.vae_factor):
        given = f"it makes latents of {channels} channels, {factor} px a cell"
        required = f"{info.latent_channels} channels, {info.vae_factor} px a cell, as {info.title} has"
        raise ModelError(Problem(own.where, given, required, "Use a VAE of the base's family."))


def load_vae(name: str, *, dtype: torch.dtype, device: torch.device | str) -> nn.Module:
    """Return the VAE called `name` with its weights. Raises ModelError where tensors are missing or do not fit."""
    from maquette.families.common.keymap import Binding
    from maquette.families.common.modules import empty_vae
    from maquette.families.common.weights import fill

    own = open_vae(name)
    module = empty_vae(own.config)
    keys = list(module.state_dict())
    if own.prefix is not None:
        shapes = {name: entry.shape for name, entry in own.entries.items()}
        bindings = vae_bindings(read_vae_layout(shapes, own.prefix, own.where), keys, own.prefix)
    else:
        stored = {modern_vae_key(name): name for name in own.entries}
        bindings = [Binding(stored.get(modern_vae_key(key), key), key) for key in keys]
    fill(module, bindings, own.entries, dtype=dtype, device=device, where=own.where)
    return module


def _file(path: Path) -> OwnVae:
    header = read_header(path)
    entries = dict(header.tensors)
    shapes = {name: entry.shape for name, entry in entries.items()}
    prefix = next((each for each in ("", VAE) if each + ORIGINAL in entries), None)
    if prefix is not None:
        return OwnVae(str(path), entries, vae_config(read_vae_layout(shapes, prefix, str(path)), 1.0), prefix)
    if DIFFUSERS in entries:
        return OwnVae(str(path), entries, _config_of(shapes), None)
    raise ModelError(
        Problem(
            str(path),
            f"its {len(entries)} tensors are no VAE",
            "a VAE, alone or within a whole checkpoint",
            "Check the path.",
        )
    )


def _folder(folder: Path, name: str) -> OwnVae:
    for part in (folder, folder / "vae"):
        files = weight_files(part) if (part / "config.json").is_file() else []
        if files:
            entries = {key: entry for file in files for key, entry in read_header(file).tensors.items()}
            return OwnVae(name, entries, read_json(part / "config.json"), None)
    raise ModelError(
        Problem(
            name,
            "no config.json with a safetensors file beside it",
            "a VAE's folder",
            "Name the file itself.",
        )
    )


def _config_of(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the configuration of a VAE in diffusers' names, by its shapes."""
    levels = 0
    while f"encoder.down_blocks.{levels}.resnets.0.conv1.weight" in shapes:
        levels += 1
    layers = sum(f"encoder.down_blocks.0.resnets.{number}.conv1.weight" in shapes for number in range(8))
    widths = [shapes[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"][0] for level in range(levels)]
    pixels = shapes.get("encoder.conv_in.weight", (0, 3))[1]
    return {
        "in_channels": pixels,
        "out_channels": pixels,
        "latent_channels": shapes.get("decoder.conv_in.weight", (0, 4))[1],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }
