"""By which names a space speaks of settings: Maquette's own, sd-scripts', and the ratio of alpha to rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maquette.dataset.repeats import Schedule
from maquette.kohya.options import FIELD_OPTIONS
from maquette.project.request_maquette import SETTING_OF
from maquette.project.schedules import facts_of as schedule_facts
from maquette.project.settings import SECTION_OF, Settings

ALPHA_RATIO = "network_alpha_ratio"
"""alpha = int(rank × ratio), 1 at least: so that alpha follows the rank, and never meets it."""
ALIASES: Mapping[str, str] = {
    option: SETTING_OF[facts.field]
    for option, facts in FIELD_OPTIONS.items()
    if facts.field in SETTING_OF and option not in SECTION_OF and SETTING_OF[facts.field] in SECTION_OF
}
"""sd-scripts' names of settings: network_dim → rank."""
SHARED_SECTIONS = ("subject", "model", "saving", "samples", "validation", "check", "masks")
SHARED = (
    "adapter", "network_weights", "dim_from_weights", "device", "precision", "base_precision", "attention", "deterministic",
    "compile_blocks", "compile_mode", "seed", "prediction", "zero_terminal_snr", "check_prediction", "images", "regularization",
    "metadata_file", "cache_latents", "cache_folder", "cache_limit_gb", "skip_cache_check", "vae_batch_size",
    "cache_text_encoder_outputs", "gradient_checkpointing", "fit_memory_gib", "blocks",
)  # fmt: skip
"""Settings that are the base's, the pictures' or the machine's: all trials have them alike. `blocks` is searched by `layers`."""


def searchable() -> dict[str, str]:
    """Return every name that a space may search, with the setting that it means."""
    own = {
        name: name
        for name, section in SECTION_OF.items()
        if section not in SHARED_SECTIONS and name not in SHARED
    }
    return {**own, **{alias: name for alias, name in ALIASES.items() if name in own}, ALPHA_RATIO: "alpha"}


def known_names() -> tuple[str, ...]:
    """Return the names that a condition may ask for, beside those of the space."""
    return (*SECTION_OF, *ALIASES, ALPHA_RATIO)


def values_of(settings: Settings, schedule: Schedule) -> dict[str, Any]:
    """Return what a condition sees of a trial: each setting in force, under all its names."""
    lora, training = settings.lora, settings.training
    values: dict[str, Any] = {
        name: getattr(getattr(settings, section), name) for name, section in SECTION_OF.items()
    }
    values |= {
        "alpha": lora.alpha_in_force,
        "unet_lr": training.unet_lr_in_force,
        "text_encoder_lr": training.text_encoder_lr_in_force,
        "steps": schedule.steps,
        "epochs": schedule.steps / max(1, schedule.steps_per_epoch),
        "warmup_steps": warmup_of(settings, schedule.steps),
    }
    names = {alias: values[name] for alias, name in ALIASES.items()}
    return {**values, **names, ALPHA_RATIO: lora.alpha_in_force / lora.rank}


def warmup_of(settings: Settings, steps: int) -> float:
    """Return the steps of the warm-up in force: none under a schedule that has none, a share below 1 as steps."""
    given = settings.training.warmup_steps
    if "warmup_steps" not in schedule_facts(settings.training.lr_scheduler).heeds:
        return 0
    return given * steps if given < 1 else given
