"""What a run's adapter must be so that the base can carry it: known from settings and headers, before any weight is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.families import layout_of, parts_of
from maquette.lora.config import TrialSpec
from maquette.lora.kinds import KINDS
from maquette.training.config import SECOND_ENCODER, TrialSettings, trial_of
from maquette.training.continuing import require_weights, weights_of
from maquette.training.job import adapter_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from maquette.families import LoraModule
    from maquette.families.protocol import FamilySpec, ModelInfo
    from maquette.project.settings import Settings


def require_layers(settings: Settings, family: FamilySpec, info: ModelInfo) -> None:
    """Raise ConfigError where the adapter that `settings` ask for has no place on the base, naming everything that is wrong."""
    trial = trial_of(settings)
    spec = adapter_spec(trial, family)
    layers = parts_of(layout_of(info)).modules
    problems = [*_patterns(spec, layers), *_rates(trial, layers, info), *_of_kind(trial)]
    if not problems and spec.parts and not any(spec.size_of(layer) for layer in layers):
        given = "include_layers, exclude_layers, blocks and the rates leave no layer to train"
        problems = [Problem("[lora]", given, "at least one", "Include more of them.")]
    if problems:
        raise ConfigError(problems)
    facts = weights_of(settings.lora)
    if facts is not None:
        require_weights(facts, spec, info, sizes=not settings.lora.dim_from_weights)
    elif settings.lora.dim_from_weights:
        remedy = "Give --network-weights FILE, or leave it out."
        raise ConfigError(
            Problem("--dim-from-weights", "no file to take sizes from", "network_weights", remedy)
        )


def _patterns(spec: TrialSpec, layers: Sequence[LoraModule]) -> Iterator[Problem]:
    known = {part for layer in layers for part in layer.diffusers_key.split(".") if not part.isdecimal()}
    for pattern in spec.choice.unmatched(layers):
        required = "layers of the base: names of sets, or patterns over their dotted names"
        remedy = did_you_mean(pattern, [*spec.choice.sets, *sorted(known)])
        yield Problem(f"[lora] {pattern!r}", "means no layer of the base", required, remedy)


def _rates(trial: TrialSettings, layers: Sequence[LoraModule], info: ModelInfo) -> Iterator[Problem]:
    has_second = any(layer.diffusers_key.startswith(f"{SECOND_ENCODER}.") for layer in layers)
    if trial.text_encoder_2_lr is not None and not has_second:
        given = f"{trial.text_encoder_2_lr:g}, and {info.title} has one text encoder"
        yield Problem(
            "--text-encoder-2-lr", given, "a base with two", "Leave it out; text_encoder_lr is the rate."
        )


def _of_kind(trial: TrialSettings) -> Iterator[Problem]:
    kind = KINDS[trial.kind]
    ratios = (trial.loraplus_unet_lr_ratio, trial.loraplus_text_encoder_lr_ratio)
    if any(ratios) and not kind.plus:
        required = "a kind of adapter with an up half: lora or dora"
        yield Problem(
            "--loraplus-lr-ratio", f"with {kind.title}", required, "Leave it out, or train another kind."
        )
    if trial.factor != -1 and kind.row != "lokr":
        given = f"{trial.factor} with {kind.title}"
        yield Problem("--lokr-factor", given, "the kind lokr", "Leave it out, or give --adapter lokr.")
    if trial.scale_weight_norms is not None and not kind.factors:
        given = f"{trial.scale_weight_norms:g} with {kind.title}"
        required = "a kind of adapter whose change is a product"
        yield Problem("--scale-weight-norms", given, required, "Leave it out, or train another kind.")
