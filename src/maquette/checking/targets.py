"""What a path given to `check` is: a project, a dataset, a script, a log, a LoRA, a base model, a profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maquette.dataset.config import PICTURE_EXTENSIONS
from maquette.elsewhere.kinds import recognise
from maquette.errors import ConfigError, MaquetteError, Problem, nearest
from maquette.kohya.shell_commands import with_home
from maquette.lora.names import is_adapter_name
from maquette.project.config_file import CONFIG_NAME
from maquette.project.profile import PROFILE_NAME

Kind = Literal[
    "project", "dataset", "config", "script", "settings", "foreign", "prompts", "log", "lora", "base", "profile"
]  # fmt: skip
"""`settings`: another trainer's, which describe a run. `foreign`: another program's file with no run in it."""

WEIGHT_SUFFIXES = frozenset({".safetensors", ".ckpt", ".pt", ".pth", ".bin"})
PROFILE_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
ACCEPTED = "a project, a folder of pictures, a kohya folder or TOML, a training script, a log, a LoRA or a base model"


@dataclass(frozen=True)
class Target:
    """One thing to be checked."""

    path: Path
    kind: Kind


def identify(path: Path) -> Target:
    """Return what `path` is, by its content. Raises ConfigError when it is nothing that can be checked."""
    path = with_home(str(path))
    if path.is_dir():
        return _identify_folder(path)
    if not path.exists():
        raise ConfigError(_missing(path))
    kind = kind_of_file(path)
    if kind is None:
        remedy = f"Give its folder: {path.parent}" if _is_picture(path) else "Give one of these."
        raise ConfigError(Problem(str(path), "nothing that can be checked", ACCEPTED, remedy))
    return Target(path, kind)


def _identify_folder(path: Path) -> Target:
    if (path / CONFIG_NAME).is_file():
        return Target(path, "project")
    if (path / "run.json").is_file():
        return Target(path, "log")
    if (path / "model_index.json").is_file():
        return Target(path, "base")
    return Target(path, "dataset")


def kind_of_file(path: Path) -> Kind | None:
    """Return what a file is, by its name and content; None for a picture and for what cannot be checked."""
    suffix = path.suffix.lower()
    if path.name == CONFIG_NAME:
        return "project"
    if path.name == PROFILE_NAME:
        return "profile"
    if suffix in WEIGHT_SUFFIXES:
        return _kind_of_weights(path)
    if suffix in (".toml", ".json", ".yaml", ".yml"):
        return _kind_of_table(path)
    if _is_picture(path):
        return None
    return _kind_of_text(path)


def _kind_of_table(path: Path) -> Kind | None:
    from maquette.kohya.config_file import is_config_file, is_dataset_toml

    foreign = recognise(path)
    if foreign is not None:
        return "settings" if foreign.kind.read is not None else "foreign"
    if is_dataset_toml(path):
        return "dataset"
    if path.suffix.lower() in PROFILE_SUFFIXES:
        return "profile"
    return "config" if is_config_file(path) else "dataset"


def _kind_of_text(path: Path) -> Kind | None:
    from maquette.kohya.prompts import looks_like_prompts
    from maquette.kohya.request import has_training_command
    from maquette.logs.reading import looks_like_log

    if recognise(path) is not None:
        return "foreign"
    is_log = path.suffix.lower() in (".log", ".jsonl") or looks_like_log(path)
    if path.suffix.lower() not in (".log", ".jsonl") and has_training_command(path) and not is_log:
        return "script"
    if not is_log and looks_like_prompts(path):
        return "prompts"
    return "log" if is_log else None


def _kind_of_weights(path: Path) -> Kind:
    """A LoRA's tensors tell it; everything else is taken for a base model, whose reader says what is wrong."""
    from maquette.families.common.header import read_header

    if path.suffix.lower() != ".safetensors":
        return "lora"
    try:
        names = read_header(path).tensors
    except MaquetteError:
        return "lora"
    return "lora" if any(is_adapter_name(name) for name in names) else "base"


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_EXTENSIONS


def _missing(path: Path) -> Problem:
    guess = None
    if path.parent.is_dir():
        guess = nearest(path.name, [other.name for other in path.parent.iterdir()])
    remedy = f"Did you mean '{path.parent / guess}'?" if guess else "Check the path."
    return Problem(str(path), "no such file or folder", ACCEPTED, remedy)
