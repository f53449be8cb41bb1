"""Prompts in sd-scripts' syntax as they are drawn here: `mk, portrait --n blurry --w 512 --h 768 --d 1 --l 7.5 --s 28 --ss ddim`.

Unlike sd-scripts, which takes no notice of what it cannot read, everything in a line that would not be drawn as written is a
problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from maquette.errors import Problem
from maquette.kohya.prompts import Prompt, prompt_of

_TAKEN: Mapping[str, tuple[str, type]] = {
    "n": ("negative", str),
    "w": ("width_px", int),
    "h": ("height_px", int),
    "d": ("seed", int),
    "l": ("guidance", float),
    "s": ("steps", int),
    "ss": ("sampler", str),
}
_OF = f"one of {', '.join(f'--{name}' for name in _TAKEN)}"


@dataclass(frozen=True, kw_only=True)
class DrawnPrompt:
    """A prompt and what it says of its drawing; None: it does not say."""

    text: str
    negative: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    seed: int | None = None
    guidance: float | None = None
    steps: int | None = None
    sampler: str | None = None


def drawn_prompt(prompt: Prompt | str) -> DrawnPrompt:
    """Return a line as it is drawn; what it says otherwise is for `drawing_problems`."""
    line = prompt_of(prompt) if isinstance(prompt, str) else prompt
    values: dict[str, Any] = {}
    for option, text in line.values.items():
        if option in _TAKEN:
            name, kind = _TAKEN[option]
            values[name] = text if kind is str else kind(_beginning(text, kind))
    return DrawnPrompt(text=line.text, **values)


def drawing_problems(where: str, line: Prompt, vae_factor: int) -> Iterator[Problem]:
    """Yield everything in a line that cannot be drawn as it is written."""
    for each in line.unknown:
        yield Problem(where, f"'--{each}'", f"{_OF} with its value", "Correct it or take it out.")
    for each in line.not_split:
        yield Problem(
            where, f"'{each}' is no option", f"{_OF}, two hyphens, a space before them", "Write it so."
        )
    for name in line.values.keys() - _TAKEN.keys():
        yield Problem(
            where, f"'--{name} {line.values[name]}'", _OF, "Nothing here draws with it: take it out."
        )
    drawn = drawn_prompt(line)
    for option, side_px in (("w", drawn.width_px), ("h", drawn.height_px)):
        if side_px is not None and (side_px % vae_factor or not side_px):
            nearest = max(vae_factor, side_px // vae_factor * vae_factor)
            yield Problem(
                where,
                f"--{option} {side_px}",
                f"a multiple of {vae_factor}",
                f"Write --{option} {nearest}.",
            )
    if drawn.steps is not None and not 1 <= drawn.steps <= 1000:
        yield Problem(where, f"--s {drawn.steps}", "1 to 1000 steps", "Write --s 25.")
    if drawn.seed is not None and drawn.seed >= 2**64:
        yield Problem(where, f"--d {drawn.seed}", "a seed below 2^64", "Write --d 1.")
    if not line.text or line.text.startswith("--"):  # sd-scripts draws the options of such a line as words
        yield Problem(where, "no prompt before the options", "a prompt", "Write one.")


def _beginning(text: str, kind: type) -> str:
    """Return the number that a value begins with, as sd-scripts reads it."""
    found = re.match(r"\d+" if kind is int else r"\d*\.?\d*", text)
    return (found[0] if found else "").strip(".") or "0"
