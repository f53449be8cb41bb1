"""What a picture's measures say against it, one sentence a reason, and one number to choose the better of two likes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from maquette.curating.limits import Limits
from maquette.curating.records import Look, Weight
from maquette.dataset.measures import Measured

USED = (
    "sharpness",
    "edge_width_px",
    "brightness",
    "contrast",
    "clipped_dark",
    "clipped_bright",
    "noise",
    "detail_scale",
    "grid_px",
    "subject_share",
    "width_px",
    "height_px",
)
"""The measures that a decision reads and curation.json writes down."""

MANY = 0.5
"""Share of a folder beyond which a limit is taken not to suit its style."""


def look_of(name: str, measured: Measured) -> Look:
    """Return the slim record of a measured picture; one that cannot be read is rejected at once."""
    if not measured.is_sound:
        look = Look(name=name)
        problem = measured.result
        look.add("unreadable", "reject", str(getattr(problem, "given", "cannot be read")))
        return look
    found = measured.measures
    return Look(
        name=name,
        sha256=found.sha256,
        width_px=found.width_px,
        height_px=found.height_px,
        perceptual=int(found.perceptual_hash, 16),
        mirrored=int(found.mirrored_hash, 16),
        thumbnail=found.thumbnail,
        measures={name: round(float(getattr(found, name)), 4) for name in USED},
    )


def judge_quality(looks: Sequence[Look], limits: Limits) -> list[str]:
    """Add to each look what its measures say against it, and its quality. Returns sentences about the whole folder."""
    sound = [look for look in looks if look.sha256]
    if not sound:
        return []
    usual_px = statistics.median(min(look.width_px, look.height_px) for look in sound)
    for look in sound:
        _frame(look, limits)
        _sharpness(look, limits)
        _size(look, limits, usual_px)
        _texture(look, limits)
        look.quality = quality_of(look, limits, usual_px)
    return _doubts(sound, limits)


def quality_of(look: Look, limits: Limits, usual_px: float) -> float:
    """Return 0 to 1: how sharp (half of it), well exposed and large a picture is. 1 is reached, not passed.

    Sharpness counts on a logarithmic scale from a quarter of its limit to sixteen times it, since the variance
    of the Laplacian spans decades; size counts up to the folder's usual one.
    """
    value = look.measures
    low = (limits.sharpness or 60.0) / 4
    sharp = math.log(max(value["sharpness"], low) / low) / math.log(64.0)
    lit = 1.0 - min(1.0, abs(value["brightness"] - 0.5) * 2) ** 4 - 0.5 * value["clipped_dark"]
    size = min(look.width_px, look.height_px) * value["detail_scale"] / max(usual_px, 1.0)
    parts = (0.5 * min(1.0, sharp), 0.2 * max(0.0, lit), 0.3 * min(1.0, size))
    return round(sum(parts), 4)


def _frame(look: Look, limits: Limits) -> None:
    contrast, brightness = look.measures["contrast"], look.measures["brightness"]
    if contrast < limits.blank_contrast:
        kind = "black" if brightness < 0.15 else "white" if brightness > 0.85 else "empty"
        text = f"{kind} frame: contrast {contrast:.3f} below {limits.blank_contrast:g}"
        look.add("blank", "reject", text, value=contrast, limit=limits.blank_contrast)
    elif brightness < limits.dark_brightness:
        weight: Weight = "reject" if brightness < limits.dark_brightness / 2 else "review"
        text = f"brightness {brightness:.3f} below {limits.dark_brightness:g}"
        look.add("dark", weight, text, value=brightness, limit=limits.dark_brightness)
    elif brightness > limits.bright_brightness:
        text = f"brightness {brightness:.3f} above {limits.bright_brightness:g}"
        look.add("bright", "review", text, value=brightness, limit=limits.bright_brightness)


def _sharpness(look: Look, limits: Limits) -> None:
    """Blur is few steep edges and wide ones: a flat drawing has a low variance too, but its edges are one pixel wide."""
    value, width_px = look.measures["sharpness"], look.measures["edge_width_px"]
    if not limits.sharpness or _has(look, "blank") or (0 < width_px <= limits.edge_width_px):
        return
    wide = f"edges {width_px:.1f} px wide" if width_px else "no edge in it"
    if value < limits.sharpness:
        weight: Weight = "reject" if value < limits.sharpness / 2 else "review"
        text = f"sharpness {value:.0f} below {limits.sharpness:g}, {wide}"
        look.add("blurred", weight, text, value=value, limit=limits.sharpness)
    elif width_px > 2 * limits.edge_width_px:
        text = f"{wide}, above {2 * limits.edge_width_px:g}"
        look.add("blurred", "review", text, value=width_px, limit=2 * limits.edge_width_px)


def _size(look: Look, limits: Limits, usual_px: float) -> None:
    short, long = sorted((look.width_px, look.height_px))
    if limits.resolution_px and short < limits.resolution_px:
        weight: Weight = "reject" if short < limits.resolution_px / 2 else "review"
        text = f"shorter side {short} px below {limits.resolution_px}"
        look.add("small", weight, text, value=short, limit=limits.resolution_px)
    elif short < limits.small_share * usual_px:
        text = f"shorter side {short} px, where {usual_px:.0f} is usual here"
        look.add("small", "review", text, value=short, limit=limits.small_share * usual_px)
    aspect = long / max(short, 1)
    if limits.aspect and aspect > limits.aspect:
        weight = "reject" if aspect > 2 * limits.aspect else "review"
        text = f"aspect {aspect:.1f} : 1 above {limits.aspect:g} : 1"
        look.add("shape", weight, text, value=aspect, limit=limits.aspect)


def _texture(look: Look, limits: Limits) -> None:
    value = look.measures
    if _has(look, "blank"):
        return
    is_pixel_art = value["grid_px"] > 1
    if limits.noise and value["noise"] > limits.noise and not is_pixel_art:
        text = f"noise {value['noise']:.0f} above {limits.noise:g}"
        look.add("noisy", "review", text, value=value["noise"], limit=limits.noise)
    scale = value["detail_scale"]
    if scale < limits.detail_scale and not is_pixel_art and not _has(look, "blurred"):
        weight: Weight = "reject" if scale < limits.detail_scale / 2 else "review"
        text = f"detail of {scale:.2f} of its size, below {limits.detail_scale:g}: enlarged"
        look.add("enlarged", weight, text, value=scale, limit=limits.detail_scale)
    share = value["subject_share"]
    if share < limits.subject_share:
        text = f"subject covers {share:.1%}, below {limits.subject_share:.0%}"
        look.add("subject", "review", text, value=share, limit=limits.subject_share)


def _has(look: Look, code: str) -> bool:
    return any(reason.code == code for reason in look.reasons)


def _doubts(sound: Sequence[Look], limits: Limits) -> list[str]:
    """Say when a limit strikes most of a folder: then it is its style, not its quality."""
    advice = {
        "blurred": f"a soft style, perhaps: --sharpness {limits.sharpness / 3:.0f} asks less of it",
        "enlarged": "all of it was enlarged, perhaps: train at a lower resolution",
        "noisy": "film grain or a painted style, perhaps",
        "small": "a lower --resolution suits these pictures",
    }
    found = []
    for code, hint in advice.items():
        count = sum(_has(look, code) for look in sound)
        if len(sound) >= 4 and count > MANY * len(sound):
            found.append(f"{count} of {len(sound)} pictures are {code}: {hint}.")
    return found
