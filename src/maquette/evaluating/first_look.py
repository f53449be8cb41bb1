"""The first look: what the base alone and every checkpoint draw from the same prompts and seeds.

All checkpoints stand on the trial axis of one adapter, the base alone as a trial without weights, so that one
pass over the frozen base draws with all of them.

    FOLDER/first_look.json  grid.png  pictures/COLUMN/PROMPT-SEED.png
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from maquette.drawing.draw import DrawRequest, drawing
from maquette.drawing.pictures import save_picture
from maquette.drawing.scene import picture_chunks, scene_of
from maquette.errors import ConfigError, Problem
from maquette.evaluating.grid import write_grid
from maquette.events import Artifact, Finished, Stage, Started, as_part
from maquette.families.protocol import BaseModel
from maquette.measuring.looks import FLOOR, Column, FirstLook, Look, LookPrompt


@dataclass(frozen=True, kw_only=True)
class LookCheckpoint:
    """A LoRA file that is drawn with, under the label of its column."""

    label: str
    step: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class LookPlan:
    """What is drawn: every prompt with every seed, for every column."""

    prompts: tuple[LookPrompt, ...]
    seeds: tuple[int, ...]
    width_px: int
    height_px: int
    steps: int = 25
    guidance: float = 7.0
    sampler: str | None = None
    negative: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The family's own settings, where they were given."""
    batch: int = 8
    """The most pictures that are drawn together."""

    def __post_init__(self) -> None:
        problems = [
            Problem(name, "none", f"at least one {what}", "Give one.")
            for name, what, given in (("prompts", "prompt", self.prompts), ("seeds", "seed", self.seeds))
            if not given
        ]
        doubled = sorted({p.text for p in self.prompts if [q.text for q in self.prompts].count(p.text) > 1})
        problems += [
            Problem("prompts", f"'{text}' twice", "different prompts", "Remove one.") for text in doubled
        ]
        if len(set(self.seeds)) < len(self.seeds):
            problems.append(
                Problem("seeds", str(list(self.seeds)), "different seeds", "Remove the repeated ones.")
            )
        if problems:
            raise ConfigError(problems)

    def cells(self) -> list[tuple[LookPrompt, int]]:
        """Return every prompt with each of its seeds."""
        return [(prompt, seed) for prompt in self.prompts for seed in self.seeds[: prompt.num_seeds]]


def first_look(
    model: BaseModel,
    checkpoints: Sequence[LookCheckpoint],
    plan: LookPlan,
    folder: Path,
) -> Stage[FirstLook]:
    """Draw and write the first look of `checkpoints` into `folder`.

    `model` must carry no adapter. Raises LoraError for a checkpoint that does not fit the model, before anything is drawn.
    """
    from maquette.lora.files import read_lora
    from maquette.lora.metadata import MODEL_HASH

    labels = [FLOOR, *(entry.label for entry in checkpoints)]
    if len(set(labels)) < len(labels):
        raise ConfigError(
            Problem("checkpoints", str(labels), "different labels", "Name each checkpoint once.")
        )
    loras = [read_lora(entry.path) for entry in checkpoints]
    states = [None, *(lora.state for lora in loras)]
    files = [(None, ""), *((lora.facts.path.name, lora.facts.metadata.get(MODEL_HASH, "")) for lora in loras)]
    steps = [None, *(entry.step for entry in checkpoints)]
    total = len(labels) * len(plan.cells())
    yield Started("first look", total, "picture")
    looks: list[Look] = []
    size = max(1, plan.batch)
    for start in range(0, len(labels), size):
        columns = range(start, min(start + size, len(labels)))
        drawn = _draw_columns(model, [states[column] for column in columns], plan)
        pictures = yield from as_part(drawn, "first look", len(looks), total)
        cells = [(column, prompt, seed) for column in columns for prompt, seed in plan.cells()]
        for (column, prompt, seed), picture in zip(cells, pictures, strict=True):
            place = _place(labels[column], plan.prompts.index(prompt), seed)
            name, digest = files[column]
            request = _request(plan, prompt, seed, 0)
            scene = scene_of(model.info, model.spec, request, plan.options, lora=name, lora_hash=digest)
            save_picture(folder / place, picture, picture_chunks(scene))
            looks.append(
                Look(
                    checkpoint=labels[column],
                    step=steps[column],
                    prompt=prompt.text,
                    role=prompt.role,
                    seed=seed,
                    path=place,
                )
            )
    look = FirstLook(
        folder=folder,
        looks=tuple(looks),
        drawing=_drawing_facts(plan),
        grid="grid.png",
        columns=tuple(
            Column(label=label, step=step, file=name)
            for label, step, (name, _) in zip(labels, steps, files, strict=True)
        ),
    )
    yield Artifact("grid", write_grid(look, folder / "grid.png"))
    yield Artifact("first look", look.write())
    yield Finished("first look")
    return look


def _draw_columns(model: BaseModel, states: Sequence[Any], plan: LookPlan) -> Stage[list[Image.Image]]:
    """Draw all cells with each of `states` (None is the base alone), column after column, and leave the model
    as it was.
    """
    from maquette.lora.adapter import LoraAdapter

    adapter = LoraAdapter.attach(model, states)
    adapter.to(model.device)
    try:
        requests = [
            _request(plan, prompt, seed, trial)
            for trial in range(len(states))
            for prompt, seed in plan.cells()
        ]
        return (yield from drawing(model, requests, adapter=adapter, options=plan.options, batch=plan.batch))
    finally:
        adapter.detach()


def _request(plan: LookPlan, prompt: LookPrompt, seed: int, trial: int) -> DrawRequest:
    return DrawRequest(
        prompt=prompt.text,
        negative=plan.negative,
        seed=seed,
        width_px=plan.width_px,
        height_px=plan.height_px,
        steps=plan.steps,
        guidance=plan.guidance,
        sampler=plan.sampler,
        trial=trial,
    )


def _place(label: str, prompt_index: int, seed: int) -> str:
    column = re.sub(r"[^\w.-]+", "-", label).strip("-.") or "column"
    return f"pictures/{column}/{prompt_index:02d}-{seed}.png"


def _drawing_facts(plan: LookPlan) -> dict[str, Any]:
    facts = asdict(plan)
    del facts["prompts"], facts["batch"]
    return {**facts, "seeds": list(plan.seeds)}
