"""kohya_ss' GUI: its saved settings (.json) as the run of sd-scripts that it would start.

What a key becomes is what the GUI makes of it when it writes its config file (kohya_ss 45088f04, and its presets from 2023
on): 0 and empty mean `not said`, a percentage is a share, a kind of LoRA is a module with arguments.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maquette.elsewhere.values import number, switch
from maquette.errors import Problem
from maquette.kohya.config_file import keep_value
from maquette.kohya.given import Reading, request_of
from maquette.kohya.options import OPTIONS
from maquette.kohya.request import reading_of_words
from maquette.project.request import TrainingRequest

SCRIPTS = (
    ("sdxl", "sdxl_train_network.py"),
    ("flux1_checkbox", "flux_train_network.py"),
    ("sd3_checkbox", "sd3_train_network.py"),
    ("hunyuan_image_checkbox", "hunyuan_image_train_network.py"),
    ("anima_checkbox", "anima_train_network.py"),
    ("lumina_checkbox", "lumina_train_network.py"),
)
"""The box that is ticked → the script that is started; without any, train_network.py."""
MODULES = {
    "Standard": "networks.lora", "Kohya LoCon": "networks.lora", "LoRA-FA": "networks.lora_fa",
    "Kohya DyLoRA": "networks.dylora", "Kohya LoHa": "networks.loha", "Kohya LoKr": "networks.lokr",
    "Flux1": "networks.lora_flux", "Flux1 OFT": "networks.oft_flux", "HunyuanImage-2.1": "networks.lora_hunyuan_image",
    "Anima": "networks.lora_anima", "Lumina": "networks.lora_lumina",
}  # fmt: skip
ALGORITHMS = {
    "LyCORIS/BOFT": "boft", "LyCORIS/Diag-OFT": "diag-oft", "LyCORIS/DyLoRA": "dylora", "LyCORIS/GLoRA": "glora",
    "LyCORIS/iA3": "ia3", "LoCon": "locon", "LyCORIS/LoCon": "locon", "LyCORIS/LoHa": "loha", "LyCORIS/LoKr": "lokr",
    "LyCORIS/Native Fine-Tuning": "full",
}  # fmt: skip
RENAMED = {
    "max_resolution": "resolution",
    "optimizer": "optimizer_type",
    "lora_network_weights": "network_weights",
}
BY_ITSELF = frozenset(
    {
        "epoch", "max_train_epochs", "max_train_steps", "lr_warmup", "lr_warmup_steps", "noise_offset", "adaptive_noise_scale",
        "noise_offset_random_strength", "multires_noise_iterations", "multires_noise_discount", "text_encoder_lr", "xformers",
        "sdpa", "network_args", "network_module", "optimizer_args", "lr_scheduler_args", "sample_prompts", "use_8bit_adam",
        "sdxl_no_half_vae", "sdxl_cache_text_encoder_outputs", "no_half_vae", "cache_text_encoder_outputs", "save_model_as",
        "dynamo_backend", "log_with", "lr_scheduler_num_cycles", "vae",
        "clip_skip",
    }
)  # fmt: skip
"""Keys that need more than to be copied, or that sd-scripts would take in another sense."""
BLOCK_KEYS = (
    "down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold", "block_dims", "block_alphas",
    "conv_block_dims", "conv_block_alphas", "rank_dropout", "module_dropout",
)  # fmt: skip
LYCORIS_KEYS = (
    "use_tucker", "use_cp", "use_scalar", "rank_dropout", "module_dropout", "rank_dropout_scale", "bypass_mode", "dora_wd",
    "train_norm",
)  # fmt: skip
TO_ACCELERATE = ("num_cpu_threads_per_process", "num_processes", "num_machines", "mixed_precision")


def is_kohya_gui(value: Any) -> bool:
    """Return whether a JSON holds what the GUI saves for training a LoRA."""
    if (
        not isinstance(value, Mapping)
        or not {"pretrained_model_name_or_path", "train_data_dir"} & value.keys()
    ):
        return bool(isinstance(value, Mapping) and "LoRA_type" in value and "network_dim" in value)
    own = {
        "LoRA_type",
        "max_resolution",
        "lr_warmup",
        "noise_offset_type",
        "sdxl_no_half_vae",
        "stop_text_encoder_training",
    }
    return "network_dim" in value and len(own & value.keys()) >= 2


def is_kohya_gui_of_whole_models(value: Any) -> bool:
    """Return whether a JSON holds what the GUI saves for training a whole model (Dreambooth, Finetune)."""
    own = {
        "max_resolution",
        "lr_warmup",
        "stop_text_encoder_training",
        "use_latent_files",
        "epoch",
        "full_path",
    }
    return isinstance(value, Mapping) and "network_dim" not in value and len(own & value.keys()) >= 3


def read_kohya_gui(path: Path, value: Any) -> TrainingRequest:
    """Return the run that the GUI would start with these settings."""
    reading = Reading()
    table = {RENAMED.get(name, name): each for name, each in value.items() if isinstance(name, str)}
    names = {RENAMED.get(name, name): name for name in value}
    reader = _Gui(table, names, reading)
    reader.read()
    script = next((script for box, script in SCRIPTS if switch(table.get(box))), "train_network.py")
    extra = str(table.get("additional_parameters") or "")
    if extra.strip():
        reading = reading.under(_additional(extra, script))
    told = {name: str(table[name]) for name in TO_ACCELERATE if table.get(name)}
    prompts = tuple(line for line in str(table.get("sample_prompts") or "").splitlines() if line.strip())
    return request_of(
        reading, path, script=script, launcher="accelerate", launcher_options=told, sample_texts=prompts
    )


class _Gui:
    """Takes the settings over, one concern after the other."""

    def __init__(self, table: Mapping[str, Any], names: Mapping[str, str], reading: Reading) -> None:
        self.table, self.names, self.reading = table, names, reading

    def read(self) -> None:
        for name in self.table:
            if name in OPTIONS and name not in BY_ITSELF:
                self.keep(name, self.table[name])
        self._length()
        self._rates()
        self._noise()
        self._network()
        self._model()
        self._rest()

    def keep(self, name: str, value: Any, key: str = "") -> None:
        """Keep an option, unless its value means `not said`."""
        option = OPTIONS[name]
        place = self.names.get(key or name, key or name)
        if value in ("", None, False, [], {}) and name != "max_data_loader_n_workers":
            return  # 0 too: the GUI writes none of them into its config file
        if option.kind != "text" and number(value) == 0 and name != "max_data_loader_n_workers":
            return
        converted = _converted(option.kind, value)
        if converted is None:
            given, required = (
                f"{place} = {value!r}",
                "a number" if option.kind != "switch" else "true or false",
            )
            self.reading.problems.append(Problem(place, given, required, "Correct it in the GUI."))
            return
        keep_value(self.reading, name, converted, place)

    def _length(self) -> None:
        """The epochs become max_train_steps by the GUI's own sum, unless it is told one of the two outright."""
        epochs, steps = number(self.table.get("max_train_epochs")), number(self.table.get("max_train_steps"))
        if epochs:
            self.keep("max_train_epochs", epochs)
        elif steps:
            self.keep("max_train_steps", steps)
        elif not self.table.get("dataset_config"):
            self.keep("max_train_epochs", self.table.get("epoch"), "epoch")
        share = number(self.table.get("lr_warmup")) or 0
        if number(self.table.get("lr_warmup_steps")):
            self.keep("lr_warmup_steps", self.table["lr_warmup_steps"])
        elif share:
            self.keep("lr_warmup_steps", share / 100, "lr_warmup")
        cycles = self.table.get("lr_scheduler_num_cycles")
        self.keep("lr_scheduler_num_cycles", self.table.get("epoch") if cycles == "" else cycles)

    def _rates(self) -> None:
        text, unet = number(self.table.get("text_encoder_lr")) or 0, number(self.table.get("unet_lr")) or 0
        if text:
            self.keep("text_encoder_lr", text)
        if unet and not text and "text_encoder_lr" in self.table:
            self.keep("network_train_unet_only", True, "text_encoder_lr")
        if text and not unet and "unet_lr" in self.table:
            self.keep("network_train_text_encoder_only", True, "unet_lr")
        if "optimizer_type" not in self.table:
            kind = "AdamW8bit" if switch(self.table.get("use_8bit_adam")) else "AdamW"
            self.keep("optimizer_type", kind, "use_8bit_adam")
        for name in ("optimizer_args", "lr_scheduler_args"):
            given = self.table.get(name)
            parts = given if isinstance(given, list) else str(given or "").replace('"', "").split()
            self.keep(name, [str(part) for part in parts])

    def _noise(self) -> None:
        """Of the two kinds of noise only the chosen one counts, whatever stands in the boxes of the other."""
        kind = self.table.get("noise_offset_type", "Original")
        for name in ("noise_offset", "adaptive_noise_scale", "noise_offset_random_strength"):
            if kind == "Original" and name in self.table:
                self.keep(name, self.table[name])
        for name in ("multires_noise_iterations", "multires_noise_discount"):
            if (
                kind == "Multires"
                and name in self.table
                and number(self.table.get("multires_noise_iterations"))
            ):
                self.keep(name, self.table[name])

    def _network(self) -> None:
        kind = str(self.table.get("LoRA_type", "Standard"))
        algorithm = ALGORITHMS.get(kind)
        arguments: dict[str, Any] = {}
        if algorithm is not None:
            arguments |= {"preset": self.table.get("LyCORIS_preset") or "full"}
            arguments |= {name: self.table[name] for name in LYCORIS_KEYS if self.table.get(name)}
            if algorithm == "lokr":
                arguments |= {
                    name: self.table[name] for name in ("factor", "decompose_both") if self.table.get(name)
                }
            arguments["algo"] = algorithm
        else:
            arguments |= {name: self.table[name] for name in BLOCK_KEYS if self.table.get(name)}
        if algorithm not in (None, "full") or kind in (
            "Kohya LoCon",
            "Kohya DyLoRA",
            "Kohya LoHa",
            "Kohya LoKr",
        ):
            arguments |= {
                name: self.table[name] for name in ("conv_dim", "conv_alpha") if self.table.get(name)
            }
        if kind == "Kohya DyLoRA" and self.table.get("unit"):
            arguments["unit"] = self.table["unit"]
        self.keep(
            "network_module",
            "lycoris.kohya" if algorithm else MODULES.get(kind, "networks.lora"),
            "LoRA_type",
        )
        self.keep(
            "network_args", [f"{name}={_plain(value)}" for name, value in arguments.items()], "LoRA_type"
        )

    def _model(self) -> None:
        is_sdxl = switch(self.table.get("sdxl"))
        if is_sdxl:
            self.keep("no_half_vae", switch(self.table.get("sdxl_no_half_vae")), "sdxl_no_half_vae")
            cached = switch(self.table.get("sdxl_cache_text_encoder_outputs"))
            self.keep("cache_text_encoder_outputs", cached, "sdxl_cache_text_encoder_outputs")
        self.keep("vae", self.table.get("vae"))
        if (
            number(self.table.get("clip_skip")) or 1
        ) > 1:  # 1 stands in every file, with bases that have none too
            self.keep("clip_skip", self.table["clip_skip"])

    def _rest(self) -> None:
        attention = self.table.get("xformers")
        if attention in (True, "xformers", "sdpa"):
            self.keep("sdpa" if attention == "sdpa" else "xformers", True, "xformers")
        elif switch(self.table.get("sdpa")):
            self.keep("sdpa", True)
        if self.table.get("save_model_as") in ("safetensors", "ckpt"):
            self.keep("save_model_as", self.table["save_model_as"])
        self.keep("log_with", self.table.get("log_with"))
        if str(self.table.get("sample_prompts") or "").strip():
            folder = str(self.table.get("output_dir") or "").rstrip("/\\")
            self.keep("sample_prompts", f"{folder}/sample/prompt.txt")
        if number(self.table.get("stop_text_encoder_training")):
            self.reading.unknown.append("stop_text_encoder_training")


def _converted(kind: str, value: Any) -> Any:
    """Return a value as a config file has it, from the texts that older releases saved for numbers; None where it is none."""
    if kind == "switch":
        return switch(value) if not isinstance(value, int | float) or isinstance(value, bool) else bool(value)
    if kind in ("int", "number", "share"):
        found = number(value)
        is_whole = found is not None and found == int(found)
        if found is None or (kind == "int" and not is_whole):
            return None
        return int(found) if is_whole and kind != "number" else found
    if kind == "numbers":
        found = number(value)
        return [found] if found is not None else None
    if kind == "texts":
        return value if isinstance(value, list) else str(value).split()
    return str(value)


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _additional(text: str, script: str) -> Reading:
    """Return the options of the box `Additional parameters`, which stand behind the config file and win over it."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    reading = reading_of_words(words, script)
    reading.places = dict.fromkeys(reading.places, "additional_parameters")
    return reading
