"""LoKr (arXiv:2212.10650): the change of a weight is a Kronecker product of a small matrix and a large one.

Either may be whole or a low-rank product; LyCORIS chooses by size and rank, and so do we. Each choice is a form of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from maquette.lora.kinds.forms import OneForm, factorization
from maquette.lora.kinds.protocol import AdapterKind, AdapterWork, Shape, Sizes

W1, W1A, W1B, W2, W2A, W2B = "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"


@dataclass(frozen=True)
class Lokr(OneForm):
    """w1 [a, c] ⊗ w2 [b, d·k·k] with O = a·b and I = c·d, times alpha / rank where one of them is a product."""

    whole_1: bool = True
    whole_2: bool = False
    split: tuple[int, int] | None = field(default=None, compare=False)
    """(a, c) as a file has them; None: as LyCORIS chooses by `factor`."""
    factor: int = field(default=-1, compare=False)
    title = "LoKr"
    network_module = "lycoris.kohya"
    row = "lokr"
    dropouts: tuple[str, ...] = ("rank_dropout", "module_dropout")
    weight_copies = 2.0

    @property
    def name(self) -> str:
        return "lokr" + ("" if self.whole_1 else "_parts") + ("_whole" if self.whole_2 else "")

    @property
    def tensors(self) -> tuple[str, ...]:
        return (*((W1,) if self.whole_1 else (W1A, W1B)), *((W2,) if self.whole_2 else (W2A, W2B)))

    @property
    def leaves(self) -> tuple[str, ...]:
        return tuple(name.removeprefix("lokr_") for name in self.tensors)

    @property
    def factors(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.leaves

    @property
    def rank_axes(self) -> tuple[int | None, ...]:
        return (*((None,) if self.whole_1 else (1, 0)), *((None,) if self.whole_2 else (1, 0)))

    @property
    def has_strength(self) -> bool:  # type: ignore[override]
        return not (self.whole_1 and self.whole_2)

    def alpha_on(self, alpha: float, rank: int) -> float:
        return alpha if self.has_strength else float(rank)

    def rank_on(self, sizes: Sizes, rank: int) -> int:
        return rank if self.has_strength else max(self.sides(sizes)[1])

    def on(self, sizes: Sizes, rank: int, factor: int) -> Lokr:
        own = replace(self, factor=factor, split=None)
        (_, _), (b, d) = own.sides(sizes)
        return replace(own, whole_2=rank >= max(b, d) / 2)

    def form_of(self, shapes: Mapping[str, Shape]) -> AdapterKind:
        first, second = (
            (shapes.get(W1, ()), shapes.get(W1, ()))
            if self.whole_1
            else (shapes.get(W1A, ()), shapes.get(W1B, ()))
        )
        if len(first) != 2 or len(second) != 2:
            return self
        return replace(self, split=(first[0], second[1]))

    def sides(self, sizes: Sizes) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return ((a, c), (b, d)) on a layer."""
        a, c = self.split or (
            factorization(sizes.outputs, self.factor)[0],
            factorization(sizes.inputs, self.factor)[0],
        )
        return (a, c), (sizes.outputs // a, sizes.inputs // c)

    def shapes(self, sizes: Sizes, rank: int) -> tuple[Shape, ...]:
        (a, c), (b, d) = self.sides(sizes)
        small = ((a, c),) if self.whole_1 else ((a, rank), (rank, c))
        if self.whole_2:
            return (*small, (b, d, *sizes.kernel))
        return (*small, (b, rank), (rank, d * sizes.window))

    def scale(self, alpha: float, rank: int) -> float:
        return 1.0 if self.whole_1 and self.whole_2 else alpha / rank

    def rank(self, shapes: Mapping[str, Shape]) -> int | None:
        for name in (W2B, W1B):
            if name in self.tensors:
                return shapes[name][0] if len(shapes.get(name, ())) == 2 else None
        # Both whole: the number says nothing then; the larger side of w2 stands for it.
        return max(shapes[W2][:2]) if len(shapes.get(W2, ())) > 1 else None

    def ends(self, shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
        return None

    def misfit(self, shapes: Mapping[str, Shape]) -> str | None:
        own = [shapes[name] for name in self.tensors]
        fits = all(len(shape) == 2 and all(shape) for shape in own[: -1 if self.whole_2 else None])
        if self.whole_2:
            fits = fits and len(own[-1]) in (2, 4) and all(own[-1])
        pairs = [(W1A, W1B)] * (not self.whole_1) + [(W2A, W2B)] * (not self.whole_2)
        fits = fits and all(shapes[a][1] == shapes[b][0] for a, b in pairs if fits)
        return None if fits else " and ".join(f"{name} [out, in]" for name in self.leaves)

    def work(self) -> AdapterWork:
        from maquette.lora.kinds.products_work import lokr_work

        return lokr_work(self)
