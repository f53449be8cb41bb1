"""Weights from disk into modules without a second full copy.

Modules are built on the meta device (shapes only); tensors are read one by one in file order, converted,
assigned. The peak is the model plus its largest tensor. Bytes are read, not memory-mapped: a mapped file that
is overwritten while a model uses it ends the process with SIGBUS.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from maquette.errors import ModelError, Problem
from maquette.families.common.header import TensorEntry
from maquette.families.common.keymap import Binding, file_shape

TORCH_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
}  # fmt: skip


def build_empty(make: Callable[[], nn.Module]) -> nn.Module:
    """Return the module that `make` builds, on the meta device, in eval mode and without gradients."""
    with torch.device("meta"):
        module = make()
    return module.eval().requires_grad_(False)


def fill(
    module: nn.Module,
    bindings: Sequence[Binding],
    entries: Mapping[str, TensorEntry],
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    where: str,
) -> set[str]:
    """Give every parameter of `module` (on the meta device) its weights; return the file keys that were used.

    Raises ModelError, all problems together, when tensors are missing or have other shapes or dtypes.
    """
    expected = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    check(bindings, entries, expected, where)
    wanted: dict[str, list[Binding]] = defaultdict(list)
    for binding in bindings:
        wanted[binding.file_key].append(binding)
    # One place to read into for all of them: fresh memory for each would cost a fault a page.
    scratch = torch.empty(max((entries[key].num_bytes for key in wanted), default=0), dtype=torch.uint8)
    state: dict[str, Tensor] = {}
    for entry in sorted((entries[key] for key in wanted), key=lambda entry: (str(entry.path), entry.start)):
        tensor = read_tensor(entry, scratch)
        for binding in wanted[entry.name]:
            changed = _changed(tensor, binding, expected[binding.module_key])
            state[binding.module_key] = changed.to(device, dtype, copy=True)
    module.load_state_dict(state, strict=True, assign=True)
    _fill_buffers(module, device)
    module.requires_grad_(False)
    return set(wanted)


def check(
    bindings: Iterable[Binding],
    entries: Mapping[str, TensorEntry],
    expected: Mapping[str, tuple[int, ...]],
    where: str,
) -> None:
    """Raise ModelError for every binding whose tensor is missing or does not fit."""
    problems = []
    for binding in bindings:
        entry, shape = entries.get(binding.file_key), file_shape(binding, expected[binding.module_key])
        if entry is None:
            problems.append((f"the tensor '{binding.file_key}' is missing", f"one of shape {list(shape)}"))
        elif entry.dtype not in TORCH_DTYPES:
            problems.append(
                (f"the tensor '{entry.name}' is stored as {entry.dtype}", "float16, bfloat16 or float32")
            )
        elif not _fits(entry.shape, shape, binding):
            problems.append((f"the tensor '{entry.name}' has shape {list(entry.shape)}", f"{list(shape)}"))
    if problems:
        remedy = "Use a complete float16, bfloat16 or float32 version of the model."
        shown = [Problem(where, given, required, remedy) for given, required in problems[:8]]
        if len(problems) > 8:
            shown.append(
                Problem(
                    where,
                    f"{len(problems) - 8} more tensors are missing or do not fit",
                    "all of them",
                    remedy,
                )
            )
        raise ModelError(shown)


def read_tensor(entry: TensorEntry, scratch: Tensor) -> Tensor:
    """Return one tensor from disk as it is stored, in the first bytes of `scratch`."""
    raw = scratch[: entry.num_bytes]
    if entry.num_bytes:
        with Path(entry.path).open("rb", buffering=0) as file:
            file.seek(entry.start)
            _read_all(file.readinto, raw.numpy().data, entry)
    return raw.view(TORCH_DTYPES[entry.dtype]).reshape(entry.shape)


def _read_all(readinto: Callable[[memoryview], int | None], view: memoryview, entry: TensorEntry) -> None:
    """Fill `view`; one call may return less than asked (Linux reads at most 2 GiB at a time)."""
    done = 0
    while done < len(view):
        count = readinto(view[done:])
        if not count:
            raise ModelError(
                Problem(
                    str(entry.path),
                    f"it ended inside the tensor '{entry.name}' while it was read",
                    "a file that nothing else changes",
                    "Wait until it is fully written, then try again.",
                )
            )
        done += count


def _fits(stored: tuple[int, ...], wanted: tuple[int, ...], binding: Binding) -> bool:
    return stored == wanted or (binding.change == "squeeze" and stored == wanted[:2])


def _changed(tensor: Tensor, binding: Binding, shape: tuple[int, ...]) -> Tensor:
    match binding.change:
        case "squeeze":
            return tensor.reshape(shape)
        case "transpose":
            return tensor.t().contiguous()
        case "q" | "k" | "v":
            return tensor.chunk(3)["qkv".index(binding.change)]
    return tensor


def _fill_buffers(module: nn.Module, device: torch.device | str) -> None:
    """Make the buffers that no file carries: CLIP's position ids are the only ones."""
    for owner in module.modules():
        for name, buffer in list(owner.named_buffers(recurse=False)):
            if not buffer.is_meta:
                continue
            assert name == "position_ids", f"unexpected buffer {name}"
            setattr(owner, name, torch.arange(buffer.shape[-1], device=device).expand(tuple(buffer.shape)))
