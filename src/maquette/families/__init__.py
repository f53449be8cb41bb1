"""Base models: what they are, and how they load, encode, predict. One table holds every family."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import ModelError
from maquette.families.common.describe import layout_info
from maquette.families.common.layers import LoraModule, ModelParts, model_parts
from maquette.families.common.own_vae import require_vae
from maquette.families.common.refuse import refusal, refuse_early
from maquette.families.common.source import Source, open_source
from maquette.families.protocol import (
    BaseModel,
    Conditioning,
    Family,
    FamilySpec,
    Layout,
    LoraTarget,
    ModelInfo,
    PictureSize,
    SaysPrediction,
    Stated,
    Tokenizer,
    Tokens,
)
from maquette.families.sd1 import StableDiffusion1
from maquette.families.sd2 import StableDiffusion2
from maquette.families.sdxl import StableDiffusionXL

if TYPE_CHECKING:
    import torch

    from maquette.families.common.places import WeightPlace
    from maquette.project.settings import ModelSettings as OwnVaeSettings

FAMILIES: dict[str, Family] = {
    family.name: family for family in (StableDiffusion1(), StableDiffusion2(), StableDiffusionXL())
}
"""Every family, in the order in which they are asked whether a model is theirs."""
NOTHING_STATED = Stated()

__all__ = [
    "FAMILIES",
    "BaseModel",
    "Conditioning",
    "Family",
    "Layout",
    "LoraModule",
    "LoraTarget",
    "ModelInfo",
    "ModelParts",
    "PictureSize",
    "Stated",
    "Tokenizer",
    "Tokens",
    "family_of_script",
    "inspect",
    "inspect_or_known",
    "known_by_name",
    "layout_of",
    "load",
    "parts_of",
    "published_info",
    "register",
    "require_vae",
    "stated_by",
    "weight_places",
]


def inspect(name: str | Path, stated: Stated = NOTHING_STATED) -> ModelInfo:
    """Return what the file, diffusers folder or hub model `name` is; neither loads weights nor imports torch.

    `stated` goes before what the model says of itself. Raises ModelError that says what was found when it is no usable base
    model, ConfigError where `stated` does not fit it.
    """
    return stated.of(_identify(open_source(name, weights=False))[1])


def load(
    name: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    stated: Stated = NOTHING_STATED,
) -> BaseModel:
    """Return the base model `name` (file, diffusers folder, hub name) in `dtype` (None: float32) on `device`.

    Raises what `inspect` raises.
    """
    import torch

    source = open_source(name)
    family, info = _identify(source)
    model = family.load(stated.of(info), source, dtype=dtype or torch.float32, device=device)
    if stated.vae:
        _give_vae(model, stated.vae, device)
    if stated.no_half_vae:
        model.vae.to(dtype=torch.float32)
    return model


def _give_vae(model: BaseModel, name: str, device: torch.device | str) -> None:
    """Put the VAE called `name` in the place of the model's own, in half precision only where it takes it."""
    from maquette.families.common.own_vae import load_vae, open_vae

    require_vae(name, model.info)
    halves = open_vae(name).is_repaired or model.spec.half_precision_vae
    model.vae = load_vae(name, dtype=model.dtype if halves else model.vae_dtype, device=device)


def stated_by(said: SaysPrediction, own: OwnVaeSettings | None = None) -> Stated:
    """Return what settings or options say of their base; `own`: of its VAE."""
    prediction = None if said.prediction == "auto" else said.prediction
    return Stated(
        prediction=prediction,
        zero_terminal_snr=said.zero_terminal_snr,
        vae=own.vae if own else "",
        no_half_vae=own.no_half_vae if own else False,
    )


def layout_of(info: ModelInfo) -> Layout:
    """Return the sizes of every part of the model that `info` describes, without torch and without weights.

    A model on this machine is looked at; for one that is not, the family's published sizes hold.
    """
    here = Path(info.path).expanduser().exists()
    return FAMILIES[info.family].layout(open_source(info.path, weights=False) if here else None)


def weight_places(name: str | Path) -> tuple[ModelInfo, tuple[WeightPlace, ...]]:
    """Return what the base model `name` (file, diffusers folder, hub name) is, and where it keeps its adaptable layers' weights.

    Raises ModelError as `load` does.
    """
    source = open_source(name)
    family, info = _identify(source)
    return info, tuple(family.weight_places(source))


def published_info(family: str) -> ModelInfo:
    """Return what the family's published model would say of itself."""
    row = FAMILIES[family]
    return layout_info(row.spec, row.layout(None))


def known_by_name(name: str) -> ModelInfo | None:
    """Return what a well-known model of the hub is, by its name alone and without a network; None for any other name."""
    asked = name.strip().rstrip("/").lower()
    for family in FAMILIES.values():
        spec = family.spec
        predicts_v = asked in {each.lower() for each in spec.hub_names_of_v}
        if predicts_v or asked in {each.lower() for each in spec.hub_names}:
            return replace(
                published_info(spec.name),
                title=f"{spec.title}: {name}",
                prediction="v" if predicts_v else "epsilon",
                prediction_stated="v" if predicts_v else "epsilon",
                zero_terminal_snr=predicts_v and spec.v_zero_terminal_snr,
                resolution=spec.resolution_of("v" if predicts_v else "epsilon"),
                source="hub",
                layout="diffusers",
                path=name,
            )
    return None


def inspect_or_known(name: str | Path) -> ModelInfo:
    """Return what `inspect` says; where a well-known hub model can be had from neither cache nor network, what it is by name.

    For what plans or judges a run, never for what trains one. Raises ModelError as `inspect` does.
    """
    try:
        return inspect(name)
    except ModelError:
        known = None if Path(name).expanduser().exists() else known_by_name(str(name))
        if known is None:
            raise
        return known


def family_of_script(script: str | None, *, v2: bool) -> FamilySpec | None:
    """Return the family that sd-scripts' trainer `script` trains, with or without `--v2`; None for one of no family."""
    specs = (family.spec for family in FAMILIES.values() if script in family.spec.training_scripts)
    of_script = list(specs)
    return next((spec for spec in of_script if spec.needs_v2 == v2), of_script[0] if of_script else None)


@cache
def parts_of(layout: Layout) -> ModelParts:
    """Return the values of a model's parts and the layers that a LoRA may adapt, without weights."""
    return model_parts(FAMILIES[layout.family], layout)


def tokenizer(name: str | Path | None = None) -> Tokenizer:
    """Return how the base model `name` sees words: by its own tokenizer, else its family's; the first family's without one.

    Raises ModelError when the model is none that can be used, or has a tokenizer that does not fit it.
    """
    if name is None:
        return next(iter(FAMILIES.values())).tokenizer(None)
    source = open_source(name, weights=False)
    return _identify(source)[0].tokenizer(source)


def register(family: Family) -> None:
    """Add a family to the table, last in the order in which they are asked."""
    FAMILIES[family.name] = family


def _identify(source: Source) -> tuple[Family, ModelInfo]:
    """Return the family that a source is of, and what it is."""
    refuse_early(source)
    for family in FAMILIES.values():
        info = family.detect(source)
        if info is not None:
            return family, info
    raise refusal(source)
