"""Prompts for samples as sd-scripts reads them: one a line, with options of one or two letters behind ` --`.

mk, portrait, outdoors --n blurry --w 1024 --h 1024 --d 1 --l 7.5 --s 28
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

OPTIONS: Mapping[str, str] = {
    "n": "text", "w": "whole", "h": "whole", "d": "whole", "s": "whole", "l": "number", "g": "number", "ss": "text", "cn": "text",
    "ctr": "number", "rcfg": "number", "fs": "number", "i": "text", "m": "text", "cr": "text",
}  # fmt: skip
"""Option → the kind of its value: negative prompt, width, height, seed, steps, scale, guidance, sampler …"""
MEANT: Mapping[str, str] = {
    "negative": "n", "negative_prompt": "n", "neg": "n", "no": "n", "width": "w", "height": "h", "seed": "d", "steps": "s",
    "sample_steps": "s", "scale": "l", "cfg": "l", "cfg_scale": "l", "guidance": "l", "guidance_scale": "l", "sampler": "ss",
    "sample_sampler": "ss", "ar": "w and --h",
}  # fmt: skip
"""What people write for an option."""
DASHES = re.compile(r"\s(?:[\u2010-\u2015\u2212]{1,2})([A-Za-z]{1,16})\s")
ONE_DASH = re.compile(r"\s-([nwhdsl]) (?=\S)")


@dataclass(frozen=True)
class Prompt:
    """One line of a prompt file."""

    text: str
    line: int
    values: Mapping[str, str] = field(default_factory=dict)
    """The options that sd-scripts understands, with their values as text."""
    unknown: tuple[str, ...] = ()
    """Options that it does not have, or whose value it cannot read: it takes no notice of them."""


def read_prompts(lines: Iterable[str]) -> list[Prompt]:
    """Return the prompts in the lines of a file; empty lines and comments are none."""
    return [
        _prompt(line.strip(), number)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.startswith("#")
    ]


def _prompt(line: str, number: int) -> Prompt:
    text, *parts = line.split(" --")
    values: dict[str, str] = {}
    unknown: list[str] = []
    for part in parts:
        name, _, value = part.partition(" ")
        kind = OPTIONS.get(name.lower())
        if kind is None or not _fits(kind, value.strip()):
            unknown.append(part.strip())
        else:
            values[name.lower()] = value.strip()
    return Prompt(text.strip(), number, values, tuple(unknown))


def _fits(kind: str, value: str) -> bool:
    if kind == "text":
        return bool(value)
    return re.match(r"\d+" if kind == "whole" else r"[\d.]+", value) is not None
