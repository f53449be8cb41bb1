"""LoRA files outside a run as columns: which files a folder holds, in which order they were written, what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from maquette.errors import ConfigError, Problem
from maquette.evaluating.first_look import LookCheckpoint
from maquette.lora.facts import LoraFacts
from maquette.lora.told import Trained, trained_of

ENDING = ".safetensors"
LABELLED = "{} × {:g}"
"""A column's label at a strength."""


def loras_in(target: Path) -> tuple[list[LoraFacts], list[str]]:
    """Return what the LoRA `target` is, or every LoRA in the folder `target` and its own folders; and what was left out.

    Raises LoraError for a file that is none, ConfigError for a folder without any.
    """
    from maquette.lora.files import inspect_lora
    from maquette.lora.reading import read_lora_facts

    if target.is_file():
        return [inspect_lora(target)], []
    if not target.is_dir():
        required = "a run's folder, a LoRA file (.safetensors), or a folder of them"
        raise ConfigError(Problem(str(target), "does not exist", required, "Name one that is there."))
    paths = [*sorted(target.glob(f"*{ENDING}")), *sorted(target.glob(f"*/*{ENDING}"))]
    facts = [read_lora_facts(path, depth="header") for path in paths]
    loras = [each for each in facts if each.problem is None and each.is_lora]
    others = [each.path.name for each in facts if each not in loras]
    if not loras:
        given = (
            f"holds no LoRA among {len(paths)} .safetensors files" if paths else "holds no .safetensors file"
        )
        raise ConfigError(
            Problem(str(target), given, "LoRA files", "Name their folder, or the files themselves.")
        )
    return loras, [
        f"No LoRA, and left out: {', '.join(others[:5])}{' …' * (len(others) > 5)}"
    ] if others else []


def columns_of_files(loras: Sequence[LoraFacts]) -> list[LookCheckpoint]:
    """Return files as columns in the order in which they were written, as far as they tell."""
    told = [(facts.path, trained_of(facts.path, facts.metadata)) for facts in loras]
    told.sort(key=lambda each: _order(*each))
    labels = _labels(told)
    return [
        LookCheckpoint(label=label, step=trained.step or trained.epoch or number, path=path, name=str(path))
        for number, (label, (path, trained)) in enumerate(zip(labels, told, strict=True), start=1)
    ]


def _order(path: Path, trained: Trained) -> tuple[object, ...]:
    """Return what sorts the files of a training: by step, else epoch, the one without a number last."""
    count = trained.step or trained.epoch
    return trained.name, count is None, count or 0, not trained.is_numbered, str(path)


def _labels(told: Sequence[tuple[Path, Trained]]) -> list[str]:
    """Return a label for each file: the count alone where all are of one training, else names; each once."""
    of_one = len({trained.name for _, trained in told}) == 1 and len(told) > 1
    labels = [_counted(trained) if of_one else path.stem for path, trained in told]
    if max(Counter(labels).values(), default=0) > 1:
        labels = [path.stem for path, _ in told]
    if max(Counter(labels).values(), default=0) > 1:
        labels = [f"{path.parent.name}/{path.stem}" for path, _ in told]
    times = Counter(labels)
    return [label if times[label] == 1 else str(path) for label, (path, _) in zip(labels, told, strict=True)]


def _counted(trained: Trained) -> str:
    if not trained.is_numbered:
        return f"final ({trained.step})" if trained.step else "final"
    return f"step {trained.step}" if trained.step else f"epoch {trained.epoch}"
