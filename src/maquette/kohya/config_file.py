"""sd-scripts' `--config_file`: a TOML of options, and how it is told from a dataset TOML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, Problem
from maquette.kohya.dataset_toml import flat, options_beside_datasets, own_options
from maquette.kohya.given import Reading, request_of, with_guess
from maquette.kohya.options import OPTIONS, SCRIPTS
from maquette.kohya.values import BadValue, from_toml
from maquette.project.request import TrainingRequest
from maquette.reading import FileKind, read_table

FILE = FileKind(
    "a --config_file of sd-scripts as TOML",
    "Repair the line it names; write folders with / or in 'single quotes'.",
)
KEYS_OF_THE_GUI = frozenset(
    {"epoch", "noise_offset_type", "train_inpainting", "stop_text_encoder_training", "lowvram"}
)
"""What kohya_ss' GUI writes into its config files beside sd-scripts' options, as notes to itself."""
LENGTHS = ("max_train_steps", "max_train_epochs")
OTHER_SCRIPTS: Mapping[str, frozenset[str]] = {
    "flux_train_network.py": frozenset(
        {"ae", "t5xxl", "t5xxl_max_token_length", "apply_t5_attn_mask", "guidance_scale", "split_mode"}
    ),
    "sd3_train_network.py": frozenset({"clip_g", "clip_g_dropout_rate", "t5_dropout_rate", "save_t5xxl"}),
    "lumina_train_network.py": frozenset({"gemma2", "gemma2_max_token_length", "system_prompt"}),
    "anima_train_network.py": frozenset({"qwen3", "qwen3_max_token_length", "llm_adapter_path"}),
    "hunyuan_image_train_network.py": frozenset({"byt5", "fp8_vl", "text_encoder_cpu"}),
}
"""Options that only another of sd-scripts' trainers has: a file with one is meant for it."""


def is_dataset_toml(path: Path) -> bool:
    """Return whether a TOML or JSON file has the tables of a kohya dataset. Never raises."""
    tables = _tables_or_none(path)
    return tables is not None and "datasets" in tables and not options_beside_datasets(tables)


def is_config_file(path: Path) -> bool:
    """Return whether a TOML file sets options of sd-scripts that no other settings file has. Never raises."""
    tables = _tables_or_none(path) if path.suffix.lower() == ".toml" else None
    if tables is None:
        return False
    return bool(options_beside_datasets(tables) if "datasets" in tables else own_options(tables))


def script_of(names: Iterable[str]) -> str | None:
    """Return the trainer of another family that a file's options are meant for; None for SD 1.x, 2.x and SDXL."""
    given = set(names)
    return next((script for script, marks in OTHER_SCRIPTS.items() if given & marks), None)


def _tables_or_none(path: Path) -> Mapping[str, Any] | None:
    try:
        return read_table(path, FILE)
    except ConfigError:
        return None


# --- --config_file ---------------------------------------------------------------------------------------


def read_config_file(path: Path) -> TrainingRequest:
    """Return the run that a --config_file TOML describes. Raises ConfigError when it cannot be parsed.

    Values of the wrong kind and `resolution = 512` become `problems`; keys that the trainer ignores become
    `unknown_options`, each with the nearest name where there is one.
    """
    tables = read_table(path, FILE)
    script = script_of(name for _, name, _ in flat(tables))
    return request_of(reading_of_options(tables, script), path, script=script)


def read_options(path: Path, script: str | None) -> Reading:
    """Return the options in a --config_file that a command names. Raises ConfigError when it cannot be parsed."""
    return reading_of_options(read_table(path, FILE), script)


def reading_of_options(tables: Mapping[str, Any], script: str | None) -> Reading:
    """Return the options in the tables of a --config_file, whose section names mean nothing."""
    reading = Reading()
    names = {name for _, name, _ in flat(tables)}
    known = SCRIPTS.get(script or "", frozenset(OPTIONS))
    for section, name, value in flat(tables):
        place = f"[{section}] {name}" if section else name
        if name == "datasets" and isinstance(value, list):
            reading.problems.append(_datasets_here(names))
        elif name in known:
            keep_value(reading, name, value, place)
        elif not _is_note_of_the_gui(name, value, names) and (script is None or script in SCRIPTS):
            reading.unknown.append(with_guess(name, known))
    return reading


def keep_value(reading: Reading, name: str, value: Any, place: str) -> None:
    """Add one option's value, which stands in a file as TOML or JSON has it, or what is wrong with it."""
    if name in reading.values:
        reading.repeated.append(name)
    reading.places[name] = place
    reading.written[name] = json.dumps(value, default=str, ensure_ascii=False)
    try:
        reading.values[name] = from_toml(OPTIONS[name], value)
    except BadValue as error:
        reading.values.pop(name, None)
        reading.problems.append(_bad_toml_value(place, name, value, error))


def _is_note_of_the_gui(name: str, value: Any, names: set[str]) -> bool:
    """Return whether a key is one that the GUI keeps for itself, and the run is what it says without it."""
    if name == "epoch":
        return any(length in names for length in LENGTHS)
    return name in KEYS_OF_THE_GUI and (name == "noise_offset_type" or not value)


def _datasets_here(names: set[str]) -> Problem:
    others = {"train_data_dir", "in_json", "dataset_config"} & names
    without = "" if others else ", so that no pictures are given at all"
    return Problem(
        "[[datasets]]",
        f"[[datasets]] stands in a file of options: sd-scripts never looks at it there{without}",
        "two files, the options in --config_file and [[datasets]] in --dataset_config",
        'Move [[datasets]] into a file of its own and name it here: dataset_config = "dataset.toml".',
    )


def _bad_toml_value(place: str, name: str, value: Any, error: BadValue) -> Problem:
    given = f"{name} = {json.dumps(value, default=str)}"
    remedy = error.remedy or "Write it so."
    if name == "resolution" and isinstance(value, int) and not isinstance(value, bool):
        given += ", which stops sd-scripts with \"AttributeError: 'int' object has no attribute 'split'\""
        remedy = (
            f'Write resolution = "{value},{value}", in quotes. (A dataset TOML is the other way round: '
            f"resolution = {value}, without.)"
        )
    elif name == "resolution" and isinstance(value, list):
        given += ", which stops sd-scripts with \"AttributeError: 'list' object has no attribute 'split'\""
        remedy = f'Write resolution = "{",".join(str(part) for part in value)}", in quotes.'
    elif isinstance(value, str) and OPTIONS[name].kind in ("int", "number", "share", "switch", "numbers"):
        remedy = "Remove the quotes: a --config_file's values are taken as they are, never converted."
    elif OPTIONS[name].kind == "texts":
        remedy = f'Write {name} = ["name=value"], a list.'
    return Problem(place, given, str(error), remedy)
