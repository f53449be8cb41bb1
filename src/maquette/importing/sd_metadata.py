"""The `ss_*` keys of a LoRA file as the options that sd-scripts was given: what was really trained, whatever files say today."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maquette.kohya.config_file import keep_value
from maquette.kohya.given import Reading, request_of
from maquette.kohya.options import OPTIONS
from maquette.project.request import TrainingRequest
from maquette.reading import Unreadable, parse_json

SAME_NAME = (
    "learning_rate", "unet_lr", "text_encoder_lr", "network_dim", "network_alpha", "network_dropout", "network_module",
    "max_grad_norm", "lr_scheduler", "lr_warmup_steps", "seed", "clip_skip", "max_token_length", "noise_offset",
    "multires_noise_iterations", "multires_noise_discount", "adaptive_noise_scale", "zero_terminal_snr", "min_snr_gamma",
    "prior_loss_weight", "scale_weight_norms", "ip_noise_gamma", "loss_type", "huber_schedule", "huber_c", "huber_scale",
    "gradient_checkpointing", "gradient_accumulation_steps", "mixed_precision", "full_fp16", "lowram", "cache_latents",
    "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "max_train_steps", "training_comment",
    "enable_bucket", "bucket_no_upscale", "min_bucket_reso", "max_bucket_reso", "keep_tokens", "shuffle_caption", "color_aug",
    "flip_aug", "random_crop", "output_name", "v2",
)  # fmt: skip
"""Keys that are an option's name behind `ss_`."""
OTHER_NAMES = {
    "sd_model_name": "pretrained_model_name_or_path",
    "batch_size_per_device": "train_batch_size",
    "debiased_estimation": "debiased_estimation_loss",
}
OF_A_SUBSET = ("keep_tokens", "shuffle_caption", "color_aug", "flip_aug", "random_crop")
NOTHING = ("", "None", "null")
CALL = re.compile(r"^([\w.]+?)(?:\((.*)\))?$", re.DOTALL)


def request_of_metadata(file: Path, metadata: Mapping[str, str], script: str) -> TrainingRequest | None:
    """Return the run that a LoRA file describes; None where it says nothing of its training."""
    if "ss_network_dim" not in metadata and "ss_learning_rate" not in metadata:
        return None
    reading = Reading()
    for key, text in _given(metadata).items():
        option = OTHER_NAMES.get(key, key)
        value = _typed(option, text)
        if option in OPTIONS and value is not None:
            keep_value(reading, option, value, f"ss_{key}")
    for option, value in _of_several(metadata).items():
        if option in OPTIONS and value not in (None, [], False):
            keep_value(reading, option, value, "metadata")
    return request_of(reading, file, script=script)


def _given(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the keys without `ss_`; those of a dataset TOML's first table in the place of the flat ones."""
    known = {*SAME_NAME, *OTHER_NAMES}
    flat = {key[3:]: value for key, value in metadata.items() if key[:3] == "ss_" and key[3:] in known}
    first = next(iter(json_in(metadata, "ss_datasets", list)), None)
    if isinstance(first, Mapping):
        subset = next(iter(first.get("subsets") or ()), None)
        inner = {
            **first,
            **({name: subset.get(name) for name in OF_A_SUBSET} if isinstance(subset, Mapping) else {}),
        }
        flat |= {name: str(value) for name, value in inner.items() if name in known and value is not None}
    return {name: value for name, value in flat.items() if value not in NOTHING}


def _of_several(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that are put together in the file: optimizer with its arguments, network's arguments, size."""
    call = CALL.match(metadata.get("ss_optimizer", ""))
    kind, arguments = (call[1].rpartition(".")[2], call[2] or "") if call else (None, "")
    network = json_in(metadata, "ss_network_args", dict)
    return {
        "optimizer_type": kind,
        "optimizer_args": [part.strip() for part in re.split(r",(?![^(\[]*[)\]])", arguments) if "=" in part],
        "network_args": [f"{name}={value}" for name, value in network.items()],
        "resolution": _size(metadata),
        "v_parameterization": metadata.get("modelspec.prediction_type", "").startswith("v"),
    }


def _size(metadata: Mapping[str, str]) -> str | None:
    first = next(iter(json_in(metadata, "ss_datasets", list)), None)
    text = str(first.get("resolution")) if isinstance(first, Mapping) else metadata.get("ss_resolution", "")
    sides = re.findall(r"\d+", text)[:2]
    return ",".join(sides) if sides else None


def _typed(option: str, text: str) -> Any:
    """Return a value as a --config_file has it, of the text that Python's str made of it; None where it is none."""
    kind = OPTIONS[option].kind if option in OPTIONS else "text"
    try:
        if kind == "switch":
            return True if text == "True" else None
        if kind == "int":
            return int(float(text))
        if kind in ("number", "share"):
            found = float(text)
            return int(found) if kind == "share" and found == int(found) else found
        if kind == "numbers":
            return [float(each) for each in re.findall(r"[\d.]+(?:e-?\d+)?", text)] or None
    except (ValueError, OverflowError):
        return None
    return text


def json_in(metadata: Mapping[str, str], key: str, kind: type[Any]) -> Any:
    """Return the JSON value of a key where it is of `kind`, else an empty one."""
    try:
        value = parse_json(metadata.get(key) or "null")
    except (Unreadable, ValueError):
        return kind()
    return value if isinstance(value, kind) else kind()


def whole_in(metadata: Mapping[str, str], key: str) -> int | None:
    """Return the whole number of a key; None where it has none."""
    try:
        return int(float(metadata[key]))
    except (KeyError, ValueError, OverflowError):
        return None
