"""Settings written as a run of sd-scripts: a --config_file, a dataset TOML for a flat folder, a command line.

The way back of `planning/takeover.py`: what is written here is read there as the same settings, and the tests hold both to it.
sd-scripts' defaults are others than ours, so everything in force is said. What it has no option for is left, each with a reason.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from maquette.kohya.names import LORA, LYCORIS, OPTIMIZERS, SCHEDULERS, TORCH_OPTIMIZERS, TORCH_SCHEDULERS
from maquette.kohya.options import FIELD_OPTIONS, SCRIPTS, Option
from maquette.kohya.values import NETWORK_FIELDS
from maquette.project.adapter_kinds import DEFAULT_ADAPTER_KIND
from maquette.project.optimizers import facts_of
from maquette.project.request import SD_SCRIPTS_DEFAULTS, TrainingRequest
from maquette.project.request_maquette import SETTING_OF, SETTING_OF_OPTION, default_of, request_of
from maquette.project.settings import SECTION_OF, Settings
from maquette.project.settings_text import idle_settings, toml_value

CONFIG_NAME, DATASET_NAME, SCRIPT_NAME = "config.toml", "dataset.toml", "train.sh"
SHELL_WIDTH = 2
OPTION_OF = {
    facts.field: name for name, facts in FIELD_OPTIONS.items() if facts.field and name != "caption_extention"
}
"""Field of TrainingRequest → sd-scripts' option."""
ELSEWHERE = (
    "optimizer", "scheduler", "precision", "text_encoder_lrs", "network_module", "images", "regularization", "dataset_config",
    "sample_prompts", "save_state", "resume", "masked_loss", "alpha_mask", "cache_text_encoder_outputs", "enable_bucket",
    "min_bucket_px", "max_bucket_px", "output_name", "save_precision", "max_token_length", "lowram",
    "sample_every_steps", "sample_every_epochs", "validation_split", "validation_seed", "validate_every_steps",
    "validate_every_epochs", "max_validation_steps",
)  # fmt: skip
"""Fields that are written in a way of their own."""
LYCORIS_OF: Mapping[str, tuple[str, ...]] = {
    "dora": ("algo=lora", "dora_wd=True", "wd_on_output=False", "preset=attn-mlp"),
    "oft": ("algo=diag-oft", "preset=attn-mlp"),
}
MODULE_OF: Mapping[str, str] = {DEFAULT_ADAPTER_KIND: LORA, "loha": "networks.loha", "lokr": "networks.lokr"}
OF_THE_PROGRAM = frozenset(
    {
        "trigger", "class_word", "ignore_rules", "name", "output", "device", "processes", "check_prediction", "prediction",
        "state_every_steps", "tensorboard", "trackers", "tracker_project", "tracker_run", "logging_dir", "cache_limit_gb",
        "cache_text_encoder_outputs", "images", "regularization", "metadata_file", "repeats", "caption_extension", "bucketing",
        "sample_steps", "sample_seed", "guidance", "sampler", "negative_prompt", "sample_every_steps", "sample_every_epochs",
        "alpha", "conv_alpha", "fit_memory_gib", "attention", "deterministic", "steps", "epochs", "learning_rate",
    }
)  # fmt: skip
"""Settings that are said by other means, or say how this program works and not what is trained."""
LEFT: Mapping[str, str] = {
    "precision": "say mixed_precision = \"bf16\", or \"fp16\" on cards before the RTX 30: it computes in float32 else",
    "sample_prompts": "sd-scripts reads sample prompts from a file of its own",
    "more_resolutions": "a dataset TOML with a [[datasets]] for each size would say it",
    "caption_fallback": "a picture without a caption file has an empty caption there; write the files",
    "blocks": "network_args block_dims counts other blocks",
    "include_layers": "all layers are adapted there",
    "exclude_layers": "all layers are adapted there",
    "text_encoder_2_lr": "sd-scripts' networks train all text encoders at the first rate",
    "mask_source": "sd-scripts reads masks from a picture's transparency, or by conditioning_data_dir in a dataset TOML",
    "base_precision": "fp8_base holds the base in 8 bits without scales there",
}  # fmt: skip
"""Why a setting is not carried over, where there is more to say than that it has no counterpart."""


@dataclass(frozen=True, kw_only=True)
class KohyaRun:
    """A run of sd-scripts that trains with the settings."""

    script: str
    options: Mapping[str, Any]
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """Tables of a dataset TOML; empty where the options name the pictures."""
    left: Mapping[str, str] = field(default_factory=dict)
    """Settings that sd-scripts has no option for, each with the reason."""

    def config_toml(self, heading: str = "") -> str:
        """Return the options as a --config_file."""
        lines = [f"# {line}".rstrip() for line in heading.splitlines()]
        lines += [f"# Train with:  accelerate launch {self.script} --config_file {CONFIG_NAME}"]
        lines += [f"# Not carried over: {name}: {why}" for name, why in self.left.items()]
        return (
            "\n".join(
                [*lines, "", *(f"{name} = {toml_value(value)}" for name, value in self.options.items())]
            )
            + "\n"
        )

    def dataset_toml(self) -> str:
        """Return the dataset TOML."""
        lines = ["[[datasets]]"]
        for subset in self.dataset.get("subsets", ()):
            lines += [
                "",
                "[[datasets.subsets]]",
                *(f"{name} = {toml_value(value)}" for name, value in subset.items()),
            ]
        return "\n".join(lines) + "\n"

    def command(self) -> str:
        """Return the run as a command line for sh."""
        words = ["accelerate launch --num_cpu_threads_per_process 1", self.script]
        return (
            " \\\n  ".join([" ".join(words), *(_words(name, value) for name, value in self.options.items())])
            + "\n"
        )

    def write(self, folder: Path, heading: str = "") -> list[Path]:
        """Write config.toml, train.sh and where it takes one dataset.toml into `folder`; return their paths."""
        from maquette.files import require_writable_folder, write_atomic

        require_writable_folder(folder)
        texts = {CONFIG_NAME: self.config_toml(heading), SCRIPT_NAME: f"#!/bin/sh\n{self.command()}"}
        texts |= {DATASET_NAME: self.dataset_toml()} if self.dataset else {}
        return [write_atomic(folder / name, text) for name, text in texts.items()]


def kohya_run(
    settings: Settings,
    *,
    script: str,
    needs_v2: bool = False,
    is_kohya_folder: bool = False,
    buckets: tuple[int, int] = (256, 1024),
    dataset_file: str = DATASET_NAME,
    base_says: Mapping[str, bool] | None = None,
) -> KohyaRun:
    """Return `settings` as a run of sd-scripts' `script`.

    needs_v2: the base's family is trained with --v2. is_kohya_folder: the pictures lie in N_name/ folders. buckets: the shortest
    and longest side in force. dataset_file: where a dataset TOML will be, should it take one. base_says: the switches
    v_parameterization and zero_terminal_snr as the base's file says them, which sd-scripts does not read.
    """
    request = request_of(settings, Path())
    writer = _Writer(settings, request, script)
    told = {
        name: True for name, value in (base_says or {}).items() if value and getattr(request, name) is None
    }
    options = {**({"v2": True} if needs_v2 else {}), **writer.options(buckets), **told}
    dataset = writer.pictures(options, is_kohya_folder, dataset_file)
    return KohyaRun(script=script, options=options, dataset=dataset, left=writer.left())


@dataclass
class _Writer:
    settings: Settings
    request: TrainingRequest
    script: str
    carried: set[str] = field(default_factory=set)
    """Settings that are said."""
    reasons: dict[str, str] = field(default_factory=dict)

    @cached_property
    def idle(self) -> frozenset[str]:
        """Settings that change nothing, and are not said."""
        sections = SECTION_OF.items()
        values = {name: getattr(getattr(self.settings, section), name) for name, section in sections}
        return frozenset(idle_settings(values))

    def options(self, buckets: tuple[int, int]) -> dict[str, Any]:
        """Return the options that the settings come to, pictures aside."""
        found: dict[str, Any] = {}
        known = SCRIPTS.get(self.script, frozenset(FIELD_OPTIONS))
        for name, option in OPTION_OF.items():
            if name in ELSEWHERE or option not in known:
                continue
            value = getattr(self.request, name)
            self.carried.add(SETTING_OF.get(name, name))
            if (
                value not in (None, "", SD_SCRIPTS_DEFAULTS.get(name, object()))
                or name == "caption_extension"
            ):
                written = _as_option(FIELD_OPTIONS[option], value)
                found |= {} if written is None else {option: written}
        for part in (
            self._network,
            self._rates,
            self._optimizer,
            self._schedule,
            self._rest,
            self._measuring,
        ):
            found |= part()
        found |= self._buckets(buckets)
        return {name: value for name, value in found.items() if value is not None}

    def pictures(self, options: dict[str, Any], is_kohya_folder: bool, dataset_file: str) -> dict[str, Any]:
        """Add where the pictures are to `options`, or return the tables of a dataset TOML that says it."""
        dataset = self.settings.dataset
        own = str(dataset.images)
        if self.request.dataset_config is not None:
            options["dataset_config"] = own
            return {}
        if is_kohya_folder or dataset.metadata_file is not None:
            options["train_data_dir"] = own
            if dataset.regularization is not None:
                options["reg_data_dir"] = str(dataset.regularization)
            return {}
        options["dataset_config"] = dataset_file
        options.pop("dataset_repeats", None)
        ending = {"caption_extension": dataset.caption_extension}
        subsets: list[dict[str, Any]] = [{"image_dir": own, "num_repeats": dataset.repeats, **ending}]
        if dataset.regularization is not None:
            subsets.append({"image_dir": str(dataset.regularization), "is_reg": True, **ending})
        return {"subsets": subsets}

    def left(self) -> dict[str, str]:
        """Return what differs from its default and is not said."""
        found = {}
        for name, section in SECTION_OF.items():
            value = getattr(getattr(self.settings, section), name)
            if name in self.reasons:
                found[name] = self.reasons[name]
            elif name not in self.carried | OF_THE_PROGRAM and value != default_of(name):
                found[name] = LEFT.get(name, "sd-scripts has no such setting")
        return found

    # --- parts -------------------------------------------------------------------------------------------

    def _network(self) -> dict[str, Any]:
        lora, request = self.settings.lora, self.request
        arguments = [
            f"{argument}={_number(value)}"
            for argument, (name, _) in NETWORK_FIELDS.items()
            if (value := getattr(request, name)) and (name != "conv_alpha" or request.conv_rank)
        ]
        self.carried |= {"adapter", *(SETTING_OF[name] for name, _ in NETWORK_FIELDS.values())}
        if lora.adapter == "lokr" and lora.lokr_factor != -1:
            arguments.append(f"factor={lora.lokr_factor}")
        self.carried |= {"lokr_factor"} if lora.adapter == "lokr" else set()
        if lora.adapter in LYCORIS_OF:
            if lora.rank_dropout:
                self.reasons["rank_dropout"] = "LyCORIS drops outputs by it, not ranks"
                arguments = [each for each in arguments if not each.startswith("rank_dropout")]
            arguments = [*LYCORIS_OF[lora.adapter], *arguments]
        return {
            "network_module": MODULE_OF.get(lora.adapter, LYCORIS),
            "network_args": arguments or None,
        }

    def _rates(self) -> dict[str, Any]:
        self.carried.add("text_encoder_lr")
        rates = self.request.text_encoder_lrs or ()
        found: dict[str, Any] = {}
        if self.request.unet_lr == self.request.learning_rate:
            found["unet_lr"] = None  # learning_rate says it
        second = self.settings.training.text_encoder_2_lr
        if second is None or second == rates[0]:
            self.carried.add("text_encoder_2_lr")
        if not self.request.train_text_encoder:
            return {**found, "network_train_unet_only": True}
        if not self.request.train_denoiser:
            found["network_train_text_encoder_only"] = True
        return {**found, "text_encoder_lr": [float(rates[0])]}

    def _optimizer(self) -> dict[str, Any]:
        training = self.settings.training
        name = training.optimizer
        self.carried |= {"optimizer", "optimizer_args", "weight_decay"}
        known = {each.lower(): each for each in (*TORCH_OPTIMIZERS, *OPTIMIZERS)}
        plain = name.removeprefix("torch.optim.")
        written = (
            plain if plain in TORCH_OPTIMIZERS else known.get(name.lower()) or facts_of(name).made_by or name
        )
        arguments = [_as_python(text) for text in training.optimizer_args]
        decay = training.weight_decay
        if decay is None and name == "sgd":
            decay = facts_of(name).weight_decay  # its class decays nothing where nobody says so
        arguments += [f"weight_decay={_number(decay)}"] if decay is not None else []
        return {"optimizer_type": written, "optimizer_args": arguments or None}

    def _schedule(self) -> dict[str, Any]:
        name = self.settings.training.lr_scheduler
        self.carried.add("lr_scheduler")
        if name in SCHEDULERS:
            return {"lr_scheduler": name}
        plain = name.removeprefix("torch.optim.lr_scheduler.")
        return {"lr_scheduler_type": plain if plain in TORCH_SCHEDULERS else name}

    def _rest(self) -> dict[str, Any]:
        """Return what no field stands for, and fields whose words are others there."""
        settings, found = self.settings, {}
        for option, setting in SETTING_OF_OPTION.items():
            value = getattr(getattr(settings, SECTION_OF[setting]), setting)
            self.carried.add(setting)
            if value != default_of(setting) and setting not in self.idle:
                found[option] = list(value) if isinstance(value, tuple) else value
        training, dataset, saving = settings.training, settings.dataset, settings.saving
        self.carried |= {
            "max_token_length",
            "save_precision",
            "cache_folder",
            "base_weights",
            "base_weights_multiplier",
        }
        if training.precision == "auto":
            self.reasons["precision"] = LEFT["precision"]
        elif training.precision != "no":
            found["mixed_precision"] = training.precision
        self.carried.add("precision")
        found |= {"max_token_length": dataset.max_token_length} if dataset.max_token_length != 75 else {}
        found["save_precision"] = {"fp32": "float"}.get(saving.save_precision, saving.save_precision)
        found |= {"output_name": self.request.output_name} if self.request.output_name else {}
        found |= {"cache_latents_to_disk": True} if dataset.cache_latents and dataset.cache_folder else {}
        found |= {"alpha_mask": True} if self.request.alpha_mask else {}
        self.carried |= {"mask_source"} if self.request.alpha_mask else set()
        weights = settings.model.base_weights
        if weights:
            found["base_weights"] = [str(path) for path in weights]
            found |= (
                {"base_weights_multiplier": list(settings.model.base_weights_multiplier)}
                if (settings.model.base_weights_multiplier)
                else {}
            )
        return found

    def _measuring(self) -> dict[str, Any]:
        """Return the held-out pictures where they are a share, which is what sd-scripts has."""
        validation, found = self.settings.validation, {}
        if not validation.validation_split:
            return {}
        self.carried |= {
            "validation_split",
            "validation_seed",
            "validate_every_steps",
            "validate_every_epochs",
        }
        for name in ("validation_split", "validation_seed"):
            found[name] = getattr(validation, name)
        for name, option in (
            ("validate_every_steps", "validate_every_n_steps"),
            ("validate_every_epochs", "validate_every_n_epochs"),
        ):
            found[option] = getattr(validation, name)
        return found

    def _buckets(self, buckets: tuple[int, int]) -> dict[str, Any]:
        self.carried |= {"min_bucket_px", "max_bucket_px", "bucket_step_px", "bucket_no_upscale"}
        if not self.request.enable_bucket:
            return {}
        usual = SD_SCRIPTS_DEFAULTS["min_bucket_px"], SD_SCRIPTS_DEFAULTS["max_bucket_px"]
        shortest, longest = (
            side if side != default else None for side, default in zip(buckets, usual, strict=True)
        )
        return {"enable_bucket": True, "min_bucket_reso": shortest, "max_bucket_reso": longest}


def _as_option(option: Option, value: Any) -> Any:
    """Return a field's value as a --config_file has it; None where silence says it."""
    if option.kind == "switch":
        return True if value else None
    if option.kind in ("size", "range"):
        return ",".join(_number(part) for part in value)
    if option.kind in ("path", "text"):
        return str(value)
    if option.kind in ("number", "share"):
        return value
    return list(value) if isinstance(value, tuple) else value


def _number(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _as_python(text: str) -> str:
    """Return NAME=VALUE with True, False and None as Python writes them."""
    name, _, value = text.partition("=")
    said = {"true": "True", "false": "False", "none": "None"}.get(value.strip().lower())
    return f"{name}={said or value}"


def _words(name: str, value: Any) -> str:
    """Return one option as a shell takes it."""
    if value is True:
        return f"--{name}"
    parts: Iterable[Any] = value if isinstance(value, list) else [value]
    return " ".join([f"--{name}", *_quoted(parts)])


def _quoted(parts: Iterable[Any]) -> Iterator[str]:
    for part in parts:
        yield shlex.quote(repr(part) if isinstance(part, float) else str(part))
