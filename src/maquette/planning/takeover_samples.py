"""Another trainer's sample prompts as settings of Maquette: what all of them say becomes a setting, the rest stays with each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.kohya.prompt_tables import prompts_of_file
from maquette.kohya.prompts import Prompt, line_of, read_prompts
from maquette.project.places import found_path
from maquette.project.settings_text import Reasoned
from maquette.reading import Unreadable

if TYPE_CHECKING:
    from maquette.planning.takeover import Taken

SAMPLERS = {
    "euler_a": "euler_ancestral", "k_euler_a": "euler_ancestral", "euler": "euler", "k_euler": "euler", "ddim": "ddim",
    "dpmsolver++": "dpmpp_2m",
}  # fmt: skip
OF_ALL = {"n": "negative_prompt", "s": "sample_steps", "l": "guidance", "ss": "sampler"}
"""Option of a line → the setting that says it of all."""
SIDES = ("w", "h")
IN_ORDER = ("n", *SIDES, "d", "l", "s", "ss")
TRAINER_PX = 512
"""A side that sd-scripts is not told, whatever the base."""
VAE_GRID_PX = 8
MOST_STEPS = 1000
NO_SAMPLER = "no sampler of Maquette's: the base's own is used"


def samples(taken: Taken) -> None:
    """Take the prompts over with all that each says, and the sampler."""
    sampler = taken.request.other.get("sample_sampler")
    if sampler in SAMPLERS:
        taken.values["sampler"] = Reasoned(SAMPLERS[sampler], "sample_sampler")
    lines = [(prompt.text, _values(taken, prompt)) for prompt in _prompts(taken) if _is_whole(taken, prompt)]
    if not lines:
        return
    every = [values for _, values in lines]
    for option, setting in OF_ALL.items():
        if len({values.get(option) for values in every}) == 1 and option in every[0]:
            taken.put(setting, _typed(option, every[0][option]), "sample_prompts")
            _without(every, option)
    _seeds(taken, every)
    size = taken.request.value("resolution_wh")
    if size and all([values.get(side) for side in SIDES] == list(map(str, size)) for values in every):
        _without(every, *SIDES)
    shown = tuple(line_of(text.replace("[trigger]", "{trigger}"), values) for text, values in lines)
    taken.put("sample_prompts", shown, "sample_prompts")


def _prompts(taken: Taken) -> list[Prompt]:
    request = taken.request
    if request.trainer == "other" and request.sample_prompts:
        return read_prompts(request.sample_prompts.split("\n"))
    if request.sample_texts or not request.sample_prompts:
        return read_prompts(request.sample_texts)
    place = found_path(Path(request.sample_prompts), request.file)
    if place is None:
        taken.left[request.said("sample_prompts")] = "the file of prompts is not here"
        return []
    try:
        return prompts_of_file(place)
    except Unreadable as error:
        taken.left[str(place)] = error.given
        return []


def _is_whole(taken: Taken, prompt: Prompt) -> bool:
    """Return whether a line says what it means; one that does not is left by name, for it would be drawn as words."""
    words = bool(prompt.text) and not prompt.text.startswith("--")
    if prompt.not_split:
        meant = ", ".join(prompt.not_split)
        taken.left[f"sample prompt {prompt.line}"] = f"{meant} is drawn as words: write two hyphens"
    elif not words:
        taken.left[f"sample prompt {prompt.line}"] = "there is no prompt in it"
    return words and not prompt.not_split


def _values(taken: Taken, prompt: Prompt) -> dict[str, str]:
    """Return what a line says and is drawn here, as sd-scripts draws it; the rest is left by name."""
    values = dict(prompt.values)
    for each in prompt.unknown:
        taken.left[f"--{each} in the sample prompts"] = "its own trainer passes it over"
    for option in values.keys() - {*OF_ALL, *SIDES, "d"}:
        del values[option]
        taken.left[f"--{option} in the sample prompts"] = "nothing here draws with it"
    if "ss" in values and values["ss"] not in SAMPLERS:
        taken.left[f"--ss {values.pop('ss')} in the sample prompts"] = NO_SAMPLER
    elif "ss" in values:
        values["ss"] = SAMPLERS[values["ss"]]
    if "s" in values:
        values["s"] = str(min(MOST_STEPS, max(1, int(values["s"]))))
    if values.keys() & set(SIDES):
        for side in SIDES:
            given_px = int(values.get(side, TRAINER_PX))
            values[side] = str(max(64, given_px // VAE_GRID_PX * VAE_GRID_PX))
    return {option: values[option] for option in IN_ORDER if option in values}


def _seeds(taken: Taken, every: list[dict[str, str]]) -> None:
    """Take seeds that count up from the first as the setting that says so."""
    seeds = [values.get("d") for values in every]
    first = seeds[0]
    if first is not None and seeds == [str(int(first) + index) for index in range(len(seeds))]:
        taken.put("sample_seed", int(first), "sample_prompts")
        _without(every, "d")


def _without(every: list[dict[str, str]], *options: str) -> None:
    for values in every:
        for option in options:
            values.pop(option, None)


def _typed(option: str, text: str) -> str | int | float:
    kinds: Mapping[str, type] = {"s": int, "l": float}
    value: str | int | float = kinds.get(option, str)(text)
    return value
