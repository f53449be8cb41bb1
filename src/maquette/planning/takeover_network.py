"""What sd-scripts' network module and its arguments come to: kind, layers, sizes and rates by block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from maquette.families.protocol import FamilySpec
from maquette.kohya.block_weights import ARGUMENTS, Block, Common, blocks_of
from maquette.kohya.names import LYCORIS, idle_network_arguments, network_arguments
from maquette.kohya.values import NETWORK_FIELDS
from maquette.planning.presets import Reasoned
from maquette.project.layer_blocks import written
from maquette.project.places import found_path

if TYPE_CHECKING:
    from maquette.planning.takeover import Taken

PLAIN_MODULES = (None, "networks.lora", "networks.lora_fa")
STOPS = "sd-scripts stops with it"


def take_network(taken: Taken, spec: FamilySpec | None) -> None:
    """Take over what the network's module and arguments say; what has no counterpart is left with its reason."""
    request = taken.request
    arguments = network_arguments(request.other)
    algorithm = arguments.get("algo", "lora").strip('"').lower()
    is_plain = request.network_module == LYCORIS and algorithm in ("lora", "locon")
    if request.network_module not in PLAIN_MODULES and not is_plain:
        given = ", ".join(str(each) for each in request.other.get("network_args") or ())
        what = f"{request.network_module} ({given})" if given else str(request.network_module)
        taken.left[request.said("network_module")] = (
            f"{what}: a LoRA is trained, with convolutions where conv_rank is set"
        )
    if request.network_module in PLAIN_MODULES:
        _take_blocks(taken, arguments, spec)
    _name_the_rest(taken, arguments)
    _take_weights(taken)


def _take_weights(taken: Taken) -> None:
    """Take over the LoRA that training goes on from, where it is here."""
    request = taken.request
    if request.network_weights is None:
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


def _name_the_rest(taken: Taken, arguments: Mapping[str, str]) -> None:
    idle = idle_network_arguments(taken.request.network_module, arguments)
    done = {*NETWORK_FIELDS, *ARGUMENTS, "algo"}
    for name in arguments:
        if name in idle:
            taken.left[f"network_args {name}={arguments[name]}"] = "its own module never looks at it"
        elif name not in done:
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
