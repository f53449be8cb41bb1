"""What a LoRA file says of its training: the `ss_*` keys of sd-scripts and the `modelspec.*` keys of SAI's ModelSpec 1.0.1.

    metadata = replace(record, steps=200, epoch=1, training_finished_at=time.time()).to_metadata()

Torch-free. Every value is a string in sd-scripts' spelling: Python's `str` ("None", "True", "(128, 128)", "5e-05"), JSON
where a value is a table. Field names of the records are the keys without `ss_`. Features that Maquette does not have
are written as sd-scripts writes them switched off, since readers expect the keys. Keys that name the program that trained
(`ss_sd_scripts_commit_hash`, `modelspec.implementation_version`) say `maquette/VERSION`, never a version of sd-scripts.

Sources: sd-scripts 48d368fa (values checked in tests against five of its files); https://github.com/Stability-AI/ModelSpec.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maquette import __version__

IMPLEMENTATION_VERSION = f"maquette/{__version__}"
MODEL_HASH = "sshs_model_hash"
"""Where a file keeps the SHA-256 of the bytes after its header; drawing programs show it."""


@dataclass(frozen=True, kw_only=True)
class SubsetFacts:
    """One folder of pictures. Fields and their order are those of an entry of `ss_datasets`."""

    img_count: int
    num_repeats: int
    color_aug: bool = False
    flip_aug: bool = False
    random_crop: bool = False
    shuffle_caption: bool = False
    keep_tokens: int = 0
    keep_tokens_separator: str = ""
    secondary_separator: str | None = None
    enable_wildcard: bool = False
    caption_prefix: str | None = None
    caption_suffix: str | None = None
    resize_interpolation: str | None = None
    image_dir: str
    """The folder's own name, not its path."""
    class_tokens: str | None = None
    is_reg: bool = False


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """Pictures trained at one resolution. Field names are those of `ss_datasets`."""

    batch_size_per_device: int
    num_train_images: int
    """With repeats."""
    num_reg_images: int = 0
    resolution: tuple[int, int]
    """(width, height) in pixels."""
    enable_bucket: bool = False
    min_bucket_reso: int | None = None
    max_bucket_reso: int | None = None
    tag_frequency: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Folder name → tag → how many of its captions hold it."""
    bucket_info: Mapping[str, Any] | None = None
    """{"buckets": {"0": {"resolution": [w, h], "count": n}, …}, "mean_img_ar_error": e}; None without buckets."""
    subsets: tuple[SubsetFacts, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """Everything that the `ss_*` keys tell, one field a key. See `dataset` and `model` for the rest of them."""

    session_id: int
    training_started_at: float
    """Seconds since 1970."""
    training_finished_at: float
    output_name: str
    learning_rate: float
    text_encoder_lr: float | None
    unet_lr: float | None
    num_train_images: int
    num_validation_images: int = 0
    num_reg_images: int = 0
    num_batches_per_epoch: int
    num_epochs: int
    steps: int
    epoch: int
    """1-based for a file at an epoch's end, the 0-based running epoch for one within."""
    max_train_steps: int
    gradient_checkpointing: bool = False
    gradient_accumulation_steps: int = 1
    lr_warmup_steps: float = 0
    lr_scheduler: str
    network_module: str = "networks.lora"
    network_dim: int
    network_alpha: float
    network_dropout: float | None = None
    mixed_precision: str = "no"
    full_fp16: bool = False
    v2: bool = False
    base_model_version: str
    clip_skip: int | None = None
    max_token_length: int | None = None
    cache_latents: bool = True
    seed: int
    lowram: bool = False
    noise_offset: float | None = None
    multires_noise_iterations: int | None = None
    multires_noise_discount: float = 0.3
    adaptive_noise_scale: float | None = None
    zero_terminal_snr: bool = False
    training_comment: str | None = None
    optimizer: str = "torch.optim.adamw.AdamW"
    """Class, then its arguments in brackets where they are not its defaults."""
    max_grad_norm: float = 1.0
    caption_dropout_rate: float = 0.0
    caption_dropout_every_n_epochs: int = 0
    caption_tag_dropout_rate: float = 0.0
    face_crop_aug_range: str | None = None
    prior_loss_weight: float = 1.0
    min_snr_gamma: float | None = None
    scale_weight_norms: float | None = None
    ip_noise_gamma: float | None = None
    debiased_estimation: bool = False
    noise_offset_random_strength: bool = False
    ip_noise_gamma_random_strength: bool = False
    loss_type: str = "l2"
    huber_schedule: str = "snr"
    huber_scale: float = 1.0
    huber_c: float = 0.1
    fp8_base: bool = False
    fp8_base_unet: bool = False
    validation_seed: int | None = None
    validation_split: float = 0.0
    max_validation_steps: int | None = None
    validate_every_n_epochs: int | None = None
    validate_every_n_steps: int | None = None
    resize_interpolation: str | None = None
    sd_model_name: str
    """File or folder name of the base model, without its path."""
    sd_model_hash: str | None = None
    """Short hash of the base model's file; see `legacy_model_hash`."""
    new_sd_model_hash: str | None = None
    """SHA-256 of the base model's file, in hex."""


OPTIONAL_FACTS = ("sd_model_hash", "new_sd_model_hash")
"""Facts whose key is left out where they are None: a base that is no file has no hash."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The `modelspec.*` keys. Fields that are None are left out, as the specification allows."""

    architecture: str
    """`stable-diffusion-v1/lora`, `stable-diffusion-xl-v1-base/lora`, …"""
    title: str
    resolution_px: tuple[int, int]
    """(width, height) that the model was made for."""
    prediction_type: str = "epsilon"
    implementation: str = "diffusers"
    """Whose module names the keys follow."""
    description: str | None = None
    author: str | None = None
    license: str | None = None
    usage_hint: str | None = None
    thumbnail: str | None = None
    """A small picture as a data URL."""
    tags: str | None = None
    merged_from: str | None = None
    trigger_phrase: str | None = None
    timestep_range: str | None = None

    def to_metadata(self, *, finished_at: float, clip_skip: int | None) -> dict[str, str]:
        """Return the keys of a model finished at `finished_at` (seconds since 1970; written in UTC)."""
        width_px, height_px = self.resolution_px
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "resolution_px"}
        values |= {
            "sai_model_spec": "1.0.1",
            "implementation_version": IMPLEMENTATION_VERSION,
            "resolution": f"{width_px}x{height_px}",
            "date": datetime.fromtimestamp(int(finished_at), UTC).replace(tzinfo=None).isoformat(),
            "encoder_layer": clip_skip,
        }
        return {f"modelspec.{key}": str(value) for key, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class LoraMetadata:
    """All that a LoRA file says of itself."""

    training: TrainingFacts
    model: ModelSpec
    datasets: tuple[DatasetFacts, ...]
    from_config: bool = False
    """The dataset came from a kohya dataset TOML: `ss_datasets` holds it. Otherwise flat keys describe the one dataset."""
    bucket_no_upscale: bool = False
    processes: int = 1
    """Processes that shared each step, every one with a batch of the datasets' size."""
    network_args: Mapping[str, str] | None = None
    """Further settings of the network, e.g. {"conv_dim": "4", "conv_alpha": "1"}."""

    def to_metadata(self) -> dict[str, str]:
        """Return every key but the two hashes, which `save_lora` adds."""
        values = {f.name: getattr(self.training, f.name) for f in fields(self.training)}
        values = {
            key: value for key, value in values.items() if value is not None or key not in OPTIONAL_FACTS
        }
        values["sd_scripts_commit_hash"] = IMPLEMENTATION_VERSION
        values |= _config_keys(self.datasets) if self.from_config else self._folder_keys()
        if self.network_args:
            values["network_args"] = json.dumps(dict(self.network_args))
        specification = self.model.to_metadata(
            finished_at=self.training.training_finished_at, clip_skip=self.training.clip_skip
        )
        return {f"ss_{key}": str(value) for key, value in values.items()} | specification

    def _folder_keys(self) -> dict[str, Any]:
        """Return the keys of a dataset given as folders of pictures."""
        (dataset,) = self.datasets
        subsets = dataset.subsets
        folders: dict[bool, dict[str, dict[str, int]]] = {False: {}, True: {}}
        for subset in subsets:
            folders[subset.is_reg][subset.image_dir] = _folder(subset)
        return {
            "batch_size_per_device": dataset.batch_size_per_device,
            "total_batch_size": dataset.batch_size_per_device
            * self.processes
            * self.training.gradient_accumulation_steps,
            "resolution": tuple(dataset.resolution),
            "color_aug": any(subset.color_aug for subset in subsets),
            "flip_aug": any(subset.flip_aug for subset in subsets),
            "random_crop": any(subset.random_crop for subset in subsets),
            "shuffle_caption": any(subset.shuffle_caption for subset in subsets),
            "enable_bucket": dataset.enable_bucket,
            "bucket_no_upscale": self.bucket_no_upscale,
            "min_bucket_reso": dataset.min_bucket_reso,
            "max_bucket_reso": dataset.max_bucket_reso,
            "keep_tokens": max((subset.keep_tokens for subset in subsets), default=0),
            "dataset_dirs": json.dumps(folders[False]),
            "reg_dataset_dirs": json.dumps(folders[True]),
            "tag_frequency": json.dumps(dataset.tag_frequency),
            "bucket_info": json.dumps(dataset.bucket_info),
        }


def _config_keys(datasets: Iterable[DatasetFacts]) -> dict[str, Any]:
    """Return the keys of datasets given by a kohya dataset TOML."""
    entries: list[dict[str, Any]] = []
    folders: dict[str, dict[str, int]] = {}
    tags: dict[str, Mapping[str, int]] = {}
    for dataset in datasets:
        entry = {f.name: getattr(dataset, f.name) for f in fields(dataset) if f.name != "subsets"}
        entry["resize_interpolation"] = None
        entry["subsets"] = [
            {f.name: getattr(subset, f.name) for f in fields(subset)} for subset in dataset.subsets
        ]
        entries.append({"is_dreambooth": True, **entry})
        for subset in dataset.subsets:
            if not subset.is_reg:
                folders[_free_name(subset.image_dir, folders)] = _folder(subset)
        for folder, counts in dataset.tag_frequency.items():
            tags.setdefault(folder, counts)  # a folder that several datasets share is counted once
    return {
        "datasets": json.dumps(entries),
        "tag_frequency": json.dumps(tags),
        "dataset_dirs": json.dumps(folders),
    }


def _folder(subset: SubsetFacts) -> dict[str, int]:
    return {"n_repeats": subset.num_repeats, "img_count": subset.img_count}


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    """Return `name`, or `name (2)`, `name (3)`, … where it is taken."""
    choice, number = name, 2
    while choice in taken:
        choice, number = f"{name} ({number})", number + 1
    return choice


def legacy_model_hash(path: Path) -> str:
    """Return the eight-digit hash by which older programs know a file: of 64 KiB that begin at 1 MiB."""
    with Path(path).open("rb") as file:
        file.seek(0x100000)
        return hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
