"""A checkpoint as a LoRA file: the trial's weights, and metadata that every reader of sd-scripts' files understands."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.dataset.summary import bucket_info, tag_frequency
from maquette.lora.files import SavedLora, save_lora
from maquette.lora.kinds import KINDS
from maquette.lora.metadata import (
    DatasetFacts,
    LoraMetadata,
    ModelSpec,
    SubsetFacts,
    TrainingFacts,
    legacy_model_hash,
)
from maquette.project.layer_blocks import written
from maquette.project.optimizers import optimizer_text
from maquette.project.settings import ObjectiveSettings
from maquette.training.config import TrialSettings
from maquette.training.schedules import finds_relative_steps, schedule_in_force

if TYPE_CHECKING:
    from maquette.families.protocol import FamilySpec
    from maquette.lora.state import State
    from maquette.project.checkpoints import PlannedCheckpoint
    from maquette.training.config import TrialSettings
    from maquette.training.job import Job, TrialRun


def save_checkpoint(
    path: Path,
    state: State,
    job: Job,
    run: TrialRun,
    planned: PlannedCheckpoint,
    base_sha256: str,
) -> SavedLora:
    """Write a trial's weights to `path`, whole or not at all, with the metadata of its run so far."""
    metadata = lora_metadata(job, run, planned, base_sha256).to_metadata()
    return save_lora(path, state, metadata, dtype=run.settings.saving.save_precision)


def lora_metadata(job: Job, run: TrialRun, planned: PlannedCheckpoint, base_sha256: str) -> LoraMetadata:
    """Return what the file says of itself."""
    trial, said = run.trial, run.settings.saving
    has_own_table = job.settings.dataset.images.is_file() or len(job.dataset.buckets) > 1
    return LoraMetadata(
        training=_training_facts(job, run, planned, base_sha256),
        model=ModelSpec(
            architecture=job.spec.architecture_of(job.info.prediction),
            title=said.metadata_title or Path(planned.file_name).stem,
            author=said.metadata_author or None,
            description=said.metadata_description or None,
            license=said.metadata_license or None,
            tags=said.metadata_tags or None,
            usage_hint=said.metadata_usage_hint or None,
            resolution_px=job.dataset.buckets[0].resolution_wh,
            prediction_type=job.info.prediction,
            implementation=job.spec.key_names_source,
            trigger_phrase=job.settings.subject.trigger or None,
            timestep_range=_timestep_range(trial.objective, job.spec),
        ),
        datasets=_dataset_facts(job, only_first=not has_own_table),
        from_config=has_own_table,
        processes=job.schedule.processes,
        bucket_no_upscale=job.settings.dataset.bucket_no_upscale,
        network_args=network_arguments(trial) or None,
    )


def _training_facts(job: Job, run: TrialRun, planned: PlannedCheckpoint, base_sha256: str) -> TrainingFacts:
    trial, training, schedule = run.trial, run.settings.training, job.schedule
    sized = run.weights if run.settings.lora.dim_from_weights else None
    shown = job.settings.dataset
    started = datetime.fromisoformat(run.record.created_at).timestamp()
    return TrainingFacts(
        session_id=int(run.digest[:8], 16),
        training_started_at=started,
        training_finished_at=time.time(),
        output_name=run.name,
        learning_rate=training.learning_rate,
        text_encoder_lr=trial.text_encoder_lr,
        unet_lr=trial.denoiser_lr,
        num_train_images=schedule.train_items,
        num_reg_images=_num_shown(job, None, is_regularization=True),
        num_batches_per_epoch=schedule.batches_per_epoch,
        num_epochs=schedule.epochs,
        steps=planned.step,
        # sd-scripts counts the running epoch from 0 in step checkpoints, finished ones from 1 in the others.
        epoch=planned.epoch - planned.by_step,
        max_train_steps=schedule.steps,
        gradient_checkpointing=training.gradient_checkpointing,
        gradient_accumulation_steps=training.accumulation,
        lr_warmup_steps=trial.warmup_steps,
        lr_scheduler=_schedule_text(trial),
        network_module=KINDS[trial.kind].network_module,
        optimizer=optimizer_text(trial.optimizer, trial.optimizer_args, trial.weight_decay),
        network_dim=sized.rank if sized else trial.rank,
        network_alpha=sized.alpha if sized else trial.alpha,
        network_dropout=trial.dropout or None,
        mixed_precision=job.precision,
        v2=job.spec.needs_v2,
        base_model_version=job.spec.version_of(job.info.prediction),
        clip_skip=job.settings.model.clip_skip,
        max_token_length=_beyond(job.options.get("max_token_length"), job.spec.default("max_token_length")),
        cache_latents=job.settings.dataset.cache_latents,
        seed=trial.seed,
        **_objective_facts(trial.objective),
        caption_dropout_rate=shown.caption_dropout_rate,
        caption_dropout_every_n_epochs=shown.caption_dropout_every_n_epochs,
        caption_tag_dropout_rate=shown.caption_tag_dropout_rate,
        face_crop_aug_range=str(shown.face_crop_aug_range) if shown.face_crop_aug_range else None,
        resize_interpolation=shown.resize_interpolation,
        zero_terminal_snr=job.info.zero_terminal_snr,
        training_comment=run.settings.saving.training_comment or None,
        max_grad_norm=trial.max_grad_norm,
        scale_weight_norms=trial.scale_weight_norms,
        sd_model_name=Path(job.settings.model.base).name,
        sd_model_hash=legacy_model_hash(job.base_file) if job.base_file else None,
        new_sd_model_hash=base_sha256 or None,
    )


def _schedule_text(trial: TrialSettings) -> str:
    """Return the schedule in force, in sd-scripts' words: Adafactor's own steps have the rate that was asked for behind them."""
    return f"adafactor:{trial.schedule_lr}" if finds_relative_steps(trial) else schedule_in_force(trial)


def _objective_facts(wanted: ObjectiveSettings) -> dict[str, Any]:
    """Return what the keys of noise and loss tell."""
    return {
        "noise_offset": wanted.noise_offset or None,
        "noise_offset_random_strength": wanted.noise_offset_random_strength,
        "adaptive_noise_scale": wanted.adaptive_noise_scale,
        "multires_noise_iterations": wanted.multires_noise_iterations or None,
        "multires_noise_discount": wanted.multires_noise_discount,
        "ip_noise_gamma": wanted.ip_noise_gamma or None,
        "ip_noise_gamma_random_strength": wanted.ip_noise_gamma_random_strength,
        "min_snr_gamma": wanted.min_snr_gamma,
        "debiased_estimation": wanted.debiased_estimation_loss,
        "prior_loss_weight": wanted.prior_loss_weight,
        "loss_type": wanted.loss_type,
        "huber_schedule": wanted.huber_schedule,
        "huber_scale": wanted.huber_scale,
        "huber_c": wanted.huber_c,
    }


def _timestep_range(wanted: ObjectiveSettings, spec: FamilySpec) -> str | None:
    """Return the timesteps that were trained, "0,500"; None for all of them."""
    if wanted.min_timestep is None and wanted.max_timestep is None:
        return None
    option = spec.option("max_timestep")
    most = option.most if wanted.max_timestep is None and option else wanted.max_timestep
    return f"{wanted.min_timestep or 0:g},{most:g}"


LYCORIS_ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "dora": {"algo": "lora", "dora_wd": "True", "wd_on_output": "False"},
    "loha": {"algo": "loha"},
    "lokr": {"algo": "lokr"},
    "oft": {"algo": "diag-oft"},
}
"""What LyCORIS' module is told to make a kind of adapter."""


def network_arguments(trial: TrialSettings) -> dict[str, str]:
    """Return what sd-scripts would be told of the adapter as `network_args`, beside rank, alpha and dropout."""
    told: dict[str, Any] = {
        **LYCORIS_ARGUMENTS.get(trial.kind, {}),
        "factor": trial.factor if trial.kind == "lokr" else None,
        "conv_dim": trial.conv_rank,
        "conv_alpha": trial.conv_alpha if trial.conv_rank else None,
        "rank_dropout": trial.rank_dropout or None,
        "module_dropout": trial.module_dropout or None,
        "loraplus_unet_lr_ratio": trial.loraplus_unet_lr_ratio,
        "loraplus_text_encoder_lr_ratio": trial.loraplus_text_encoder_lr_ratio,
    }
    told |= {
        "include_layers": ",".join(trial.include_layers) or None,
        "exclude_layers": ",".join(trial.exclude_layers) or None,
        "blocks": "; ".join(f"{pattern}: {written(rule)}" for pattern, rule in trial.blocks) or None,
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _beyond(value: int | None, default: int | None) -> int | None:
    return value if value != default else None


def _dataset_facts(job: Job, *, only_first: bool) -> tuple[DatasetFacts, ...]:
    training = job.dataset
    facts = []
    for index, buckets in enumerate(training.buckets):
        facts.append(
            DatasetFacts(
                batch_size_per_device=training.batch_size[index] // training.schedule.processes,
                num_train_images=_num_shown(job, index, is_regularization=False),
                num_reg_images=_num_shown(job, index, is_regularization=True),
                resolution=buckets.resolution_wh,
                enable_bucket=buckets.enabled,
                min_bucket_reso=buckets.min_bucket_px if buckets.enabled else None,
                max_bucket_reso=buckets.max_bucket_px if buckets.enabled else None,
                tag_frequency=tag_frequency(training.dataset, index),
                bucket_info=bucket_info(training.items, index) if buckets.enabled else None,
                subsets=_subset_facts(job, index),
            )
        )
    return tuple(facts[:1] if only_first else facts)


def _num_shown(job: Job, dataset: int | None, *, is_regularization: bool) -> int:
    """Return pictures times repeats, as sd-scripts counts them: before regularization pictures are topped up or cut."""
    return sum(
        picture.subset.num_repeats
        for picture in job.dataset.dataset.pictures
        if picture.subset.is_regularization == is_regularization and dataset in (None, picture.subset.dataset)
    )


def _subset_facts(job: Job, dataset: int) -> tuple[SubsetFacts, ...]:
    counts = Counter(picture.subset for picture in job.dataset.dataset.pictures)
    return tuple(
        SubsetFacts(
            img_count=count,
            num_repeats=subset.num_repeats,
            color_aug=subset.options.color_aug,
            flip_aug=subset.options.flip_aug,
            random_crop=subset.options.random_crop,
            shuffle_caption=subset.options.shuffle_caption,
            keep_tokens=subset.options.keep_tokens,
            keep_tokens_separator=subset.options.keep_tokens_separator,
            secondary_separator=subset.options.secondary_separator or None,
            enable_wildcard=subset.options.enable_wildcard,
            caption_prefix=subset.options.caption_prefix or None,
            caption_suffix=subset.options.caption_suffix or None,
            resize_interpolation=subset.options.resize_interpolation,
            image_dir=subset.name,
            class_tokens=subset.class_tokens,
            is_reg=subset.is_regularization,
        )
        for subset, count in counts.items()
        if subset.dataset == dataset
    )
