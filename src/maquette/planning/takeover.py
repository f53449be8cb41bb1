"""A run of another trainer as settings of Maquette: what is taken, by which name, and what has no counterpart.

Values that the file leaves to its trainer's defaults are taken too where those are known, so that the run stays the run it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError
from maquette.families.protocol import FamilySpec
from maquette.planning.takeover_caches import caches
from maquette.planning.takeover_network import take_network
from maquette.planning.takeover_optimizing import optimizer, schedule, steps_per_process
from maquette.planning.takeover_samples import NO_SAMPLER, SAMPLERS, samples
from maquette.planning.takeover_seeing import TRACKING, trackers, validation
from maquette.project.config_file import load_settings
from maquette.project.places import found_path
from maquette.project.request import TrainingRequest
from maquette.project.request_maquette import SETTING_OF_OPTION, default_of
from maquette.project.settings import FAMILY_OWNED, SECTIONS
from maquette.project.settings_text import Reasoned, idle_settings

SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)
NOT_TAKEN: Mapping[str, str] = {
    "full_precision": "the adapter trains in float32",
    "lowram": "models are loaded once",
    "save_state": "states are always kept",
    "resume": "a state of another trainer cannot be gone on from",
    "output_dir": "the project keeps its runs in its own folder",
    "device": "a device is of the computer, not of the run",
}
"""Fields without a counterpart, and what holds instead."""
_OF_DEEPSPEED = "models that fit one card are not spread over many"
_OF_THE_LOG = "what is told goes to the terminal and to the run's own log"
_OF_THE_HUB = "files stay on this machine"
_KEEPS_ALL = "every checkpoint is kept: the best is chosen afterwards"
WITHOUT_COUNTERPART: Mapping[str, str] = {
    **dict.fromkeys(
        ("deepspeed", "zero_stage", "zero3_init_flag", "zero3_save_16bit_model", "offload_optimizer_device",
         "offload_optimizer_nvme_path", "offload_param_device", "offload_param_nvme_path",
         "fp16_master_weights_and_gradients"), _OF_DEEPSPEED),
    **dict.fromkeys(
        ("console_log_file", "console_log_level", "console_log_simple", "log_config", "log_prefix", "log_tracker_config"),
        _OF_THE_LOG),
    **dict.fromkeys(
        ("huggingface_path_in_repo", "huggingface_repo_id", "huggingface_repo_type", "huggingface_repo_visibility",
         "huggingface_token", "async_upload", "resume_from_huggingface", "save_state_to_huggingface"), _OF_THE_HUB),
    **dict.fromkeys(
        ("save_last_n_epochs", "save_last_n_epochs_state", "save_last_n_steps", "save_last_n_steps_state"), _KEEPS_ALL),
    "save_n_epoch_ratio": "its epochs follow from steps: say save_every_epochs",
    "save_model_as": "files are safetensors: any other kind can run programs when it is opened",
    "no_metadata": "a file without metadata cannot be told from another",
    "cache_info": "headers of pictures are kept without being asked",
    "cpu_offload_checkpointing": "fit_memory_gib recomputes as few blocks as it takes",
    "fused_backward_pass": "an adapter's gradients are small",
    "highvram": "nothing is moved between card and memory while it trains",
    "disable_mmap_load_safetensors": "weights are read part by part",
    "dynamo_backend": "compile_blocks uses torch's own",
    "debug_dataset": "maquette check shows what a dataset holds",
    "output_config": "a run's record holds every setting",
    "initial_epoch": "a run is resumed from its own state",
    "initial_step": "a run is resumed from its own state",
    "skip_until_initial_step": "a run is resumed from its own state",
    "dataset_class": "datasets of other people's code are not loaded",
    "tokenizer_cache_dir": "tokenizers come with the program",
    "save_state_on_train_end": "states are always kept",
    "metadata_trigger_phrase": "the trigger is written",
    "metadata_thumbnail": "a delivery has its preview beside it",
    "metadata_merged_from": "nothing is merged",
    "metadata_preprocessor": "nothing is preprocessed",
    "metadata_is_negative_embedding": "a LoRA is no embedding",
    "conditioning_data_dir": "sd-scripts reads it in a dataset TOML alone",
    **dict.fromkeys(
        ("ddp_timeout", "ddp_static_graph", "ddp_gradient_as_bucket_view"), "there is nothing to set between processes"),
    "sample_sampler": NO_SAMPLER,
    "v2": "the base's file says its family",
    "wandb_api_key": "wandb reads its key from its own login",
}  # fmt: skip
"""Options without a counterpart, and what holds instead."""
COPIED: Mapping[str, str] = {
    "rank": "rank", "alpha": "alpha", "conv_rank": "conv_rank", "conv_alpha": "conv_alpha", "dropout": "dropout",
    "rank_dropout": "rank_dropout", "module_dropout": "module_dropout", "scale_weight_norms": "scale_weight_norms",
    "loraplus_lr_ratio": "loraplus_lr_ratio", "loraplus_unet_lr_ratio": "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio": "loraplus_text_encoder_lr_ratio",
    "batch_size": "batch_size", "processes": "processes", "accumulation": "accumulation", "min_snr_gamma": "min_snr_gamma",
    "noise_offset": "noise_offset", "max_grad_norm": "max_grad_norm", "prior_loss_weight": "prior_loss_weight",
    "gradient_checkpointing": "gradient_checkpointing", "seed": "seed", "save_every_steps": "save_every_steps",
    "save_every_epochs": "save_every_epochs", "sample_every_steps": "sample_every_steps",
    "sample_every_epochs": "sample_every_epochs", "shuffle_caption": "shuffle_caption", "keep_tokens": "keep_tokens",
    "clip_skip": "clip_skip", "max_token_length": "max_token_length", "resolution_wh": "resolution",
    "caption_fallback": "caption_fallback", "precision": "precision", "cache_latents": "cache_latents",
    "cache_text_encoder_outputs": "cache_text_encoder_outputs",
    **{name: name for name in (
        "caption_separator", "keep_tokens_separator", "secondary_separator", "enable_wildcard", "caption_prefix",
        "caption_suffix", "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate",
        "token_warmup_step", "token_warmup_min", "flip_aug", "color_aug", "random_crop", "face_crop_aug_range",
        "resize_interpolation", "weighted_captions",
    )},
    "mask_source": "mask_source", "mask_folder": "mask_folder", "unmasked_weight": "unmasked_weight",
    "unmasked_probability": "unmasked_probability", "normalize_masked_area_loss": "normalize_masked_area_loss",
    "masked_prior_preservation_weight": "masked_prior_preservation_weight",
}  # fmt: skip
"""Fields that mean the same as a setting."""
OF_BUCKETS: Mapping[str, str] = {
    "min_bucket_px": "min_bucket_px", "max_bucket_px": "max_bucket_px", "bucket_step_px": "bucket_step_px",
    "bucket_no_upscale": "bucket_no_upscale",
}  # fmt: skip
NEUTRAL: Mapping[str, Any] = {
    "dropout": 0, "rank_dropout": 0, "module_dropout": 0, "scale_weight_norms": 0,
    "noise_offset": 0, "gradient_checkpointing": False, "shuffle_caption": False, "keep_tokens": 0,
    "bucket_no_upscale": False, "processes": 1, "accumulation": 1, "batch_size": 1, "max_token_length": 75,
    "cache_latents": False, "cache_text_encoder_outputs": False,
    "caption_separator": ",", "enable_wildcard": False, "caption_dropout_rate": 0, "caption_dropout_every_n_epochs": 0,
    "caption_tag_dropout_rate": 0, "token_warmup_step": 0, "token_warmup_min": 1, "flip_aug": False, "color_aug": False,
    "random_crop": False, "weighted_captions": False,
    "unmasked_weight": 0, "unmasked_probability": 0, "normalize_masked_area_loss": False,
    "masked_prior_preservation_weight": 0,
}  # fmt: skip
"""Values that are not worth a line: nothing changes by them."""


@dataclass
class Taken:
    """What became of a run's settings."""

    request: TrainingRequest
    values: dict[str, Reasoned] = field(default_factory=dict)
    """Setting → its value, and where it comes from."""
    left: dict[str, str] = field(default_factory=dict)
    """What was said and has no counterpart, by the file's own names → what holds instead."""

    def settings(self) -> dict[str, Any]:
        """Return the values by setting."""
        return {name: entry.value for name, entry in self.values.items()}

    def put(self, setting: str, value: Any, name: str) -> None:
        """Take a value over, with the field's own name in the file as its origin."""
        self.values[setting] = Reasoned(value, self.origin(name))

    def put_as(self, setting: str, value: Any, origin: str) -> None:
        """Take a value over that comes from `origin`, which is no field."""
        self.values[setting] = Reasoned(value, origin)

    def leave(self, name: str, why: str) -> None:
        """Note that a field was said and not taken."""
        if getattr(self.request, name) not in (None, False, 0, ()):
            self.left[self.request.spelling.get(name, name)] = why

    def origin(self, name: str) -> str:
        given = getattr(self.request, name)
        if given is not None:
            return self.request.spelling.get(name, name)
        return f"{self.request.trainer}' default" if self.request.trainer == "sd-scripts" else "its default"


def take_over(request: TrainingRequest, spec: FamilySpec | None = None) -> Taken:
    """Return the settings that a run of another trainer comes to; pictures, base and subject are for the caller.

    spec: the base's family, whose own settings alone are taken. Nothing is dropped in silence: what has no counterpart, no
    effect or no valid value here stands in `left`.
    """
    taken = Taken(request)
    own = {name for _, name in FAMILY_OWNED}
    for name, setting in COPIED.items():
        value = getattr(request, name) if setting in own else request.value(name)
        if value is not None and value != NEUTRAL.get(name, object()):
            taken.put(setting, value, name)
    for step in (
        _length,
        _rates,
        optimizer,
        schedule,
        _options,
        steps_per_process,
        _prediction,
        _base,
        _attention,
        _compiling,
        _buckets,
        _captions,
        _masks,
        _saving,
        samples,
        validation,
        caches,
        trackers,
    ):
        step(taken)
    take_network(taken, spec)
    _all_gpus(taken)
    for name, why in NOT_TAKEN.items():
        if not (name == "full_precision" and request.full_precision == "fp8"):
            taken.leave(name, why)
    _others(taken)
    _of_family(taken, spec)
    _without_effect(taken)
    _invalid(taken)
    return taken


def _length(taken: Taken) -> None:
    request = taken.request
    epochs, steps = request.epochs, request.value("steps")
    if epochs:
        taken.put("epochs", epochs, "epochs")
        if request.steps:
            taken.leave("steps", "the epochs decide the length")
    elif steps:
        taken.put("steps", steps, "steps")


def _rates(taken: Taken) -> None:
    request = taken.request
    unet, text = request.value("unet_lr"), request.value("text_encoder_lrs") or ()
    base = request.value("learning_rate") if request.learning_rate is not None or unet is None else unet
    if base is not None:
        taken.put(
            "learning_rate",
            base,
            "learning_rate" if base == request.value("learning_rate") else "unet_lr",
        )
    if unet is not None and unet != base:
        taken.put("unet_lr", unet, "unet_lr")
    if text:
        taken.put("text_encoder_lr", text[0], "text_encoder_lrs")
        if len(set(text)) > 1 and request.trainer == "sd-scripts":
            why = f"sd-scripts' networks train all text encoders at the first rate: {text[0]:g}"
            taken.left[request.said("text_encoder_lrs")] = why
        elif len(set(text)) > 1:
            taken.put("text_encoder_2_lr", text[1], "text_encoder_lrs")
    if request.value("train_text_encoder") is False:
        taken.put("text_encoder_lr", 0.0, "train_text_encoder")
    if request.value("train_denoiser") is False:
        taken.put("unet_lr", 0.0, "train_denoiser")


def _prediction(taken: Taken) -> None:
    """Take what the base predicts and its VAE where they were said; what was not is left to the base's file, which may know
    better."""
    if taken.request.v_parameterization:
        taken.put("prediction", "v", "v_parameterization")
    if taken.request.zero_terminal_snr:
        taken.put("zero_terminal_snr", True, "zero_terminal_snr")
    if taken.request.vae:
        path = found_path(Path(taken.request.vae), taken.request.file)
        taken.put("vae", str(path) if path is not None else taken.request.vae, "vae")
    if taken.request.no_half_vae:
        taken.put("no_half_vae", True, "no_half_vae")


def _options(taken: Taken) -> None:
    """Take the options that no field stands for and that Maquette has by the same meaning."""
    if taken.request.trainer != "sd-scripts":
        return
    for option, setting in SETTING_OF_OPTION.items():
        value = taken.request.other.get(option)
        default = default_of(setting)
        if value is not None and value != default and not (value == 0 and not default):
            taken.values[setting] = Reasoned(tuple(value) if isinstance(value, list) else value, option)


def _attention(taken: Taken) -> None:
    """PyTorch's own attention is the default; a kernel is only asked for where another trainer's has its counterpart."""
    if taken.request.attention == "mem_eff":
        taken.put("attention", "efficient", "attention")
    elif taken.request.attention == "xformers":
        taken.leave("attention", "PyTorch's own attention is used, with the same result")


def _all_gpus(taken: Taken) -> None:
    """Note a launcher that takes every GPU of the machine: how many these are stands nowhere."""
    told = taken.request.launcher_options
    if "multi_gpu" in told and taken.request.processes is None:
        taken.left["--multi_gpu"] = "accelerate takes all GPUs: say how many with processes"


def _compiling(taken: Taken) -> None:
    """Take CUDA graphs over where a command has its model compiled into them: by accelerate's mode, or by torch's backend."""
    request = taken.request
    if not request.other.get("torch_compile"):
        return
    if request.launcher_options.get("dynamo_mode") == "reduce-overhead":
        taken.put_as("compile_mode", "reduce-overhead", "--dynamo_mode of accelerate")
    elif request.other.get("dynamo_backend") == "cudagraphs":
        taken.put_as("compile_mode", "reduce-overhead", "dynamo_backend cudagraphs")


def _base(taken: Taken) -> None:
    """sd-scripts holds its frozen base in fp8 without scales; here it is int8 with one for each output, of the denoiser alone."""
    given = [name for name in ("fp8_base", "fp8_base_unet") if taken.request.other.get(name)]
    if given:
        taken.put_as(
            "base_precision", "int8", f"{given[0]}: fp8 there, int8 with a scale for each output here"
        )


def _buckets(taken: Taken) -> None:
    request = taken.request
    if request.dataset_config is not None:
        return
    buckets = request.value("enable_bucket")
    if buckets is not None:
        taken.put("bucketing", bool(buckets), "enable_bucket")
    for name, setting in OF_BUCKETS.items():
        value = request.value(name) if buckets else getattr(request, name)
        if value is not None and value != NEUTRAL.get(name, object()):
            taken.put(setting, value, name)


def _captions(taken: Taken) -> None:
    request = taken.request
    ending = request.value("caption_extension")
    if ending and request.dataset_config is None and not request.folders:
        taken.put("caption_extension", f".{str(ending).lstrip('.')}", "caption_extension")
    if request.repeats not in (None, 1):
        taken.put("repeats", request.repeats, "repeats")


def _masks(taken: Taken) -> None:
    """Take masks of the pictures themselves; a dataset TOML says itself where others are, and is taken as it is."""
    request = taken.request
    if request.value("alpha_mask"):
        taken.put("mask_source", "alpha", "alpha_mask")
    elif request.masked_loss and request.dataset_config is None and request.mask_source is None:
        folder = request.other.get("conditioning_data_dir")
        why = "no picture has a mask: sd-scripts reads conditioning_data_dir in a dataset TOML alone"
        taken.leave("masked_loss", f"{why}; here: --mask-folder {folder}" if folder else why)


def _saving(taken: Taken) -> None:
    request = taken.request
    saved = {"float": "fp32", "fp16": "fp16", "bf16": "bf16"}.get(str(request.save_precision))
    if saved:
        taken.put("save_precision", saved, "save_precision")
    ratio = request.other.get("save_n_epoch_ratio")
    if ratio and request.epochs:
        taken.put_as("save_every_epochs", max(1, request.epochs // ratio), "save_n_epoch_ratio")
    if request.output_name:
        taken.put("name", request.output_name, "output_name")


def _others(taken: Taken) -> None:
    """Note every option that no field stands for; secrets by name alone."""
    done = {
        *(SETTING_OF_OPTION if taken.request.trainer == "sd-scripts" else ()),
        "network_args",
        "base_weights",
        "base_weights_multiplier",
        "optimizer_args",
        "network_train_unet_only",
        "network_train_text_encoder_only",
        "cache_text_encoder_outputs_to_disk",
        *TRACKING,
    }
    done |= {
        "fp8_base",
        "fp8_base_unet",
        "save_state_on_train_end",
        "v2",
        "xformers",
        "sdpa",
        "mem_eff_attn",
        "full_fp16",
        "full_bf16",
        "use_8bit_adam",
        "use_lion_optimizer",
        "config_file",
    }
    done |= {"save_n_epoch_ratio"} if taken.request.epochs else set()
    done |= {"dynamo_backend"} if "compile_mode" in taken.values else set()
    done |= {"sample_sampler"} if taken.request.other.get("sample_sampler") in SAMPLERS else set()
    done |= {"lr_scheduler_type"} if "lr_scheduler" in taken.values else set()
    for name, value in taken.request.other.items():
        if name not in done and name not in taken.left and value not in (None, "", False, [], 0):
            shown = "…" if SECRET.search(name) else str(value)[:60]
            taken.left[f"{name} = {shown}"] = WITHOUT_COUNTERPART.get(name, "")
    for option in taken.request.unknown_options:
        taken.left[option.partition(" (")[0]] = "its own trainer has no such option"
    for problem in taken.request.problems:
        taken.left[problem.where] = f"{problem.given}; required: {problem.required}"
    for name in taken.request.unread:
        taken.left[name] = "the file is not here: what stands in it was not taken"


def _of_family(taken: Taken, spec: FamilySpec | None) -> None:
    for _, name in FAMILY_OWNED:
        option = spec.option(name) if spec is not None else None
        if spec is None or name not in taken.values:
            continue
        value = taken.values[name].value
        if (
            option is None
            or (option.fixed and value != option.default)
            or (option.choices and value not in option.choices)
        ):
            entry = taken.values.pop(name)
            kept = (
                f"no {name}"
                if option is None
                else f"{name} {option.wanted() if option.choices else option.default} alone"
            )
            taken.left[f"{entry.reason} = {entry.value}"] = f"{spec.title} has {kept}"


def _without_effect(taken: Taken) -> None:
    for name, why in idle_settings(taken.settings()).items():
        entry = taken.values.pop(name)
        if not entry.reason.endswith("default"):
            taken.left[f"{entry.reason} = {entry.value}"] = why


def _invalid(taken: Taken) -> None:
    """Leave out what Maquette would refuse: a bucket step of 1, a name with a slash."""
    for _ in range(len(taken.values)):
        try:
            load_settings(None, {"base": "", **taken.settings()})
            return
        except ConfigError as error:
            wrong = [
                name
                for name in taken.values
                if any(_is_about(problem.where, name) for problem in error.problems)
            ]
            if not wrong:
                return
            for name in wrong:
                entry = taken.values.pop(name)
                taken.left[f"{entry.reason} = {entry.value}"] = f"no value for {name}: its default is used"


def _is_about(where: str, setting: str) -> bool:
    assert any(setting in record.model_fields for record in SECTIONS.values()), f"{setting} is no setting"
    return f"--{setting.replace('_', '-')}" == where.split(" ")[0]
