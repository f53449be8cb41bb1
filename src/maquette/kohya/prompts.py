"""Prompts for samples as sd-scripts reads them: one a line, with options of one or two letters behind ` --`.

mk, portrait, outdoors --n blurry --w 1024 --h 1024 --d 1 --l 7.5 --s 28
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from maquette.reading import Unreadable, text_of

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
LONG_DASH = re.compile(
    r"(?:^|\s)([\u2010-\u2015\u2212]{1,2}-?|-[\u2010-\u2015\u2212])([A-Za-z]{1,16})(?=\s|$)"
)
"""What a word processor or a chat makes of two hyphens: – — ―."""
ONE_HYPHEN = re.compile(r"\s-([nwhdsl]) (?=\S)")
GLUED = re.compile(r"[^\s-]--([A-Za-z]{1,2}) ")
LOOKS_LIKE_OPTIONS = re.compile(r"\s(?:--|[\u2010-\u2015\u2212]{1,2})[nwhdsl] \S")
ENDINGS = (".txt", ".toml", ".json")
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Prompt:
    """One line of a prompt file."""

    text: str
    line: int
    values: Mapping[str, str] = field(default_factory=dict)
    """The options that sd-scripts understands, with their values as text."""
    unknown: tuple[str, ...] = ()
    """Options that it does not have, or whose value it cannot read: it takes no notice of them."""
    not_split: tuple[str, ...] = ()
    """What was meant for an option and is drawn as part of the prompt: `–n`, `-w`, `day--h`."""


@dataclass(frozen=True)
class PromptFile:
    """A file of prompts as sd-scripts takes it."""

    path: Path
    prompts: tuple[Prompt, ...]
    unreadable: str = ""
    """Why sd-scripts stops at it; empty where it does not."""


def read_prompt_file(path: Path) -> PromptFile:
    """Return the prompts in a text file. Never raises; a TOML or JSON of prompts is taken for readable as it is."""
    if path.suffix not in ENDINGS:
        ends = "UnboundLocalError: … 'prompts'"
        given = f"its name ends in {path.suffix or 'nothing'}, and sd-scripts reads .txt, .toml and .json alone: {ends}"
        return PromptFile(path, (), given)
    if path.suffix != ".txt":
        return PromptFile(path, ())
    try:
        return PromptFile(path, tuple(read_prompts(text_of(path, MAX_BYTES).split("\n"))))
    except Unreadable as error:
        return PromptFile(path, (), error.given)


def looks_like_prompts(path: Path) -> bool:
    """Return whether a text file is one of prompts: most of its lines have sd-scripts' options. Never raises."""
    if path.suffix.lower() != ".txt":
        return False
    try:
        lines = [
            line for line in text_of(path, MAX_BYTES).split("\n") if line.strip() and not line.startswith("#")
        ]
    except Unreadable:
        return False
    return bool(lines) and sum(LOOKS_LIKE_OPTIONS.search(line) is not None for line in lines) * 2 > len(lines)


def read_prompts(lines: Iterable[str]) -> list[Prompt]:
    """Return the prompts in the lines of a file; empty lines and comments are none."""
    return [
        prompt_of(line.strip(), number)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.startswith("#")
    ]


def prompt_of(line: str, number: int = 1) -> Prompt:
    """Return what a line says."""
    text, *parts = line.split(" --")
    values: dict[str, str] = {}
    unknown: list[str] = []
    for part in parts:
        name, _, value = part.partition(" ")
        if not fits(name.lower(), value.strip()):
            unknown.append(part.rstrip())
        else:
            values[name.lower()] = value.strip()
    known = {*OPTIONS, *MEANT}
    meant = [f"{dash}{name}" for dash, name in LONG_DASH.findall(line) if name.lower() in known]
    meant += [f"-{name}" for name in ONE_HYPHEN.findall(line)]
    meant += [f"--{name} without a space before it" for name in GLUED.findall(line)]
    return Prompt(text.strip(), number, values, tuple(unknown), tuple(meant))


def line_of(text: str, values: Mapping[str, str]) -> str:
    """Return the line that says this."""
    return " ".join((text, *(f"--{name} {value}" for name, value in values.items())))


def fits(option: str, value: str) -> bool:
    """Return whether there is such an option and it can be read from this value."""
    kind = OPTIONS.get(option)
    if kind is None:
        return False
    if kind == "text":
        return bool(value)
    return re.match(r"\d+" if kind == "whole" else r"[\d.]+", value) is not None
