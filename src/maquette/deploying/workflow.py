"""The drawing workflow of a LoRA in ComfyUI's API format, and the record that says how the LoRA is meant to
be drawn.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from maquette.deploying.nodes import SAMPLERS, SCHEDULERS
from maquette.errors import ConfigError, Problem, did_you_mean

_SPELLINGS: Mapping[str, str] = {
    "euler_a": "euler_ancestral",
    "euler_ancestral_discrete": "euler_ancestral",
    "k_euler": "euler",
    "k_euler_a": "euler_ancestral",
    "dpm++_2m": "dpmpp_2m",
    "dpmsolver++": "dpmpp_2m",
    "dpm++_2m_sde": "dpmpp_2m_sde",
    "dpm++_sde": "dpmpp_sde",
    "dpm_2_a": "dpm_2_ancestral",
    "unipc": "uni_pc",
    "dpmpp_2m_karras": "dpmpp_2m",
}
_SAMPLING = {"epsilon": "eps", "v": "v_prediction"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a LoRA is meant to be drawn: everything a drawing program must be told besides the file."""

    trigger: str
    """The word that means the subject."""
    prompts: tuple[str, ...]
    """Example prompts; the first one goes into the workflow, all into the template."""
    template: str = ""
    """The pattern of a good prompt, with [slots] to fill; empty for the trigger and the usual slots."""
    base_checkpoint: str
    """The base model's name as the drawing program lists it, e.g. "sd15.safetensors"."""
    negative: str = ""
    """The negative prompt."""
    strength: float = 1.0
    """The weight of the LoRA, for the denoiser and the text encoder."""
    width_px: int = 512
    height_px: int = 512
    steps: int = 20
    guidance: float = 7.0
    """Classifier-free guidance scale (cfg)."""
    sampler: str = "euler_ancestral"
    scheduler: str = "normal"
    """How the sampler spaces its noise levels, in ComfyUI's words."""
    seed: int = 1
    clip_skip: int = 1
    """1 takes the text encoder's last layer, 2 the last but one."""
    prediction: str = "epsilon"
    """What the denoiser predicts: "epsilon" or "v"."""
    zero_terminal_snr: bool = False
    sd_version: str = "Unknown"
    """The base's kind in AUTOMATIC1111's words."""


def sampler_name(name: str) -> str:
    """Return ComfyUI's name of a sampler, whatever common spelling was given; raises ConfigError for an
    unknown one.
    """
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    plain = _SPELLINGS.get(plain, plain)
    if plain not in SAMPLERS:
        raise ConfigError(
            Problem(
                f"sampler '{name}'",
                "is unknown to ComfyUI",
                "a sampler's name",
                did_you_mean(plain, SAMPLERS),
            )
        )
    return plain


def scheduler_name(recipe: Recipe) -> str:
    """Return ComfyUI's scheduler: the recipe's own, or the one that its sampler's name contains."""
    return "karras" if recipe.sampler.lower().endswith("karras") else recipe.scheduler


def check_recipe(recipe: Recipe) -> None:
    """Raise ConfigError with every value of the recipe that a drawing program would refuse."""
    rules: tuple[tuple[bool, str, Any, str], ...] = (
        (not recipe.trigger.strip(), "trigger", recipe.trigger, "a word"),
        (not recipe.prompts, "prompts", recipe.prompts, "at least one prompt"),
        (not recipe.base_checkpoint.strip(), "base_checkpoint", recipe.base_checkpoint, "a file name"),
        (not 0 <= recipe.seed < 2**64, "seed", recipe.seed, "0 or more, below 2^64 (ComfyUI refuses -1)"),
        (not 1 <= recipe.clip_skip <= 24, "clip_skip", recipe.clip_skip, "1 to 24"),
        (not 1 <= recipe.steps <= 10000, "steps", recipe.steps, "1 to 10000"),
        (not 0 <= recipe.guidance <= 100, "guidance", recipe.guidance, "0 to 100"),
        (not abs(recipe.strength) <= 100, "strength", recipe.strength, "-100 to 100"),
        (
            recipe.scheduler not in SCHEDULERS,
            "scheduler",
            recipe.scheduler,
            f"one of {', '.join(SCHEDULERS)}",
        ),
        (recipe.prediction not in _SAMPLING, "prediction", recipe.prediction, "'epsilon' or 'v'"),
        (_bad_size(recipe.width_px), "width_px", recipe.width_px, "a multiple of 8 from 16 to 16384"),
        (_bad_size(recipe.height_px), "height_px", recipe.height_px, "a multiple of 8 from 16 to 16384"),
    )
    problems = [
        Problem(f"recipe.{name}", repr(value), required, "Change it.")
        for bad, name, value, required in rules
        if bad
    ]
    try:
        sampler_name(recipe.sampler)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)


def _bad_size(size_px: int) -> bool:
    return not 16 <= size_px <= 16384 or size_px % 8 != 0


def build_workflow(recipe: Recipe, lora_name: str, *, prefix: str) -> dict[str, dict[str, Any]]:
    """Return the API-format workflow that draws `recipe`'s first prompt with the LoRA called `lora_name`.

    `lora_name` is the name as ComfyUI lists it; `prefix` begins the names of the saved pictures.
    """
    check_recipe(recipe)
    workflow: dict[str, dict[str, Any]] = {}

    def add(class_type: str, title: str, **inputs: Any) -> str:
        node_id = str(len(workflow) + 1)
        workflow[node_id] = {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}
        return node_id

    base = add("CheckpointLoaderSimple", "Base model", ckpt_name=_listed(recipe.base_checkpoint))
    lora = add(
        "LoraLoader",
        f"LoRA: {recipe.trigger}",
        model=[base, 0],
        clip=[base, 1],
        lora_name=_listed(lora_name),
        strength_model=recipe.strength,
        strength_clip=recipe.strength,
    )
    model = [lora, 0]
    if recipe.prediction != "epsilon" or recipe.zero_terminal_snr:
        sampling = _SAMPLING[recipe.prediction]
        zsnr = recipe.zero_terminal_snr
        model = [add("ModelSamplingDiscrete", "Prediction", model=model, sampling=sampling, zsnr=zsnr), 0]
    clip = [add("CLIPSetLastLayer", "CLIP skip", clip=[lora, 1], stop_at_clip_layer=-recipe.clip_skip), 0]
    positive = add("CLIPTextEncode", "Prompt", text=recipe.prompts[0], clip=clip)
    negative = add("CLIPTextEncode", "Negative prompt", text=recipe.negative, clip=clip)
    latent = add("EmptyLatentImage", "Size", width=recipe.width_px, height=recipe.height_px, batch_size=1)
    drawn = add(
        "KSampler",
        "Draw",
        model=model,
        positive=[positive, 0],
        negative=[negative, 0],
        latent_image=[latent, 0],
        seed=recipe.seed,
        steps=recipe.steps,
        cfg=recipe.guidance,
        sampler_name=sampler_name(recipe.sampler),
        scheduler=scheduler_name(recipe),
        denoise=1.0,
    )
    decoded = add("VAEDecode", "Decode", samples=[drawn, 0], vae=[base, 2])
    add("SaveImage", "Save", images=[decoded, 0], filename_prefix=prefix)
    return workflow


def _listed(name: str) -> str:
    """Return a relative file name with the separator that this system's ComfyUI lists it with."""
    return name.replace("\\", "/").replace("/", os.sep)


def prompt_template(recipe: Recipe, lora_name: str) -> str:
    """Return the text file that tells a person how to draw with the LoRA."""
    size = f"{recipe.width_px} × {recipe.height_px} px"
    drawing = f"{sampler_name(recipe.sampler)}, {recipe.steps} steps, cfg {recipe.guidance:g}, {size}"
    lines = [
        f"LoRA       {lora_name}",
        f"Base       {recipe.base_checkpoint}",
        f"Trigger    {recipe.trigger}",
        f"Strength   {recipe.strength:g}",
        f"Clip skip  {recipe.clip_skip}",
        f"Drawing    {drawing}",
        "",
        "Template",
        f"  {recipe.template or f'{recipe.trigger}, [pose], [view], [scene]'}",
        "",
        "Examples",
        *(f"  {prompt}" for prompt in recipe.prompts),
        "",
        "Negative prompt",
        f"  {recipe.negative or '(none)'}",
        "",
        "AUTOMATIC1111 / Forge",
        f"  {recipe.prompts[0]} <lora:{PurePath(lora_name).stem}:{recipe.strength:g}>",
    ]
    return "\n".join(lines) + "\n"
