"""`[training]`: how long, how fast, on what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from maquette.project.fields import Section
from maquette.project.optimizers import (
    DEFAULT_OPTIMIZER,
    OPTIMIZERS,
    facts_of,
    known_optimizer,
    optimizer_arguments,
)
from maquette.project.schedules import SCHEDULES, known_schedule, schedule_arguments
from maquette.project.values import parse_steps

DEFAULT_STEPS = 1000
"""Length of a run whose settings name neither steps nor epochs."""
Precision = Literal["auto", "no", "bf16", "fp16"]
Device = Annotated[
    str,
    Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", json_schema_extra={"form": "the name of a device"}),
]
SchedulerName = Annotated[
    str,
    AfterValidator(known_schedule),
    Field(json_schema_extra={"form": "the name of a schedule, or package.Class"}),
]
Steps = Annotated[int | float, BeforeValidator(parse_steps), Field(ge=0)]
"""Steps, or below 1 a share of all steps."""
OptimizerName = Annotated[
    str,
    AfterValidator(known_optimizer),
    Field(json_schema_extra={"form": "the name of an optimizer, or package.Class"}),
]


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
    text_encoder_2_lr: float | None = Field(
        None,
        ge=0,
        description="Learning rate of the second text encoder, where the base has two. Default: text_encoder_lr.",
    )
    loraplus_lr_ratio: float | None = Field(
        None,
        gt=0,
        description="LoRA+: how many times the rate the up half of each layer trains at; 16 is usual. Default: off.",
    )
    loraplus_unet_lr_ratio: float | None = Field(
        None, gt=0, description="LoRA+ of the denoiser. Default: loraplus_lr_ratio."
    )
    loraplus_text_encoder_lr_ratio: float | None = Field(
        None, gt=0, description="LoRA+ of the text encoders. Default: loraplus_lr_ratio."
    )
    optimizer: OptimizerName = Field(
        DEFAULT_OPTIMIZER,
        description=f"What turns gradients into updates: {', '.join(OPTIMIZERS)}, or a class such as torch.optim.RAdam. Most "
        "need the extra `optimizers`, 8-bit and paged ones the package bitsandbytes.",
    )
    optimizer_args: tuple[str, ...] = Field(
        (), description="The optimizer's own arguments, NAME=VALUE: betas=0.9,0.99 or momentum=0.95."
    )
    weight_decay: float | None = Field(
        None, ge=0, description="Weight decay. Default: the optimizer's own, 0.01 of adamw and sgd."
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Save and draw with a moving average of the weights that keeps this share of itself at each step; "
        "0.99 looks back 100 steps. Default: off.",
    )
    lr_scheduler: SchedulerName = Field(
        "cosine",
        description=f"How the learning rate moves over the steps: {', '.join(SCHEDULES)}, or a class such as "
        "torch.optim.lr_scheduler.OneCycleLR.",
    )
    lr_scheduler_args: tuple[str, ...] = Field(
        (), description="The schedule's own arguments, NAME=VALUE: step_rules=1:100,0.1 or T_max=500."
    )
    warmup_steps: Steps = Field(
        0,
        description="Steps over which the learning rate rises from zero; below 1, or with %, a share of all steps.",
    )
    lr_decay_steps: Steps = Field(
        0,
        description="Last steps over which warmup_stable_decay falls; below 1, or with %, a share of all steps.",
    )
    lr_cycles: int = Field(
        1, ge=1, description="Restarts of cosine_with_restarts; half waves of schedules with a least rate."
    )
    lr_power: float = Field(1.0, gt=0, description="Exponent of polynomial.")
    lr_timescale: int | None = Field(
        None,
        ge=1,
        description="Steps over which inverse_sqrt falls. Default: warmup_steps, or 10000 without.",
    )
    lr_min_ratio: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the learning rate below which cosine_with_min_lr and warmup_stable_decay never fall.",
    )
    max_grad_norm: float = Field(
        1.0, ge=0, description="Gradients are scaled down to this norm; 0 turns clipping off."
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, about a quarter slower."
    )
    fit_memory_gib: float | None = Field(
        None,
        ge=0,
        description="Recompute as few of the model's blocks as it takes to stay within so many GiB; 0: what the device has. "
        "Gradient checkpointing no slower than it must be, in place of gradient_checkpointing. Default: off.",
    )
    seed: int = Field(
        42, ge=0, lt=2**32, description="Seed of everything random: same seed, same machine, same weights."
    )
    device: Device = Field("auto", description="auto, cpu, cuda, cuda:1 or mps.")
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that train together, each on a GPU of its own with batch_size pictures: N of them train as one "
        "with N times batch_size. `train` starts them itself.",
    )
    precision: Precision = Field(
        "auto",
        description="Arithmetic of the frozen base: no (float32), bf16, fp16. auto: on CUDA bf16, fp16 before the RTX 30; "
        "else no.",
    )
    base_precision: Literal["same", "int8"] = Field(
        "same",
        description="How the frozen denoiser's weights are held: same, as they compute, or int8: a byte each, made whole layer "
        "by layer as it computes. For cards under 8 GB: published as 2.6 to 2.9 times the time of a step.",
    )
    attention: Literal["auto", "flash", "efficient", "math"] = Field(
        "auto",
        description="Kernel of attention: flash, memory-efficient or plain matrix products; auto: the fastest of the device.",
    )
    deterministic: bool = Field(
        False,
        description="Only kernels that repeat their sums, so that a GPU gives the same bits again. A processor always does.",
    )
    compile_blocks: bool = Field(
        False,
        description="Compile the denoiser's repeated blocks (torch.compile): a first step of minutes, faster ones after it.",
    )

    compile_mode: Literal["default", "reduce-overhead"] = Field(
        "default",
        description="How torch compiles the blocks: reduce-overhead replays them as CUDA graphs, one for each size of picture, "
        "which takes memory for each. CUDA alone.",
    )

    @field_validator("optimizer_args")
    @classmethod
    def _known_arguments(cls, given: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if "optimizer" in others.data:  # else that is what is wrong
            optimizer_arguments(others.data["optimizer"], given)
        return given

    @field_validator("lr_scheduler_args")
    @classmethod
    def _known_schedule_arguments(cls, given: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if "lr_scheduler" in others.data:
            schedule_arguments(others.data["lr_scheduler"], given)
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
        """The text encoders' rate as given, else half the learning rate; all of it where the optimizer knows one rate."""
        if self.text_encoder_lr is not None:
            return self.text_encoder_lr
        return self.learning_rate if facts_of(self.optimizer).one_rate else self.learning_rate / 2

    @property
    def loraplus_unet_lr_ratio_in_force(self) -> float | None:
        """LoRA+'s ratio of the denoiser; None where it is off."""
        return self.loraplus_unet_lr_ratio or self.loraplus_lr_ratio

    @property
    def loraplus_text_encoder_lr_ratio_in_force(self) -> float | None:
        """LoRA+'s ratio of the text encoders; None where it is off."""
        return self.loraplus_text_encoder_lr_ratio or self.loraplus_lr_ratio
