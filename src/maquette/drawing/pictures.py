"""Picture files that carry how they were drawn, in the form that drawing programs read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from maquette import __version__
from maquette.drawing.draw import DrawRequest
from maquette.files import replacing

SAMPLER_TITLES = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "pndm": "PLMS",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "unipc": "UniPC",
}
"""AUTOMATIC1111's names."""


def parameters_text(
    request: DrawRequest,
    *,
    family: Mapping[str, Any] | None = None,
    model: str = "",
    lora: str | None = None,
    strength: float = 1.0,
) -> str:
    """Return the text that AUTOMATIC1111 writes under "parameters", so that dropping the picture there
    restores all. `family`: the family's own settings by the names that drawing programs use (FamilySpec.labelled).
    """
    prompt = f"{request.prompt} <lora:{lora}:{strength:g}>" if lora else request.prompt
    facts = {
        "Steps": request.steps,
        "Sampler": SAMPLER_TITLES.get(request.sampler or "", request.sampler),
        "CFG scale": f"{request.guidance:g}",
        "Seed": request.seed,
        "Size": f"{request.width_px}x{request.height_px}",
        "Model": model.replace(",", " "),
        **(family or {}),
        "Version": f"Maquette {__version__}",
    }
    lines = [prompt]
    if request.negative:
        lines.append(f"Negative prompt: {request.negative}")
    lines.append(", ".join(f"{name}: {value}" for name, value in facts.items() if value not in ("", None)))
    return "\n".join(lines)


def save_picture(path: Path, picture: Image.Image, parameters: str) -> Path:
    """Write `picture` as PNG with its parameters inside, whole or not at all; return `path`."""
    info = PngImagePlugin.PngInfo()
    if parameters.isascii():
        info.add_text("parameters", parameters)
    else:
        info.add_itxt("parameters", parameters)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=info)
    return path
