"""OFT (arXiv:2306.07280) as LyCORIS' diag-oft: blocks of a weight's outputs are rotated by a Cayley transform."""

from __future__ import annotations

from collections.abc import Mapping

from maquette.lora.kinds.forms import OneForm, factorization
from maquette.lora.kinds.protocol import AdapterWork, Shape, Sizes

BLOCKS = "oft_blocks"


class Oft(OneForm):
    """oft_blocks [n, s, s] with n · s = O: Q = B - Bᵀ, R = (1 + Q)(1 - Q)⁻¹; each block of s rows W is replaced by Rᵀ W.

    The rank asked for is the largest s. The number beside (`alpha`) is LyCORIS' constraint: Q is shortened to alpha · O.
    """

    name = "oft"
    title = "OFT"
    network_module = "lycoris.kohya"
    tensors: tuple[str, ...] = (BLOCKS,)
    leaves: tuple[str, ...] = ("blocks",)
    rank_axes: tuple[int | None, ...] = (None,)
    has_strength = False
    weight_copies = 2.0
    needs_base = True

    def shapes(self, sizes: Sizes, rank: int) -> tuple[Shape, ...]:
        size, count = factorization(sizes.outputs, rank)
        return ((count, size, size),)

    def rank_on(self, sizes: Sizes, rank: int) -> int:
        return factorization(sizes.outputs, rank)[0]

    def alpha_on(self, alpha: float, rank: int) -> float:
        return 0.0

    def scale(self, alpha: float, rank: int) -> float:
        return 1.0

    def rank(self, shapes: Mapping[str, Shape]) -> int | None:
        return shapes[BLOCKS][-1] if len(shapes.get(BLOCKS, ())) == 3 else None

    def ends(self, shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
        return None

    def misfit(self, shapes: Mapping[str, Shape]) -> str | None:
        shape = shapes[BLOCKS]
        fits = len(shape) == 3 and shape[1] == shape[2] and all(shape) and shape[1] <= shape[0]
        return None if fits else "oft_blocks [blocks, s, s], with no fewer blocks than s"

    def work(self) -> AdapterWork:
        from maquette.lora.kinds.products_work import oft_work

        return oft_work()
