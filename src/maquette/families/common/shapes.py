"""Shapes that a part of a model has in its file, and writing files tensor by tensor."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from maquette.families.common.keymap import Binding, file_shape
from maquette.files import replacing

FILE_DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}


def part_shapes(module: nn.Module, bindings: Sequence[Binding]) -> dict[str, tuple[int, ...]]:
    """Return {tensor in the file: shape} of a module; joint projections appear once."""
    own = module.state_dict()
    return {
        binding.file_key: file_shape(binding, tuple(own[binding.module_key].shape)) for binding in bindings
    }


def file_tensors(module: nn.Module, bindings: Sequence[Binding]) -> dict[str, Tensor]:
    """Return the module's weights as its file holds them: the backward direction of loading."""
    own = module.state_dict()
    found: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for binding in bindings:
        tensor = own[binding.module_key].detach()
        match binding.change:
            case "squeeze":
                found[binding.file_key] = tensor[:, :, None, None]
            case "transpose":
                found[binding.file_key] = tensor.t().contiguous()
            case "q" | "k" | "v":
                thirds.setdefault(binding.file_key, {})[binding.change] = tensor
            case "same":
                found[binding.file_key] = tensor
    joint = {name: torch.cat([parts[part] for part in "qkv"]) for name, parts in thirds.items()}
    return found | joint


def write_streamed(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    make: Callable[[str, tuple[int, ...]], Tensor],
    *,
    dtype: torch.dtype,
    metadata: Mapping[str, str],
) -> Path:
    """Write a safetensors file whose tensors `make(name, shape)` gives one after the other; return `path`.

    The memory needed is that of the largest tensor. The file appears whole or not at all.
    """
    header = _header(shapes, dtype, metadata)
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name, shape in shapes.items():
            tensor = make(name, shape).to(dtype).contiguous()
            file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return Path(path)


def _header(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, metadata: Mapping[str, str]) -> bytes:
    table: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, shape in shapes.items():
        end = offset + math.prod(shape) * dtype.itemsize
        table[name] = {"dtype": FILE_DTYPES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(table, separators=(",", ":")).encode()
    return raw + b" " * (-len(raw) % 8)  # tensors begin at a multiple of eight bytes
