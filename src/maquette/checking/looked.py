"""What a check looked at, in words: a person must be able to tell "nothing is wrong" from "nothing was there"."""

from __future__ import annotations

from collections.abc import Iterator

from maquette.checking.scope import Scope
from maquette.dataset.facts import DatasetFacts
from maquette.families.protocol import ModelInfo
from maquette.kohya.prompts import PromptFile
from maquette.logs.facts import LogFacts
from maquette.lora.facts import LoraFacts
from maquette.project.profile import Profile
from maquette.project.request import TrainingRequest
from maquette.spoken import counted

PREDICTED = {"epsilon": "the noise", "v": "v", "flow": "a flow"}


def looked_at(scope: Scope) -> tuple[str, ...]:
    """Return what of a scope was read, most telling first; nothing where nothing could be."""
    return tuple(_looked_at(scope))


def _looked_at(scope: Scope) -> Iterator[str]:
    facts = scope.facts
    request, info = facts.get(TrainingRequest), facts.get(ModelInfo)
    if isinstance(request, TrainingRequest):
        yield f"the settings of {request.script or request.file.name}"
    if isinstance(found := facts.get(DatasetFacts), DatasetFacts):
        yield from _of_dataset(found)
    if isinstance(info, ModelInfo) and not scope.is_base_presumed:
        yield _of_base(info) if request is None else f"the base model ({info.title})"
    if isinstance(log := facts.get(LogFacts), LogFacts):
        yield f"{counted(log.num_lines, 'line')} of {log.path.name}"
    if isinstance(lora := facts.get(LoraFacts), LoraFacts):
        yield f"{counted(len(lora.modules), 'layer')} of {lora.path.name}"
    if isinstance(prompts := facts.get(PromptFile), PromptFile):
        yield counted(len(prompts.prompts), "sample prompt")
    if isinstance(profile := facts.get(Profile), Profile):
        yield "the profile" + (f" of '{profile.trigger}'" if profile.trigger else "")


def _of_dataset(facts: DatasetFacts) -> Iterator[str]:
    yield counted(len(facts.files), "picture")
    yield counted(len({each.path for each in facts.captions if each.picture is not None}), "caption")
    if facts.regularization_files:
        yield counted(len(facts.regularization_files), "regularization picture")


def _of_base(info: ModelInfo) -> str:
    """Return what the reader of base models has made sure of, which no rule repeats."""
    distilled = (
        f"; no base to train on: distilled to draw in a few steps ({info.distilled})"
        if info.distilled
        else ""
    )
    return (
        f"the header of {info.path}: {info.title}, predicts {PREDICTED[info.prediction]}, {info.dtype}, made for "
        f"{info.resolution} px; denoiser, VAE and {counted(info.text_encoders, 'text encoder')} are there"
        f"{distilled}"
    )
