"""Gradient checkpointing, block by block: which blocks of a model are computed again in the backward pass.

A block is a module that its library can compute again (a residual block, a transformer block, a text layer). Its name is the
model's part and the module's path: `denoiser.down_blocks.0.resnets.1`, `text_encoders.0.text_model.encoder.layers.3`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch.utils.checkpoint
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer


def module_names(denoiser: nn.Module, text_encoders: Collection[nn.Module]) -> dict[int, str]:
    """Return the name of every module of a model's networks, by the module's identity."""
    networks = {
        "denoiser": denoiser,
        **{f"text_encoders.{index}": each for index, each in enumerate(text_encoders)},
    }
    return {
        id(module): f"{part}.{path}" if path else part
        for part, network in networks.items()
        for path, module in network.named_modules()
    }


def block_of(function: Any) -> nn.Module | None:
    """Return the module behind what a library asks to be computed again: itself, a method of it, or a call of it."""
    if isinstance(function, nn.Module):
        return function
    if isinstance(function, partial):
        first = function.args[0] if function.args else None
        return first if isinstance(first, nn.Module) else block_of(function.func)
    owner = getattr(function, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def recompute_denoiser(denoiser: Any, names: Mapping[int, str], blocks: Collection[str] | None) -> None:
    """Have a diffusers network compute `blocks` again (None: all that it can)."""

    def maybe_again(module: nn.Module, *args: Any) -> Any:
        if blocks is not None and names[id(module)] not in blocks:
            return module(*args)
        return torch.utils.checkpoint.checkpoint(module.__call__, *args, use_reentrant=False)

    denoiser.enable_gradient_checkpointing(maybe_again)


def recompute_text(encoder: Any, names: Mapping[int, str], blocks: Collection[str] | None) -> None:
    """Have a transformers model compute `blocks` again (None: all that it can)."""
    switch_text(encoder, True)
    for module in encoder.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = blocks is None or names[id(module)] in blocks


def switch_text(encoder: Any, enabled: bool) -> None:
    """Switch a transformers model's checkpointing, under the name that the installed version calls it by."""
    ending = "enable" if enabled else "disable"
    switch: Callable[[], Tensor] | None = getattr(encoder, f"activation_checkpointing_{ending}", None)
    (switch or getattr(encoder, f"gradient_checkpointing_{ending}"))()
