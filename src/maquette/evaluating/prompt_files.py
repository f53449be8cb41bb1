"""A file of prompts in sd-scripts' syntax, as prompts to draw: `mk, portrait --n blurry --w 512 --h 768 --d 1 --l 7.5 --s 28`.

Unlike sd-scripts, which takes no notice of what it cannot read, everything in it that would not be drawn as written is an error.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from maquette.errors import ConfigError, Problem
from maquette.evaluating.first_look import PlannedPrompt
from maquette.kohya.drawn_prompts import drawing_problems, drawn_prompt
from maquette.kohya.prompts import Prompt, read_prompt_file

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
        problems += drawing_problems(f"{path} line {line.line}", line, vae_factor)
    if not file.prompts and not problems:
        problems.append(Problem(str(path), "holds no prompt", "a prompt a line", "Write some."))
    if problems:
        raise ConfigError(problems)
    return _together([_planned(line, trigger) for line in file.prompts], path)


def _planned(line: Prompt, trigger: str) -> PlannedPrompt:
    values = asdict(drawn_prompt(line))
    seed = values.pop("seed")
    text = values.pop("text").replace("{trigger}", trigger)
    role = "bare" if text == trigger else "prompt"
    return PlannedPrompt(text=text, role=role, seeds=None if seed is None else (seed,), **values)


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
