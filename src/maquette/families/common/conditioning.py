"""Conditioning made of tensors whose first axis is the row, and that of CLIP's text models.

Legend: B rows, T text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


class Rows:
    """Base of frozen dataclasses whose fields are tensors with one row a caption, or None."""

    def __len__(self) -> int:
        return next(len(tensor) for tensor in self.tensors().values())

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Return a copy on `device` and in `dtype` (None keeps)."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def rows(self, index: Any) -> Self:
        """Return the rows that `index` (slice, list or int64 tensor) picks."""
        return self._map(lambda tensor: tensor[index])

    def detach(self) -> Self:
        """Return it without its gradient history."""
        return self._map(lambda tensor: tensor.detach())

    def tensors(self) -> dict[str, Tensor]:
        """Return what it consists of, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return what `tensors` took apart."""
        return cls(**tensors)

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all `parts`, one after the other; text lengths must agree."""
        together = [part.tensors() for part in parts]
        return cls(**{name: torch.cat([tensors[name] for tensors in together]) for name in together[0]})

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{name: change(tensor) for name, tensor in self.tensors().items()})  # type: ignore[type-var]


@dataclass(frozen=True)
class ClipText(Rows):
    """Hidden states of CLIP text models, and a pooled text where the family has one."""

    text_BTD: Tensor
    pooled_BD: Tensor | None = None
