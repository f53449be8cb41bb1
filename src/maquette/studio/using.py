"""What the Use page shows of a run: the weights that go out and why, how they are drawn, what is known against them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.deploying.card import known_faults
from maquette.deploying.options import DeployOptions
from maquette.deploying.recipe import pattern_of, template_parts
from maquette.deploying.run import Delivery, card_of, delivery_of
from maquette.errors import MaquetteError
from maquette.measuring.looks import LOOK, FirstLook, read_first_look
from maquette.measuring.statistics import Estimate
from maquette.runs.choice import NAME as CHOICE
from maquette.runs.choice import DecidedBy
from maquette.runs.deliveries import Delivered, read_deliveries
from maquette.runs.folder import RunFolder
from maquette.runs.record import read_record
from maquette.studio.runs import runs_of
from maquette.studio.workspace import Project
from maquette.words.prompts import escaped

MOST_PICTURES = 7
DECIDERS: dict[DecidedBy, str] = {
    "measures": "the measures",
    "votes": "blind votes",
    "person": "you",
    "early stop": "the early stop",
    "nobody": "nobody",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture that the weights drew. `path` is below the run's folder."""

    path: str
    told: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run as the page's list has it."""

    name: str
    created_at: str
    is_chosen: bool
    """Whether one of its checkpoints was chosen."""
    has_weights: bool


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A run's weights, ready to go out."""

    run: str
    delivery: Delivery
    pictures: tuple[Shown, ...]
    installed: tuple[Delivered, ...]

    @property
    def is_chosen(self) -> bool:
        """Whether the weights are those that were chosen; else they are the run's last."""
        return self.delivery.judged is not None and self.delivery.judged.chosen.is_the_choice

    @property
    def decider(self) -> str:
        """Who chose, in words."""
        judged = self.delivery.judged
        choice = judged.chosen.choice if judged else None
        return DECIDERS[choice.decided_by] if choice else ""

    @property
    def headline(self) -> str:
        judged = self.delivery.judged
        choice = judged.chosen.choice if judged else None
        return choice.headline if choice and self.is_chosen else ""

    @property
    def is_judged(self) -> bool:
        """Whether somebody looked at what the run draws."""
        return self.delivery.judged is not None and self.delivery.judged.is_judged

    @property
    def faults(self) -> list[str]:
        """What speaks against the weights, in words."""
        return known_faults(self.delivery.judged)

    @property
    def score(self) -> Estimate | None:
        """The score of all measures, from 0 to 1."""
        judged = self.delivery.judged
        if judged is not None and judged.card is not None:
            return judged.card.total
        choice = judged.chosen.choice if judged else None
        if choice is None or choice.score is None or not self.is_chosen:
            return None
        return Estimate(mean=choice.score, low=choice.low, high=choice.high, count=choice.pictures)

    @property
    def settings(self) -> list[tuple[str, str]]:
        """How they are drawn, in rows."""
        scene = self.delivery.recipe.scene
        asked, there = scene.request, scene.elsewhere
        sampler = [("Sampler", scene.sampler)]
        if there is not None:
            sampler = [("Sampler", " / ".join(there.comfyui)), ("in A1111, Forge", " / ".join(there.webui))]
        return [
            ("Strength", f"{scene.strength:g}"),
            ("Clip skip", str(scene.clip_skip)),
            *sampler,
            ("Steps", str(asked.steps)),
            ("CFG", f"{asked.guidance:g}"),
            ("Size", f"{asked.width_px} × {asked.height_px}"),
            ("Base", scene.base),
        ]

    @property
    def size_bytes(self) -> int:
        """The LoRA's file."""
        return self.delivery.lora.stat().st_size

    @property
    def negative(self) -> str:
        return escaped(self.delivery.recipe.scene.request.negative)

    @property
    def card(self) -> str:
        """The model card, in Markdown."""
        return card_of(self.delivery, self.delivery.name)

    def template(self) -> dict[str, Any]:
        """Return the prompt's pattern in its parts, as each program reads them, and what A1111 wants behind it."""
        from maquette.drawing.scene import stem_of

        recipe = self.delivery.recipe
        pattern = pattern_of(recipe)
        return {
            "comfyui": [vars(part) for part in template_parts(pattern)],
            "webui": [vars(part) for part in template_parts(pattern, for_webui=True)],
            "lora": {
                "before": "<lora:",
                "name": stem_of(self.delivery.name),
                "after": f":{recipe.scene.strength:g}>",
            },
        }


def rows_of(project: Project) -> list[Row]:
    """Return the project's runs, the newest first; those that cannot be read are left out."""
    rows = []
    for place in runs_of(project):
        try:
            record = read_record(place)
        except MaquetteError:
            continue
        chosen = (place / CHOICE).is_file()
        rows.append(
            Row(
                name=place.name,
                created_at=record.created_at,
                is_chosen=chosen,
                has_weights=bool(record.checkpoints),
            )
        )
    return sorted(rows, key=lambda row: row.created_at, reverse=True)


def first_of(rows: list[Row]) -> Row | None:
    """Return the run that a person most likely means: the newest that was judged, else the newest with weights."""
    usable = [row for row in rows if row.has_weights]
    return next((row for row in usable if row.is_chosen), usable[0] if usable else None)


def ready_of(place: Path) -> Ready:
    """Return what goes out of the run in `place`. Raises MaquetteError where nothing can."""
    delivery = delivery_of(place, DeployOptions())
    folder = RunFolder(place)
    return Ready(
        run=place.name,
        delivery=delivery,
        pictures=tuple(_pictures(folder, delivery))[:MOST_PICTURES],
        installed=tuple(each for each in read_deliveries(folder) if each.is_there),
    )


def _pictures(folder: RunFolder, delivery: Delivery) -> Iterator[Shown]:
    """Yield what the weights drew: in the evaluation a picture a prompt, those with the subject first; else samples."""
    judged = delivery.judged
    if judged is None:
        return
    card, choice = judged.card, judged.chosen.choice
    label = card.column.label if card else choice.label if choice and judged.chosen.is_the_choice else None
    look = _look_of(folder) if label else None
    if look is not None:
        order = {role: place for place, role in enumerate(("full", "pose", "bare", "novel", "prompt"))}
        mine = [each for each in look.looks if each.checkpoint == label and each.role in order]
        seen: set[str] = set()
        for each in sorted(mine, key=lambda each: order[each.role]):
            path = look.folder / each.path
            if each.prompt not in seen and path.is_file():
                seen.add(each.prompt)
                yield Shown(path=path.relative_to(folder.path).as_posix(), told=each.prompt)
        if seen:
            return
    for sample in judged.record.samples:
        if sample.step == judged.chosen.checkpoint.step and (folder.path / sample.path).is_file():
            yield Shown(path=sample.path, told=sample.prompt)


def _look_of(folder: RunFolder) -> FirstLook | None:
    try:
        return read_first_look(folder.evaluation / LOOK)
    except MaquetteError:
        return None
