"""What sd-scripts' network module and its arguments come to: kind, layers, sizes and rates by block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.families.protocol import FamilySpec
from maquette.kohya.block_weights import ARGUMENTS, Block, Common, blocks_of
from maquette.kohya.names import LYCORIS, idle_network_arguments, network_arguments
from maquette.kohya.values import NETWORK_FIELDS
from maquette.project.adapter_kinds import ADAPTER_KINDS
from maquette.project.layer_blocks import written
from maquette.project.places import found_path
from maquette.project.settings_text import Reasoned

if TYPE_CHECKING:
    from maquette.planning.takeover import Taken

PLAIN_MODULES = (None, "networks.lora", "networks.lora_fa")
KIND_OF_MODULE: Mapping[str | None, str] = {
    **dict.fromkeys(PLAIN_MODULES, "lora"),
    "networks.loha": "loha",
    "networks.lokr": "lokr",
}
KIND_OF_ALGORITHM: Mapping[str, str] = {
    "lora": "lora", "locon": "lora", "loha": "loha", "lokr": "lokr", "diag-oft": "oft",
}  # fmt: skip
OF_KIND = ("algo", "preset", "dora_wd", "wd_on_output", "factor")
PRESETS: Mapping[str, tuple[bool, bool, tuple[str, ...]]] = {
    "full": (True, True, ()),
    "full-lin": (False, True, ()),
    "attn-mlp": (False, True, ()),
    "attn-only": (False, True, ("attention",)),
    "unet-only": (True, False, ()),
    "unet-transformer-only": (False, False, ()),
    "unet-convblock-only": (True, False, ("convolutions",)),
}
"""LyCORIS' presets: (3×3 convolutions too, text encoders too, these layers alone)."""
STOPS = "sd-scripts stops with it"
OFF = ("false", "0", "no", "n", "none", "")
"""Of a switch: nothing is missed where it is off."""


def take_network(taken: Taken, spec: FamilySpec | None) -> None:
    """Take over what the network's module and arguments say; what has no counterpart is left with its reason."""
    request = taken.request
    arguments = network_arguments(request.other)
    _take_kind(taken, arguments)
    if request.network_module in PLAIN_MODULES:
        _take_blocks(taken, arguments, spec)
    _name_the_rest(taken, arguments)
    _take_weights(taken)
    _take_base_weights(taken)


def _take_weights(taken: Taken) -> None:
    """Take over the LoRA that training goes on from, where it is here."""
    request = taken.request
    if request.network_weights is None:
        taken.leave("dim_from_weights", "there are no network_weights to take the layers from")
        return
    here = found_path(request.network_weights, request.file)
    if here is None:
        taken.left[f"{request.said('network_weights')} = {request.network_weights}"] = "the file is not here"
        return
    taken.put("network_weights", here, "network_weights")
    if request.dim_from_weights:
        taken.put("dim_from_weights", True, "dim_from_weights")
        for name in ("rank", "alpha", "conv_rank", "conv_alpha", "blocks"):
            taken.values.pop(name, None)


def _take_base_weights(taken: Taken) -> None:
    """Take over the LoRAs that are merged into the base; all of them or none, for the base is another without one."""
    request = taken.request
    given = [Path(each) for each in request.other.get("base_weights") or ()]
    if not given and request.other.get("base_weights_multiplier"):
        taken.left["base_weights_multiplier"] = "there are no base_weights"
    here = [place for each in given if (place := found_path(each, request.file)) is not None]
    if len(here) < len(given):
        taken.left[f"base_weights = {', '.join(map(str, given))}"] = "not all of these files are here"
    elif here:
        taken.values["base_weights"] = Reasoned(tuple(here), "base_weights")
        strengths = tuple(request.other.get("base_weights_multiplier") or ())[: len(here)]
        if strengths:
            taken.values["base_weights_multiplier"] = Reasoned(strengths, "base_weights_multiplier")


def _take_kind(taken: Taken, arguments: Mapping[str, str]) -> None:
    """Take over what is trained: by the module's name, or by the algorithm that LyCORIS is told."""
    request = taken.request
    module = request.network_module
    algorithm = arguments.get("algo", "lora").strip('"').lower()
    is_lycoris = module == LYCORIS
    kind = KIND_OF_ALGORITHM.get(algorithm) if is_lycoris else KIND_OF_MODULE.get(module)
    if kind is None:
        given = ", ".join(str(each) for each in request.other.get("network_args") or ())
        what = f"{module} ({given})" if given else str(module)
        taken.left[request.said("network_module")] = (
            f"{what}: a LoRA is trained, with convolutions where conv_rank is set; the kinds are {', '.join(ADAPTER_KINDS)}"
        )
        return
    if is_lycoris and _is_on(arguments.get("dora_wd")):
        if kind == "lora":
            kind = "dora"
            if _is_on(arguments.get("wd_on_output", "True")):
                why = "lengths go by inputs (wd_on_output=False): by outputs ComfyUI draws it differently from training"
                taken.left["network_args wd_on_output=True"] = why
        else:
            taken.left["network_args dora_wd"] = f"{ADAPTER_KINDS[kind]} is trained without lengths"
    if kind != "lora":
        taken.put("adapter", kind, "network_module")
    if kind == "lokr" and arguments.get("factor", "-1") != "-1":
        taken.values["lokr_factor"] = Reasoned(_whole(arguments["factor"]), "network_args factor")
    if is_lycoris:
        _take_preset(taken, arguments.get("preset", "full").strip('"'))
        if _is_on(arguments.get("rs_lora")) and kind != "oft":
            _take_scale_by_root(taken)
        if kind in ("lora", "dora") and "rank_dropout" in taken.values:
            del taken.values["rank_dropout"]
            why = "LyCORIS drops outputs by it; ranks are dropped here, as networks.lora does"
            taken.left["network_args rank_dropout"] = why


def _take_preset(taken: Taken, preset: str) -> None:
    """Take over which layers LyCORIS adapts; its convolutions carry the ordinary rank and alpha unless said otherwise."""
    request = taken.request
    if preset not in PRESETS:
        taken.left[f"network_args preset={preset}"] = (
            "a file of its own: every layer that Maquette knows is adapted"
        )
    convolutions, text, layers = PRESETS.get(preset, (True, True, ()))
    if convolutions and request.conv_rank is None:
        taken.values["conv_rank"] = Reasoned(
            request.value("rank"), "LyCORIS adapts convolutions at network_dim"
        )
        taken.values["conv_alpha"] = Reasoned(request.value("alpha"), "LyCORIS' default: network_alpha")
    elif not convolutions:
        for name in ("conv_rank", "conv_alpha"):
            taken.values.pop(name, None)
    if not text:
        taken.values["text_encoder_lr"] = Reasoned(0.0, f"network_args preset={preset}")
    if layers:
        taken.values["include_layers"] = Reasoned(layers, f"network_args preset={preset}")


def _take_scale_by_root(taken: Taken) -> None:
    """Take over a scale of alpha / √rank, as LyCORIS writes it into the file: as the alpha that has it over the rank."""
    request = taken.request
    for alpha, rank in (("alpha", "rank"), ("conv_alpha", "conv_rank")):
        ranks = taken.values[rank].value if rank in taken.values else request.value(rank)
        if ranks and alpha in taken.values:
            entry = taken.values[alpha]
            reason = f"{entry.reason}, times the root of the rank for network_args rs_lora"
            taken.values[alpha] = Reasoned(float(entry.value) * math.sqrt(ranks), reason)


def _is_on(text: str | None) -> bool:
    return (text or "").strip('"').lower() in ("true", "1", "yes", "y")


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _name_the_rest(taken: Taken, arguments: Mapping[str, str]) -> None:
    idle = idle_network_arguments(taken.request.network_module, arguments)
    done = {*NETWORK_FIELDS, *ARGUMENTS, *OF_KIND}
    for name in arguments:
        if name in idle:
            taken.left[f"network_args {name}={arguments[name]}"] = "its own module never looks at it"
        elif name == "rs_lora" and taken.settings().get("adapter") != "oft":
            continue
        elif name not in done and arguments[name].strip('"').lower() not in OFF:
            taken.left[f"network_args {name}={arguments[name]}"] = "the adapter has no such setting"


def _take_blocks(taken: Taken, arguments: Mapping[str, str], spec: FamilySpec | None) -> None:
    given = {name: arguments[name] for name in ARGUMENTS if name in arguments}
    if not given:
        return
    told = f"network_args {' '.join(given)}"
    if spec is None or not spec.reference_blocks:
        taken.left[told] = "the base is not at hand, so its blocks are not known"
        return
    request = taken.request
    common = Common(request.value("rank"), request.value("alpha"), request.conv_rank, request.conv_alpha)
    try:
        blocks = blocks_of(given, common, len(spec.reference_blocks))
    except ValueError as error:
        taken.left[told] = f"{error}: {STOPS}"
        return
    if blocks is None:
        taken.left[told] = "without block_dims or a rate by block its own module never looks at it"
        return
    named = zip(spec.reference_blocks, blocks, strict=True)
    entries = [f"{name}: {rule}" for name, block in named if name and (rule := _rule(block, common))]
    if entries:
        taken.values["blocks"] = Reasoned(tuple(entries), told)


def _rule(block: Block, common: Common) -> str:
    """Return what a block has beyond the common sizes, as `[lora] blocks` says it; empty where it has nothing."""
    if not block.rank and not block.conv_rank:
        return "off"
    rule: dict[str, float] = {}
    if (block.rank, block.alpha) != (common.rank, common.alpha):
        rule |= {"rank": block.rank, "alpha": block.alpha}
    convolution = (block.conv_rank, block.conv_alpha)
    if block.conv_rank is not None and convolution != (common.conv_rank, common.conv_alpha):
        rule |= {"conv_rank": block.conv_rank, "conv_alpha": block.conv_alpha or 1.0}
    if block.lr != 1.0:
        rule["lr"] = block.lr
    return written(rule) if rule else ""
