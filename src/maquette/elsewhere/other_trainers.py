"""Settings of trainers that are not sd-scripts: what they share with every LoRA run, taken into the record by name.

Only what a file says is taken; their defaults are their own. Key names: OneTrainer 23df383, ai-toolkit 27a03a9, SimpleTuner
and diffusion-pipe of 2026, diffusers' example scripts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maquette.elsewhere.contents import contents_of
from maquette.elsewhere.values import (
    Taking,
    flat,
    largest_resolution,
    number,
    path,
    positive,
    resolution,
    rows,
    switch,
    text,
    whole,
)
from maquette.project.request import Folder, TrainingRequest

PRECISIONS = {
    "float_16": "fp16", "fp16": "fp16", "float16": "fp16", "bfloat_16": "bf16", "bf16": "bf16", "bfloat16": "bf16",
    "float_32": "no", "fp32": "no", "float32": "no", "no": "no", "float": "no", "tfloat_32": "no",
}  # fmt: skip
SAVED = {"fp16": "fp16", "bf16": "bf16", "no": "float"}
SCHEDULES = {"cosine_with_hard_restarts": "cosine_with_restarts"}


def precision(value: Any) -> str | None:
    return PRECISIONS.get(str(value).lower())


def saved_precision(value: Any) -> str | None:
    return SAVED.get(precision(value) or "")


def optimizer(value: Any) -> str | None:
    """Return an optimizer by sd-scripts' name: ADAMW_8BIT, adamw8bit and adamw_bf16 are told apart."""
    name = text(value)
    return name.lower().replace("_8bit", "8bit").replace("adam_w", "adamw") if name else None


def schedule(value: Any) -> str | None:
    name = text(value)
    return SCHEDULES.get(name.lower(), name.lower()) if name else None


def rates(value: Any) -> tuple[float, ...] | None:
    found = number(value)
    return (found,) if found is not None else None


def _decay(taking: Taking, key: str) -> None:
    decay = number(taking.rest.get(key))
    if decay is not None:
        taking.drop(key)
        taking.fields["optimizer_args"], taking.spelling["optimizer_args"] = (
            {"weight_decay": f"{decay:g}"},
            key,
        )


def _trained(taking: Taking, name: str, *keys: str) -> None:
    """Take a switch that leaves a part untrained; that it is trained is no news."""
    if taking.take(name, switch, *keys):
        del taking.fields[name], taking.spelling[name]


# --- OneTrainer ------------------------------------------------------------------------------------------


def is_onetrainer(value: Any) -> bool:
    marks = {
        "training_method",
        "model_type",
        "base_model_name",
        "lora_rank",
        "concept_file_name",
        "layer_filter_preset",
    }
    return isinstance(value, Mapping) and len(marks & value.keys()) >= 2 and "LoRA_type" not in value


def read_onetrainer(file: Path, value: Any) -> TrainingRequest:
    taking = Taking(
        file, dict(flat({name: each for name, each in value.items() if name not in ("concepts", "samples")}))
    )
    for name, convert, *keys in (
        ("base", text, "base_model_name"),
        ("rank", positive, "lora_rank"),
        ("alpha", number, "lora_alpha"),
        ("learning_rate", number, "learning_rate"),
        ("unet_lr", number, "unet.learning_rate", "prior.learning_rate"),
        ("text_encoder_lrs", rates, "text_encoder.learning_rate"),
        ("epochs", positive, "epochs"),
        ("batch_size", positive, "batch_size"),
        ("accumulation", positive, "gradient_accumulation_steps"),
        ("resolution_wh", resolution, "resolution"),
        ("enable_bucket", switch, "aspect_ratio_bucketing"),
        ("optimizer", optimizer, "optimizer.optimizer"),
        ("scheduler", schedule, "learning_rate_scheduler"),
        ("warmup_steps", number, "learning_rate_warmup_steps"),
        ("cycles", positive, "learning_rate_cycles"),
        ("max_grad_norm", number, "clip_grad_norm"),
        ("gradient_checkpointing", switch, "gradient_checkpointing"),
        ("precision", precision, "train_dtype"),
        ("save_precision", saved_precision, "output_dtype"),
        ("noise_offset", number, "offset_noise_weight"),
        ("dropout", number, "dropout_probability"),
        ("clip_skip", positive, "text_encoder_layer_skip"),
        ("cache_latents", switch, "latent_caching"),
        ("vae", text, "vae.model_name"),
        ("mask_source", _masks_beside, "masked_training"),
    ):
        taking.take(name, convert, *keys)
    if "mask_source" in taking.fields:
        for name in ("unmasked_weight", "unmasked_probability", "masked_prior_preservation_weight"):
            taking.take(name, number, name)
        taking.take("normalize_masked_area_loss", switch, "normalize_masked_area_loss")
    _trained(taking, "train_text_encoder", "text_encoder.train")
    _trained(taking, "train_denoiser", "unet.train", "prior.train")
    taking.drop("__version", "model_type", "output_model_format")
    if taking.rest.get("training_method") == "LORA":
        taking.drop("training_method")
    _decay(taking, "optimizer.weight_decay")
    if taking.rest.get("loss_weight_fn") == "MIN_SNR_GAMMA":
        taking.drop("loss_weight_fn")
        taking.take("min_snr_gamma", number, "loss_weight_strength")
    _output(taking, "output_model_destination")
    if str(taking.rest.get("save_every_unit", "")).upper() in ("EPOCH", "STEP"):
        unit = (
            "save_every_epochs"
            if str(taking.rest.pop("save_every_unit")).upper() == "EPOCH"
            else "save_every_steps"
        )
        taking.take(unit, positive, "save_every")
    concepts = rows(value.get("concepts")) or rows(_beside(file, taking.rest.pop("concept_file_name", None)))
    return taking.request(folders=tuple(_concept(each) for each in concepts if each.get("path")))


def _masks_beside(value: Any) -> str | None:
    """Return where OneTrainer's masks are, where it trains with such: NAME-masklabel.png beside each picture."""
    return "beside" if switch(value) else None


def _beside(file: Path, named: Any) -> Any:
    """Return what stands in a file that a file of settings names, where it lies beside that or below it."""
    name = text(named)
    places = [file.parent / name, file.parent / Path(name).name, Path(name)] if name else []
    return next((contents_of(place) for place in places if place.is_file()), None)


def _concept(concept: Mapping[str, Any]) -> Folder:
    kind = str(concept.get("type", "")).upper()
    balance = (
        number(concept.get("balancing"))
        if concept.get("balancing_strategy", "REPEATS") == "REPEATS"
        else None
    )
    return Folder(
        path=Path(str(concept["path"])),
        repeats=max(1, round(balance or 1)),
        is_regularization=kind == "PRIOR_PREDICTION",
    )


def is_onetrainer_concepts(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return (
        isinstance(first, Mapping) and "path" in first and bool({"balancing", "image", "text"} & first.keys())
    )


def is_onetrainer_samples(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, Mapping) and {"prompt", "diffusion_steps"} <= first.keys()


def _output(taking: Taking, *keys: str) -> None:
    """Take the place of the finished file apart into folder and name."""
    place = taking.take("output_dir", path, *keys)
    if place is not None and place.suffix:
        taking.fields["output_name"], taking.fields["output_dir"] = place.stem, place.parent
        taking.spelling["output_name"] = taking.spelling["output_dir"]


# --- ai-toolkit ------------------------------------------------------------------------------------------


def is_ai_toolkit(value: Any) -> bool:
    config = value.get("config") if isinstance(value, Mapping) else None
    return isinstance(config, Mapping) and isinstance(config.get("process"), list) and "job" in value


def read_ai_toolkit(file: Path, value: Any) -> TrainingRequest:
    process = next(iter(rows(value["config"]["process"])), {})
    tables = {name: each for name, each in process.items() if name != "datasets"}
    taking = Taking(file, dict(flat(tables)))
    datasets = [each for each in rows(process.get("datasets")) if each.get("folder_path")]
    taking.rest |= {f"datasets.{name}": each for name, each in flat(datasets[0])} if datasets else {}
    for name, convert, *keys in (
        ("trigger", text, "trigger_word"),
        ("base", text, "model.name_or_path"),
        ("rank", positive, "network.linear", "network.rank"),
        ("alpha", number, "network.linear_alpha", "network.alpha"),
        ("conv_rank", positive, "network.conv"),
        ("conv_alpha", number, "network.conv_alpha"),
        ("dropout", number, "network.dropout"),
        ("steps", positive, "train.steps"),
        ("batch_size", positive, "train.batch_size"),
        ("accumulation", positive, "train.gradient_accumulation_steps", "train.gradient_accumulation"),
        ("learning_rate", number, "train.lr"),
        ("unet_lr", number, "train.unet_lr"),
        ("text_encoder_lrs", rates, "train.text_encoder_lr"),
        ("optimizer", optimizer, "train.optimizer"),
        ("scheduler", schedule, "train.lr_scheduler"),
        ("max_grad_norm", number, "train.max_grad_norm"),
        ("gradient_checkpointing", switch, "train.gradient_checkpointing"),
        ("precision", precision, "train.dtype"),
        ("min_snr_gamma", number, "train.min_snr_gamma"),
        ("noise_offset", number, "train.noise_offset"),
        ("seed", whole, "train.seed"),
        ("save_precision", saved_precision, "save.dtype"),
        ("save_every_steps", positive, "save.save_every"),
        ("sample_every_steps", positive, "sample.sample_every"),
        ("output_dir", path, "training_folder"),
        ("resolution_wh", largest_resolution, "datasets.resolution"),
        ("caption_extension", _ending, "datasets.caption_ext"),
        ("caption_dropout_rate", number, "datasets.caption_dropout_rate"),
        ("shuffle_caption", switch, "datasets.shuffle_tokens"),
        ("cache_latents", switch, "datasets.cache_latents_to_disk", "datasets.cache_latents"),
        ("device", text, "device"),
    ):
        taking.take(name, convert, *keys)
    _trained(taking, "train_text_encoder", "train.train_text_encoder")
    _trained(taking, "train_denoiser", "train.train_unet")
    prompts = taking.rest.pop("sample.prompts", None) or taking.rest.pop("sample.samples", None) or []
    taking.drop(
        "datasets.folder_path", "datasets.caption_ext", "type", "network.type", "performance_log_every"
    )
    job = text(value["config"].get("name"))
    texts = (
        [each.get("prompt") if isinstance(each, Mapping) else each for each in prompts]
        if isinstance(prompts, list)
        else []
    )
    return taking.request(
        output_name=job,
        sample_prompts="\n".join(each for each in texts if isinstance(each, str)) or None,
        folders=tuple(
            Folder(
                path=Path(str(each["folder_path"])),
                repeats=positive(each.get("num_repeats")) or 1,
                caption_extension=_ending(each.get("caption_ext")) or ".txt",
                is_regularization=bool(switch(each.get("is_reg"))),
            )
            for each in datasets
        ),
    )


def _ending(value: Any) -> str | None:
    ending = text(value)
    return f".{ending.lstrip('.')}" if ending else None


# --- SimpleTuner -----------------------------------------------------------------------------------------


def is_simpletuner(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    names = {name.removeprefix("--") for name in value if isinstance(name, str)}
    return (
        len({"model_family", "data_backend_config", "model_type", "lora_type", "resolution_type"} & names)
        >= 2
    )


def read_simpletuner(file: Path, value: Any) -> TrainingRequest:
    taking = Taking(file, {name.removeprefix("--"): each for name, each in flat(value)})
    for name, convert, *keys in (
        ("base", text, "pretrained_model_name_or_path"),
        ("rank", positive, "lora_rank"),
        ("alpha", number, "lora_alpha"),
        ("dropout", number, "lora_dropout"),
        ("steps", positive, "max_train_steps"),
        ("epochs", positive, "num_train_epochs"),
        ("batch_size", positive, "train_batch_size"),
        ("accumulation", positive, "gradient_accumulation_steps"),
        ("learning_rate", number, "learning_rate"),
        ("text_encoder_lrs", rates, "text_encoder_lr"),
        ("optimizer", optimizer, "optimizer"),
        ("scheduler", schedule, "lr_scheduler"),
        ("warmup_steps", number, "lr_warmup_steps"),
        ("max_grad_norm", number, "max_grad_norm"),
        ("gradient_checkpointing", switch, "gradient_checkpointing"),
        ("precision", precision, "mixed_precision"),
        ("min_snr_gamma", number, "snr_gamma"),
        ("noise_offset", number, "noise_offset"),
        ("caption_dropout_rate", number, "caption_dropout_probability"),
        ("seed", whole, "seed"),
        ("save_every_steps", positive, "checkpoint_step_interval", "checkpointing_steps"),
        ("output_dir", path, "output_dir"),
        ("output_name", text, "hub_model_id", "tracker_run_name"),
        ("sample_prompts", text, "validation_prompt"),
        ("sample_every_steps", positive, "validation_step_interval", "validation_steps"),
    ):
        taking.take(name, convert, *keys)
    if str(taking.rest.get("resolution_type", "pixel")) != "area":
        taking.take("resolution_wh", resolution, "resolution")
    taking.drop("model_type", "model_family", "resolution_type")
    backends = _beside(file, taking.rest.pop("data_backend_config", None))
    return taking.request(folders=folders_of_backends(backends))


def is_simpletuner_backends(value: Any) -> bool:
    return any(
        "instance_data_dir" in row or {"dataset_type", "type", "id"} <= row.keys() for row in rows(value)
    )


def folders_of_backends(value: Any) -> tuple[Folder, ...]:
    return tuple(
        # SimpleTuner counts what is added: 0 repeats show a picture once.
        Folder(path=Path(str(row["instance_data_dir"])), repeats=1 + max(0, whole(row.get("repeats")) or 0))
        for row in rows(value)
        if row.get("instance_data_dir")
        and str(row.get("dataset_type", "image")) == "image"
        and not row.get("disabled")
    )


# --- diffusion-pipe --------------------------------------------------------------------------------------


def is_diffusion_pipe(value: Any) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("model"), Mapping):
        return False
    own = {
        "micro_batch_size_per_gpu",
        "pipeline_stages",
        "partition_method",
        "activation_checkpointing",
        "save_dtype",
    }
    return "type" in value["model"] and bool(own & value.keys())


def read_diffusion_pipe(file: Path, value: Any) -> TrainingRequest:
    taking = Taking(file, dict(flat(value)))
    for name, convert, *keys in (
        (
            "base",
            text,
            "model.checkpoint_path",
            "model.diffusers_path",
            "model.transformer_path",
            "model.ckpt_path",
        ),
        ("rank", positive, "adapter.rank"),
        ("alpha", number, "adapter.alpha"),
        ("dropout", number, "adapter.dropout"),
        ("epochs", positive, "epochs"),
        ("steps", positive, "max_steps"),
        ("batch_size", positive, "micro_batch_size_per_gpu"),
        ("accumulation", positive, "gradient_accumulation_steps"),
        ("learning_rate", number, "optimizer.lr"),
        ("unet_lr", number, "model.unet_lr"),
        ("optimizer", optimizer, "optimizer.type"),
        ("scheduler", schedule, "lr_scheduler"),
        ("warmup_steps", number, "warmup_steps"),
        ("max_grad_norm", number, "gradient_clipping"),
        ("gradient_checkpointing", switch, "activation_checkpointing"),
        ("precision", precision, "model.dtype"),
        ("save_precision", saved_precision, "save_dtype"),
        ("min_snr_gamma", number, "model.min_snr_gamma"),
        ("save_every_epochs", positive, "save_every_n_epochs"),
        ("save_every_steps", positive, "save_every_n_steps"),
        ("output_dir", path, "output_dir"),
    ):
        taking.take(name, convert, *keys)
    dataset = _beside(file, taking.rest.pop("dataset", None))
    taking.drop("model.type", "adapter.type", "pipeline_stages")
    _decay(taking, "optimizer.weight_decay")
    more: dict[str, Any] = {}
    if is_diffusion_pipe_dataset(dataset):
        more = {
            "folders": folders_of_directories(dataset),
            "resolution_wh": largest_resolution(dataset.get("resolutions")),
        }
    return taking.request(**more)


def is_diffusion_pipe_dataset(value: Any) -> bool:
    return isinstance(value, Mapping) and any("path" in row for row in rows(value.get("directory")))


def folders_of_directories(value: Any) -> tuple[Folder, ...]:
    return tuple(
        Folder(path=Path(str(row["path"])), repeats=positive(row.get("num_repeats")) or 1)
        for row in rows(value["directory"])
        if row.get("path")
    )


# --- diffusers' example scripts --------------------------------------------------------------------------


DIFFUSERS_SCRIPT = re.compile(
    r"(?:advanced_)?train_(?:text_to_image|dreambooth|controlnet|instruct_pix2pix|lcm)\w*\.py"
)


def read_diffusers(script: str, words: Sequence[str], file: Path, line: int) -> TrainingRequest | None:
    """Return the run of train_text_to_image_lora.py, train_dreambooth_lora.py and their kin; None for other scripts."""
    if DIFFUSERS_SCRIPT.fullmatch(script) is None:
        return None
    taking = Taking(file, _options_of(words))
    for name, convert, *keys in (
        ("base", text, "pretrained_model_name_or_path"),
        ("vae", text, "pretrained_vae_model_name_or_path"),
        ("images", path, "instance_data_dir", "train_data_dir"),
        ("regularization", path, "class_data_dir"),
        ("rank", positive, "rank"),
        ("alpha", number, "lora_alpha"),
        ("resolution_wh", resolution, "resolution"),
        ("steps", positive, "max_train_steps"),
        ("epochs", positive, "num_train_epochs"),
        ("batch_size", positive, "train_batch_size"),
        ("accumulation", positive, "gradient_accumulation_steps"),
        ("learning_rate", number, "learning_rate"),
        ("text_encoder_lrs", rates, "text_encoder_lr"),
        ("scheduler", schedule, "lr_scheduler"),
        ("warmup_steps", number, "lr_warmup_steps"),
        ("cycles", positive, "lr_num_cycles"),
        ("max_grad_norm", number, "max_grad_norm"),
        ("gradient_checkpointing", switch, "gradient_checkpointing"),
        ("precision", precision, "mixed_precision"),
        ("min_snr_gamma", number, "snr_gamma"),
        ("noise_offset", number, "noise_offset"),
        ("prior_loss_weight", number, "prior_loss_weight"),
        ("seed", whole, "seed"),
        ("caption_fallback", text, "instance_prompt"),
        ("save_every_steps", positive, "checkpointing_steps"),
        ("output_dir", path, "output_dir"),
        ("sample_prompts", text, "validation_prompt"),
        ("sample_every_epochs", positive, "validation_epochs"),
        ("optimizer", optimizer, "optimizer"),
    ):
        taking.take(name, convert, *keys)
    if switch(taking.rest.pop("use_8bit_adam", None)):
        taking.fields["optimizer"], taking.spelling["optimizer"] = "adamw8bit", "use_8bit_adam"
    if not switch(taking.rest.pop("train_text_encoder", None)) and "text_encoder_lrs" not in taking.fields:
        taking.fields["train_text_encoder"] = False
    return taking.request(line=line, script=script)


def _options_of(words: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command line: `--name value`, `--name=value`, and `--name` alone for a switch."""
    options: dict[str, Any] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            options[name] = value if has_value else True
        elif name:
            options[name] = word if options[name] is True else f"{options[name]} {word}"
    return options
