"""Programs that start sd-scripts themselves: LoRA_Easy_Training_Scripts' and lora-scripts' TOML as the run they would start.

[general_args.args]            LoRA_Easy: sd-scripts' options, a table for each of its panels,
[general_args.dataset_args]    what goes into a dataset TOML,
[[subsets]]                    and its folders

model_train_type = "sd-lora"   lora-scripts: sd-scripts' options, some by names of its own
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from maquette.elsewhere.values import number, rows, switch
from maquette.kohya.config_file import keep_value
from maquette.kohya.given import Reading, request_of
from maquette.kohya.options import OPTIONS, SCRIPTS
from maquette.project.request import Folder, TrainingRequest

EASY_PANELS = (
    "general_args",
    "network_args",
    "optimizer_args",
    "saving_args",
    "bucket_args",
    "noise_args",
    "sample_args",
)
LORA_SCRIPTS_MARKS = frozenset({"model_train_type", "lycoris_algo", "enable_preview", "lr_restart_cycles"})
LORA_SCRIPTS_NAMES = {
    "lr_restart_cycles": "lr_scheduler_num_cycles", "max_train_epoches": "max_train_epochs", "batch_size": "train_batch_size",
    "lr": "learning_rate",
}  # fmt: skip
LORA_SCRIPTS_OWN = frozenset(
    {
        "model_train_type", "lycoris_algo", "network_args_custom", "optimizer_args_custom", "enable_preview",
        "enable_block_weights",
        "positive_prompts", "negative_prompts", "sample_width", "sample_height", "sample_cfg", "sample_seed", "sample_steps",
        "randomly_choice_prompt", "random_prompt_include_subdir", "prompt_file", "enable_base_weight", "ui_custom_params",
        "gpu_ids", "multi_gpu", "dropout", "conv_dim", "conv_alpha", "prodigy_d0", "prodigy_d_coef", "train_norm", "dora_wd",
        "lokr_factor", "enable_custom_network_args", "min_snr", "noise_offset_type", "stop_text_encoder_training",
    }
)  # fmt: skip
THREADS = {"num_cpu_threads_per_process": "8"}
"""What both tell accelerate themselves."""
TRAIN_TYPES = {
    "sd-lora": "train_network.py", "lora-basic": "train_network.py", "lora-master": "train_network.py",
    "sdxl-lora": "sdxl_train_network.py", "flux-lora": "flux_train_network.py", "sd3-lora": "sd3_train_network.py",
    "lumina-lora": "lumina_train_network.py", "lumina2-lora": "lumina_train_network.py",
}  # fmt: skip


# --- LoRA_Easy_Training_Scripts --------------------------------------------------------------------------


def is_easy(value: Any) -> bool:
    """Return whether a TOML is one of LoRA_Easy_Training_Scripts."""
    if not isinstance(value, Mapping):
        return False
    panels = [value[name] for name in EASY_PANELS if isinstance(value.get(name), Mapping)]
    return any("args" in panel or "dataset_args" in panel for panel in panels)


def read_easy(path: Path, value: Any) -> TrainingRequest:
    """Return the run that LoRA_Easy_Training_Scripts would start."""
    reading = Reading()
    options = dict(_easy_options(value))
    for name, (place, given) in options.items():
        option = EASY_NAMES.get(name, name)
        if option in OPTIONS and (name not in EASY_NAMES or number(given)):
            keep_value(reading, option, _easy_value(option, given), place)
        elif option not in OPTIONS and name not in EASY_OWN:
            reading.unknown.append(name)
    if switch(options.get("fa", ("", False))[1]):
        keep_value(reading, "network_module", "networks.lora_fa", options["fa"][0])
    elif "network_module" not in reading.values:
        arguments = options.get("network_args", ("", {}))[1]
        is_lycoris = isinstance(arguments, Mapping) and "algo" in arguments
        keep_value(
            reading, "network_module", "lycoris.kohya" if is_lycoris else "networks.lora", "network_args"
        )
    is_large = switch(options.get("sdxl", ("", False))[1])
    script = list(SCRIPTS)[1 if is_large else 0]
    request = request_of(reading, path, script=script, launcher="accelerate", launcher_options=THREADS)
    folders = tuple(_easy_folder(each) for each in rows(value.get("subsets")))
    return replace(request, folders=tuple(folder for folder in folders if str(folder.path) != "."))


EASY_NAMES = {"batch_size": "train_batch_size", "warmup_ratio": "lr_warmup_steps"}
EASY_OWN = frozenset(
    {"sdxl", "fa", "save_toml", "save_toml_location", "tag_occurrence", "tag_file_location", "name"}
)


def _easy_options(value: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Yield (name, (place, value)) of every option in the panels."""
    for panel, parts in value.items():
        if not isinstance(parts, Mapping):
            continue
        for part in ("args", "dataset_args"):
            for name, given in (
                (parts.get(part) or {}).items() if isinstance(parts.get(part), Mapping) else ()
            ):
                yield name, (f"[{panel}.{part}] {name}", given)


def _easy_value(name: str, given: Any) -> Any:
    """Return a value as sd-scripts has it: tables of arguments are lists of NAME=VALUE there."""
    kind = OPTIONS[name].kind
    if kind == "texts" and isinstance(given, Mapping):
        return [f"{key}={_shown(value)}" for key, value in given.items()]
    if kind == "size":
        return ",".join(str(part) for part in given) if isinstance(given, list) else str(given)
    if kind == "int" and (found := number(given)) is not None and found == int(found):
        return int(found)
    return given


def _shown(value: Any) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, list) else str(value)


def _easy_folder(subset: Mapping[str, Any]) -> Folder:
    return Folder(
        path=Path(str(subset.get("image_dir") or ".")),
        repeats=int(number(subset.get("num_repeats")) or 1),
        caption_extension=str(subset.get("caption_extension") or ".txt"),
        is_regularization=bool(subset.get("is_reg")),
        options={
            name: each
            for name, each in subset.items()
            if name not in ("image_dir", "num_repeats", "caption_extension", "is_reg", "name") and each
        },
    )


# --- lora-scripts ----------------------------------------------------------------------------------------


def is_lora_scripts(value: Any) -> bool:
    """Return whether a TOML is one of Akegarasu's lora-scripts: sd-scripts' options with names of its own among them."""
    if not isinstance(value, Mapping):
        return False
    inner = [name for table in value.values() if isinstance(table, Mapping) for name in table]
    return bool(LORA_SCRIPTS_MARKS & {*value, *inner})


def read_lora_scripts(path: Path, value: Any) -> TrainingRequest:
    """Return the run that lora-scripts would start."""
    reading = Reading()
    for name, each in value.items():
        inner = each.items() if isinstance(each, Mapping) else [(name, each)]
        for key, given in inner:
            place = f"[{name}] {key}" if isinstance(each, Mapping) else key
            option = LORA_SCRIPTS_NAMES.get(str(key), str(key))
            if option in OPTIONS:
                keep_value(reading, option, _easy_value(option, given), place)
            elif key not in LORA_SCRIPTS_OWN and key != "version":
                reading.unknown.append(key)
    if reading.values.get("lr_warmup_steps") == "":
        del reading.values["lr_warmup_steps"]
    script = TRAIN_TYPES.get(str(value.get("model_train_type", "sd-lora")), "train_network.py")
    return request_of(reading, path, script=script, launcher="accelerate", launcher_options=THREADS)
