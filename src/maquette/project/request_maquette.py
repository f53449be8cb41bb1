"""Maquette's own settings as the record that rules about settings read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maquette.project.request import TrainingRequest
from maquette.project.settings import SECTION_OF, SECTIONS, Settings

UNSAVED = Path("maquette.toml")
"""Stands for the file of settings that may come from flags alone."""

SETTING_OF = {
    "trigger": "trigger",
    "class_word": "class_word",
    "base": "base",
    "v_parameterization": "prediction",
    "zero_terminal_snr": "zero_terminal_snr",
    "vae": "vae",
    "no_half_vae": "no_half_vae",
    "clip_skip": "clip_skip",
    "images": "images",
    "regularization": "regularization",
    "metadata_file": "metadata_file",
    "resolution_wh": "resolution",
    "more_resolutions_wh": "more_resolutions",
    "enable_bucket": "bucketing",
    "min_bucket_px": "min_bucket_px",
    "max_bucket_px": "max_bucket_px",
    "bucket_step_px": "bucket_step_px",
    "bucket_no_upscale": "bucket_no_upscale",
    "repeats": "repeats",
    "caption_extension": "caption_extension",
    "caption_fallback": "caption_fallback",
    "shuffle_caption": "shuffle_caption",
    "keep_tokens": "keep_tokens",
    "caption_separator": "caption_separator",
    "keep_tokens_separator": "keep_tokens_separator",
    "secondary_separator": "secondary_separator",
    "enable_wildcard": "enable_wildcard",
    "caption_prefix": "caption_prefix",
    "caption_suffix": "caption_suffix",
    "caption_dropout_rate": "caption_dropout_rate",
    "caption_dropout_every_n_epochs": "caption_dropout_every_n_epochs",
    "caption_tag_dropout_rate": "caption_tag_dropout_rate",
    "token_warmup_step": "token_warmup_step",
    "token_warmup_min": "token_warmup_min",
    "flip_aug": "flip_aug",
    "color_aug": "color_aug",
    "random_crop": "random_crop",
    "face_crop_aug_range": "face_crop_aug_range",
    "resize_interpolation": "resize_interpolation",
    "background": "background",
    "max_token_length": "max_token_length",
    "weighted_captions": "weighted_captions",
    "cache_latents": "cache_latents",
    "cache_text_encoder_outputs": "cache_text_encoder_outputs",
    "cache_folder": "cache_folder",
    "mask_source": "mask_source",
    "mask_folder": "mask_folder",
    "unmasked_weight": "unmasked_weight",
    "unmasked_probability": "unmasked_probability",
    "normalize_masked_area_loss": "normalize_masked_area_loss",
    "masked_prior_preservation_weight": "masked_prior_preservation_weight",
    "adapter": "adapter",
    "lokr_factor": "lokr_factor",
    "rank": "rank",
    "alpha": "alpha",
    "conv_rank": "conv_rank",
    "conv_alpha": "conv_alpha",
    "dropout": "dropout",
    "rank_dropout": "rank_dropout",
    "module_dropout": "module_dropout",
    "scale_weight_norms": "scale_weight_norms",
    "network_weights": "network_weights",
    "dim_from_weights": "dim_from_weights",
    "include_layers": "include_layers",
    "exclude_layers": "exclude_layers",
    "blocks": "blocks",
    "epochs": "epochs",
    "steps": "steps",
    "batch_size": "batch_size",
    "accumulation": "accumulation",
    "processes": "processes",
    "learning_rate": "learning_rate",
    "unet_lr": "unet_lr",
    "text_encoder_lrs": "text_encoder_lr",
    "loraplus_lr_ratio": "loraplus_lr_ratio",
    "loraplus_unet_lr_ratio": "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio": "loraplus_text_encoder_lr_ratio",
    "optimizer": "optimizer",
    "optimizer_args": "optimizer_args",
    "scheduler": "lr_scheduler",
    "warmup_steps": "warmup_steps",
    "cycles": "lr_cycles",
    "min_snr_gamma": "min_snr_gamma",
    "noise_offset": "noise_offset",
    "max_grad_norm": "max_grad_norm",
    "prior_loss_weight": "prior_loss_weight",
    "gradient_checkpointing": "gradient_checkpointing",
    "fit_memory_gib": "fit_memory_gib",
    "attention": "attention",
    "deterministic": "deterministic",
    "compile_blocks": "compile_blocks",
    "compile_mode": "compile_mode",
    "precision": "precision",
    "base_precision": "base_precision",
    "device": "device",
    "seed": "seed",
    "output_dir": "output",
    "output_name": "name",
    "save_every_steps": "save_every_steps",
    "save_every_epochs": "save_every_epochs",
    "save_precision": "save_precision",
    "sample_prompts": "sample_prompts",
    "sample_every_steps": "sample_every_steps",
    "sample_every_epochs": "sample_every_epochs",
    "validation_split": "validation_split",
    "validation_pictures": "validation_pictures",
    "validation_images": "validation_images",
    "validation_training": "validation_training",
    "validation_fold": "validation_fold",
    "validation_seed": "validation_seed",
    "validate_every_steps": "validate_every_steps",
    "validate_every_epochs": "validate_every_epochs",
}
"""Field of TrainingRequest → Maquette's setting."""
SETTING_OF_OPTION = {
    "torch_compile": "compile_blocks",
    "metadata_title": "metadata_title",
    "metadata_author": "metadata_author",
    "metadata_description": "metadata_description",
    "metadata_license": "metadata_license",
    "metadata_tags": "metadata_tags",
    "metadata_usage_hint": "metadata_usage_hint",
    "training_comment": "training_comment",
    "sample_at_first": "sample_at_first",
    "loss_type": "loss_type",
    "huber_schedule": "huber_schedule",
    "huber_c": "huber_c",
    "huber_scale": "huber_scale",
    "scale_v_pred_loss_like_noise_pred": "scale_v_pred_loss_like_noise_pred",
    "v_pred_like_loss": "v_pred_like_loss",
    "debiased_estimation_loss": "debiased_estimation_loss",
    "min_timestep": "min_timestep",
    "max_timestep": "max_timestep",
    "noise_offset_random_strength": "noise_offset_random_strength",
    "adaptive_noise_scale": "adaptive_noise_scale",
    "multires_noise_iterations": "multires_noise_iterations",
    "multires_noise_discount": "multires_noise_discount",
    "ip_noise_gamma": "ip_noise_gamma",
    "ip_noise_gamma_random_strength": "ip_noise_gamma_random_strength",
    "lr_scheduler_power": "lr_power",
    "vae_batch_size": "vae_batch_size",
    "skip_cache_check": "skip_cache_check",
    "lr_decay_steps": "lr_decay_steps",
    "lr_scheduler_timescale": "lr_timescale",
    "lr_scheduler_min_lr_ratio": "lr_min_ratio",
    "lr_scheduler_args": "lr_scheduler_args",
}
"""sd-scripts' option → Maquette's setting of the same meaning, where no field stands for it: a request keeps it in `other`."""
SETTING_OF_OTHER = SETTING_OF_OPTION | {
    name: name
    for name in (
        "timestep_sampling",
        "sigmoid_scale",
        "timestep_shift",
        "timestep_beta",
        "preservation",
        "preservation_every",
        "shortened_captions",
        "weight_decay",
        "ema_decay",
    )
}
"""Names in `other` → Maquette's setting, with those that sd-scripts does not have under their own."""


def request_of(settings: Settings, file: Path) -> TrainingRequest:
    """Return `settings`, which `file` holds, with every default resolved as training resolves it.

    `clip_skip` stays None where the base model decides, and `caption_extension` where a kohya TOML does, for which
    `enable_bucket` is off unless said. `spelling` covers every field; `defaulted` names those that the file leaves to
    their defaults.
    """
    values = _as_written(settings) | _resolved(settings)
    written = {
        name for section in settings.model_fields_set for name in getattr(settings, section).model_fields_set
    }
    return TrainingRequest(
        file=file,
        trainer="maquette",
        spelling={
            name: f"[{SECTION_OF[setting]}] {setting}"
            for name, setting in (SETTING_OF_OTHER | SETTING_OF).items()
        },
        defaulted=frozenset(name for name, setting in SETTING_OF.items() if setting not in written),
        **values,
    )


def _as_written(settings: Settings) -> dict[str, Any]:
    return {
        name: getattr(getattr(settings, SECTION_OF[setting]), setting) for name, setting in SETTING_OF.items()
    }


def _resolved(settings: Settings) -> dict[str, Any]:
    """Return the fields whose default depends on others, or that Maquette writes in another form."""
    dataset, lora, training = settings.dataset, settings.lora, settings.training
    unet_lr, text_lr = training.unet_lr_in_force, training.text_encoder_lr_in_force
    second = training.text_encoder_2_lr
    text_lrs = (text_lr,) if second is None else (text_lr, second)
    is_toml = dataset.images.suffix.lower() in (".toml", ".json") and not dataset.images.is_dir()
    width, height = dataset.resolution
    return {
        "v_parameterization": {"auto": None, "epsilon": False, "v": True}[settings.objective.prediction],
        "steps": training.steps_in_force,
        "dataset_config": dataset.images if is_toml else None,
        "images": None if is_toml else dataset.images,
        "resolution_as_written": f"{width},{height}",
        "enable_bucket": not is_toml if dataset.bucketing is None else dataset.bucketing,
        "caption_extension": None if is_toml else dataset.caption_extension,
        "caption_fallback": dataset.caption_fallback or None,
        "cache_latents_to_disk": dataset.cache_latents and dataset.cache_folder is not None,
        "mask_source": settings.masks.source_in_force,
        "alpha_mask": settings.masks.source_in_force == "alpha",
        "alpha": lora.alpha_in_force,
        "conv_alpha": lora.conv_alpha_in_force if lora.conv_rank else lora.conv_alpha,
        "unet_lr": unet_lr,
        "text_encoder_lrs": text_lrs,
        "train_text_encoder": any(text_lrs),
        "train_denoiser": unet_lr > 0,
        "optimizer_args": dict(text.split("=", 1) for text in training.optimizer_args),
        "other": _others(settings),
        "output_name": settings.saving.name or settings.subject.trigger or None,
        "sample_prompts": "\n".join(settings.samples.sample_prompts) or None,
    }


def _others(settings: Settings) -> dict[str, Any]:
    """Return what no field stands for, by sd-scripts' names, where it is not the default."""
    found = {}
    for name, setting in SETTING_OF_OTHER.items():
        value = getattr(getattr(settings, SECTION_OF[setting]), setting)
        if value != default_of(setting):
            found[name] = value
    return found


def default_of(setting: str) -> Any:
    """Return what a setting is where nobody says it."""
    return SECTIONS[SECTION_OF[setting]].model_fields[setting].default
