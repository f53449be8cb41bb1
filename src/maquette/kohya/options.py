"""The options of sd-scripts' LoRA trainers: which there are, what kind of value each takes, which field it fills.

Read from sd-scripts 48d368fa (train_network.py, sdxl_train_network.py). Its parser takes any unambiguous beginning of
an option's name on the command line; a --config_file must spell names out, and ignores those it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["switch", "int", "number", "text", "path", "share", "size", "range", "texts", "numbers"]
"""`share`: steps, or below 1 (or with %) a share of all. `size`: "512" or "512,768".
`range`: "2.0,4.0". Plural kinds take several values."""


@dataclass(frozen=True)
class Option:
    """One option: the kind of its value, the field of TrainingRequest it fills, and the values it is limited to."""

    kind: Kind
    field: str | None = None
    choices: tuple[str, ...] = ()


def _options(kind: Kind, names: str) -> dict[str, Option]:
    return {name: Option(kind) for name in names.split()}


FIELD_OPTIONS: Mapping[str, Option] = {
    "pretrained_model_name_or_path": Option("text", "base"),
    "vae": Option("text", "vae"),
    "v_parameterization": Option("switch", "v_parameterization"),
    "zero_terminal_snr": Option("switch", "zero_terminal_snr"),
    "clip_skip": Option("int", "clip_skip"),
    "no_half_vae": Option("switch", "no_half_vae"),
    "train_data_dir": Option("path", "images"),
    "reg_data_dir": Option("path", "regularization"),
    "in_json": Option("path", "metadata_file"),
    "dataset_config": Option("path", "dataset_config"),
    "resolution": Option("size", "resolution_wh"),
    "enable_bucket": Option("switch", "enable_bucket"),
    "min_bucket_reso": Option("int", "min_bucket_px"),
    "max_bucket_reso": Option("int", "max_bucket_px"),
    "bucket_reso_steps": Option("int", "bucket_step_px"),
    "bucket_no_upscale": Option("switch", "bucket_no_upscale"),
    "dataset_repeats": Option("int", "repeats"),
    "caption_extension": Option("text", "caption_extension"),
    "caption_extention": Option("text", "caption_extension"),
    "shuffle_caption": Option("switch", "shuffle_caption"),
    "keep_tokens": Option("int", "keep_tokens"),
    "max_token_length": Option("int", "max_token_length", ("150", "225")),
    "caption_separator": Option("text", "caption_separator"),
    "keep_tokens_separator": Option("text", "keep_tokens_separator"),
    "secondary_separator": Option("text", "secondary_separator"),
    "enable_wildcard": Option("switch", "enable_wildcard"),
    "caption_prefix": Option("text", "caption_prefix"),
    "caption_suffix": Option("text", "caption_suffix"),
    "weighted_captions": Option("switch", "weighted_captions"),
    "caption_dropout_rate": Option("number", "caption_dropout_rate"),
    "caption_dropout_every_n_epochs": Option("int", "caption_dropout_every_n_epochs"),
    "caption_tag_dropout_rate": Option("number", "caption_tag_dropout_rate"),
    "token_warmup_step": Option("number", "token_warmup_step"),
    "token_warmup_min": Option("int", "token_warmup_min"),
    "flip_aug": Option("switch", "flip_aug"),
    "color_aug": Option("switch", "color_aug"),
    "random_crop": Option("switch", "random_crop"),
    "face_crop_aug_range": Option("range", "face_crop_aug_range"),
    "resize_interpolation": Option(
        "text",
        "resize_interpolation",
        ("lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area"),
    ),
    "cache_latents": Option("switch", "cache_latents"),
    "cache_latents_to_disk": Option("switch", "cache_latents_to_disk"),
    "cache_text_encoder_outputs": Option("switch", "cache_text_encoder_outputs"),
    "masked_loss": Option("switch", "masked_loss"),
    "alpha_mask": Option("switch", "alpha_mask"),
    "network_module": Option("text", "network_module"),
    "network_dim": Option("int", "rank"),
    "network_alpha": Option("number", "alpha"),
    "network_dropout": Option("number", "dropout"),
    "scale_weight_norms": Option("number", "scale_weight_norms"),
    "network_weights": Option("path", "network_weights"),
    "dim_from_weights": Option("switch", "dim_from_weights"),
    "max_train_epochs": Option("int", "epochs"),
    "max_train_steps": Option("int", "steps"),
    "train_batch_size": Option("int", "batch_size"),
    "gradient_accumulation_steps": Option("int", "accumulation"),
    "learning_rate": Option("number", "learning_rate"),
    "unet_lr": Option("number", "unet_lr"),
    "text_encoder_lr": Option("numbers", "text_encoder_lrs"),
    "optimizer_type": Option("text", "optimizer"),
    "lr_scheduler": Option("text", "scheduler"),
    "lr_warmup_steps": Option("share", "warmup_steps"),
    "lr_scheduler_num_cycles": Option("int", "cycles"),
    "min_snr_gamma": Option("number", "min_snr_gamma"),
    "noise_offset": Option("number", "noise_offset"),
    "max_grad_norm": Option("number", "max_grad_norm"),
    "prior_loss_weight": Option("number", "prior_loss_weight"),
    "gradient_checkpointing": Option("switch", "gradient_checkpointing"),
    "mixed_precision": Option("text", "precision", ("no", "fp16", "bf16")),
    "seed": Option("int", "seed"),
    "lowram": Option("switch", "lowram"),
    "output_dir": Option("path", "output_dir"),
    "output_name": Option("text", "output_name"),
    "save_every_n_steps": Option("int", "save_every_steps"),
    "save_every_n_epochs": Option("int", "save_every_epochs"),
    "save_precision": Option("text", "save_precision", ("float", "fp16", "bf16")),
    "sample_prompts": Option("text", "sample_prompts"),
    "sample_every_n_steps": Option("int", "sample_every_steps"),
    "sample_every_n_epochs": Option("int", "sample_every_epochs"),
    "save_state": Option("switch", "save_state"),
    "resume": Option("path", "resume"),
    "validation_split": Option("number", "validation_split"),
    "validation_seed": Option("int", "validation_seed"),
    "validate_every_n_steps": Option("int", "validate_every_steps"),
    "validate_every_n_epochs": Option("int", "validate_every_epochs"),
    "max_validation_steps": Option("int", "max_validation_steps"),
}
"""Options that a field of TrainingRequest stands for."""

FIELDS_OF_SEVERAL: Mapping[str, str] = {
    "network_train_unet_only": "train_text_encoder",
    "network_train_text_encoder_only": "train_denoiser",
    "network_args": "conv_rank",
    "optimizer_args": "optimizer_args",
    "use_8bit_adam": "optimizer",
    "use_lion_optimizer": "optimizer",
    "lr_scheduler_type": "scheduler",
    "multires_noise_iterations": "multires_noise",
    "full_fp16": "full_precision",
    "full_bf16": "full_precision",
    "fp8_base": "full_precision",
    "fp8_base_unet": "full_precision",
    "xformers": "attention",
    "sdpa": "attention",
    "mem_eff_attn": "attention",
    "save_state_on_train_end": "save_state",
}
"""Options that decide a field together with others."""

OTHER_OPTIONS: Mapping[str, Option] = {
    **_options(
        "switch",
        """async_upload cache_info console_log_simple cpu_offload_checkpointing
        ddp_gradient_as_bucket_view ddp_static_graph debiased_estimation_loss debug_dataset deepspeed
        fp16_master_weights_and_gradients fp8_base fp8_base_unet full_bf16 full_fp16
        fused_backward_pass highvram ip_noise_gamma_random_strength log_config mem_eff_attn
        network_train_text_encoder_only network_train_unet_only no_metadata noise_offset_random_strength output_config
        persistent_data_loader_workers resume_from_huggingface sample_at_first save_state_on_train_end
        save_state_to_huggingface scale_v_pred_loss_like_noise_pred sdpa skip_cache_check skip_until_initial_step
        torch_compile use_8bit_adam use_lion_optimizer v2 xformers zero3_init_flag
        zero3_save_16bit_model""",
    ),
    **_options(
        "int",
        """ddp_timeout initial_epoch initial_step lr_scheduler_timescale
        max_data_loader_n_workers max_timestep min_timestep multires_noise_iterations
        save_last_n_epochs save_last_n_epochs_state save_last_n_steps save_last_n_steps_state save_n_epoch_ratio
        vae_batch_size zero_stage""",
    ),
    **_options(
        "number",
        """adaptive_noise_scale huber_c huber_scale ip_noise_gamma lr_scheduler_min_lr_ratio
        lr_scheduler_power multires_noise_discount v_pred_like_loss""",
    ),
    **_options("share", "lr_decay_steps"),
    **_options(
        "text",
        """conditioning_data_dir config_file console_log_file
        console_log_level dataset_class dynamo_backend huber_schedule huggingface_path_in_repo
        huggingface_repo_id huggingface_repo_type huggingface_repo_visibility huggingface_token
        log_prefix log_tracker_config log_tracker_name log_with logging_dir loss_type
        lr_scheduler_type metadata_author metadata_description metadata_is_negative_embedding metadata_license
        metadata_merged_from metadata_preprocessor metadata_tags metadata_thumbnail metadata_title
        metadata_trigger_phrase metadata_usage_hint offload_optimizer_device
        offload_optimizer_nvme_path offload_param_device offload_param_nvme_path sample_sampler
        save_model_as tokenizer_cache_dir training_comment wandb_api_key wandb_run_name""",
    ),
    **_options("texts", "base_weights lr_scheduler_args network_args optimizer_args"),
    **_options("numbers", "base_weights_multiplier"),
}
"""The rest: known, and kept as written in `TrainingRequest.other`."""

ONLY_SDXL: Mapping[str, Option] = {
    "cache_text_encoder_outputs": FIELD_OPTIONS["cache_text_encoder_outputs"],
    **_options("switch", "cache_text_encoder_outputs_to_disk disable_mmap_load_safetensors"),
}
"""Options of sdxl_train_network.py that train_network.py does not have."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "sample_sampler": (
        "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++", "dpmsingle",
        "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
    ),
    "save_model_as": ("safetensors", "ckpt", "pt"),
    "loss_type": ("l2", "l1", "huber", "smooth_l1"),
    "huber_schedule": ("snr", "constant", "exponential"),
    "log_with": ("tensorboard", "wandb", "all"),
    "console_log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    "dynamo_backend": (
        "eager", "aot_eager", "inductor", "aot_ts_nvfuser", "nvprims_nvfuser", "cudagraphs", "ofi", "fx2trt", "onnxrt",
        "tensort", "ipex", "tvm",
    ),
    "zero_stage": ("0", "1", "2", "3"),
    "offload_optimizer_device": ("cpu", "nvme"),
    "offload_param_device": ("cpu", "nvme"),
}  # fmt: skip
"""What the command line's parser takes for options that no field stands for; any other word stops it."""

OPTIONS: Mapping[str, Option] = {
    **FIELD_OPTIONS,
    **{name: replace(option, choices=CHOICES.get(name, ())) for name, option in OTHER_OPTIONS.items()},
    **ONLY_SDXL,
}
SCRIPTS: Mapping[str, frozenset[str]] = {
    "train_network.py": frozenset(OPTIONS) - frozenset(ONLY_SDXL),
    "sdxl_train_network.py": frozenset(OPTIONS),
}
"""Scripts whose options are known to the last one; of others (flux_train_network.py …) no option is called unknown."""
BUCKET_GRID_PX: Mapping[str, int] = {"train_network.py": 64, "sdxl_train_network.py": 32}
"""What bucket_reso_steps must be a multiple of, or the script stops with an AssertionError."""
SWITCHES = frozenset(name for name, option in OPTIONS.items() if option.kind == "switch")

MEANT: Mapping[str, str] = {
    "train_text_encoder": "network_train_unet_only",
    "batch_size": "train_batch_size",
    "rank": "network_dim",
    "lora_rank": "network_dim",
    "dim": "network_dim",
    "alpha": "network_alpha",
    "lora_alpha": "network_alpha",
    "epochs": "max_train_epochs",
    "epoch": "max_train_epochs",
    "steps": "max_train_steps",
    "optimizer": "optimizer_type",
    "precision": "mixed_precision",
    "num_repeats": "dataset_repeats",
    "image_dir": "train_data_dir",
}
"""Names that people write for an option whose own name is not the nearest."""


def option_named(name: str, script: str | None) -> str | None:
    """Return the option that `--name` on a command line means, as Python's argparse resolves it.

    An exact name, or the only option of the script that begins so; None when there is none, or several.
    """
    names = SCRIPTS.get(script or "", frozenset(OPTIONS))
    if name in names:
        return name
    beginning = [known for known in names if known.startswith(name)]
    return beginning[0] if len(beginning) == 1 else None
