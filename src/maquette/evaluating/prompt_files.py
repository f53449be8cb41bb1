"""A file of prompts in sd-scripts' syntax, as prompts to draw: `mk, portrait --n blurry --w 512 --h 768 --d 1 --l 7.5 --s 28`.

Unlike sd-scripts, which takes no notice of what it cannot read, everything in it that would not be drawn as written is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from maquette.errors import ConfigError, Problem
from maquette.evaluating.first_look import PlannedPrompt
from maquette.kohya.prompts import Prompt, read_prompt_file

_TAKEN = {
    "n": ("negative", str),
    "w": ("width_px", int),
    "h": ("height_px", int),
    "d": ("seed", int),
    "l": ("guidance", float),
    "s": ("steps", int),
    "ss": ("sampler", str),
}
_OF = f"one of {', '.join(f'--{name}' for name in _TAKEN)}"
ENDING = ".txt"


def planned_prompts(path: Path, trigger: str, vae_factor: int = 8) -> tuple[PlannedPrompt, ...]:
    """Return the prompts of a file; {trigger} stands for the trigger, lines that differ in their seed alone are one prompt.

    Raises ConfigError with everything in it that cannot be drawn as it is written.
    """
    if path.suffix.lower() != ENDING or not path.is_file():
        given = f"its name ends in {path.suffix or 'nothing'}" if path.is_file() else "does not exist"
        raise ConfigError(Problem(str(path), given, "a text file (.txt), a prompt a line", "Name one."))
    file = read_prompt_file(path)
    problems = (
        [Problem(str(path), file.unreadable, "a text file", "Save it as UTF-8.")] if file.unreadable else []
    )
    for line in file.prompts:
        problems += _line_problems(path, line, vae_factor)
    if not file.prompts and not problems:
        problems.append(Problem(str(path), "holds no prompt", "a prompt a line", "Write some."))
    if problems:
        raise ConfigError(problems)
    return _together([_planned(line, trigger) for line in file.prompts], path)


def _line_problems(path: Path, line: Prompt, vae_factor: int) -> Iterator[Problem]:
    where = f"{path} line {line.line}"
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
    for name in ("w", "h"):
        value = _number(line.values.get(name, "0"))
        if value % vae_factor:
            required = f"a multiple of {vae_factor}"
            yield Problem(
                where, f"--{name} {value}", required, f"Write --{name} {value // vae_factor * vae_factor}."
            )
    if not line.text:
        yield Problem(where, "no prompt before the options", "a prompt", "Write one.")


def _planned(line: Prompt, trigger: str) -> PlannedPrompt:
    values = {
        _TAKEN[name][0]: value if kind is str else kind(_number(value) if kind is int else value)
        for name, value in line.values.items()
        for kind in (_TAKEN[name][1],)
    }
    seed = values.pop("seed", None)
    text = line.text.replace("{trigger}", trigger)
    role = "bare" if text == trigger else "prompt"
    return PlannedPrompt(text=text, role=role, seeds=None if seed is None else (int(seed),), **values)  # type: ignore[arg-type]


def _number(text: str) -> int:
    """Return the number that a value begins with, as sd-scripts reads it."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def _together(prompts: list[PlannedPrompt], path: Path) -> tuple[PlannedPrompt, ...]:
    """Return the prompts, those of one text and settings with all their seeds."""
    found: dict[str, PlannedPrompt] = {}
    for prompt in prompts:
        known = found.get(prompt.text)
        if known is None:
            found[prompt.text] = prompt
        elif replace(known, seeds=None) != replace(prompt, seeds=None):
            given = f"'{prompt.text}' twice with different settings"
            raise ConfigError(
                Problem(
                    str(path), given, "one kind of settings for a prompt", "Change a word, or use two files."
                )
            )
        elif known.seeds and prompt.seeds:
            found[prompt.text] = replace(known, seeds=tuple(dict.fromkeys((*known.seeds, *prompt.seeds))))
    return tuple(found.values())
