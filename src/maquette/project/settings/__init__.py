"""What is wanted: every setting of a training run, as `maquette.toml` and the command line both spell it.

One frozen record a section, a file each. A field's description is its help text, its documentation and its form label; names
are unique over all sections, so that `rank` under `[lora]` and `--rank` are the same setting. Lengths are pixels, counts of
optimizer updates are steps, learning rates are per step.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from maquette.project.fields import Section
from maquette.project.settings.dataset import DatasetSettings, Resolution
from maquette.project.settings.lora import LoraSettings, half_the_rank
from maquette.project.settings.masks import MaskSettings, MaskSource
from maquette.project.settings.model import ModelSettings
from maquette.project.settings.objective import ObjectiveSettings, StatedPrediction
from maquette.project.settings.samples import SamplerName, SampleSettings
from maquette.project.settings.saving import SavingSettings
from maquette.project.settings.subject import SubjectSettings
from maquette.project.settings.training import (
    DEFAULT_STEPS,
    Device,
    OptimizerName,
    Precision,
    SchedulerName,
    TrainingSettings,
)
from maquette.project.settings.validation import ValidationSettings

__all__ = [
    "CHANGED_ON_RESUME",
    "DEFAULT_STEPS",
    "FAMILY_OWNED",
    "PATHS",
    "SCHEMA_VERSION",
    "SECTIONS",
    "SECTION_OF",
    "CheckSettings",
    "DatasetSettings",
    "Device",
    "FamilySettings",
    "LoraSettings",
    "MaskSettings",
    "MaskSource",
    "ModelSettings",
    "ObjectiveSettings",
    "OptimizerName",
    "Precision",
    "Resolution",
    "SampleSettings",
    "SamplerName",
    "SavingSettings",
    "SchedulerName",
    "Settings",
    "StatedPrediction",
    "SubjectSettings",
    "TrainingSettings",
    "ValidationSettings",
    "half_the_rank",
]

SCHEMA_VERSION = 1


class FamilySettings(Section):
    """`[family]`: what the base model's family has of its own, beside the settings above. Its keys are the family's."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class CheckSettings(Section):
    """`[check]`: which findings this project wants to hear."""

    ignore_rules: tuple[str, ...] = Field(
        (),
        description="Rules that are not reported: codes (CAP010), beginnings of codes (PIC) or names.",
    )


class Settings(Section):
    """Everything that one training run is asked to do."""

    subject: SubjectSettings = SubjectSettings()
    model: ModelSettings
    dataset: DatasetSettings = DatasetSettings()
    masks: MaskSettings = MaskSettings()
    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    saving: SavingSettings = SavingSettings()
    samples: SampleSettings = SampleSettings()
    validation: ValidationSettings = ValidationSettings()
    check: CheckSettings = CheckSettings()
    family: FamilySettings = FamilySettings()

    def with_resumable(self, other: Settings) -> Settings:
        """Return these settings with what may change on resuming as `other` has it."""
        kept = {name: getattr(other.training, name) for name in CHANGED_ON_RESUME}
        validation = self.validation.model_copy(update={"early_stop": other.validation.early_stop})
        training = self.training.model_copy(update=kept)
        return self.model_copy(update={"training": training, "validation": validation})

    def family_values(self) -> dict[str, Any]:
        """Return the settings that families may own, where they were given: their default is the family's."""
        found = {
            name: getattr(getattr(self, section), name)
            for section, name in FAMILY_OWNED
            if getattr(getattr(self, section), name) != SECTIONS[section].model_fields[name].default
        }
        return {**found, **(self.family.model_extra or {})}


FAMILY_OWNED = (
    ("model", "clip_skip"),
    ("dataset", "max_token_length"),
    ("dataset", "weighted_captions"),
    ("objective", "min_snr_gamma"),
    ("objective", "scale_v_pred_loss_like_noise_pred"),
    ("objective", "v_pred_like_loss"),
    ("objective", "debiased_estimation_loss"),
    ("objective", "min_timestep"),
    ("objective", "max_timestep"),
)
"""Settings of other sections that mean something only to families that declare them."""
CHANGED_ON_RESUME = ("gradient_checkpointing", "fit_memory_gib")
"""Settings of `[training]` that spend time for memory and change no weight: a run may be resumed with others."""
SECTIONS: dict[str, type[Section]] = {
    "subject": SubjectSettings,
    "model": ModelSettings,
    "dataset": DatasetSettings,
    "masks": MaskSettings,
    "lora": LoraSettings,
    "training": TrainingSettings,
    "objective": ObjectiveSettings,
    "saving": SavingSettings,
    "samples": SampleSettings,
    "validation": ValidationSettings,
    "check": CheckSettings,
}
SECTION_OF = {name: section for section, record in SECTIONS.items() for name in record.model_fields}
PATHS = frozenset(
    {
        "images",
        "regularization",
        "mask_folder",
        "metadata_file",
        "cache_folder",
        "output",
        "validation_images",
        "logging_dir",
        "network_weights",
        "base_weights",
    }
)
