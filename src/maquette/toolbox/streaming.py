"""A safetensors file written from another one, tensor by tensor: the memory needed is that of the largest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from maquette.errors import ModelError, Problem
from maquette.families.common.header import TensorEntry
from maquette.families.common.weights import TORCH_DTYPES, read_tensor
from maquette.files import replacing
from maquette.lora.files import DTYPES, header_bytes
from maquette.lora.size import Precision

BLOCK_BYTES = 1 << 22
DTYPE_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}
Changed = Callable[[TensorEntry, Tensor], Tensor | None]
"""The new values of a tensor as float64, from its own as stored; None: it stays."""


def rewrite(
    path: Path,
    entries: Mapping[str, TensorEntry],
    metadata: Mapping[str, str],
    *,
    changes: Callable[[str], bool] = lambda name: False,
    changed: Changed = lambda entry, tensor: None,
    precision: Precision | None = None,
) -> Iterator[str]:
    """Write `path` with the tensors of `entries` in their order in the file; yield each one's name once it is written.

    `changed` is asked for those that `changes` names, the others are copied. precision: of all floating-point tensors; None keeps
    each one's own. The file takes its name when the last is written.
    """
    ordered = sorted(entries.values(), key=lambda entry: entry.start)
    dtypes = {entry.name: _dtype(entry, precision) for entry in ordered}
    scratch = torch.empty(max((entry.num_bytes for entry in ordered), default=0), dtype=torch.uint8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header_bytes(_table(ordered, dtypes), metadata))
        for entry in ordered:
            if not changes(entry.name) and dtypes[entry.name] == entry.dtype:
                _copy(entry, file)
            else:
                stored = read_tensor(entry, scratch)
                value = changed(entry, stored) if changes(entry.name) else None
                _write(file, stored if value is None else value, TORCH_DTYPES[dtypes[entry.name]])
            yield entry.name


def _dtype(entry: TensorEntry, precision: Precision | None) -> str:
    if precision is None or entry.dtype not in TORCH_DTYPES:
        return entry.dtype
    return DTYPE_NAMES[DTYPES[precision]]


def _table(ordered: list[TensorEntry], dtypes: Mapping[str, str]) -> dict[str, Any]:
    table, offset = {}, 0
    for entry in ordered:
        same = dtypes[entry.name] == entry.dtype
        size = entry.num_bytes if same else math.prod(entry.shape) * TORCH_DTYPES[dtypes[entry.name]].itemsize
        table[entry.name] = {
            "dtype": dtypes[entry.name],
            "shape": list(entry.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    return table


def _copy(entry: TensorEntry, file: BinaryIO) -> None:
    left = entry.num_bytes
    with entry.path.open("rb") as source:
        source.seek(entry.start)
        while left:
            block = source.read(min(BLOCK_BYTES, left))
            if not block:
                raise ModelError(
                    Problem(
                        str(entry.path),
                        f"it ended inside the tensor '{entry.name}' while it was read",
                        "a file that nothing else changes",
                        "Wait until it is fully written, then try again.",
                    )
                )
            file.write(block)
            left -= len(block)


def _write(file: BinaryIO, value: Tensor, dtype: torch.dtype) -> None:
    stored = value.to(dtype).contiguous()
    file.write(stored.reshape(-1).view(torch.uint8).numpy().data)
