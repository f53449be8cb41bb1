"""What stands beside a released LoRA: files that model browsers and model managers read, and its preview.

NAME.json            AUTOMATIC1111, Forge and their like: trigger, weight, negative prompt, notes
NAME.metadata.json   LoRA Manager for ComfyUI
NAME.png             a picture drawn with the LoRA; dropped on a drawing program it brings its settings back
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.deploying.ledger import Ledger
from maquette.deploying.recipe import Recipe, pattern_of
from maquette.deploying.release import Placed
from maquette.drawing.scene import Scene, picture_chunks
from maquette.errors import DatasetError, OutputError, Problem
from maquette.files import json_text
from maquette.words.prompts import escaped, escaped_for_webui


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A picture that the LoRA drew: from which prompt and seed, everything else as the recipe says."""

    path: Path
    prompt: str
    seed: int
    told: bool = True
    """Whether the recipe draws it; a picture of an earlier release followed other noise levels."""


def write_webui_sidecar(ledger: Ledger, placed: Placed, recipe: Recipe) -> Path:
    """Write NAME.json, as AUTOMATIC1111, Forge and model browsers read it."""
    scene = recipe.scene
    examples = "\n".join(escaped_for_webui(prompt) for prompt in recipe.prompts)
    there, request = scene.elsewhere, scene.request
    sampler = " / ".join(there.webui) if there else scene.sampler
    notes = [
        recipe.origin[:1].upper() + recipe.origin[1:],
        f"{sampler}, {request.steps} steps, CFG {request.guidance:g}",
        f"Clip skip {scene.clip_skip}",
        f"Template: {escaped_for_webui(pattern_of(recipe))}",
        f"Examples:\n{examples}",
    ]
    table = {
        "description": _description(recipe),
        "sd version": scene.family.webui_version,
        "activation text": escaped_for_webui(recipe.trigger),
        "preferred weight": scene.strength,
        "negative text": escaped_for_webui(scene.request.negative),
        "notes": ". ".join(filter(None, notes)),
    }
    return ledger.put(placed.path.with_suffix(".json"), json_text(table))


def write_manager_sidecar(ledger: Ledger, placed: Placed, recipe: Recipe, preview: Path | None) -> Path:
    """Write NAME.metadata.json, as LoRA Manager for ComfyUI reads it; it keeps usage tips as a text of JSON."""
    scene, status = recipe.scene, placed.content.stat()
    table = {
        "file_name": placed.path.stem,
        "model_name": placed.path.stem,
        "file_path": placed.path.as_posix(),
        "size": status.st_size,
        "modified": status.st_mtime,
        "sha256": placed.sha256,
        "base_model": scene.family.civitai_version,
        "preview_url": preview.as_posix() if preview else "",
        "notes": "\n".join([_description(recipe), *(escaped(prompt) for prompt in recipe.prompts)]),
        "from_civitai": False,
        "usage_tips": json.dumps({"strength": scene.strength}),
        "civitai": {"trainedWords": [escaped(recipe.trigger)] if recipe.trigger else []},
    }
    return ledger.put(placed.path.with_suffix(".metadata.json"), json_text(table))


def _description(recipe: Recipe) -> str:
    facts = {"Trigger": recipe.trigger, "Weights": recipe.origin, "Base": recipe.scene.base}
    return " ".join(f"{name}: {fact}." for name, fact in facts.items() if fact)


def write_preview(ledger: Ledger, placed: Placed, preview: Preview, scene: Scene) -> Path:
    """Write NAME.png with the text chunks that draw it again by the names of this place; `scene` is the recipe's here."""
    from PIL import PngImagePlugin

    from maquette.dataset.opening import on_white, opened, upright

    try:
        with opened(preview.path) as image:
            picture = on_white(upright(image))
    except DatasetError as error:
        given = f"cannot be read as a picture ({error.problems[0].given})"
        problem = Problem(str(preview.path), given, "a preview picture", "Give another one.")
        raise OutputError(problem) from error
    info = PngImagePlugin.PngInfo()
    request = replace(
        scene.request,
        prompt=preview.prompt,
        seed=preview.seed,
        width_px=picture.width,
        height_px=picture.height,
    )
    for key, text in picture_chunks(replace(scene, request=request)).items() if preview.told else ():
        info.add_text(key, text) if text.isascii() else info.add_itxt(key, text)
    data = io.BytesIO()
    picture.save(data, format="PNG", pnginfo=info)
    return ledger.put(placed.path.with_suffix(".png"), data.getvalue())
