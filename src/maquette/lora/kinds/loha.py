"""LoHa (arXiv:2108.06098): the change of a weight is the product, element by element, of two low-rank products."""

from __future__ import annotations

from collections.abc import Mapping

from maquette.lora.kinds.forms import OneForm, flat
from maquette.lora.kinds.protocol import AdapterWork, Shape, Sizes

W1A, W1B, W2A, W2B = "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"


class Loha(OneForm):
    """w1_a [O, r], w1_b [r, I·k·k], and the same again: (w1_a · w1_b) ∘ (w2_a · w2_b) · alpha / rank."""

    name = "loha"
    title = "LoHa"
    network_module = "lycoris.kohya"
    tensors: tuple[str, ...] = (W1A, W1B, W2A, W2B)
    leaves: tuple[str, ...] = ("w1_a", "w1_b", "w2_a", "w2_b")
    rank_axes: tuple[int | None, ...] = (1, 0, 1, 0)
    factors: tuple[str, ...] = ("w1_a", "w1_b", "w2_a", "w2_b")
    dropouts: tuple[str, ...] = ("rank_dropout", "module_dropout")
    weight_copies = 4.0

    def shapes(self, sizes: Sizes, rank: int) -> tuple[Shape, ...]:
        a, b = (sizes.outputs, rank), (rank, sizes.inputs * sizes.window)
        return a, b, a, b

    def rank(self, shapes: Mapping[str, Shape]) -> int | None:
        return shapes[W1B][0] if len(flat(shapes.get(W1B, ()))) == 2 else None

    def ends(self, shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
        return None

    def misfit(self, shapes: Mapping[str, Shape]) -> str | None:
        a1, b1, a2, b2 = (flat(shapes[name]) for name in self.tensors)
        fits = len(a1) == len(b1) == 2 and a1 == a2 and b1 == b2 and a1[1] == b1[0] and b1[0]
        return None if fits else "w1_a [out, r], w1_b [r, in], w2_a [out, r], w2_b [r, in]"

    def work(self) -> AdapterWork:
        from maquette.lora.kinds.products_work import loha_work

        return loha_work()
