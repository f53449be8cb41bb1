"""ModelInfo of a recognised Stable Diffusion model, from a file or a diffusers folder, weights unread."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from maquette.errors import ModelError, Problem
from maquette.families.common.distilled import distilled_by
from maquette.families.common.header import TensorEntry
from maquette.families.common.layout import read_unet_layout, read_vae_layout
from maquette.families.common.source import DiffusersFolder, SingleFile, Source
from maquette.families.protocol import FamilySpec, Layout, ModelInfo, Prediction
from maquette.reading import shown

UNET, VAE = "model.diffusion_model.", "first_stage_model."
UNET_PROOF = f"{UNET}input_blocks.0.0.weight"
DTYPE_NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
PREDICTIONS: dict[str, Prediction] = {
    "epsilon": "epsilon", "eps": "epsilon", "v": "v", "v_prediction": "v", "v-prediction": "v", "vpred": "v",
}  # fmt: skip
PREDICTION_KEYS = ("modelspec.prediction_type", "modelspec.predict_key")
"""Metadata in which a model says what it predicts: ModelSpec's name for it, and one that older files carry."""
SPECIAL_INPUTS = {9: "an inpainting model", 8: "an instruct-pix2pix model"}


def file_info(
    spec: FamilySpec,
    source: SingleFile,
    *,
    text_encoders: int,
    silent: Callable[[SingleFile], Prediction] = lambda source: "epsilon",
) -> ModelInfo:
    """Return the description of a single file of the family `spec`; ModelError when it cannot be trained.

    `silent` says what a file predicts that does not say it itself.
    """
    where, shapes, metadata = str(source.path), source.shapes(), source.header.metadata
    unet, vae = read_unet_layout(shapes, UNET, where), read_vae_layout(shapes, VAE, where)
    _check_channels(source, unet.in_channels, vae.latent_channels)
    own_title = metadata.get("modelspec.title", "").strip()
    stated = _file_prediction(source)
    prediction = stated or silent(source)
    return ModelInfo(
        family=spec.name,
        title=f"{spec.title}: {own_title}" if own_title else spec.title,
        prediction=prediction,
        prediction_stated=stated,
        dtype=_stored_dtype(source, source.header.tensors, UNET),
        resolution=_file_resolution(metadata, spec.resolution_of(prediction)),
        source="single-file",
        layout="single-file",
        path=where,
        text_encoders=text_encoders,
        latent_channels=vae.latent_channels,
        vae_factor=vae.factor,
        zero_terminal_snr="ztsnr" in source.header.tensors,
        distilled=distilled_by(source.path.stem, source.header.tensors, metadata=metadata),
    )


def folder_info(spec: FamilySpec, source: DiffusersFolder, *, text_encoders: int) -> ModelInfo:
    """Return the description of a folder of the family `spec`; ModelError when it cannot be trained."""
    unet, vae = source.configs["unet"], source.configs["vae"]
    latent_channels = _count(source, vae, "latent_channels", 4)
    factor = 2 ** (len(_widths(source, vae)) - 1)
    scheduler = source.configs.get("scheduler", {})
    stated = (
        _prediction(source, str(scheduler["prediction_type"])) if "prediction_type" in scheduler else None
    )
    _check_channels(source, _count(source, unet, "in_channels", 4), latent_channels)
    sample_size = _count(source, unet, "sample_size", 0) if unet.get("sample_size") else 0
    return ModelInfo(
        family=spec.name,
        title=f"{spec.title}: {source.hub_name}" if source.hub_name else spec.title,
        prediction=stated or "epsilon",
        prediction_stated=stated,
        dtype=_folder_dtype(source),
        resolution=sample_size * factor or spec.resolution_of(stated or "epsilon"),
        source=source.origin,
        layout="diffusers",
        path=source.hub_name or str(source.path),
        text_encoders=text_encoders,
        latent_channels=latent_channels,
        vae_factor=factor,
        zero_terminal_snr=bool(scheduler.get("rescale_betas_zero_snr", False)),
        distilled=distilled_by(source.hub_name or source.path.name, (), denoiser=unet, scheduler=scheduler),
    )


MOST = 1 << 16
"""No count or size in a model's configuration comes near it."""


def _count(source: DiffusersFolder, config: Mapping[str, Any], name: str, usual: int) -> int:
    """Return a whole number of a part's configuration. Raises ModelError for what is none."""
    value = config.get(name, usual)
    if type(value) is int and 0 <= value <= MOST:
        return value
    raise _misconfigured(source, name, value, "a whole number")


def _widths(source: DiffusersFolder, config: Mapping[str, Any]) -> list[Any]:
    value = config.get("block_out_channels", [0, 0, 0, 0])
    if isinstance(value, list) and 0 < len(value) <= 16:
        return value
    raise _misconfigured(source, "block_out_channels", value, "a list of whole numbers")


def _misconfigured(source: DiffusersFolder, name: str, value: Any, required: str) -> ModelError:
    given = f"{name} is {shown(value)}"
    return ModelError(
        Problem(str(source.path), given, f"{required} there", "Download the model's configuration again.")
    )


def layout_info(spec: FamilySpec, layout: Layout) -> ModelInfo:
    """Return what an ordinary model of these sizes would say of itself."""
    return ModelInfo(
        family=spec.name,
        title=spec.title,
        prediction="epsilon",
        dtype="float16",
        resolution=spec.native_resolution_px,
        source="single-file",
        layout="single-file",
        path="",
        text_encoders=layout.text_encoders,
        latent_channels=layout.latent_channels,
        vae_factor=layout.vae_factor,
    )


def _stored_dtype(source: Source, entries: Mapping[str, TensorEntry], prefix: str) -> str:
    """Return the precision of most bytes below `prefix`; ModelError when it is not usable."""
    sizes = Counter[str]()
    for name, entry in entries.items():
        if name.startswith(prefix):
            sizes[entry.dtype] += entry.num_bytes
    most = sizes.most_common(1)[0][0]
    if most not in DTYPE_NAMES:
        raise ModelError(
            Problem(
                str(source.path),
                f"its weights are stored as {most}",
                "float16, bfloat16 or float32",
                "Use the fp16, bf16 or fp32 version: a base for training must not be quantized.",
            )
        )
    return DTYPE_NAMES[most]


def _folder_dtype(source: DiffusersFolder) -> str:
    """Return the precision of the U-Net's files; what the configuration says before a download."""
    if not source.has_weights("unet") and source.origin == "hub":
        return str(source.configs["unet"].get("torch_dtype", "float32"))
    return _stored_dtype(source, source.tensors("unet"), "")


def _file_prediction(source: SingleFile) -> Prediction | None:
    """Return what a single file says that its model predicts, by its marker tensor or metadata; None where it is silent."""
    if "v_pred" in source.header.tensors:
        return "v"
    metadata = source.header.metadata
    said = next((metadata[key] for key in PREDICTION_KEYS if metadata.get(key, "").strip()), None)
    return None if said is None else _prediction(source, said)


def _prediction(source: Source, stated: str) -> Prediction:
    known = PREDICTIONS.get(stated.strip().lower())
    if known is None:
        raise ModelError(
            Problem(
                str(source.path),
                f"it says that it predicts '{stated}'",
                "epsilon or v",
                "Use another base model.",
            )
        )
    return known


def _file_resolution(metadata: Mapping[str, Any], default_px: int) -> int:
    """Return the native edge in pixels: what the metadata says (`512x512`, `64`), else the family's."""
    numbers = re.findall(r"\d+", str(metadata.get("modelspec.resolution", "")))
    return max(int(number) for number in numbers[:2]) if numbers else default_px


def _check_channels(source: Source, in_channels: int, latent_channels: int) -> None:
    """Refuse inpainting and instruction models, whose U-Net takes more than the noisy latent."""
    if in_channels == latent_channels:
        return
    kind = SPECIAL_INPUTS.get(in_channels, "a model with extra inputs")
    raise ModelError(
        Problem(
            str(source.path),
            f"it is {kind}: its U-Net takes {in_channels} channels, its latents have {latent_channels}",
            "a text-to-image base model",
            "Use the ordinary version of this model.",
        )
    )
