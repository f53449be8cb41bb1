"""What is wanted: every setting of a training run, as `maquette.toml` and the command line both spell it.

One frozen record a section. A field's description is its help text, its documentation and its form label; names are
unique over all sections, so that `rank` under `[lora]` and `--rank` are the same setting. Lengths are pixels,
counts of optimizer updates are steps, learning rates are per step.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from maquette.project.fields import Section
from maquette.project.optimizers import DEFAULT_OPTIMIZER, OPTIMIZERS, optimizer_arguments
from maquette.project.values import parse_resolution

SCHEMA_VERSION = 1
DEFAULT_STEPS = 1000
"""Length of a run whose settings name neither steps nor epochs."""

Precision = Literal["auto", "no", "bf16", "fp16"]
Device = Annotated[
    str,
    Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", json_schema_extra={"form": "the name of a device"}),
]
SamplerName = Literal["euler_ancestral", "euler", "ddim", "dpmpp_2m"]
SchedulerName = Literal[
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"
]
if TYPE_CHECKING:
    OptimizerName = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]  # so that flags, help and docs list the table's names
Resolution = Annotated[tuple[int, int], BeforeValidator(parse_resolution)]


def half_the_rank(rank: int) -> float:
    """Return the usual alpha, which makes the adapter's scale one half."""
    return rank / 2


class SubjectSettings(Section):
    """`[subject]`: who or what the LoRA learns."""

    trigger: str = Field(
        "",
        description="The invented word that means the subject. Needed to name it in prompts and in the deployed workflow.",
    )
    class_word: str = Field("", description="The ordinary word for it: man, dog, anime character.")


class ModelSettings(Section):
    """`[model]`: the base model that is adapted."""

    base: str = Field(
        description="The base model: a .safetensors checkpoint, a diffusers folder, or a hub name. The file tells its family."
    )
    clip_skip: int | None = Field(
        None,
        ge=1,
        le=12,
        description="Text layer counted from the end whose output conditions the picture; 1 is the last. Default: the family's.",
    )


class DatasetSettings(Section):
    """`[dataset]`: the pictures and how they are shown."""

    images: Path = Field(
        Path("images"),
        description="Folder of pictures with captions beside them, kohya folder (10_name/), or kohya dataset TOML.",
    )
    regularization: Path | None = Field(
        None, description="Folder of class pictures that keep the class from drifting."
    )
    repeats: int = Field(
        1,
        ge=1,
        description="How often an epoch shows each picture of a flat folder; N_name/ folders carry their own.",
    )
    resolution: Resolution = Field(
        (512, 512), description='Training size in pixels: 512, "512,768" (width, height) or [512, 768].'
    )
    bucketing: bool | None = Field(
        None,
        description="Group pictures by aspect ratio, do not crop all to one shape. Default: on; for a kohya TOML as it says.",
    )
    min_bucket_px: int | None = Field(
        None, ge=8, description="Shortest bucket side. Default: 256, or half the resolution if smaller."
    )
    max_bucket_px: int | None = Field(
        None, ge=8, description="Longest bucket side. Default: 1024, or twice the resolution if larger."
    )
    bucket_step_px: int = Field(64, ge=8, multiple_of=8, description="Bucket sides are multiples of this.")
    bucket_no_upscale: bool = Field(False, description="Never enlarge a picture to fill its bucket.")
    caption_extension: str = Field(
        ".txt",
        pattern=r"^\.\w+$",
        json_schema_extra={"form": "a dot and letters or digits, like .txt"},
        description="Ending of caption files.",
    )
    caption_fallback: str = Field(
        "",
        description="Caption of pictures that have none. Default: none, and missing captions are an error.",
    )
    shuffle_caption: bool = Field(
        False, description="Shuffle the comma-separated parts of a caption each time it is shown."
    )
    keep_tokens: int = Field(
        0, ge=0, description="Leading caption parts that shuffling leaves in place; 1 protects the trigger."
    )
    max_token_length: Literal[75, 150, 225] = Field(
        75, description="Caption tokens that are read; the rest is cut off."
    )
    cache_latents: bool = Field(
        True, description="Encode each picture once before training instead of at every step."
    )
    cache_folder: Path | None = Field(
        None, description="Keep encoded pictures here between runs. Default: in memory only."
    )


class LoraSettings(Section):
    """`[lora]`: the adapter's size."""

    rank: int = Field(
        16, ge=1, le=1024, description="Rank of every adapter layer: its capacity and file size."
    )
    alpha: float | None = Field(
        None, gt=0, description="Strength of the adapter: scale = alpha / rank. Default: half the rank."
    )
    conv_rank: int | None = Field(
        None, ge=1, le=1024, description="Also adapt 3x3 convolutions at this rank (LoCon). Default: off."
    )
    conv_alpha: float | None = Field(
        None, gt=0, description="Alpha of the convolutions. Default: half of conv_rank."
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the adapter's inner values dropped at each step."
    )

    @property
    def alpha_in_force(self) -> float:
        """Alpha as given, else half the rank."""
        return half_the_rank(self.rank) if self.alpha is None else self.alpha

    @property
    def conv_alpha_in_force(self) -> float | None:
        """Alpha of the convolutions as given, else half their rank; None where they are not adapted."""
        if not self.conv_rank:
            return None
        return half_the_rank(self.conv_rank) if self.conv_alpha is None else self.conv_alpha


class TrainingSettings(Section):
    """`[training]`: how long, how fast, on what."""

    steps: int | None = Field(
        None, ge=1, description="Optimizer steps. Give this or epochs. Default: 1000 steps."
    )
    epochs: int | None = Field(
        None, ge=1, description="Passes over the pictures (with repeats). Give this or steps."
    )
    batch_size: int = Field(1, ge=1, description="Pictures in one forward pass.")
    accumulation: int = Field(1, ge=1, description="Forward passes that make one optimizer step.")
    learning_rate: float = Field(1e-4, ge=0, description="Learning rate of both parts unless given apart.")
    unet_lr: float | None = Field(
        None,
        ge=0,
        description="Learning rate of the denoiser; 0 leaves it untrained. Default: learning_rate.",
    )
    text_encoder_lr: float | None = Field(
        None,
        ge=0,
        description="Learning rate of the text encoders; 0 leaves them untrained. Default: half of learning_rate.",
    )
    optimizer: OptimizerName = Field(DEFAULT_OPTIMIZER, description="What turns gradients into updates.")
    optimizer_args: tuple[str, ...] = Field(
        (), description="The optimizer's own arguments, NAME=VALUE: betas=0.9,0.99 or momentum=0.95."
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of the optimizer.")
    lr_scheduler: SchedulerName = Field("cosine", description="How the learning rate moves over the steps.")
    warmup_steps: int = Field(0, ge=0, description="Steps over which the learning rate rises from zero.")
    lr_cycles: int = Field(1, ge=1, description="Restarts of cosine_with_restarts.")
    lr_power: float = Field(1.0, gt=0, description="Exponent of polynomial.")
    max_grad_norm: float = Field(
        1.0, ge=0, description="Gradients are scaled down to this norm; 0 turns clipping off."
    )
    min_snr_gamma: float | None = Field(
        None, gt=0, description="Min-SNR loss weighting; 5 is usual. Default: off."
    )
    noise_offset: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Adds a constant per channel to the noise; 0.05 helps dark and bright pictures.",
    )
    prior_loss_weight: float = Field(1.0, ge=0, description="Loss weight of regularization pictures.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, about a quarter slower."
    )
    seed: int = Field(
        42, ge=0, lt=2**32, description="Seed of everything random: same seed, same machine, same weights."
    )
    device: Device = Field("auto", description="auto, cpu, cuda, cuda:1 or mps.")
    precision: Precision = Field(
        "auto",
        description="Arithmetic of the frozen base: no (float32), bf16, fp16. auto: bf16 where CUDA has it, else no.",
    )

    @field_validator("optimizer_args")
    @classmethod
    def _known_arguments(cls, given: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if "optimizer" in others.data:  # else that is what is wrong
            optimizer_arguments(others.data["optimizer"], given)
        return given

    @property
    def steps_in_force(self) -> int | None:
        """The run's length in steps; None where it is given in epochs alone."""
        return self.steps if self.steps or self.epochs else DEFAULT_STEPS

    @property
    def unet_lr_in_force(self) -> float:
        """The denoiser's rate as given, else the learning rate."""
        return self.learning_rate if self.unet_lr is None else self.unet_lr

    @property
    def text_encoder_lr_in_force(self) -> float:
        """The text encoders' rate as given, else half the learning rate."""
        return self.learning_rate / 2 if self.text_encoder_lr is None else self.text_encoder_lr


class SavingSettings(Section):
    """`[saving]`: where the run lies and what it keeps."""

    output: Path = Field(Path("runs"), description="Folder that receives the run's folder.")
    name: str = Field(
        "",
        pattern=r"^[\w][\w .+-]*$|^$",
        json_schema_extra={"form": "letters, digits, spaces and . + - _, a letter or digit first"},
        description="Name of the run's folder and of its LoRA files. Default: the trigger.",
    )
    save_every_steps: int | None = Field(None, ge=1, description="Checkpoint every N steps.")
    save_every_epochs: int | None = Field(
        None, ge=1, description="Checkpoint every N epochs (never at the last: that is the final file)."
    )
    save_precision: Literal["fp32", "fp16", "bf16"] = Field(
        "fp16", description="Precision of the saved LoRA."
    )
    tensorboard: bool | None = Field(
        None,
        description="Write TensorBoard events into the run's folder. Default: where the extra `tensorboard` is installed.",
    )
    state_every_steps: int = Field(
        100,
        ge=0,
        description="Save what resuming needs every N steps, beside checkpoints; 0: only with checkpoints.",
    )


class SampleSettings(Section):
    """`[samples]`: pictures drawn while training."""

    sample_prompts: tuple[str, ...] = Field(
        (),
        description="Prompts drawn at every checkpoint with fixed seeds. {trigger} stands for the trigger.",
    )
    negative_prompt: str = Field("", description="What samples should not show.")
    sample_every_steps: int | None = Field(
        None, ge=1, description="Draw samples every N steps. Default: with each checkpoint."
    )
    sample_every_epochs: int | None = Field(
        None, ge=1, description="Draw samples every N epochs. Default: with each checkpoint."
    )
    sample_seed: int = Field(
        1, ge=0, lt=2**32, description="Seed of the first sample; the next prompt takes the next seed."
    )
    sample_steps: int = Field(25, ge=1, le=1000, description="Denoising steps of a sample.")
    guidance: float | None = Field(
        None, ge=0, description="Classifier-free guidance scale of samples. Default: the family's."
    )
    sampler: str | None = Field(None, description="Sampler of samples. Default: the family's.")


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
    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    saving: SavingSettings = SavingSettings()
    samples: SampleSettings = SampleSettings()
    check: CheckSettings = CheckSettings()
    family: FamilySettings = FamilySettings()

    def family_values(self) -> dict[str, Any]:
        """Return the settings that families may own, where they were given: their default is the family's."""
        found = {
            name: getattr(getattr(self, section), name)
            for section, name in FAMILY_OWNED
            if getattr(getattr(self, section), name) != SECTIONS[section].model_fields[name].default
        }
        return {**found, **(self.family.model_extra or {})}


FAMILY_OWNED = (("model", "clip_skip"), ("dataset", "max_token_length"), ("training", "min_snr_gamma"))
"""Settings of other sections that mean something only to families that declare them."""
SECTIONS: dict[str, type[Section]] = {
    "subject": SubjectSettings,
    "model": ModelSettings,
    "dataset": DatasetSettings,
    "lora": LoraSettings,
    "training": TrainingSettings,
    "saving": SavingSettings,
    "samples": SampleSettings,
    "check": CheckSettings,
}
SECTION_OF = {name: section for section, record in SECTIONS.items() for name in record.model_fields}
PATHS = frozenset({"images", "regularization", "cache_folder", "output"})
