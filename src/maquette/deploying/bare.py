"""How a LoRA file without its run is drawn, as far as its own metadata tell; they are a stranger's, and only read as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from maquette.deploying.recipe import Recipe
from maquette.deploying.release import require_lora
from maquette.errors import ConfigError, Problem
from maquette.families.protocol import FamilySpec, Prediction
from maquette.lora.facts import LoraFacts
from maquette.lora.told import clip_skip_told, size_told

_OR = " or "
_WORDLESS = "a picture"
"""A prompt for a LoRA that needs no word of its own."""


def recipe_of_file(
    source: Path,
    *,
    base_name: str | None = None,
    bases: Callable[[str], list[str]] = lambda family: [],
    strength: float = 1.0,
    trigger: str | None = None,
) -> Recipe:
    """Return how the LoRA file `source` is drawn: what was given, else what it says of itself, else its family's ways.

    `bases` tells which base models of a family are where it goes: the only one is what a file without a word is drawn with.

    Raises LoraError when it is no LoRA, ConfigError when neither it nor the caller says which model it is drawn with.
    """
    from maquette.drawing.request import DrawRequest
    from maquette.drawing.scene import Scene
    from maquette.families import FAMILIES

    facts = require_lora(source)
    told = facts.metadata
    base = base_name or base_told(told)
    family = facts.family or facts.named_family
    known = [] if base or family is None else bases(family)
    if len(known) == 1:
        base = known[0]
    problems = []
    if family is None:
        problems.append(
            Problem(
                str(source),
                "names no layer of a family that is known here",
                " or ".join(row.spec.title for row in FAMILIES.values()),
                "Copy the file by hand: nothing is known of how it is drawn.",
            )
        )
    if not base:
        problems.append(
            Problem(
                str(source),
                "does not say its base model",
                f"the base's file name{f' ({_OR.join(known[:5])})' if known else ''}",
                "Add --base-name FILE.",
            )
        )
    if problems or family is None:
        raise ConfigError(problems)
    spec = FAMILIES[family].spec
    word = told.get("modelspec.trigger_phrase", "").strip() if trigger is None else trigger
    width_px, height_px = _size_of(told, spec)
    request = DrawRequest(
        prompt=word or _WORDLESS,
        width_px=width_px,
        height_px=height_px,
        guidance=spec.default_guidance,
        sampler=spec.default_sampler,
    )
    return Recipe(
        trigger=word,
        prompts=(request.prompt,),
        origin=_origin_of(source, told),
        scene=Scene(
            request=request,
            family=spec,
            base=base,
            options=_options_of(facts, spec),
            prediction=_prediction_of(told),
            zero_terminal_snr=told.get("ss_zero_terminal_snr") == "True",
            strength=strength,
        ),
    )


def base_told(told: Mapping[str, str]) -> str:
    """Return the base model's file name as metadata tell it; empty where they do not."""
    return PurePosixPath(told.get("ss_sd_model_name", "").replace("\\", "/")).name


def _size_of(told: Mapping[str, str], spec: FamilySpec) -> tuple[int, int]:
    edge_px = spec.resolution_of(_prediction_of(told))
    return size_told(told) or (edge_px, edge_px)


def _options_of(facts: LoraFacts, spec: FamilySpec) -> dict[str, int]:
    option, told = spec.option("clip_skip"), clip_skip_told(facts)
    return {"clip_skip": told} if told is not None and option and not option.fixed else {}


def _prediction_of(told: Mapping[str, str]) -> Prediction:
    said = told.get("modelspec.prediction_type", "")
    return "v" if said in ("v", "v_prediction") or told.get("ss_v_parameterization") == "True" else "epsilon"


def _origin_of(source: Path, told: Mapping[str, str]) -> str:
    step, run = told.get("ss_steps", ""), told.get("ss_output_name", "")
    known = [f"step {step}"] if re.fullmatch(r"\d{1,9}", step) else []
    return " ".join([*known, f"({source.stem})", *([f"of run {run}"] if run else [])])
