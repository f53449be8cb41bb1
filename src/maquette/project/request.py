"""A training run as its user wrote it, for whichever trainer: what rules about settings read.

Maquette's settings, a kohya `--config_file`, and a saved command line all become this record. None means "not said":
then the trainer's own default holds, which `value()` gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from maquette.errors import Problem

Trainer = Literal["maquette", "sd-scripts"]
AnyTrainer = Literal["maquette", "sd-scripts", "other"]
"""`other`: a program whose defaults nobody here knows, so that only what its file says counts."""

SD_SCRIPTS_DEFAULTS: Mapping[str, Any] = {
    "v_parameterization": False,
    "zero_terminal_snr": False,
    "clip_skip": 1,
    "no_half_vae": False,
    "enable_bucket": False,
    "min_bucket_px": 256,
    "max_bucket_px": 1024,
    "bucket_step_px": 64,
    "bucket_no_upscale": False,
    "repeats": 1,
    "caption_extension": ".caption",
    "shuffle_caption": False,
    "keep_tokens": 0,
    "max_token_length": 75,
    "weighted_captions": False,
    "caption_separator": ",",
    "enable_wildcard": False,
    "caption_dropout_rate": 0.0,
    "caption_dropout_every_n_epochs": 0,
    "caption_tag_dropout_rate": 0.0,
    "token_warmup_step": 0,
    "token_warmup_min": 1,
    "flip_aug": False,
    "color_aug": False,
    "random_crop": False,
    "cache_latents": False,
    "cache_latents_to_disk": False,
    "cache_text_encoder_outputs": False,
    "masked_loss": False,
    "alpha_mask": False,
    "rank": 4,
    "alpha": 1.0,
    "dropout": 0.0,
    "train_text_encoder": True,
    "train_denoiser": True,
    "batch_size": 1,
    "accumulation": 1,
    "processes": 1,
    "learning_rate": 2e-6,
    "optimizer": "adamw",
    "scheduler": "constant",
    "warmup_steps": 0,
    "cycles": 1,
    "noise_offset": 0.0,
    "multires_noise": False,
    "max_grad_norm": 1.0,
    "prior_loss_weight": 1.0,
    "gradient_checkpointing": False,
    "precision": "no",
    "lowram": False,
    "save_state": False,
    "validation_split": 0.0,
}
"""What train_network.py does where it is told nothing. It has no default resolution: without one it stops. SDXL takes
no notice of a clip skip."""
SD_SCRIPTS_STEPS = 1600
"""Length of its run when neither steps nor epochs are given; epochs win over steps."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """One folder of pictures that a file of another program lists itself."""

    path: Path
    repeats: int = 1
    caption_extension: str = ".txt"
    is_regularization: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else is said of it, by the file's own names."""


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """Everything a rule may want to know of a planned run. Lengths are pixels, counts are as the trainer counts them."""

    file: Path
    """Where it was written: maquette.toml, a TOML, a shell script."""
    trainer: AnyTrainer
    spelling: Mapping[str, str] = field(default_factory=dict)
    """Field name → how the file says it: `--mixed_precision="fp16"`, `[lora] rank`, `line 12: --network_dim`."""
    line: int | None = None
    """Line of the command, for a script."""
    defaulted: frozenset[str] = frozenset()
    """Fields that hold a default which the file does not write (a Maquette project's; elsewhere those are None)."""

    # --- how it is started (sd-scripts) ---
    script: str | None = None
    """File name of the script: train_network.py, sdxl_train_network.py."""
    script_path: Path | None = None
    """Where that script should lie, variables and ~ resolved as far as they can be."""
    launcher: str | None = None
    """accelerate, torchrun, python: what starts it; None when unknown."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the script exports or sets before the command."""
    unknown_options: tuple[str, ...] = ()
    """Options that the trainer does not have, as written."""
    repeated_options: tuple[str, ...] = ()
    """Options given more than once, as written."""
    problems: tuple[Problem, ...] = ()
    """Values and lines that stop the trainer before it loads anything: no number where one belongs, a value after a
    switch, `resolution = 512` in a --config_file, a line that a missing \\ cuts off. Such a field is None."""
    launcher_options: Mapping[str, str] = field(default_factory=dict)
    """What the launcher itself is told: `mixed_precision`, `num_cpu_threads_per_process`; "" for a switch."""
    is_elsewhere: bool = False
    """It ran on another computer, whatever its paths say: a log tells of it."""
    unread: tuple[str, ...] = ()
    """Files with more of its options that are not here: what it does not say is not known then."""
    other: Mapping[str, Any] = field(default_factory=dict)
    """Known options that no field stands for, by name: `network_args`, `save_last_n_steps`."""

    # --- subject ---
    trigger: str | None = None
    class_word: str | None = None

    # --- base model ---
    base: str | None = None
    vae: str | None = None
    v_parameterization: bool | None = None
    zero_terminal_snr: bool | None = None
    clip_skip: int | None = None
    no_half_vae: bool | None = None

    # --- pictures and captions ---
    images: Path | None = None
    """The folder (--train_data_dir, [dataset] images)."""
    regularization: Path | None = None
    metadata_file: Path | None = None
    """A list of pictures with captions (--in_json, [dataset] metadata_file)."""
    folders: tuple[Folder, ...] = ()
    """Folders that the file lists with repeats of their own, where it names no single one."""
    dataset_config: Path | None = None
    """A kohya dataset TOML."""
    resolution_wh: tuple[int, int] | None = None
    resolution_as_written: str | None = None
    more_resolutions_wh: tuple[tuple[int, int], ...] | None = None
    """Further sizes that every picture is shown at."""
    enable_bucket: bool | None = None
    min_bucket_px: int | None = None
    max_bucket_px: int | None = None
    bucket_step_px: int | None = None
    bucket_no_upscale: bool | None = None
    repeats: int | None = None
    """Maquette's repeats of a flat folder, or sd-scripts' --dataset_repeats."""
    caption_extension: str | None = None
    caption_fallback: str | None = None
    shuffle_caption: bool | None = None
    keep_tokens: int | None = None
    max_token_length: int | None = None
    weighted_captions: bool | None = None
    caption_separator: str | None = None
    keep_tokens_separator: str | None = None
    secondary_separator: str | None = None
    enable_wildcard: bool | None = None
    caption_prefix: str | None = None
    caption_suffix: str | None = None
    caption_dropout_rate: float | None = None
    caption_dropout_every_n_epochs: int | None = None
    caption_tag_dropout_rate: float | None = None
    token_warmup_step: float | None = None
    """A number below 1 is a share of all steps."""
    token_warmup_min: int | None = None
    flip_aug: bool | None = None
    color_aug: bool | None = None
    random_crop: bool | None = None
    face_crop_aug_range: tuple[float, float] | None = None
    resize_interpolation: str | None = None
    background: str | None = None
    """Colour behind transparent parts; sd-scripts has none."""
    cache_latents: bool | None = None
    cache_latents_to_disk: bool | None = None
    cache_text_encoder_outputs: bool | None = None
    cache_folder: Path | None = None

    # --- masks ---
    masked_loss: bool | None = None
    """sd-scripts' switch, without which a dataset TOML may name no masks."""
    alpha_mask: bool | None = None
    """A picture's transparency is its mask."""
    mask_source: str | None = None
    """none, alpha, folder or beside."""
    mask_folder: Path | None = None
    unmasked_weight: float | None = None
    unmasked_probability: float | None = None
    normalize_masked_area_loss: bool | None = None
    masked_prior_preservation_weight: float | None = None

    # --- adapter ---
    network_module: str | None = None
    adapter: str | None = None
    """What is trained: a name of `project/adapter_kinds.py`."""
    lokr_factor: int | None = None
    rank: int | None = None
    alpha: float | None = None
    conv_rank: int | None = None
    conv_alpha: float | None = None
    dropout: float | None = None
    rank_dropout: float | None = None
    module_dropout: float | None = None
    scale_weight_norms: float | None = None
    """The longest change of a layer's weight."""
    network_weights: Path | None = None
    """The LoRA that training goes on from."""
    dim_from_weights: bool | None = None
    include_layers: tuple[str, ...] = ()
    """Names and patterns of the layers that are adapted; empty for all."""
    exclude_layers: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    """Other sizes and rates for some layers, as `[lora] blocks` says them."""
    train_text_encoder: bool | None = None
    """False where only the denoiser is trained (--network_train_unet_only, text_encoder_lr = 0)."""
    train_denoiser: bool | None = None

    # --- length, rates, arithmetic ---
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    accumulation: int | None = None
    processes: int | None = None
    """Processes that train together, each with a batch of its own: what the launcher is told."""
    learning_rate: float | None = None
    unet_lr: float | None = None
    text_encoder_lrs: tuple[float, ...] | None = None
    """One, or one per text encoder."""
    loraplus_lr_ratio: float | None = None
    loraplus_unet_lr_ratio: float | None = None
    loraplus_text_encoder_lr_ratio: float | None = None
    optimizer: str | None = None
    """Lower case: adamw, adamw8bit, lion, prodigy, adafactor, dadaptadam…"""
    optimizer_args: Mapping[str, str] = field(default_factory=dict)
    scheduler: str | None = None
    warmup_steps: float | None = None
    """Steps; a number below 1 is a share of all steps, as sd-scripts takes it."""
    cycles: int | None = None
    min_snr_gamma: float | None = None
    noise_offset: float | None = None
    multires_noise: bool | None = None
    max_grad_norm: float | None = None
    prior_loss_weight: float | None = None
    gradient_checkpointing: bool | None = None
    fit_memory_gib: float | None = None
    """Memory that recomputed blocks are to make room for; 0 is all that the device has (Maquette alone)."""
    deterministic: bool | None = None
    compile_blocks: bool | None = None
    compile_mode: str | None = None
    """default, reduce-overhead (Maquette's, by torch's names)."""
    precision: str | None = None
    """no, fp16, bf16, auto."""
    base_precision: str | None = None
    """int8 where the frozen denoiser's weights are held so (Maquette alone)."""
    full_precision: str | None = None
    """fp16 or bf16 where gradients too are in half (--full_fp16, --full_bf16); fp8 with --fp8_base."""
    attention: str | None = None
    """xformers, sdpa, mem_eff of sd-scripts, Maquette's own names; None: the trainer's default."""
    device: str | None = None
    seed: int | None = None
    lowram: bool | None = None

    # --- what is kept ---
    output_dir: Path | None = None
    output_name: str | None = None
    save_every_steps: int | None = None
    save_every_epochs: int | None = None
    save_precision: str | None = None
    sample_prompts: str | None = None
    sample_texts: tuple[str, ...] = ()
    """The prompts themselves, where the file holds them and not the path of a file of prompts."""
    sample_every_steps: int | None = None
    sample_every_epochs: int | None = None
    save_state: bool | None = None
    resume: Path | None = None

    # --- pictures to measure with ---
    validation_split: float | None = None
    """Share of each folder's pictures that is not trained on."""
    validation_pictures: int | None = None
    validation_images: tuple[Path, ...] = ()
    validation_training: bool | None = None
    validation_fold: int | None = None
    validation_seed: int | None = None
    validate_every_steps: int | None = None
    validate_every_epochs: int | None = None
    max_validation_steps: int | None = None
    """sd-scripts' batches of held-out pictures that are measured at most."""

    def value(self, name: str) -> Any:
        """Return what will be in force for field `name`: as written, else the trainer's default, else None."""
        given = getattr(self, name)
        if given is not None or self.trainer != "sd-scripts":
            return given
        if name == "steps":
            return SD_SCRIPTS_STEPS if self.epochs is None else None
        if name == "unet_lr":
            return self.value("learning_rate")
        if name == "text_encoder_lrs":
            return (self.value("learning_rate"),)
        return SD_SCRIPTS_DEFAULTS.get(name)

    def wrote(self, name: str) -> bool:
        """Return whether the file itself says field `name`."""
        return getattr(self, name) is not None and name not in self.defaulted

    def said(self, name: str) -> str:
        """Return how the file says field `name`, or the field's plain name where it is silent."""
        return self.spelling.get(name, name)
