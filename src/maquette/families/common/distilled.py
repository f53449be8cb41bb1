"""Bases that were distilled to draw in a few steps (Turbo, Lightning, LCM, Hyper, DMD): told by what they carry or are called.

Of the weights themselves only an embedding of the guidance scale tells it; merges with a distilled LoRA carry nothing but a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

NAMED = re.compile(
    r"(?<![a-z])(turbo|lightning|lcm|dmd2?|tcd|hyper(?:[-_ ]?sd(?:xl)?)?(?:15)?)(?![a-z])", re.IGNORECASE
)
IN_CAMEL_CASE = re.compile(r"(Turbo|Lightning|LCM|DMD2?|Hyper(?:SD(?:XL)?)?)(?![a-z])")
"""`photo2Lightning`, `v6TurboDPO`, `XLLightning`: names of Civitai run their words together."""
GUIDANCE_KEYS = ("cond_proj.weight", "guidance_in.in_layer.weight")
"""Ends of tensors that embed the guidance scale, which only a distilled denoiser is told."""
SCHEDULERS = ("LCMScheduler", "TCDScheduler")
TOLD_IN = ("modelspec.title", "modelspec.description", "modelspec.usage_hint")


def distilled_in_name(name: str) -> str:
    """Return the word of a file's or hub model's name by which it is distilled; empty for none."""
    found = NAMED.search(name) or IN_CAMEL_CASE.search(name)
    return found[0] if found else ""


def distilled_by(
    name: str,
    tensors: Iterable[str],
    *,
    metadata: Mapping[str, str] | None = None,
    denoiser: Mapping[str, Any] | None = None,
    scheduler: Mapping[str, Any] | None = None,
) -> str:
    """Return what says that a base is distilled, in words; empty where nothing does.

    denoiser, scheduler: their configurations, where it is a folder.
    """
    key = next((key for key in tensors if key.endswith(GUIDANCE_KEYS)), None)
    if key is not None:
        return f"its denoiser embeds the guidance scale ('{key}')"
    if (denoiser or {}).get("time_cond_proj_dim"):
        return "its denoiser embeds the guidance scale (time_cond_proj_dim)"
    kind = str((scheduler or {}).get("_class_name", ""))
    if kind in SCHEDULERS:
        return f"it comes with {kind}"
    for entry in TOLD_IN:
        said = NAMED.search((metadata or {}).get(entry, ""))
        if said:
            return f"its {entry} says '{said[0]}'"
    word = distilled_in_name(name)
    return f"its name says '{word}'" if word else ""
