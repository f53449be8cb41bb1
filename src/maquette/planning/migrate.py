"""Proven settings carried over to a base of another native size, each changed value with its reason.

The rules are those of one project that did it from 512 to 1024 px and trained both; `tests/planning/test_migrate.py` holds
them against its table, value by value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, OutputError, Problem
from maquette.families.protocol import FamilySpec, ModelInfo
from maquette.files import require_writable_folder, write_atomic
from maquette.planning.proposals import interval_like
from maquette.project.config_file import CONFIG_NAME
from maquette.project.profile import PROFILE_NAME
from maquette.project.profile_file import profile_toml, read_profile
from maquette.project.settings import FAMILY_OWNED, Settings
from maquette.project.settings_text import (
    Reasoned,
    idle_settings,
    relative_to,
    settings_toml,
    toml_value,
    written_values,
)

HIGHEST_RATE = 1e-4
TEXT_SHARE = 0.6
"""The text encoders' rate, as a share of the denoiser's."""
LARGEST_EFFECTIVE_BATCH = 8
MORE_EPOCHS = 10 / 9
"""18 epochs became 20."""
KEPT = (
    "rank", "alpha", "conv_rank", "conv_alpha", "dropout", "min_snr_gamma", "noise_offset", "lr_scheduler", "lr_cycles",
    "lr_power", "warmup_steps", "weight_decay", "max_grad_norm", "prior_loss_weight", "seed",
)  # fmt: skip
"""What does not depend on the base's size."""
REASONS = {
    "clip_skip": "the text layer that the new base was made for",
    "sampler": "the new base's own",
    "guidance": "the new base's own",
}
LEFT_OUT = ("output", "cache_folder", "device", "ignore_rules")
"""What belongs to the old project or machine."""


@dataclass(frozen=True, kw_only=True)
class MigrationLine:
    """One setting before and after."""

    setting: str
    before: Any
    after: Any
    reason: str

    @property
    def changed(self) -> bool:
        return bool(self.before != self.after)

    def to_json(self) -> dict[str, Any]:
        return {
            "setting": self.setting, "before": _plain(self.before), "after": _plain(self.after),
            "changed": self.changed, "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Migration:
    """A whole set of settings carried over."""

    lines: tuple[MigrationLine, ...]
    elsewhere: Mapping[str, Reasoned]
    """What the project changed besides and is not set here."""

    def values(self) -> dict[str, Any]:
        """Return the settings after it, None left out."""
        return {line.setting: line.after for line in self.lines if line.after is not None}


def migrate(
    values: Mapping[str, Any], *, native_px: int, base: str, own: Mapping[str, Any] | None = None
) -> Migration:
    """Return `values` (settings by name) carried over to `base`, whose native edge is `native_px`.

    `own`: what its family has of its own for settings that it decides (None: it has no such thing); settings that name
    pictures, subject or places stay as they are. What would have no effect in the new project is left out.
    """
    lines = [
        *_base(values, base, own or {}),
        *_rates(values),
        *_batches(values),
        *_length(values),
        *_sizes(values, native_px),
        *_arithmetic(values),
    ]
    done = {line.setting for line in lines}
    for name, value in values.items():
        if name not in done:
            lines.append(
                MigrationLine(
                    setting=name, before=value, after=value, reason="kept" if name in KEPT else "as it is"
                )
            )
    lines = _without_idle(lines)
    elsewhere = {
        "optimizer": Reasoned(
            "AdamW8bit", "saves memory on CUDA, with the package bitsandbytes: adamw → adamw8bit"
        )
    }
    return Migration(lines=tuple(lines), elsewhere=elsewhere)


def migrate_settings(settings: Settings, info: ModelInfo, spec: FamilySpec, base: str) -> Migration:
    """Return a project's settings carried over to the base `info`. ConfigError when it is the same size or smaller."""
    before = max(settings.dataset.resolution)
    if info.resolution <= before:
        raise ConfigError(
            Problem(
                "--migrate-to", f"{base}, native at {info.resolution} px",
                f"a base of a larger native size than the project's {before} px",
                "Use the settings as they are.",
            )
        )  # fmt: skip
    own = {
        name: spec.default(name) for _, name in FAMILY_OWNED if name == "clip_skip" or not spec.option(name)
    }
    own |= {"sampler": spec.default_sampler, "guidance": spec.default_guidance}
    return migrate(_with_defaults(settings), native_px=info.resolution, base=base, own=own)


def migration_toml(migration: Migration, folder: Path, title: str) -> str:
    """Return the migrated settings as the text of FOLDER/maquette.toml."""
    values = {
        line.setting: Reasoned(_placed(line, folder), _comment(line))
        for line in migration.lines
        if line.after is not None
    }
    return settings_toml(values, f"{title}\nEach changed value says why.", migration.elsewhere)


def write_migration(migration: Migration, folder: Path, project: Path) -> Path:
    """Write FOLDER/maquette.toml and, where the project has one, its profile; return the settings' path.

    Raises OutputError when the folder holds a project already.
    """
    config = folder / CONFIG_NAME
    if config.exists():
        raise OutputError(
            Problem(str(config), "exists already", "a folder without a project", "Choose another folder.")
        )
    require_writable_folder(folder)
    if (project / PROFILE_NAME).is_file() and not (folder / PROFILE_NAME).exists():
        profile = replace(read_profile(project), notes=())
        write_atomic(folder / PROFILE_NAME, profile_toml(profile, folder))
    title = f"Carried over from {project.resolve().name}. Train it with:  maquette train {folder}"
    return write_atomic(config, migration_toml(migration, folder, title))


def _with_defaults(settings: Settings) -> dict[str, Any]:
    """Return what was written, and the rates, batch and size that hold without being written."""
    lora, training = settings.lora, settings.training
    resolved = {
        "resolution": settings.dataset.resolution,
        "rank": lora.rank,
        "alpha": lora.alpha_in_force,
        "learning_rate": training.learning_rate,
        "text_encoder_lr": training.learning_rate / 2
        if training.text_encoder_lr is None
        else training.text_encoder_lr,
        "batch_size": training.batch_size,
        "accumulation": training.accumulation,
        "precision": training.precision,
        "gradient_checkpointing": training.gradient_checkpointing,
    }
    written = {name: value for name, value in written_values(settings).items() if name not in LEFT_OUT}
    return {**written, **resolved}


def _base(values: Mapping[str, Any], base: str, own: Mapping[str, Any]) -> list[MigrationLine]:
    lines = [MigrationLine(setting="base", before=values.get("base"), after=base, reason="the new base")]
    for name, after in own.items():
        if values.get(name) is not None:
            why = "kept" if after == values[name] else REASONS.get(name, "the new base has no such thing")
            lines.append(MigrationLine(setting=name, before=values[name], after=after, reason=why))
    return lines


def _without_idle(lines: Sequence[MigrationLine]) -> list[MigrationLine]:
    """Return the lines, those whose setting would change nothing with None after it."""
    idle = idle_settings({line.setting: line.after for line in lines if line.after is not None})
    return [
        replace(line, after=None, reason=idle[line.setting]) if line.setting in idle else line
        for line in lines
    ]


def _rates(values: Mapping[str, Any]) -> list[MigrationLine]:
    lines = []
    for name in ("learning_rate", "unet_lr"):
        if values.get(name) is not None:
            after = min(values[name], HIGHEST_RATE)
            reason = "the larger base is sensitive to the learning rate" if after != values[name] else "kept"
            lines.append(MigrationLine(setting=name, before=values[name], after=after, reason=reason))
    before = values.get("text_encoder_lr")
    if before is not None:
        rate = next((line.after for line in lines if line.setting == "unet_lr"), None)
        rate = rate or next((line.after for line in lines), HIGHEST_RATE)
        after = min(before, float(f"{TEXT_SHARE * rate:.3g}"))
        reason = "lower for stability" if after != before else "kept"
        lines.append(MigrationLine(setting="text_encoder_lr", before=before, after=after, reason=reason))
    return lines


def _batches(values: Mapping[str, Any]) -> list[MigrationLine]:
    batch, accumulation = values.get("batch_size", 1), values.get("accumulation", 1)
    effective = min(batch * accumulation, LARGEST_EFFECTIVE_BATCH)
    kept = "maintains the effective batch"
    if effective < batch * accumulation:
        kept = f"an effective batch of {effective} instead of {batch * accumulation}"
    return [
        MigrationLine(setting="batch_size", before=batch, after=1, reason="memory" if batch != 1 else "kept"),
        MigrationLine(
            setting="accumulation", before=accumulation, after=effective,
            reason=kept if effective != accumulation else "kept",
        ),
    ]  # fmt: skip


def _length(values: Mapping[str, Any]) -> list[MigrationLine]:
    lines = []
    for name in ("epochs", "steps"):
        if values.get(name) is not None:
            after = round(values[name] * MORE_EPOCHS)
            lines.append(
                MigrationLine(
                    setting=name,
                    before=values[name],
                    after=after,
                    reason=f"the larger base needs more {name}",
                )
            )
            lines += _intervals(values, name, values[name], after)
    return lines


def _intervals(values: Mapping[str, Any], unit: str, before: int, after: int) -> list[MigrationLine]:
    """Return the intervals of saving and drawing that are counted in the run's own unit, for as many files as before."""
    lines = []
    for name in (f"save_every_{unit}", f"sample_every_{unit}"):
        every = values.get(name)
        if every is not None:
            fitted = interval_like(every, before, after, in_epochs=unit == "epochs")
            reason = "kept" if fitted == every else "as many checkpoints as before"
            lines.append(MigrationLine(setting=name, before=every, after=fitted, reason=reason))
    return lines


def _sizes(values: Mapping[str, Any], native_px: int) -> list[MigrationLine]:
    pairs: list[tuple[str, Any, str]] = [
        ("resolution", native_px, "the new base's own"),
        ("bucket_step_px", 64, "as the new base was trained"),
        ("bucket_no_upscale", True, "pictures are not enlarged to the larger size"),
    ]
    return [
        MigrationLine(setting=name, before=_side(values.get(name)), after=after, reason=reason)
        for name, after, reason in pairs
    ]


def _arithmetic(values: Mapping[str, Any]) -> list[MigrationLine]:
    before = values.get("precision", "auto")
    return [
        MigrationLine(
            setting="precision", before=before, after="bf16",
            reason="better for the larger base: half the memory, no overflow" if before != "bf16" else "kept",
        ),
        MigrationLine(
            setting="gradient_checkpointing", before=values.get("gradient_checkpointing", False), after=True,
            reason="memory: four times the pixels",
        ),
        MigrationLine(
            setting="cache_latents", before=values.get("cache_latents", True), after=True,
            reason="memory: the VAE leaves the device",
        ),
    ]  # fmt: skip


def _side(value: Any) -> Any:
    """Return a square resolution as its one side."""
    return value[0] if isinstance(value, tuple | list) and len(set(value)) == 1 else value


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _placed(line: MigrationLine, folder: Path) -> Any:
    """Return a path as it reads from the new file's folder."""
    if isinstance(line.after, Path):
        return relative_to(line.after, folder)
    if line.setting == "base" and Path(str(line.after)).expanduser().exists():
        return relative_to(Path(line.after), folder)
    return line.after


def _comment(line: MigrationLine) -> str:
    if not line.changed:
        return line.reason if line.reason == "kept" else ""
    before = line.before
    if before is None or line.setting == "base":
        return line.reason
    return f"was {toml_value(before) if not isinstance(before, str) else before}: {line.reason}"
