"""The names that programs give to an adapter's tensors, and what each of them means. Torch-free; `formats.py` converts.

    kohya            lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight   (.lora_up.weight, .alpha)
    diffusers        unet.down_blocks.0.attentions.0.proj_in.lora_A.weight           (.lora_B.weight, .lora.down.weight, …)
    PEFT             base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.weight

Kohya names flatten dots, so only a model's own table of layers leads back from them; every conversion goes through it.
diffusers and PEFT keep alpha beside the tensors: in the file's metadata, or in `adapter_config.json`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from maquette.errors import LoraError, Problem
from maquette.families.common.unet_keys import present_path
from maquette.families.protocol import LoraPart
from maquette.lora.kinds import ALPHA, endings
from maquette.lora.kinds.foreign import split_foreign_name
from maquette.lora.patterns import Patterns
from maquette.reading import is_finite, parse_json, shown


class Named(Protocol):
    """A layer that an adapter may stand on, by its names: a LoraTarget of a model, a LoraModule of a family."""

    @property
    def key(self) -> str: ...
    @property
    def diffusers_key(self) -> str: ...
    @property
    def part(self) -> LoraPart: ...


Layout = Literal["kohya", "diffusers", "peft"]

BUNDLED = "bundle_emb"
"""How the name of a bundled embedding's tensor begins. OneTrainer writes them; of the drawing programs A1111 reads them."""
ADAPTER_METADATA = "lora_adapter_metadata"
"""Metadata key under which diffusers keeps each component's PEFT configuration as JSON."""

# The first diffusers LoRAs sat in attention processors: `attn1.processor.to_q_lora.down.weight`.
OLD_NAMES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\.processor\.(to_[qkv])$"), r".\1"),
    (re.compile(r"\.processor\.to_out$"), ".to_out.0"),
    (re.compile(r"self_attn\.to_([qkv])$"), r"self_attn.\1_proj"),
    (re.compile(r"self_attn\.to_out$"), "self_attn.out_proj"),
)


def split_tensor_name(name: str) -> tuple[str, str] | None:
    """Return (module name as it stands, tensor) of a LoRA tensor, or None when `name` is not one."""
    for suffix, tensor in endings():
        if name.endswith(suffix):
            return name.removesuffix(suffix), tensor
    return None


def is_adapter_name(name: str) -> bool:
    """Tell whether a tensor's name is that of an adapter of any kind, its alpha, or of what is bundled with one."""
    return bool(split_tensor_name(name) or split_foreign_name(name)) or name.startswith(
        ("lora_", "lycoris_", f"{BUNDLED}.")
    )


def layout_of(names: Iterable[str]) -> Layout | None:
    """Return the layout that tensor names follow, or None when there is no LoRA tensor among them."""
    modules = [split[0] for split in map(split_tensor_name, names) if split and split[1] != ALPHA]
    if not modules:
        return None
    if all("." not in module for module in modules):
        return "kohya"
    return "peft" if modules[0].startswith("base_model.") else "diffusers"


def aliases(targets: Sequence[Named]) -> dict[str, str]:
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


def _flattened(target: Named) -> str:
    """Return the kohya key over the diffusers path: SDXL files come with either naming of the U-Net."""
    component, _, path = target.diffusers_key.partition(".")
    return f"lora_unet_{path.replace('.', '_')}" if component == "unet" else target.key


def plain_name(module: str) -> str:
    """Return a module's name without wrappers and in its present spelling."""
    name = module.removeprefix("base_model.model.").removeprefix("model.diffusion_model.")
    for pattern, present in OLD_NAMES:
        name = pattern.sub(present, name)
    return name


def look_up(table: Mapping[str, str], module: str) -> str | None:
    """Return the kohya key that a module's name means by a table of `aliases`, or None when it is in no spelling there."""
    name = plain_name(module)
    path = re.sub(r"^(lora_unet_|lycoris_|diffusion_model\.|unet\.)", "", name).replace(".", "_")
    choices = (module, name, f"lora_unet_{path}", f"lora_unet_{present_path(path)}", *_of_clip(name))
    return next((table[choice] for choice in choices if choice in table), None)


def _of_clip(name: str) -> tuple[str, ...]:
    """Return other names of a text encoder's layer: for ComfyUI's own, and for the first of two encoders where there is one."""
    for own, component in (
        ("text_encoders.clip_l.transformer.", "text_encoder."),
        ("text_encoders.clip_g.transformer.", "text_encoder_2."),
    ):
        if name.startswith(own):
            return (component + name.removeprefix(own),)
    return (f"lora_te_{name.removeprefix('lora_te1_')}",) if name.startswith("lora_te1_") else ()


# --- alpha beside the tensors ----------------------------------------------------------------------------


def alphas_beside(
    ranks: Mapping[str, int], metadata: Mapping[str, str], adapter_config: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Return scale numerators by module name, read from diffusers' metadata or from PEFT's `adapter_config.json`.

    `ranks` are the modules as named in the file. Modules that neither mentions are left out: their scale is one.
    """
    if adapter_config:
        scales = _Scales(adapter_config)
        return {module: scales.alpha(module, rank) for module, rank in ranks.items()}
    configs = {name: _Scales(config) for name, config in _component_configs(metadata).items()}
    found = {}
    for module, rank in ranks.items():
        component, _, path = plain_name(module).partition(".")
        if component in configs:
            found[module] = configs[component].alpha(path, rank)
    return found


def _component_configs(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return each component's PEFT configuration from diffusers' metadata, where keys are `unet.lora_alpha` and so on."""
    configs: dict[str, dict[str, Any]] = {}
    try:
        for name, value in parse_json(metadata.get(ADAPTER_METADATA, "{}")).items():
            component, _, setting = name.partition(".")
            configs.setdefault(component, {})[setting] = value
    except (ValueError, AttributeError) as error:
        given = f"metadata '{ADAPTER_METADATA}' is no table ({error})"
        raise LoraError(
            Problem("LoRA", given, "JSON as diffusers writes it", "Save the LoRA again.")
        ) from error
    return configs


class _Scales:
    """PEFT's alphas of one configuration: by pattern where one matches, else the common one."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        by_pattern = config.get("alpha_pattern") or {}
        if not isinstance(by_pattern, Mapping):
            raise ValueError(f"alpha_pattern is {shown(by_pattern)}")
        self._values = [_finite(f"alpha_pattern {shown(key)}", value) for key, value in by_pattern.items()]
        self._patterns = Patterns(by_pattern)
        self._common = config.get("lora_alpha")
        self._by_root = bool(config.get("use_rslora"))

    def alpha(self, path: str, rank: int) -> float:
        """Return alpha for the module at `path`; rsLoRA's scale is alpha / √rank."""
        place = self._patterns.first(path)
        if place is not None:
            alpha = self._values[place]
        else:
            alpha = float(rank) if self._common is None else _finite("lora_alpha", self._common)
        return alpha * rank**0.5 if self._by_root else alpha


def _finite(name: str, value: Any) -> float:
    if not is_finite(value):
        raise ValueError(f"{name} is {shown(value)}")
    return float(value)
