"""Files of sample prompts of every kind that sd-scripts reads: lines of text, TOML, JSON.

    [prompt]                     what holds for all
    width = 512
    [[prompt.subset]]            one prompt
    prompt = "mk, portrait"

A JSON file is a list of such tables, or of lines as they stand in a text file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maquette.kohya.prompts import MAX_BYTES, Prompt, fits, prompt_of, read_prompts
from maquette.reading import Unreadable, parse_json, parse_toml, text_of

OPTION_OF: Mapping[str, str] = {
    "negative_prompt": "n", "width": "w", "height": "h", "seed": "d", "sample_steps": "s", "scale": "l", "guidance_scale": "g",
    "sample_sampler": "ss", "controlnet_image": "cn", "cfg_trunc_ratio": "ctr", "renorm_cfg": "rcfg", "flow_shift": "fs",
}  # fmt: skip
"""Key of a table → the option of a line that says the same."""
FORM = "[prompt] with [[prompt.subset]] in TOML, a list of prompts in JSON"


def prompts_of_file(path: Path) -> list[Prompt]:
    """Return the prompts of a file, told apart by its ending as sd-scripts does. Raises Unreadable."""
    text = text_of(path, MAX_BYTES)
    if path.suffix == ".toml":
        return list(_prompts(_subsets(parse_toml(text))))
    if path.suffix == ".json":
        return list(_prompts(parse_json(text)))
    return read_prompts(text.split("\n"))


def _subsets(values: Any) -> list[Any]:
    common = values.get("prompt") if isinstance(values, dict) else None
    subsets = common.get("subset") if isinstance(common, dict) else None
    if (
        not isinstance(common, dict)
        or not isinstance(subsets, list)
        or not all(isinstance(each, dict) for each in subsets)
    ):
        raise Unreadable(f"not {FORM}")
    own = {name: value for name, value in common.items() if name != "subset"}
    return [{**own, **each} for each in subsets]


def _prompts(values: Any) -> Iterator[Prompt]:
    if not isinstance(values, list) or not all(isinstance(each, dict | str) for each in values):
        raise Unreadable(f"not {FORM}")
    for number, each in enumerate(values, start=1):
        yield prompt_of(each, number) if isinstance(each, str) else _of_table(each, number)


def _of_table(table: Mapping[str, Any], number: int) -> Prompt:
    values: dict[str, str] = {}
    unknown: list[str] = []
    for key, value in table.items():
        option = OPTION_OF.get(key)
        if key == "prompt" or value is None:
            continue
        if option is None or not fits(option, str(value)):
            unknown.append(f"{key} {value}")
        else:
            values[option] = str(value)
    return Prompt(str(table.get("prompt") or "").strip(), number, values, tuple(unknown))
