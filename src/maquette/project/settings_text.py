"""Settings as the text of a `maquette.toml`, with a comment for each value that has a reason."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.project.idle import idle_objective, idle_rates
from maquette.project.settings import PATHS, SECTION_OF, SECTIONS, SampleSettings, Settings

OF_SAMPLES = tuple(name for name in SampleSettings.model_fields if name != "sample_prompts")
"""Settings that say how samples are drawn."""

MOVES_PARTS = ("shuffle_caption", "caption_tag_dropout_rate", "token_warmup_step")
"""Settings by which a caption's parts are moved, left out or held back."""


@dataclass(frozen=True)
class Reasoned:
    """A value with the reason for it."""

    value: Any
    reason: str


def settings_toml(
    values: Mapping[str, Reasoned], heading: str = "", elsewhere: Mapping[str, Reasoned] | None = None
) -> str:
    """Return the sections that hold `values`, in the order of the records; `elsewhere` becomes comments at the end."""
    lines = [f"# {line}".rstrip() for line in heading.splitlines()]
    for section, record in SECTIONS.items():
        chosen = [name for name in record.model_fields if name in values and SECTION_OF[name] == section]
        if not chosen:
            continue
        lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        lines += [_line(name, values[name]) for name in chosen]
    if elsewhere:
        lines += ["", "# Not set here:"]
        lines += [f"# {_line(name, entry)}" for name, entry in elsewhere.items()]
    return "\n".join(lines) + "\n"


def written_values(settings: Settings) -> dict[str, Any]:
    """Return the settings that were written, by anyone: those that differ from silence."""
    return {
        name: getattr(getattr(settings, section), name)
        for section in SECTIONS
        if section in settings.model_fields_set
        for name in sorted(getattr(settings, section).model_fields_set)
    }


def values_seen_from(settings: Settings, folder: Path) -> dict[str, Any]:
    """Return the settings that were written, their paths as a file in `folder` names them."""
    values = {}
    for name, value in written_values(settings).items():
        if value is not None and (
            name in PATHS or (name in ("base", "vae") and value and Path(value).expanduser().exists())
        ):
            paths = value if isinstance(value, tuple | list) else (value,)
            moved = tuple(relative_to(Path(each), folder) for each in paths)
            value = moved if isinstance(value, tuple | list) else moved[0]
        values[name] = value
    return values


def idle_settings(values: Mapping[str, Any]) -> dict[str, str]:
    """Return those of `values` (settings by name) that change nothing, each with what would make them matter."""
    needs = {
        "prior_loss_weight": (values.get("regularization"), "there are no regularization pictures"),
        "conv_alpha": (values.get("conv_rank"), "convolutions are not adapted"),
        "keep_tokens": (any(values.get(name) for name in MOVES_PARTS), "no parts of captions move"),
        "keep_tokens_separator": (any(values.get(name) for name in MOVES_PARTS), "no parts of captions move"),
        "token_warmup_min": (values.get("token_warmup_step"), "token_warmup_step is 0"),
        "min_bucket_px": (not values.get("bucket_no_upscale"), "each picture keeps its own sides"),
        "max_bucket_px": (not values.get("bucket_no_upscale"), "each picture keeps its own sides"),
        **{name: (values.get("sample_prompts"), "no samples are drawn") for name in OF_SAMPLES},
    }
    idle = {name: why for name, (matters, why) in needs.items() if name in values and not matters}
    idle |= idle_objective(values) | idle_rates(values)
    return {name: f"no effect: {why}" for name, why in idle.items()}


def relative_to(path: Path, folder: Path) -> str:
    """Return `path` relative to `folder` where it lies within or beside it, else absolute."""
    absolute, home = (Path(os.path.normpath(place.expanduser().absolute())) for place in (path, folder))
    if absolute.is_relative_to(home.parent):
        return Path(os.path.relpath(absolute, home)).as_posix()
    return absolute.as_posix()


def toml_value(value: Any) -> str:
    """Return a value as TOML spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        if len(value) == 2 and value[0] == value[1] and isinstance(value[0], int):
            return str(value[0])
        return "[" + ", ".join(toml_value(each) for each in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)


def _line(name: str, entry: Reasoned) -> str:
    text = f"{name} = {toml_value(entry.value)}"
    return f"{text:<30}  # {entry.reason}" if entry.reason else text
