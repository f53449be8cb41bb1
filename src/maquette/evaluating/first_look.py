"""The first look: what the base alone and every checkpoint draw from the same prompts and seeds.

All checkpoints stand on the trial axis of one adapter, the base alone as a trial without weights, so that one pass over the
frozen base draws with all of them; a checkpoint at another strength is one more trial. What lies in the folder already, drawn
from the same, is not drawn again (`drawings`).

    FOLDER/first_look.json  grid.png  pictures/COLUMN/PROMPT-XXXXXX-SEED.png
    FOLDER/under_way.json   while it draws: every picture that is wanted, in the form of first_look.json
    FOLDER/timings.jsonl    how long drawing took (price.py)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from maquette.devices import device_name
from maquette.drawing.draw import drawing_each
from maquette.drawing.request import DrawRequest
from maquette.drawing.scene import Companion, base_name_of, picture_chunks, scene_of
from maquette.errors import ConfigError, LoraError, MaquetteError, Problem
from maquette.evaluating.drawings import base_print, drawing_print, is_fresh, keep, place_of, slug
from maquette.evaluating.grid import write_grid
from maquette.evaluating.price import Price, Timing, work_of
from maquette.events import Artifact, Finished, Message, Stage, Started, as_part
from maquette.families.protocol import BaseModel
from maquette.files import sha256_file, write_json
from maquette.locking import held
from maquette.lora.metadata import MODEL_HASH
from maquette.measuring.looks import FLOOR, UNDER_WAY, Column, FirstLook, Look, LookPrompt

_STAGE = "first look"


@dataclass(frozen=True, kw_only=True)
class LookCheckpoint:
    """A LoRA file at a strength that is drawn with, under the label of its column."""

    label: str
    step: int
    path: Path
    strength: float = 1.0
    name: str | None = None
    """The file as the look's record calls it; None: by its name."""


@dataclass(frozen=True, kw_only=True)
class PlannedPrompt(LookPrompt):
    """A prompt with settings of its own, where a prompt file gives it some; None is the plan's."""

    seeds: tuple[int, ...] | None = None
    negative: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None


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
    beside: tuple[Companion, ...] = ()
    """LoRAs that are part of the base already, for every column and the base alone; pictures say so."""
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
        return [(prompt, seed) for prompt in self.prompts for seed in self.seeds_of(prompt)]

    def seeds_of(self, prompt: LookPrompt) -> tuple[int, ...]:
        """Return the seeds that a prompt is drawn with."""
        own = prompt.seeds if isinstance(prompt, PlannedPrompt) else None
        return own or self.seeds[: prompt.num_seeds]

    def request(self, prompt: LookPrompt, seed: int) -> DrawRequest:
        """Return one picture's request: the prompt's own settings, else the plan's."""

        def own(name: str) -> Any:
            value = getattr(prompt, name, None)
            return getattr(self, name) if value is None else value

        names = ("negative", "width_px", "height_px", "steps", "guidance", "sampler")
        return DrawRequest(prompt=prompt.text, seed=seed, **{name: own(name) for name in names})


@dataclass(frozen=True)
class _Lane:
    """A column on its way: the record's column, its file with its hashes, and the folder of its pictures."""

    column: Column
    folder: str
    path: Path | None = None
    sha256: str = ""
    model_hash: str = ""
    kinds: frozenset[str | None] = frozenset()


@dataclass(frozen=True)
class _Cell:
    """One picture: whose, of what, where, and the hash of all that it follows from."""

    lane: _Lane
    prompt: LookPrompt
    request: DrawRequest
    place: str
    print: str


def first_look(
    model: BaseModel,
    checkpoints: Sequence[LookCheckpoint],
    plan: LookPlan,
    folder: Path,
) -> Stage[FirstLook]:
    """Draw and write the first look of `checkpoints` into `folder`; pictures that are there already stay.

    `model` must carry no adapter. Raises LoraError for a checkpoint that does not fit the model, before anything is drawn.
    """
    lanes = _lanes(model, checkpoints)
    with held(folder, what="evaluate"):
        cells = _cells(model, lanes, plan)
        missing = [cell for cell in cells if not is_fresh(folder / cell.place, cell.print)]
        price = Price(len(cells), len(missing), len(lanes), plan.steps)
        yield Message(price.told)
        yield Started(_STAGE, len(cells), "picture")
        look = _record(lanes, cells, plan, folder)
        write_json(folder / UNDER_WAY, look.to_json())
        began = time.perf_counter()
        yield from _draw(model, missing, plan, folder, price)
        _timing(model, missing, time.perf_counter() - began).add(folder)
        yield Artifact("grid", write_grid(look, folder / "grid.png"))
        yield Artifact("first look", look.write())
        (folder / UNDER_WAY).unlink(missing_ok=True)
        yield Finished(_STAGE)
    return look


def _timing(model: BaseModel, drawn: Sequence[_Cell], seconds: float) -> Timing:
    return Timing(
        base=base_name_of(model.info),
        device=device_name(model.device),
        drawn=len(drawn),
        work=sum(work_of(cell.request) for cell in drawn),
        seconds=seconds,
    )


def _lanes(model: BaseModel, checkpoints: Sequence[LookCheckpoint]) -> list[_Lane]:
    """Return the columns, the base alone first; every file is read and found to fit."""
    from maquette.lora.files import read_lora

    labels = [FLOOR, *(entry.label for entry in checkpoints)]
    if len(set(labels)) < len(labels):
        raise ConfigError(
            Problem("checkpoints", str(labels), "different labels", "Name each checkpoint once.")
        )
    targets = model.lora_targets()
    known: dict[Path, tuple[str, str, frozenset[str | None]]] = {}
    problems: list[Problem] = []
    for path in dict.fromkeys(entry.path for entry in checkpoints):
        try:
            facts = read_lora(path, targets).facts
        except LoraError as error:
            problems += error.problems
            continue
        kinds = frozenset(module.row for module in facts.modules)
        known[path] = (sha256_file(path), facts.metadata.get(MODEL_HASH, ""), kinds)
    if problems:
        raise LoraError(problems)
    folders = folders_of(labels)
    lanes = [_Lane(Column(label=FLOOR), folders[0])]
    for entry, own in zip(checkpoints, folders[1:], strict=True):
        column = Column(
            label=entry.label, step=entry.step, strength=entry.strength, file=entry.name or entry.path.name
        )
        lanes.append(_Lane(column, own, entry.path, *known[entry.path]))
    return lanes


def folders_of(labels: Sequence[str]) -> list[str]:
    """Return a folder's name for each label; those that would be alike are told apart."""
    found: list[str] = []
    for label in labels:
        name, number = slug(label) or "column", 2
        while name in found:
            name, number = f"{slug(label) or 'column'}-{number}", number + 1
        found.append(name)
    return found


def _cells(model: BaseModel, lanes: Sequence[_Lane], plan: LookPlan) -> list[_Cell]:
    """Return every picture of the plan, column by column."""
    base = base_print(model)
    cells = []
    for lane in lanes:
        for prompt, seed in plan.cells():
            request = plan.request(prompt, seed)
            told = drawing_print(
                request, plan.options, base=base, lora=lane.sha256, strength=lane.column.strength
            )
            cells.append(_Cell(lane, prompt, request, place_of(lane.folder, request), told))
    return cells


def _draw(
    model: BaseModel, missing: Sequence[_Cell], plan: LookPlan, folder: Path, price: Price
) -> Stage[None]:
    """Draw what is missing, as many columns at once as a batch takes; a full device draws in smaller batches."""
    from maquette.devices import is_out_of_memory, release_memory

    batch, left = max(1, plan.batch), list(missing)
    while left:
        drawn: set[int] = set()
        try:
            for group in _groups(left, batch):
                stage = _draw_group(model, group, plan, folder, batch, drawn)
                part = as_part(stage, _STAGE, price.total - len(left) + len(drawn), price.total)
                yield from price.watched(part, len(group), batch)
            return
        except MaquetteError:
            raise
        except (RuntimeError, MemoryError) as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
        release_memory(model.device)
        batch //= 2
        left = [cell for cell in left if id(cell) not in drawn]
        yield Message(f"The device is full: going on with {batch} pictures at once.", "warning")


def _groups(cells: Sequence[_Cell], batch: int) -> Iterator[list[_Cell]]:
    """Yield cells whose columns can stand on one adapter: of one kind, as many columns as a batch has pictures.

    The base alone goes with whatever comes first.
    """
    lanes = list(dict.fromkeys(cell.lane for cell in cells))
    kinds = list(dict.fromkeys(lane.kinds for lane in lanes if lane.path)) or [frozenset()]
    for kind in kinds:
        own = [lane for lane in lanes if lane.kinds == kind or (lane.path is None and kind == kinds[0])]
        for start in range(0, len(own), batch):
            together = own[start : start + batch]
            yield [cell for cell in cells if cell.lane in together]


def _draw_group(
    model: BaseModel, cells: Sequence[_Cell], plan: LookPlan, folder: Path, batch: int, drawn: set[int]
) -> Stage[None]:
    """Draw `cells` with their columns on the trial axis of one adapter, and leave the model as it was."""
    from maquette.lora.adapter import LoraAdapter

    lanes = list(dict.fromkeys(cell.lane for cell in cells))
    states = [_state(model, lane) for lane in lanes]
    try:
        adapter = LoraAdapter.attach(model, states)
    except LoraError:
        if len(lanes) == 1:
            raise
        # Ranks may give a kind forms that no pass can share: then each column is drawn by itself.
        for lane in lanes:
            own = [cell for cell in cells if cell.lane == lane]
            yield from _draw_group(model, own, plan, folder, batch, drawn)
        return
    try:
        adapter.to(model.device, model.dtype)
        for trial, lane in enumerate(lanes):
            adapter.set_multiplier(lane.column.strength, trial)
        requests = [replace(cell.request, trial=lanes.index(cell.lane)) for cell in cells]

        def save(index: int, picture: Any) -> None:
            cell = cells[index]
            keep(folder / cell.place, picture, _chunks(model, cell, plan), cell.print)
            drawn.add(id(cell))

        yield from drawing_each(model, requests, save, adapter=adapter, options=plan.options, batch=batch)
    finally:
        adapter.detach()


def _state(model: BaseModel, lane: _Lane) -> Any:
    from maquette.lora.files import read_lora

    return read_lora(lane.path, model.lora_targets()).state if lane.path else None


def _chunks(model: BaseModel, cell: _Cell, plan: LookPlan) -> dict[str, str]:
    lane = cell.lane
    scene = scene_of(
        model.info,
        model.spec,
        cell.request,
        plan.options,
        lora=lane.path.name if lane.path else None,
        lora_hash=lane.model_hash,
        strength=lane.column.strength,
        beside=plan.beside,
    )
    return picture_chunks(scene)


def _record(lanes: Sequence[_Lane], cells: Sequence[_Cell], plan: LookPlan, folder: Path) -> FirstLook:
    return FirstLook(
        folder=folder,
        looks=tuple(
            Look(
                checkpoint=cell.lane.column.label,
                step=cell.lane.column.step,
                strength=cell.lane.column.strength,
                prompt=cell.prompt.text,
                role=cell.prompt.role,
                seed=cell.request.seed,
                path=cell.place,
            )
            for cell in cells
        ),
        drawing=_drawing_facts(plan),
        grid="grid.png",
        columns=tuple(lane.column for lane in lanes),
    )


def _drawing_facts(plan: LookPlan) -> dict[str, Any]:
    facts = asdict(plan)
    del facts["prompts"], facts["batch"]
    if not plan.beside:
        del facts["beside"]
    return {**facts, "seeds": list(plan.seeds)}
