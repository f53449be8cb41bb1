"""A drawing program's picture held against our own of the same scene, with the LoRA and without it.

No two programs draw the same bits: precision, device and attention differ. So the question is which of our pictures theirs is
nearer to. One that is as near to ours without the LoRA was drawn as if there were none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.drawing.scene import Scene
from maquette.errors import MaquetteError, ModelError, Problem
from maquette.events import Message, Stage
from maquette.project.settings import Settings

if TYPE_CHECKING:
    from PIL import Image

SAME = 3.0
"""Pictures whose values differ by no more on average, of 255, show the same: rounding in half precision stays below."""
TELLING = 1.0
"""Our two pictures must differ by more than this, of 255, before nearness to one of them says anything."""


@dataclass(frozen=True, kw_only=True)
class Scenery:
    """What our own drawing needs."""

    scene: Scene
    settings: Settings | None = None
    """Of the run that made the LoRA: they say how its base is loaded."""
    base: Path | None = None
    """The base model's file where there is no run."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How far the program's picture is from ours: mean difference of the values, of 255."""

    own: Path
    """Our picture."""
    difference: float
    without: float
    """From our picture without the LoRA."""
    effect: float
    """Of the LoRA: between our two."""

    @property
    def is_drawn_with_it(self) -> bool | None:
        """Whether the program drew with the LoRA; None where it changes too little to tell."""
        if self.effect <= TELLING:
            return None
        return self.difference < self.without

    def __str__(self) -> str:
        told = f"The server's picture differs from ours by {self.difference:.1f} of 255"
        beside = f"(from ours without the LoRA by {self.without:.1f})"
        if self.is_drawn_with_it is None:
            return (
                f"{told}; the LoRA itself changes no more than {self.effect:.1f} here, so this tells little."
            )
        if not self.is_drawn_with_it:
            return f"{told} {beside}: it draws as if there were no LoRA, or with another base model."
        if self.difference <= SAME:
            return f"{told} {beside}: the same picture."
        return f"{told} {beside}: drawn with the LoRA, by another base model, precision or device."


def compared(theirs: Path, lora: Path, scenery: Scenery, own: Path) -> Stage[Comparison | None]:
    """Draw the scene here too, with the LoRA (kept as `own`) and without; return the comparison.

    None where it cannot be drawn here, which is said.
    """
    from maquette.dataset.opening import opened
    from maquette.drawing.pictures import save_picture

    yield Message("Drawing the same picture here, to compare.")
    try:
        with_it, without = yield from _drawn(lora, scenery)
        with opened(theirs) as image:
            their = image.convert("RGB")
        if their.size != with_it.size:
            yield Message(
                f"Not compared: the server's picture is {their.size}, ours {with_it.size}.", "warning"
            )
            return None
    except MaquetteError as error:
        yield Message(f"Not compared with our own drawing: {error}", "warning")
        return None
    found = Comparison(
        own=save_picture(own, with_it, {}),
        difference=_difference(their, with_it),
        without=_difference(their, without),
        effect=_difference(with_it, without),
    )
    yield Message(str(found), "info" if found.is_drawn_with_it is not False else "warning")
    return found


def _difference(one: Image.Image, other: Image.Image) -> float:
    import numpy as np

    values = (np.asarray(each.convert("RGB"), dtype=np.float32) for each in (one, other))
    return round(float(np.abs(np.subtract(*values)).mean()), 3)


def _drawn(lora: Path, scenery: Scenery) -> Stage[tuple[Image.Image, Image.Image]]:
    """Draw the scene with the LoRA and without."""
    from maquette.drawing.draw import drawing
    from maquette.lora.adapter import LoraAdapter
    from maquette.lora.files import read_lora

    model = _base(scenery)
    scene = scenery.scene
    request = replace(scene.request, sampler=scene.sampler)
    adapter = LoraAdapter.attach(model, [read_lora(lora, model.lora_targets()).state])
    adapter.to(model.device)
    adapter.set_multiplier(scene.strength)
    try:
        [with_it] = yield from drawing(model, [request], adapter=adapter, options=scene.options)
    finally:
        adapter.detach()
    [without] = yield from drawing(model, [request], options=scene.options)
    return with_it, without


def _base(scenery: Scenery) -> Any:
    from maquette import families
    from maquette.devices import chosen
    from maquette.evaluating.base import load_base

    if scenery.settings is not None:
        return load_base(scenery.settings)
    if scenery.base is None:
        given, remedy = "is not among the program's models", "Put it there, or leave --compare out."
        raise ModelError(Problem(f"the base model {scenery.scene.base}", given, "its file", remedy))
    place = chosen("auto", "auto")
    return families.load(str(scenery.base), dtype=place.weight_dtype, device=str(place.device))
