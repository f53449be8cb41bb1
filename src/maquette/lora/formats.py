"""The names that programs give to LoRA tensors, and the way from one to another.

    kohya            lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight   (.lora_up.weight, .alpha)
    diffusers        unet.down_blocks.0.attentions.0.proj_in.lora_A.weight           (.lora_B.weight, .lora.down.weight, …)
    PEFT             base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.weight

Kohya names flatten dots, so only a model's own LoraTarget table leads back from them; every conversion goes through it.
diffusers and PEFT keep alpha beside the tensors: in the file's metadata, or in `adapter_config.json`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from maquette.errors import LoraError, Problem
from maquette.families.protocol import LoraTarget
from maquette.lora.state import ALPHA, DOWN, UP, ModuleWeights, modules_of

Layout = Literal["kohya", "diffusers", "peft"]

ADAPTER_METADATA = "lora_adapter_metadata"
"""Metadata key under which diffusers keeps each component's PEFT configuration as JSON."""

SUFFIXES: tuple[tuple[str, str], ...] = (
    (".lora_down.weight", DOWN),
    (".lora_up.weight", UP),
    (".alpha", ALPHA),
    (".lora_A.weight", DOWN),
    (".lora_B.weight", UP),
    (".lora_A.default.weight", DOWN),
    (".lora_B.default.weight", UP),
    (".lora.down.weight", DOWN),
    (".lora.up.weight", UP),
    (".lora_linear_layer.down.weight", DOWN),
    (".lora_linear_layer.up.weight", UP),
    ("_lora.down.weight", DOWN),
    ("_lora.up.weight", UP),
)
"""How a LoRA tensor's name may end, and which of the three tensors that means."""

OTHER_ADAPTERS = (
    "hada_w",
    "lokr_w",
    "oft_blocks",
    "oft_diag",
    "dora_scale",
    "lora_magnitude_vector",
    "lora_mid",
    "boft_",
)
"""Parts of names that only adapters of other kinds hold."""

# The first diffusers LoRAs sat in attention processors: `attn1.processor.to_q_lora.down.weight`.
OLD_NAMES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\.processor\.(to_[qkv])$"), r".\1"),
    (re.compile(r"\.processor\.to_out$"), ".to_out.0"),
    (re.compile(r"self_attn\.to_([qkv])$"), r"self_attn.\1_proj"),
    (re.compile(r"self_attn\.to_out$"), "self_attn.out_proj"),
)


def split_tensor_name(name: str) -> tuple[str, str] | None:
    """Return (module name as it stands, tensor) of a LoRA tensor, or None when `name` is not one."""
    for suffix, tensor in SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix), tensor
    return None


def layout_of(names: Iterable[str]) -> Layout | None:
    """Return the layout that tensor names follow, or None when there is no LoRA tensor among them."""
    modules = [split[0] for split in map(split_tensor_name, names) if split and split[1] != ALPHA]
    if not modules:
        return None
    if all("." not in module for module in modules):
        return "kohya"
    return "peft" if modules[0].startswith("base_model.") else "diffusers"


def aliases(targets: Sequence[LoraTarget]) -> dict[str, str]:
    """Return every module name that means one of `targets`, mapped to its kohya key."""
    table: dict[str, str] = {}
    components = {(target.part, target.diffusers_key.partition(".")[0]) for target in targets}
    num_components = Counter(part for part, _ in components)
    for target in targets:
        component, _, path = target.diffusers_key.partition(".")
        names = {target.key, target.diffusers_key, _flattened(target)}
        # transformers 5 drops `text_model.` from the text encoder's own paths.
        names |= {name.replace(".text_model.", ".") for name in names}
        if num_components[target.part] == 1:  # else a bare path could mean either text encoder
            names |= {path, path.removeprefix("text_model.")}
        if component == "unet":
            names.add(f"diffusion_model.{path}")
        table.update((name, target.key) for name in names if name not in table or name == target.key)
    return table


def _flattened(target: LoraTarget) -> str:
    """Return the kohya key over the diffusers path: SDXL files come with either naming of the U-Net."""
    component, _, path = target.diffusers_key.partition(".")
    return f"lora_unet_{path.replace('.', '_')}" if component == "unet" else target.key


@dataclass(frozen=True)
class Renamed:
    """A LoRA's tensors under kohya names, and what found no place in the model."""

    state: dict[str, Tensor]
    """Tensors by kohya name; modules that were not recognised keep the name they came with."""
    strangers: tuple[str, ...]
    """Module names that are not in the model."""


def to_kohya(
    tensors: Mapping[str, Tensor],
    targets: Sequence[LoraTarget] | None,
    alphas: Mapping[str, float] | None = None,
) -> Renamed:
    """Return `tensors` of any layout under kohya names of `targets`; without targets modules keep their names.

    `alphas` are the modules' scale numerators by module name, where the tensors do not carry them.
    """
    table = aliases(targets) if targets is not None else None
    state: dict[str, Tensor] = {}
    strangers: dict[str, None] = {}
    for name, value in tensors.items():
        split = split_tensor_name(name)
        if split is None:
            strangers[name] = None
            continue
        module, tensor = split
        key = plain_name(module) if table is None else _look_up(table, module)
        if key is None:
            strangers[module] = None
        state[f"{key or module}.{tensor}"] = value
        if alphas and tensor == DOWN and module in alphas:
            state.setdefault(f"{key or module}.{ALPHA}", torch.tensor(alphas[module]))
    return Renamed(state, tuple(strangers))


def plain_name(module: str) -> str:
    """Return a module's name without wrappers and in its present spelling."""
    name = module.removeprefix("base_model.model.")
    for pattern, present in OLD_NAMES:
        name = pattern.sub(present, name)
    return name


def _look_up(table: Mapping[str, str], module: str) -> str | None:
    name = plain_name(module)
    flat = f"lora_unet_{name.removeprefix('diffusion_model.').replace('.', '_')}"
    return next((table[choice] for choice in (module, name, flat) if choice in table), None)


# --- alpha beside the tensors ----------------------------------------------------------------------------


def alphas_beside(
    ranks: Mapping[str, int], metadata: Mapping[str, str], adapter_config: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Return scale numerators by module name, read from diffusers' metadata or from PEFT's `adapter_config.json`.

    `ranks` are the modules as named in the file. Modules that neither mentions are left out: their scale is one.
    """
    if adapter_config:
        return {module: _alpha(module, rank, adapter_config) for module, rank in ranks.items()}
    configs = _component_configs(metadata)
    found = {}
    for module, rank in ranks.items():
        component, _, path = plain_name(module).partition(".")
        if configs.get(component):
            found[module] = _alpha(path, rank, configs[component])
    return found


def _component_configs(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return each component's PEFT configuration from diffusers' metadata, where keys are `unet.lora_alpha` and so on."""
    configs: dict[str, dict[str, Any]] = {}
    try:
        for name, value in json.loads(metadata.get(ADAPTER_METADATA, "{}")).items():
            component, _, setting = name.partition(".")
            configs.setdefault(component, {})[setting] = value
    except (ValueError, AttributeError) as error:
        given = f"metadata '{ADAPTER_METADATA}' is no table ({error})"
        raise LoraError(
            Problem("LoRA", given, "JSON as diffusers writes it", "Save the LoRA again.")
        ) from error
    return configs


def _alpha(path: str, rank: int, config: Mapping[str, Any]) -> float:
    """Return PEFT's alpha for the module at `path`: its pattern's, else the common one; rsLoRA's scale is alpha / √r."""
    patterns = config.get("alpha_pattern") or {}
    matched = (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", path))
    alpha = float(next(matched, config.get("lora_alpha", rank)))
    return alpha * rank**0.5 if config.get("use_rslora") else alpha


# --- to diffusers ----------------------------------------------------------------------------------------


def to_diffusers(
    state: Mapping[str, Tensor], targets: Sequence[LoraTarget]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a kohya-named state as diffusers' `save_lora_weights` would write it: tensors and metadata.

    Every module must be one of `targets`. Raises LoraError for incomplete pairs.
    """
    modules = modules_of(state)
    tensors: dict[str, Tensor] = {}
    components: dict[str, dict[str, ModuleWeights]] = {}
    for target in targets:
        weights = modules.get(target.key)
        if weights is None:
            continue
        tensors[f"{target.diffusers_key}.lora_A.weight"] = weights.down
        tensors[f"{target.diffusers_key}.lora_B.weight"] = weights.up
        component, _, path = target.diffusers_key.partition(".")
        components.setdefault(component, {})[path.removeprefix("text_model.")] = weights
    packed = {
        f"{name}.{key}": value for name, parts in components.items() for key, value in _config(parts).items()
    }
    return tensors, {"format": "pt", ADAPTER_METADATA: json.dumps(packed, indent=2, sort_keys=True)}


def _config(modules: Mapping[str, ModuleWeights]) -> dict[str, Any]:
    """Return the PEFT configuration that gives each module its rank and alpha."""
    rank = Counter(weights.rank for weights in modules.values()).most_common(1)[0][0]
    alpha = Counter(weights.alpha for weights in modules.values()).most_common(1)[0][0]
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: weights.rank for path, weights in modules.items() if weights.rank != rank},
        "alpha_pattern": {path: weights.alpha for path, weights in modules.items() if weights.alpha != alpha},
        "target_modules": sorted(modules),
    }
