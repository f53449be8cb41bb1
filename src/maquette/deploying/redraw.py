"""A preview that shows the strength it is deployed with: a run's samples are drawn at full strength."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maquette.deploying.recipe import Recipe
from maquette.deploying.sidecars import Preview
from maquette.errors import MaquetteError
from maquette.events import Message, Stage
from maquette.project.settings import Settings

SAMPLE_STRENGTH = 1.0


def at_strength(
    preview: Preview | None, lora: Path, recipe: Recipe, settings: Settings, folder: Path
) -> Stage[Preview | None]:
    """Return a preview that was drawn with the recipe's strength: the one there is, or a new one in `folder`.

    Where the base model cannot be loaded any more there is none, and that is said: a picture of another strength would
    promise what the workflow beside it does not draw.
    """
    if preview is None or recipe.scene.strength == SAMPLE_STRENGTH:
        return preview
    yield Message(f"Drawing the preview with strength {recipe.scene.strength:g}; the run's samples have 1.")
    try:
        return (yield from _drawn(preview, lora, recipe, settings, folder / "preview.png"))
    except MaquetteError as error:
        text = f"No preview: the run's samples have strength 1, and another cannot be drawn ({error})"
        yield Message(text, "warning")
        return None


def _drawn(preview: Preview, lora: Path, recipe: Recipe, settings: Settings, path: Path) -> Stage[Preview]:
    from maquette.dataset.opening import opened
    from maquette.drawing.draw import drawing
    from maquette.drawing.pictures import save_picture
    from maquette.evaluating.base import load_base
    from maquette.lora.adapter import LoraAdapter
    from maquette.lora.files import read_lora

    with opened(preview.path) as picture:
        width_px, height_px = picture.size
    scene = recipe.scene
    request = replace(
        scene.request,
        prompt=preview.prompt,
        seed=preview.seed,
        width_px=width_px,
        height_px=height_px,
    )
    model = load_base(settings)
    adapter = LoraAdapter.attach(model, [read_lora(lora, model.lora_targets()).state])
    adapter.to(model.device)
    adapter.set_multiplier(scene.strength)
    try:
        [drawn] = yield from drawing(model, [request], adapter=adapter, options=scene.options)
    finally:
        adapter.detach()
    return replace(preview, path=save_picture(path, drawn, {}), told=True)
