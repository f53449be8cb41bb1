"""How many singular values of a change are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maquette.errors import ConfigError, Problem
from maquette.toolbox.options import Method, RankOptions, ResizeOptions

SMALLEST = 1e-6
"""A change whose largest singular value is no larger is nothing: rank 1 holds it, as sd-scripts has it."""


@dataclass(frozen=True)
class Truncation:
    """The rule by which ranks are chosen; a rank of None bounds nothing."""

    rank: int | None
    conv_rank: int | None
    energy: float | None = None
    method: Method | None = None
    value: float = 0.0

    def keeps(self, values: Tensor, *, is_conv3x3: bool, full: int) -> int:
        """Return the rank for singular values [m], falling; `full` is the rank that the weight itself could have."""
        most = self.conv_rank if is_conv3x3 and self.conv_rank is not None else self.rank
        nonzero = max(int((values > 0).sum()), 1)
        if not len(values) or float(values[0]) <= SMALLEST:
            return 1
        wanted = self._chosen(values, nonzero, full)
        return max(min(wanted, len(values), most or wanted), 1)

    def _chosen(self, values: Tensor, nonzero: int, full: int) -> int:
        if self.energy is not None:
            return _least(values.square(), self.energy)
        match self.method:
            case "sv_ratio":
                found = int((values > values[0] / self.value).sum())
            case "sv_fro":
                found = _least(values.square(), self.value**2)
            case "sv_cumulative":
                found = _least(values, self.value)
            case None:
                return self.rank if self.rank is not None else nonzero
        # sd-scripts takes one more than its own measure asks for.
        return max(1, min(found, full - 1)) + 1


def _least(parts: Tensor, share: float) -> int:
    """Return how many of `parts`, largest first, have this share of their sum."""
    if share >= 1:
        return max(int((parts > 0).sum()), 1)
    return int(torch.searchsorted(parts.cumsum(0) / parts.sum(), share)) + 1


def truncation_of(options: RankOptions) -> Truncation:
    """Return the rule that options make. Raises ConfigError where they choose nothing, or twice."""
    method = options.method if isinstance(options, ResizeOptions) else None
    value = options.value if isinstance(options, ResizeOptions) else None
    problems = []
    if method is not None and value is None:
        problems.append(Problem("--method", f"{method} without --value", "what it aims at", "Add --value X."))
    if method is None and value is not None:
        problems.append(Problem("--value", "given without --method", "both or none", "Name the --method."))
    if method is not None and options.energy is not None:
        problems.append(Problem("--energy", "given together with --method", "one of them", "Leave one out."))
    if method is not None and value is not None:
        problems += _odd_value(method, value)
    if method is None and options.energy is None and options.rank is None:
        problems.append(
            Problem("--rank", "not given", "--rank, --energy or --method", "Say how much is to be kept.")
        )
    if problems:
        raise ConfigError(problems)
    return Truncation(options.rank, options.conv_rank, options.energy, method, value or 0.0)


def _odd_value(method: Method, value: float) -> list[Problem]:
    if method == "sv_ratio" and value < 1:
        return [Problem("--value", f"{value:g}", "a ratio of at least 1", "sd-scripts' example is 20.")]
    if method != "sv_ratio" and value > 1:
        return [Problem("--value", f"{value:g}", "a share up to 1", "0.9 keeps most, 0.99 nearly all.")]
    return []
