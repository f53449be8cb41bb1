"""Ranks, alphas and rates by block, as sd-scripts' networks.lora takes them from its arguments.

Read from sd-scripts 48d368fa (networks/lora.py): 25 numbers of SD 1.x and 2.x, 23 of SDXL, in the order of the original layout's
blocks. Rates are lists, or the name of a curve with a number to add: `cosine+0.25`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ARGUMENTS = (
    "block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas", "down_lr_weight", "mid_lr_weight", "up_lr_weight",
    "block_lr_zero_threshold",
)  # fmt: skip
DECISIVE = ("block_dims", "down_lr_weight", "mid_lr_weight", "up_lr_weight")
"""Without any of these the others are not looked at."""
CURVES = ("cosine", "sine", "linear", "reverse_linear", "zeros")


@dataclass(frozen=True)
class Block:
    """What one block gets. A rank of 0 leaves its layers out."""

    rank: int
    alpha: float
    conv_rank: int | None
    conv_alpha: float | None
    lr: float


@dataclass(frozen=True)
class Common:
    """What holds where a list is not given."""

    rank: int
    alpha: float
    conv_rank: int | None
    conv_alpha: float | None


def blocks_of(arguments: Mapping[str, str], common: Common, count: int) -> list[Block] | None:
    """Return what each of `count` blocks gets; None where nothing is said by block.

    Raises ValueError where a list has another length or holds no numbers, with which sd-scripts stops.
    """
    if not any(name in arguments for name in DECISIVE):
        return None
    weights = _weights(arguments, count)
    ranks = _list(arguments, "block_dims", count, int) or [common.rank] * count
    alphas = _list(arguments, "block_alphas", count, float) or [common.alpha] * count
    conv_ranks: Sequence[int | None] = _list(arguments, "conv_block_dims", count, int)
    conv_alphas: Sequence[float | None]
    if conv_ranks:
        conv_alphas = (
            _list(arguments, "conv_block_alphas", count, float) or [common.conv_alpha or 1.0] * count
        )
    else:
        conv_ranks, conv_alphas = [common.conv_rank] * count, [common.conv_alpha] * count
    found = zip(ranks, alphas, conv_ranks, conv_alphas, weights, strict=True)
    return [Block(*own) if own[-1] else Block(0, own[1], own[2] and 0, own[3], 0.0) for own in found]


def _list(arguments: Mapping[str, str], name: str, count: int, kind: type) -> list:
    if name not in arguments:
        return []
    try:
        found = [kind(part) for part in arguments[name].split(",")]
    except ValueError:
        raise ValueError(f"{name} must be {count} numbers with commas between them") from None
    if len(found) != count:
        raise ValueError(f"{name} must have {count} numbers, and has {len(found)}")
    return found


def _weights(arguments: Mapping[str, str], count: int) -> list[float]:
    """Return the factor of each block's rate; 1 for SDXL's blocks before the first and behind the last."""
    outer = 1 if count == 23 else 0
    middle = 3 if outer else 1
    side = (count - middle - 2 * outer) // 2
    threshold = float(arguments.get("block_lr_zero_threshold", 0))
    parts = [
        _side(arguments, "down_lr_weight", side),
        _filled(_numbers(arguments.get("mid_lr_weight")), middle),
        _side(arguments, "up_lr_weight", side),
    ]
    cut = [weight if weight > threshold else 0.0 for part in parts for weight in part]
    return [1.0] * outer + cut + [1.0] * outer


def _side(arguments: Mapping[str, str], name: str, count: int) -> list[float]:
    text = arguments.get(name)
    if text is None or "," in text:
        return _filled(_numbers(text), count)
    curve, _, added = text.partition("+")
    if curve not in CURVES:
        raise ValueError(f"{name} must be numbers with commas between them, or one of {', '.join(CURVES)}")
    rising = [number / (count - 1) for number in range(count)]
    values = {
        "cosine": [math.sin(math.pi * each / 2) for each in reversed(rising)],
        "sine": [math.sin(math.pi * each / 2) for each in rising],
        "linear": rising,
        "reverse_linear": rising[::-1],
        "zeros": [0.0] * count,
    }
    return [value + float(added or 0) for value in values[curve]]


def _numbers(text: str | None) -> list[float]:
    return [] if text is None else [float(part) if part else 0.0 for part in text.split(",")]


def _filled(given: list[float], count: int) -> list[float]:
    """Return exactly `count` weights: more are not looked at, missing ones are 1."""
    return [*given[:count], *([1.0] * (count - len(given)))]
