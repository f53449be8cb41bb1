"""DoRA (arXiv:2402.09353): a LoRA whose changed weight is scaled to trained lengths, of each input or of each output.

By inputs (`dora_scale` [1, I(, 1, 1)]) drawing programs draw it as it was trained; by outputs ([O, 1(, 1, 1)], what LyCORIS makes
today, and PEFT's magnitudes) ComfyUI divides by the length of the base's weight alone. So a new one goes by inputs, and files of
either are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from maquette.lora.kinds.forms import OneForm
from maquette.lora.kinds.lora import DOWN, UP, Lora
from maquette.lora.kinds.protocol import AdapterKind, AdapterWork, Shape, Sizes

SCALE = "dora_scale"
_LORA = Lora()


@dataclass(frozen=True)
class Dora(OneForm):
    """down [r, I(, k, k)], up [O, r(, 1, 1)] and the lengths that the changed weight is scaled to."""

    by_outputs: bool = False
    title = "DoRA"
    network_module = "lycoris.kohya"
    row = "dora"
    tensors: tuple[str, ...] = (DOWN, UP, SCALE)
    leaves: tuple[str, ...] = ("down", "up", "lengths")
    rank_axes: tuple[int | None, ...] = (0, 1, None)
    spellings: tuple[tuple[str, str], ...] = (
        (".lora_magnitude_vector.weight", SCALE),
        (".lora_magnitude_vector.default.weight", SCALE),
        (".lora_magnitude_vector", SCALE),
    )
    plus: tuple[str, ...] = ("up",)
    weight_copies = 2.0
    needs_base: bool = True

    @property
    def name(self) -> str:
        return "dora_outputs" if self.by_outputs else "dora"

    @property
    def differs(self) -> bool:  # type: ignore[override]
        return self.by_outputs

    def form_of(self, shapes: Mapping[str, Shape]) -> AdapterKind:
        scale = shapes.get(SCALE, ())
        by_outputs = len(scale) == 1 or (len(scale) > 1 and scale[0] != 1 and scale[1] == 1)
        return replace(self, by_outputs=by_outputs)

    def shapes(self, sizes: Sizes, rank: int) -> tuple[Shape, ...]:
        ones = tuple(1 for _ in sizes.kernel)
        lengths = (sizes.outputs, 1) if self.by_outputs else (1, sizes.inputs)
        return (*_LORA.shapes(sizes, rank), (*lengths, *ones))

    def scale(self, alpha: float, rank: int) -> float:
        return 1.0

    def rank(self, shapes: Mapping[str, Shape]) -> int | None:
        return _LORA.rank(shapes)

    def ends(self, shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
        return _LORA.ends(shapes)

    def misfit(self, shapes: Mapping[str, Shape]) -> str | None:
        wrong = _LORA.misfit(shapes)
        if wrong:
            return wrong
        wanted = shapes[UP][0] if self.by_outputs else shapes[DOWN][1]
        fits = (
            len(shapes[SCALE]) in (1, 2, 4) and wanted in shapes[SCALE] and set(shapes[SCALE]) <= {1, wanted}
        )
        return None if fits else "down [r, in, …], up [out, r, …] and dora_scale [1, in, …] or [out, 1, …]"

    def work(self) -> AdapterWork:
        from maquette.lora.kinds.dora_work import DoraWork

        return DoraWork(self.by_outputs)
