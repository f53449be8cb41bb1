"""A change as plain LoRA of a rank: its best approximation, by singular values, and how near that comes in a file."""

from __future__ import annotations

from maquette.lora.size import Precision
from maquette.lora.state import ModuleWeights
from maquette.toolbox.changes import Change, change_of, parts_of
from maquette.toolbox.truncation import Truncation
from maquette.toolbox.writing import Errors, plain_of_parts, rounded


def shortened(
    key: str,
    change: Change,
    rule: Truncation,
    precision: Precision,
    errors: Errors,
    *,
    scale: float = 1.0,
) -> ModuleWeights:
    """Return plain LoRA that is as near to `change` as its rank by `rule` allows, and count how near that is in a file."""
    parts = parts_of(change)
    full = min(change.left.shape[0], (change.left if change.right is None else change.right).shape[1])
    unscaled = parts.values / scale if scale > 0 else parts.values
    rank = rule.keeps(unscaled, is_conv3x3=change.is_conv3x3, full=full)
    made = rounded(plain_of_parts(parts.first(rank), precision, scale), precision)
    errors.add(key, change, change_of(key, made))
    return made
