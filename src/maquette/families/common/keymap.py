"""Tables that tie the names of a file to the names of the modules, and the other way round.

A `Binding` says: the tensor `file_key`, changed by `change`, is the parameter `module_key`. A part of a model
is a list of bindings; loading reads it forwards, writing backwards: one table for both directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]
Change = Literal["same", "squeeze", "transpose", "q", "k", "v"]


@dataclass(frozen=True)
class Binding:
    """One parameter and where it comes from.

    `squeeze`: a 1×1 convolution [o, i, 1, 1] in the file is a Linear [o, i]. `transpose`: [i, o] in the file.
    `q`, `k`, `v`: a third of the rows of a joint projection.
    """

    file_key: str
    module_key: str
    change: Change = "same"


class PrefixTable:
    """Renames dotted names by their longest known prefix; one to one, so it also goes backwards."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.forward = dict(pairs)
        self.backward = {new: old for old, new in self.forward.items()}
        if len(self.backward) != len(self.forward):
            raise ValueError("a key map must be one to one")

    def rename(self, name: str) -> str | None:
        """Return the new name, or None when no prefix of `name` is known."""
        return _rename(self.forward, name)

    def restore(self, name: str) -> str | None:
        """Return the old name, or None when no prefix of `name` is known."""
        return _rename(self.backward, name)


def _rename(table: Mapping[str, str], name: str) -> str | None:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if (new := table.get(".".join(parts[:length]))) is not None:
            return ".".join([new, *parts[length:]])
    return None


def file_shape(binding: Binding, shape: Shape) -> Shape:
    """Return the shape that the file's tensor has when the parameter has `shape`."""
    match binding.change:
        case "squeeze":
            return (*shape, 1, 1)
        case "transpose":
            return shape[::-1]
        case "q" | "k" | "v":
            return (shape[0] * 3, *shape[1:])
    return shape
