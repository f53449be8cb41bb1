"""Samplers by the names that people know them by: ours, ComfyUI's, AUTOMATIC1111's."""

from __future__ import annotations

import re

from maquette.families.protocol import FamilySpec


def sampler_named(spec: FamilySpec, name: str) -> str:
    """Return our name of a family's sampler: `Euler a`, `euler_ancestral`, `DPM++ 2M Karras`; a name that no program has stays.

    Where a program's name leaves the spacing of timesteps open, it is the one that is drawn with by default here.
    """
    known = {_plain(own): own for own in (*spec.samplers, *spec.samplers_elsewhere)}
    for own, there in spec.samplers_elsewhere.items():
        webui, schedule = there.webui
        for called in (f"{webui} {schedule}", webui, " ".join(there.comfyui), there.comfyui[0]):
            known.setdefault(_plain(called), own)
    return known.get(_plain(name), name)


def _plain(name: str) -> str:
    """Return a name without what its spellings differ in."""
    return re.sub(r"[\s_-]+", "", name.lower().replace("++", "pp"))
