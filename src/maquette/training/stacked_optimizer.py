"""Optimizers of trials whose weights lie gathered in the adapter's pool (`lora/pool.py`).

AdamW works on long stretches of a place's row: one call of torch's fused kernel for all weights of a rate, instead of four small
tensors for each of hundreds. A stretch ends where the rate changes, or where weights were left out of another number of steps
(module dropout, layers that no gradient reaches): each weight is updated when, and only when, torch's own AdamW would.

What it keeps is read and written as torch's own keeps it, weight by weight: a state saved by one goes on with the other.

Every other optimizer works on copies of the place's leaves (`Twins`), as they would lie in a training of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from maquette.lora.pool import Pool, Span, span_of


def is_gathered(parameters: Sequence[Tensor]) -> bool:
    """Return whether all of `parameters` lie in a pool."""
    return bool(parameters) and all(span_of(parameter) is not None for parameter in parameters)


def show_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Let `grad` of gathered leaves be what was found for them, for who looks for it there."""
    for parameter in parameters:
        if (span := span_of(parameter)) is not None:
            span.pool.show([parameter])


@dataclass
class _Run:
    """A stretch of one place's row whose weights have one rate and were updated equally often."""

    group: int
    start: int
    stop: int
    steps: float
    leaves: list[nn.Parameter] = field(default_factory=list)

    def takes(self, group: int, span: Span, steps: float) -> bool:
        return self.group == group and self.steps == steps and self.stop == span.start


class GatheredAdamW(torch.optim.AdamW):
    """AdamW (arXiv:1711.05101) for the leaves of one place of a pool: the same numbers, to rounding, in a few calls."""

    def __init__(self, groups: Sequence[dict[str, Any]], **arguments: Any) -> None:
        super().__init__(list(groups), fused=True, **arguments)
        leaves = [leaf for group in self.param_groups for leaf in group["params"]]
        first = _span(leaves[0])
        self.pool: Pool = first.pool
        self.place = first.place
        self._group_of = {
            leaf: number for number, group in enumerate(self.param_groups) for leaf in group["params"]
        }
        # A loss scaler would hand the unscaling to a fused kernel that says so; here it does it itself.
        self._step_supports_amp_scaling = False
        self._moments: dict[str, Tensor] = {}
        self._layout: int | None = None
        self._found = b""
        self._calls: list[tuple[int, tuple[list[Tensor], ...]]] = []

    def adopt_state(self) -> None:
        """Work with what somebody else has put into `state` from the next step on."""
        self._layout = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.pool.clear(self.place)
        if set_to_none:
            for leaf in self._group_of:
                leaf.grad = None

    def clip(self, limit: float) -> Tensor:
        """Shrink the gradients to a norm of `limit` where they are longer, as torch clips them; return the norm they had."""
        grads = [grad for _, (_, of_group, *_) in self._up_to_date() for grad in of_group]
        if not grads:
            return torch.zeros(())
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        if limit != float("inf"):
            torch._foreach_mul_(grads, (limit / (norm + 1e-6)).clamp(max=1.0))
        return norm

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for number, (values, grads, firsts, seconds, steps) in self._up_to_date():
            group = self.param_groups[number]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                values,
                grads,
                firsts,
                seconds,
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def _up_to_date(self) -> list[tuple[int, tuple[list[Tensor], ...]]]:
        """Return, for each parameter group that has gradients, its runs' weights, gradients, moments and counters."""
        touched = self.pool.touched[self.place]
        found = touched.tobytes()
        if self._layout != self.pool.layout:
            self._gather_moments()
        elif found == self._found:
            return self._calls
        self._calls = self._make_calls(touched)
        self._layout, self._found = self.pool.layout, found
        return self._calls

    @torch.no_grad()
    def _gather_moments(self) -> None:
        """Bring what is kept of each weight to where the weight lies now, in one piece."""
        row = self.pool.values[self.place]
        self._moments = {name: torch.zeros_like(row) for name in ("exp_avg", "exp_avg_sq")}
        for leaf, table in self.state.items():
            for name, moments in self._moments.items():
                if name in table:
                    view = _span(leaf).view(moments)
                    view.copy_(table[name])
                    table[name] = view

    def _make_calls(self, touched: Any) -> list[tuple[int, tuple[list[Tensor], ...]]]:
        row, grads = self.pool.values[self.place], self.pool.grads[self.place]
        calls: dict[int, tuple[list[Tensor], ...]] = {}
        for run in self._runs(touched):
            counter = torch.tensor(run.steps, dtype=torch.float32, device=row.device)
            for leaf in run.leaves:
                self.state[leaf]["step"] = counter
                for name, moments in self._moments.items():
                    self.state[leaf][name] = _span(leaf).view(moments)
            part = slice(run.start, run.stop)
            tensors = (row[part], grads[part], *(each[part] for each in self._moments.values()), counter)
            of_group = calls.setdefault(run.group, ([], [], [], [], []))
            for held, tensor in zip(of_group, tensors, strict=True):
                held.append(tensor)
        return list(calls.items())

    def _runs(self, touched: Any) -> list[_Run]:
        """Return the stretches of weights that have gradients."""
        runs: list[_Run] = []
        for leaf in sorted(self._group_of, key=lambda leaf: _span(leaf).start):
            span, group = _span(leaf), self._group_of[leaf]
            if not touched[span.layer]:
                continue
            steps = float(self.state[leaf]["step"]) if self.state.get(leaf) else 0.0
            if not runs or not runs[-1].takes(group, span, steps):
                runs.append(_Run(group, span.start, span.start, steps))
            runs[-1].stop = span.stop
            runs[-1].leaves.append(leaf)
        return runs


class Twins:
    """Parameters of their own for the leaves of a place, as these would lie in a training of one trial."""

    def __init__(self, leaves: Sequence[nn.Parameter]) -> None:
        self.leaves = tuple(leaves)
        self.parameters = [nn.Parameter(_apart(leaf)) for leaf in leaves]

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """Within, the twins hold the leaves' values and gradients; afterwards the leaves hold the twins' values."""
        for leaf, twin in zip(self.leaves, self.parameters, strict=True):
            span = _span(leaf)
            found = bool(span.pool.touched[span.place, span.layer])
            twin.grad = _apart(span.view(span.pool.grads[span.place])) if found else None
        _copy(self.leaves, self.parameters)
        yield
        _copy(self.parameters, self.leaves)

    def clear(self) -> None:
        """Forget the gradients."""
        for twin in self.parameters:
            twin.grad = None
        if self.leaves:
            span = _span(self.leaves[0])
            span.pool.clear(span.place)


@torch.no_grad()
def _copy(given: Sequence[nn.Parameter], taking: Sequence[nn.Parameter]) -> None:
    for one, other in zip(given, taking, strict=True):
        other.copy_(one)


def _apart(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _span(leaf: Tensor) -> Span:
    found = span_of(leaf)
    assert found is not None
    return found
