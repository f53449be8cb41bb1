"""How a LoRA is meant to be drawn, and the text file that tells a person so."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from maquette.drawing.scene import Scene, webui_prompt
from maquette.errors import ConfigError, Problem
from maquette.words.prompts import escaped, escaped_for_webui

_SLOT = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a drawing program must be told besides the file."""

    prompts: tuple[str, ...]
    """Example prompts; the first one goes into the workflow, all into the template."""
    scene: Scene
    """How they are drawn; it names no LoRA before one is placed."""
    trigger: str = ""
    """The word that means the subject; empty where none does."""
    template: str = ""
    """The pattern of a good prompt, with [slots] to fill; empty for the trigger and the usual slots."""
    origin: str = ""
    """Which weights these are, in words: "step 200 (zkw-step00000200) of run zkw-001"."""

    def scene_of(self, lora_name: str, lora_hash: str = "") -> Scene:
        """Return how the first prompt is drawn with the LoRA that the program lists as `lora_name`."""
        request = replace(self.scene.request, prompt=self.prompts[0])
        return replace(self.scene, request=request, lora=lora_name, lora_hash=lora_hash)


def check_recipe(recipe: Recipe) -> None:
    """Raise ConfigError with every value of the recipe that a drawing program would refuse."""
    scene = recipe.scene
    request = scene.request
    rules: tuple[tuple[bool, str, Any, str], ...] = (
        (not recipe.prompts, "prompts", recipe.prompts, "at least one prompt"),
        (not scene.base.strip(), "base", scene.base, "a file name"),
        (not 0 <= request.seed < 2**64, "seed", request.seed, "0 or more, below 2^64 (ComfyUI refuses -1)"),
        (not 1 <= scene.clip_skip <= 24, "clip_skip", scene.clip_skip, "1 to 24"),
        (not 1 <= request.steps <= 10000, "steps", request.steps, "1 to 10000"),
        (not 0 <= request.guidance <= 100, "guidance", request.guidance, "0 to 100"),
        (not abs(scene.strength) <= 100, "strength", scene.strength, "-100 to 100"),
        (not scene.is_known_to_comfyui, "sampler", scene.sampler, "one that ComfyUI has for this family"),
        (_bad_size(request.width_px), "width_px", request.width_px, "a multiple of 8 from 16 to 16384"),
        (_bad_size(request.height_px), "height_px", request.height_px, "a multiple of 8 from 16 to 16384"),
    )
    problems = [
        Problem(f"recipe.{name}", repr(value), required, "Change it.")
        for bad, name, value, required in rules
        if bad
    ]
    if problems:
        raise ConfigError(problems)


def _bad_size(size_px: int) -> bool:
    return not 16 <= size_px <= 16384 or size_px % 8 != 0


def pattern_of(recipe: Recipe) -> str:
    """Return the pattern of a good prompt, with [slots] to fill."""
    return recipe.template or ", ".join(filter(None, (recipe.trigger, "[pose], [view], [scene]")))


@dataclass(frozen=True, kw_only=True)
class TemplatePart:
    """A part of a prompt's pattern: text as the program reads it, or a slot to fill."""

    text: str = ""
    slot: str = ""


def template_parts(pattern: str, *, for_webui: bool = False) -> list[TemplatePart]:
    """Return a pattern in its parts, the text between the slots escaped as the drawing program needs it."""
    as_read = escaped_for_webui if for_webui else escaped
    pieces = _SLOT.split(pattern)
    return [
        TemplatePart(slot=piece) if place % 2 else TemplatePart(text=as_read(piece))
        for place, piece in enumerate(pieces)
        if piece
    ]


def prompt_template(recipe: Recipe, lora_name: str) -> str:
    """Return the text file that tells a person how to draw with the LoRA; its prompts can be pasted as they stand."""
    scene = recipe.scene
    request, there = scene.request, scene.elsewhere
    assert there is not None
    size = f"{request.width_px} × {request.height_px} px"
    more = f"{request.steps} steps, cfg {request.guidance:g}, {size}"
    pattern = pattern_of(recipe)
    lines = [
        f"LoRA       {lora_name}",
        *([f"Weights    {recipe.origin}"] if recipe.origin else []),
        f"Base       {scene.base}",
        f"Trigger    {escaped(recipe.trigger) or '(none)'}",
        f"Strength   {scene.strength:g}",
        f"Clip skip  {scene.clip_skip}",
        f"Drawing    {' / '.join(there.comfyui)}, {more}",
        f"           in AUTOMATIC1111 and Forge: {' / '.join(there.webui)}",
        "",
        "Template",
        f"  {escaped(pattern)}",
        "",
        "Examples",
        *(f"  {escaped(prompt)}" for prompt in recipe.prompts),
        "",
        "Negative prompt",
        f"  {escaped(request.negative) or '(none)'}",
        "",
        "AUTOMATIC1111 / Forge",
        f"  {webui_prompt(recipe.prompts[0], lora_name, scene.strength)}",
    ]
    return "\n".join(lines) + "\n"
