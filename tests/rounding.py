"""How far float32 may lie from the exact numbers: found beside them, by the same modules in float64.

Another processor, kernel or number of threads adds the terms of a sum in another order, so two float32 results that are both
right differ. By how much is asked of a twin of the model in float64: it runs again with every layer's output off by a
random relative error of up to half a unit in float32's last place, the least that any float32 kernel can do. A kernel that
adds n products one by one rounds n partial sums, a random walk of sqrt(n / 3) such roundings of the result's size. The longest
inner products of the tiny layouts have 9 x 128 = 1,152 terms: sqrt(384) = 20.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

HALF_UNIT = 2.0**-24
"""The relative error of one rounding to float32."""
ROUNDINGS = 20
"""How many of a layer's single roundings a right float32 result may be away, see above."""
DRAWS = 4


@dataclass(frozen=True)
class Exact:
    """What a float64 twin computes, and how far one rounding a layer moves it at most."""

    value: Tensor
    one_rounding: float

    def holds(self, found: Tensor) -> bool:
        """Whether a float32 result is as near as float32 can be."""
        return self.distance(found) <= ROUNDINGS * self.one_rounding

    def distance(self, found: Tensor) -> float:
        """Return the largest difference."""
        return float((found.detach().double().reshape(self.value.shape) - self.value).abs().max())


def exact(run: Callable[[], Mapping[str, Tensor]], modules: Sequence[nn.Module]) -> dict[str, Exact]:
    """Return each result of `run`, which works in float64 with layers of `modules`."""
    plain = {name: value.detach().clone() for name, value in run().items()}
    assert all(value.dtype == torch.float64 for value in plain.values())
    moved = dict.fromkeys(plain, 0.0)
    for seed in range(DRAWS):
        for name, value in _shaken(run, modules, seed).items():
            moved[name] = max(moved[name], float((value.detach() - plain[name]).abs().max()))
    return {name: Exact(value, moved[name]) for name, value in plain.items()}


def _shaken(
    run: Callable[[], Mapping[str, Tensor]], modules: Sequence[nn.Module], seed: int
) -> Mapping[str, Tensor]:
    """Return what `run` gives when every layer rounds its output, up or down by chance."""
    generator = torch.Generator().manual_seed(seed)

    def rounded(_module: nn.Module, _given: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None
        return output * (1 + HALF_UNIT * (2 * torch.rand(output.shape, generator=generator).double() - 1))

    layers = [layer for module in modules for layer in module.modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(rounded) for layer in layers]
    try:
        return run()
    finally:
        for handle in handles:
            handle.remove()
