"""Which layers a LoRA adapts, with the names and in the order of the reference trainer.

The order is that of sd-scripts' module creation. Its transformer blocks hold self-attention, feed-forward,
cross-attention; its blocks hold attentions before residual layers; SDXL's walk is input, middle, output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from maquette.families.common.modules import text_root
from maquette.families.protocol import LayerKind, LoraPart, LoraTarget

TEXT_LAYERS = (
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.q_proj",
    "self_attn.out_proj",
    "mlp.fc1",
    "mlp.fc2",
)
TRANSFORMER_LAYERS = (
    "attn1.to_q",
    "attn1.to_k",
    "attn1.to_v",
    "attn1.to_out.0",
    "ff.net.0.proj",
    "ff.net.2",
    "attn2.to_q",
    "attn2.to_k",
    "attn2.to_v",
    "attn2.to_out.0",
)
"""Adapted layers of a transformer block, in the order in which adapters are made."""
RESIDUAL_LAYERS = ("conv1", "time_emb_proj", "conv2", "conv_shortcut")


def text_targets(encoder: nn.Module, *, key_prefix: str, diffusers_name: str) -> Iterator[LoraTarget]:
    """Yield the attention and feed-forward layers of a CLIP text model."""
    root = text_root(encoder)
    for number in range(len(root.encoder.layers)):  # type: ignore[union-attr, arg-type]
        for layer in TEXT_LAYERS:
            path = f"encoder.layers.{number}.{layer}"
            name = f"text_model.{path}"
            key = f"{key_prefix}_{name.replace('.', '_')}"
            yield make_target("text_encoder", root, path, key, f"{diffusers_name}.{name}")


def attention_paths(unet: nn.Module, block: str) -> Iterator[str]:
    """Yield the paths of the adapted layers in the attention `block`."""
    yield f"{block}.proj_in"
    for number in range(len(unet.get_submodule(block).transformer_blocks)):  # type: ignore[arg-type]
        for layer in TRANSFORMER_LAYERS:
            yield f"{block}.transformer_blocks.{number}.{layer}"
    yield f"{block}.proj_out"


def residual_paths(unet: nn.Module, block: str) -> Iterator[str]:
    """Yield the paths of the adaptable layers in the residual `block`."""
    module = unet.get_submodule(block)
    yield from (f"{block}.{layer}" for layer in RESIDUAL_LAYERS if getattr(module, layer, None) is not None)


def unet_target(unet: nn.Module, path: str, key: str) -> LoraTarget:
    """Return the target at `path` of a diffusers U-Net, named `key` in a kohya file."""
    return make_target("denoiser", unet, path, key, f"unet.{path}", default=".attentions." in path)


def make_target(
    part: LoraPart, root: nn.Module, path: str, key: str, diffusers_key: str, *, default: bool = True
) -> LoraTarget:
    """Return the target at `path` below `root`."""
    parent_path, _, attribute = path.rpartition(".")
    parent = root.get_submodule(parent_path)
    module = parent.get_submodule(attribute)
    return LoraTarget(part, module, parent, attribute, key, diffusers_key, _kind(module), default)


def _kind(module: nn.Module) -> LayerKind:
    kernel = getattr(module, "kernel_size", None)
    if kernel is None:
        return "linear"
    return "conv1x1" if tuple(kernel) == (1, 1) else "conv3x3"


def check_unique(targets: Iterable[LoraTarget]) -> tuple[LoraTarget, ...]:
    """Return the targets as a tuple; our own tables must not name a layer twice."""
    found = tuple(targets)
    assert len({target.key for target in found}) == len(found), "two layers share a LoRA key"
    return found
