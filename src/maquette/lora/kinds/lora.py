"""LoRA (arXiv:2106.09685): the change of a weight is `up @ down · alpha / rank`. Linear layers, 1×1 and 3×3 convolutions."""

from __future__ import annotations

from collections.abc import Mapping

from maquette.lora.kinds.forms import OneForm
from maquette.lora.kinds.protocol import AdapterWork, Shape, Sizes

DOWN, UP = "lora_down.weight", "lora_up.weight"


class Lora(OneForm):
    """down [r, I(, k, k)] and up [O, r(, 1, 1)]."""

    name = "lora"
    title = "plain LoRA"
    network_module = "networks.lora"
    tensors: tuple[str, ...] = (DOWN, UP)
    leaves: tuple[str, ...] = ("down", "up")
    rank_axes: tuple[int | None, ...] = (0, 1)
    spellings: tuple[tuple[str, str], ...] = (
        (".lora_A.weight", DOWN),
        (".lora_B.weight", UP),
        (".lora_A.default.weight", DOWN),
        (".lora_B.default.weight", UP),
        (".lora.down.weight", DOWN),
        (".lora.up.weight", UP),
        (".lora_linear_layer.down.weight", DOWN),
        (".lora_linear_layer.up.weight", UP),
        ("_lora.down.weight", DOWN),
        ("_lora.up.weight", UP),
    )
    diffusers_endings: tuple[str, ...] | None = (".lora_A.weight", ".lora_B.weight")
    dropouts: tuple[str, ...] = ("dropout", "rank_dropout", "module_dropout")
    plus: tuple[str, ...] = ("up",)
    factors: tuple[str, ...] = ("down", "up")

    def shapes(self, sizes: Sizes, rank: int) -> tuple[Shape, ...]:
        ones = tuple(1 for _ in sizes.kernel)
        return (rank, sizes.inputs, *sizes.kernel), (sizes.outputs, rank, *ones)

    def rank(self, shapes: Mapping[str, Shape]) -> int | None:
        return shapes[DOWN][0] if shapes.get(DOWN) else None

    def ends(self, shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
        down, up = shapes.get(DOWN, ()), shapes.get(UP, ())
        return (down[1], up[0]) if len(down) > 1 and up else None

    def misfit(self, shapes: Mapping[str, Shape]) -> str | None:
        down, up = shapes[DOWN], shapes[UP]
        fits = len(down) in (2, 4) and len(up) == len(down) and up[1] == down[0] and down[0]
        return None if fits else "down [r, in, …] and up [out, r, …]"

    def work(self) -> AdapterWork:
        from maquette.lora.kinds.lora_work import LoraWork

        return LoraWork()
