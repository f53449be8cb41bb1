"""What the Judge page is told of a run: drawings by checkpoint and prompt, their measures, what was chosen and voted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maquette.choosing.vote import count_votes
from maquette.errors import MaquetteError
from maquette.files import sha256_file
from maquette.measuring.copying import read_nearest
from maquette.measuring.headlines import Headline
from maquette.measuring.looks import FLOOR, LOOK, UNDER_WAY, FirstLook, read_first_look
from maquette.measuring.memorization import GAP
from maquette.measuring.memorization import NAME as MEMORISATION
from maquette.measuring.scorecards import NAME as SCORECARDS
from maquette.measuring.scorecards import Scorecards, read_scorecards
from maquette.runs.choice import Choice, read_choice
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord, read_record
from maquette.runs.votes import read_votes
from maquette.studio.runs import curve_of, losses_of, validation_of
from maquette.studio.workspace import NotFound, Project

ROLES = {
    "bare": "the trigger alone",
    "pose": "with a pose",
    "novel": "in a new context",
    "asymmetry": "a detail on one side",
    "full": "the full description",
    "leak": "without the trigger",
    "bleed": "another subject",
    "drift": "nothing to do with it",
    "edit": "a change",
    "prompt": "your own prompt",
}
"""What a prompt is there for, in words (measuring.looks.LookPrompt)."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The drawings of a run: those that were measured, and those that are on their way."""

    look: FirstLook | None
    """What was measured."""
    coming: FirstLook | None
    """What is being drawn, or was when it was cut short."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The labels, the base first, then in the order of steps."""
        both = [look for look in (self.coming, self.look) if look is not None]
        labels = list(dict.fromkeys(label for look in both for label in look.checkpoints()))
        known = {label: look.column(label) for look in both for label in look.checkpoints()}
        labels.sort(key=lambda label: (label != FLOOR, known[label].step or 0, known[label].strength))
        return tuple(labels)


def drawn_of(folder: RunFolder) -> Drawn:
    """Return what was drawn of a run."""
    measured, coming = folder.evaluation / LOOK, folder.evaluation / UNDER_WAY
    return Drawn(
        look=read_first_look(measured) if measured.is_file() else None,
        coming=read_first_look(coming) if coming.is_file() else None,
    )


def row_of(place: Path) -> dict[str, Any]:
    """Return a run as the list shows it."""
    folder = RunFolder(place)
    measured = folder.evaluation / LOOK
    try:
        record = read_record(place)
        choice = read_choice(place)
    except MaquetteError as error:
        return {"name": place.name, "state": "unreadable", "problem": str(error.problems[0]), "judged": 0.0}
    return {
        "name": place.name,
        "state": record.state,
        "created_at": record.created_at,
        "checkpoints": sum((place / each.path).is_file() for each in record.checkpoints),
        "judged": measured.stat().st_mtime if measured.is_file() else 0.0,
        "chosen": choice.label if choice is not None else None,
        "problem": "",
    }


def told_of(project: Project, place: Path) -> dict[str, Any]:
    """Return everything that the page shows of a run."""
    folder = RunFolder(place)
    record = read_record(place)
    drawn = drawn_of(folder)
    cards = read_scorecards(folder.evaluation) if (folder.evaluation / SCORECARDS).is_file() else None
    choice = read_choice(place)
    return {
        **row_of(place),
        "drawings": drawings_of(folder, drawn),
        "numbers": _numbers(cards, record) if cards is not None else None,
        "choice": _choice(folder, choice),
        "votes": votes_of(place),
        "nearest": _nearest(folder, project),
        "curve": curve_of(losses_of(place)),
        "validation": validation_of(record),
        "report": (place / "report.html").is_file(),
    }


def drawings_of(folder: RunFolder, drawn: Drawn) -> dict[str, Any] | None:
    """Return the grid: columns, rows of a prompt and a seed, and the pictures that are there. None where nothing was drawn."""
    looks = [look for look in (drawn.look, drawn.coming) if look is not None]
    if not looks:
        return None
    labels = drawn.columns
    cells: dict[tuple[str, int], dict[int, str]] = {}
    roles: dict[str, str] = {}
    for look in looks:
        for each in look.looks:
            roles[each.prompt] = each.role
            cells.setdefault((each.prompt, each.seed), {})[labels.index(each.checkpoint)] = each.path
    prompts = list(roles)
    files = (folder.evaluation / "pictures").rglob("*.png")
    there = {path.relative_to(folder.evaluation).as_posix() for path in files}
    wanted = sum(len(row) for row in cells.values())
    known = {label: look.column(label) for look in looks for label in look.checkpoints()}
    rows: list[dict[str, Any]] = [
        {
            "prompt": prompts.index(prompt),
            "seed": seed,
            "pictures": [path if (path := row.get(place)) in there else None for place in range(len(labels))],
        }
        for (prompt, seed), row in sorted(
            cells.items(), key=lambda cell: (prompts.index(cell[0][0]), cell[0][1])
        )
    ]
    return {
        "columns": [asdict(known[label]) for label in labels],
        "prompts": [
            {"text": text, "role": ROLES.get(role, role), "kind": role} for text, role in roles.items()
        ],
        "rows": rows,
        "wanted": wanted,
        "there": sum(path is not None for row in rows for path in row["pictures"]),
        "is_coming": drawn.coming is not None,
        "is_measured": drawn.look is not None,
        "drawing": {name: value for name, value in looks[-1].drawing.items() if name in _TOLD},
    }


_TOLD = ("width_px", "height_px", "steps", "guidance", "sampler", "negative")


def _numbers(cards: Scorecards, record: RunRecord) -> dict[str, Any]:
    """Return the scorecards: the total first, then every headline, each by column."""
    measures = {measure.name: measure for measure in cards.measures}
    aside = [
        Headline(name=name, title=measures[name].title, measure=name, roles=(), zero="ceiling")
        for name in (MEMORISATION, GAP)
        if name in measures
    ]
    shown = (*cards.headlines, *aside)
    return {
        "columns": [
            {
                **asdict(card.column),
                "total": asdict(card.total) if card.total is not None else None,
                "failures": list(card.failures),
            }
            for card in cards.cards
        ],
        "headlines": [part for headline in shown if (part := _headline(headline, cards, measures))],
        "weights": {name: weight for name, weight in cards.weights.items() if weight},
        "notes": list(cards.notes),
        "tells_subject": cards.tells_subject,
    }


def _headline(headline: Headline, cards: Scorecards, measures: Mapping[str, Any]) -> dict[str, Any] | None:
    measure = measures[headline.measure]
    scores = {
        card.column.label: card.scores[headline.name] for card in cards.cards if headline.name in card.scores
    }
    if not scores:
        return None
    first = next(iter(scores.values()))
    return {
        "name": headline.name,
        "title": headline.title,
        "aspect": headline.aspect,
        "definition": measure.definition,
        "direction": headline.direction,
        "blind_to": measure.blind_to,
        "low": measure.low,
        "high": measure.high,
        "floor": first.floor,
        "ceiling": first.ceiling,
        "scores": {label: asdict(score.value) for label, score in scores.items()},
    }


def _choice(folder: RunFolder, choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    measured = folder.evaluation / LOOK
    is_old = bool(choice.evaluation and measured.is_file() and sha256_file(measured) != choice.evaluation)
    return {**choice.to_json(), "is_old": is_old}


def votes_of(place: Path) -> dict[str, Any]:
    """Return what was voted. The ranking names checkpoints: it is shown once the voting is over."""
    if not read_votes(place) or not (RunFolder(place).evaluation / LOOK).is_file():
        return {"votes": 0, "ranking": []}
    found = count_votes(place)
    return {"votes": found.votes, "ranking": found.ranking()}


def _nearest(folder: RunFolder, project: Project) -> list[dict[str, Any]]:
    """Return each drawing's nearest training picture that the page may show, the nearest first."""
    nearest = read_nearest(folder.evaluation)
    there = {each.training: training_file(project, each.training) for each in nearest.values()}
    found = [
        {
            "drawn": drawn,
            "training": each.training.name,
            "likeness": each.likeness,
            "is_mirrored": each.is_mirrored,
        }
        for drawn, each in nearest.items()
        if there[each.training] is not None and (folder.evaluation / drawn).is_file()
    ]
    return sorted(found, key=lambda each: -float(str(each["likeness"])))


def training_file(project: Project, path: Path) -> Path | None:
    """Return a training picture of a run, where it lies in one of the project's places; relative paths are from wherever
    `train` ran, in the project or above it.
    """
    for folder in (project.root, *project.root.parents):
        with suppress(NotFound):
            return project.file(str(folder / path))
    return None
