"""Every kind of file that another program writes: what it is, by which marks in its content it is told, who reads it.

A kind with a reader becomes a training request; `then` says what else Maquette can do, and where the thing belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.elsewhere import kohya_gui, on_sd_scripts, other_trainers
from maquette.elsewhere.contents import contents_of
from maquette.project.request import TrainingRequest

TRAIN_LORAS = (
    "Maquette trains LoRAs: start anew with maquette init PROJECT --images DIR --base FILE --trigger WORD."
)
START_FROM_IT = (
    "Give the trainer's own settings instead; maquette init PROJECT --from FILE makes a project of them."
)


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    title: str
    """As a sentence goes on: `It is …`."""
    marks: Callable[[Any], bool]
    then: str = ""
    read: Callable[[Path, Any], TrainingRequest] | None = None


@dataclass(frozen=True)
class ForeignFile:
    """A file of another program."""

    path: Path
    kind: Kind
    value: Any

    def request(self) -> TrainingRequest | None:
        """Return the run that it describes; None where it describes none that can be read."""
        return self.kind.read(self.path, self.value) if self.kind.read is not None else None


def recognise(path: Path) -> ForeignFile | None:
    """Return what a JSON, JSON Lines, TOML, YAML or notebook file is, where a program that we know wrote it. Never raises."""
    if path.suffix.lower() not in (".json", ".jsonl", ".toml", ".yaml", ".yml", ".ipynb"):
        return None
    value = contents_of(path)
    kind = kind_of(value)
    return ForeignFile(path, kind, value) if kind is not None else None


def kind_of(value: Any) -> Kind | None:
    """Return the kind of file that holds these values."""
    return next((kind for kind in KINDS if kind.marks(value)), None) if value else None


def _has(*names: str, of: int = 0) -> Callable[[Any], bool]:
    """Return a mark: a table with all of these keys, or with `of` of them."""
    wanted = set(names)
    return lambda value: isinstance(value, Mapping) and len(wanted & value.keys()) >= (of or len(wanted))


def _any_value(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and any(check(each) for each in list(value.values())[:50])


def _first_row(*names: str) -> Callable[[Any], bool]:
    """Return a mark: a list whose first row has one of these keys."""
    return lambda value: (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], Mapping)
        and bool(set(names) & value[0].keys())
    )


def _is_metadata(value: Any) -> bool:
    """A LoRA's metadata, as they stand in the file or under __metadata__."""
    if not isinstance(value, Mapping):
        return False
    inner = value.get("__metadata__")
    names = inner if isinstance(inner, Mapping) else value
    marked = [
        name for name in names if isinstance(name, str) and name.startswith(("ss_", "modelspec.", "sshs_"))
    ]
    return len(marked) >= 2


def _is_picture_list(value: Any) -> bool:
    """sd-scripts' meta_cap.json, meta_lat.json: a table of pictures by their paths."""
    is_entry = _has("caption", "tags", "train_resolution", of=1)
    return _any_value(is_entry)(value) and not _has("nodes", "class_type", of=1)(value)


def _is_musubi(value: Any) -> bool:
    rows = value.get("datasets") if isinstance(value, Mapping) else None
    keys = {"image_directory", "video_directory", "image_jsonl_file", "video_jsonl_file"}
    return isinstance(rows, list) and any(
        isinstance(row, Mapping) and bool(keys & row.keys()) for row in rows
    )


GIVE_FOLDERS = "Give the folder of the pictures, or the settings of the trainer."
GIVE_LISTED = (
    "Give the folder of the pictures, and this file as metadata_file (a metadata.jsonl in it is found)."
)
KINDS: tuple[Kind, ...] = (
    Kind("a settings file of kohya_ss' GUI", kohya_gui.is_kohya_gui, read=kohya_gui.read_kohya_gui),
    Kind("a settings file of LoRA_Easy_Training_Scripts", on_sd_scripts.is_easy, read=on_sd_scripts.read_easy),
    Kind("a settings file of lora-scripts", on_sd_scripts.is_lora_scripts, read=on_sd_scripts.read_lora_scripts),
    Kind("a job file of ai-toolkit", other_trainers.is_ai_toolkit, read=other_trainers.read_ai_toolkit),
    Kind("a settings file of OneTrainer", other_trainers.is_onetrainer, read=other_trainers.read_onetrainer),
    Kind("a settings file of SimpleTuner", other_trainers.is_simpletuner, read=other_trainers.read_simpletuner),
    Kind("a settings file of diffusion-pipe", other_trainers.is_diffusion_pipe, read=other_trainers.read_diffusion_pipe),
    Kind(
        "a settings file of kohya_ss' GUI for a whole model (Dreambooth or Finetune)",
        kohya_gui.is_kohya_gui_of_whole_models,
        TRAIN_LORAS,
    ),
    Kind("a list of OneTrainer's concepts", other_trainers.is_onetrainer_concepts, GIVE_FOLDERS),
    Kind("a list of OneTrainer's sample prompts", other_trainers.is_onetrainer_samples, START_FROM_IT),
    Kind(
        "SimpleTuner's list of data backends (multidatabackend.json)",
        other_trainers.is_simpletuner_backends,
        "Give its config.json, which names this file, or the folder of the pictures.",
    ),
    Kind(
        "diffusion-pipe's list of folders",
        other_trainers.is_diffusion_pipe_dataset,
        "Give the settings that name this file, or the folder of the pictures.",
    ),
    Kind("a dataset TOML of musubi-tuner", _is_musubi, GIVE_FOLDERS),
    Kind(
        "accelerate's own settings file (default_config.yaml)",
        _has("compute_environment", "distributed_type", "mixed_precision", "num_processes", of=3),
        "It says where a run computes, not what: give the script or the trainer's settings. Maquette needs no such file.",
    ),
    Kind("a settings file of EveryDream2", _has("data_root", "resume_ckpt", "max_epochs", "project_name", of=3), TRAIN_LORAS),
    Kind(
        "a Jupyter notebook",
        _has("cells", "nbformat"),
        "Copy the training command, or the config file that it writes, into a file of its own and check that.",
    ),
    Kind(
        "a ComfyUI workflow (the editor's form)",
        _has("nodes", "links"),
        "It draws, it trains nothing. A LoRA is checked by its own file; maquette deploy writes a workflow for one.",
    ),
    Kind(
        "a ComfyUI workflow (the API's form)",
        _any_value(_has("class_type", "inputs")),
        "It draws, it trains nothing. A LoRA is checked by its own file; maquette deploy writes a workflow for one.",
    ),
    Kind(
        "the metadata of a LoRA, copied out of it",
        _is_metadata,
        "Give the .safetensors file itself: its tensors are what can be checked. maquette lora inspect shows both.",
    ),
    Kind(
        "PEFT's description of an adapter (adapter_config.json)",
        _has("peft_type"),
        "Give the adapter_model.safetensors beside it.",
    ),
    Kind(
        "a part of a diffusers model",
        _has("_class_name", "_diffusers_version", of=1),
        "Give the folder of the whole model, the one that holds model_index.json.",
    ),
    Kind(
        "a drawing program's notes on a LoRA",
        _has("activation text", "preferred weight", "sd version", of=2),
        "Give the .safetensors file that it lies beside.",
    ),
    Kind("a list of pictures with captions (metadata.jsonl)", _first_row("file_name", "image_path", "image"), GIVE_LISTED),
    Kind("sd-scripts' list of pictures (meta_cap.json, meta_lat.json)", _is_picture_list, GIVE_LISTED),
)  # fmt: skip
"""In the order in which they are asked: the first whose marks are there."""
