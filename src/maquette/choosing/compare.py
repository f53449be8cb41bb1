"""Runs side by side: what each is worth at its chosen checkpoint, and what was changed from one to the next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.choosing.options import CompareRunsOptions, SelectOptions
from maquette.choosing.select import Judged, choice_of, judged_in
from maquette.comparing.diff import Difference
from maquette.comparing.diff import compare as differences
from maquette.comparing.history import told_of
from maquette.comparing.sides import side_of
from maquette.errors import ConfigError, Problem
from maquette.evaluating.page import Pictures, json_markup, own_asset, render
from maquette.events import Artifact, Stage
from maquette.files import write_atomic
from maquette.measuring.looks import LOOK
from maquette.measuring.statistics import Estimate
from maquette.runs.choice import Choice, read_choice
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord, read_record

ROOM = "maquette.choosing"
TOTAL = "score"
_SHOWN_PROMPTS, _SHOWN_SEEDS = 8, 4


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run of a comparison. Without an evaluation it has no numbers."""

    path: Path
    record: RunRecord
    name: str
    """The run's own name; with as much of its path as tells it from the others, where several have one name."""
    choice: Choice | None = None
    judged: Judged | None = None
    scores: dict[str, Estimate] = field(default_factory=dict)
    """Of the chosen checkpoint: the weighted score, and every headline on its own scale."""

    @property
    def drawn(self) -> frozenset[tuple[str, int]]:
        """What was drawn with the chosen checkpoint: prompts and seeds."""
        if self.judged is None or self.choice is None:
            return frozenset()
        looks = self.judged.look.looks
        return frozenset((each.prompt, each.seed) for each in looks if each.checkpoint == self.choice.label)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs in the order in which they were given, and what changed from each to the next."""

    runs: tuple[Compared, ...]
    changes: tuple[Difference, ...]
    titles: dict[str, str]
    """Names of the numbers, in the order in which they are shown."""
    notes: tuple[str, ...]
    page: Path | None = None


def compare_events(targets: Sequence[Path], options: CompareRunsOptions) -> Stage[Comparison]:
    """Compare runs; write the page where one is asked for. Raises ConfigError for fewer than two."""
    if len(targets) < 2:
        raise ConfigError(
            Problem(
                "maquette compare", f"{len(targets)} run", "at least two runs", "Name another run's folder."
            )
        )
    runs = tuple(_compared(target, name) for target, name in zip(targets, _names(targets), strict=True))
    sides = [side_of(target) for target in targets]
    changes = tuple(differences(one, other) for one, other in pairwise(sides))
    titles = {TOTAL: "Score"}
    for run in runs:
        headlines = run.judged.cards.headlines if run.judged else ()
        titles |= {headline.name: headline.title for headline in headlines if headline.name in run.scores}
    titles = {name: title for name, title in titles.items() if any(name in run.scores for run in runs)}
    found = Comparison(runs=runs, changes=changes, titles=titles, notes=tuple(_notes(runs)))
    if options.html is None:
        return found
    page = write_atomic(options.html, comparison_html(found))
    yield Artifact("comparison", page)
    return Comparison(runs=runs, changes=changes, titles=titles, notes=found.notes, page=page)


def _names(targets: Sequence[Path]) -> list[str]:
    """Return each run's folder name, with as many folders above it as it takes to tell the runs apart."""
    paths = [target.resolve().parts for target in targets]
    for count in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-count:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [str(target) for target in targets]


def _compared(target: Path, name: str) -> Compared:
    """Return a run with its evaluation and its choice, where it has them; what was chosen is not changed."""
    record, folder = read_record(target), RunFolder(target)
    if not (folder.evaluation / LOOK).is_file():
        return Compared(path=target, record=record, name=name)
    judged = judged_in(folder.evaluation)
    choice = read_choice(target) or choice_of(judged, SelectOptions(), folder=folder, record=record)
    card = next((card for card in judged.cards.cards if card.column.label == choice.label), None)
    scores = {name: score.value for name, score in card.scores.items()} if card is not None else {}
    if card is not None and card.total is not None:
        scores = {TOTAL: card.total, **scores}
    return Compared(path=target, record=record, name=name, choice=choice, judged=judged, scores=scores)


def _notes(runs: Sequence[Compared]) -> Iterator[str]:
    """Say what keeps the numbers from being compared."""
    for run in runs:
        if run.judged is None:
            yield f"{run.name} was not evaluated: maquette select {run.path}"
    judged = [run for run in runs if run.judged is not None]
    for one, other in pairwise(judged):
        if one.drawn != other.drawn:
            yield f"{one.name} and {other.name} drew other prompts or seeds: their numbers do not quite compare."
    if len({run.record.base.family for run in runs}) > 1:
        yield "The bases are of different families: a score lies between each base's own floor and the references."


def difference_of(one: Compared, other: Compared, name: str) -> Estimate | None:
    """Return by how much `other` exceeds `one` on a number, with the interval of two that were measured apart."""
    a, b = one.scores.get(name), other.scores.get(name)
    if a is None or b is None:
        return None
    mean = b.mean - a.mean
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(mean=mean, low=None, high=None, count=a.count + b.count)
    half = math.hypot((a.high - a.low) / 2, (b.high - b.low) / 2)
    return Estimate(mean=mean, low=mean - half, high=mean + half, count=a.count + b.count)


def facts_of(run: Compared) -> list[tuple[str, str]]:
    """Return what a run is, in rows."""
    settings, record = run.record.settings, run.record
    choice = run.choice
    return [
        ("base", record.base.title),
        ("trigger", settings.subject.trigger or "–"),
        ("pictures", str(len(record.dataset.subject))),
        ("rank", str(settings.lora.rank)),
        ("steps", f"{record.step:,}"),
        ("chosen", "–" if choice is None else f"{choice.label} at {choice.strength:g}"),
        (
            "decided",
            "–"
            if choice is None
            else ("clearly" if choice.distinguishable else "cannot tell from the runner-up"),
        ),
    ]


def to_json(found: Comparison) -> dict[str, Any]:
    """Return a comparison as plain JSON values."""
    return {
        "runs": [
            {
                "run": str(run.path),
                "name": run.name,
                "family": run.record.base.family,
                **dict(facts_of(run)),
                "checkpoint": run.choice.checkpoint if run.choice else None,
                "strength": run.choice.strength if run.choice else None,
                "scores": {name: _json(each) for name, each in run.scores.items()},
                "suspicions": [each.kind for each in run.choice.suspicions] if run.choice else [],
            }
            for run in found.runs
        ],
        "differences": [
            {
                "from": one.name,
                "to": other.name,
                "scores": {
                    name: {**_json(each), "is_clear": each.shows_difference_from(0.0)}
                    for name in found.titles
                    if (each := difference_of(one, other, name)) is not None
                },
                "changed": change.to_json(),
            }
            for one, other, change in _steps(found)
        ],
        "notes": list(found.notes),
        "page": str(found.page) if found.page else None,
    }


def _json(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.mean, "low": estimate.low, "high": estimate.high}


def _steps(found: Comparison) -> list[tuple[Compared, Compared, Difference]]:
    return list(zip(found.runs, found.runs[1:], found.changes, strict=False))


def rows_of(found: Comparison) -> list[tuple[str, list[str]]]:
    """Return the table of a comparison: a row a fact and a number, a column a run."""
    facts = [facts_of(run) for run in found.runs]
    rows = [(name, [column[place][1] for column in facts]) for place, (name, _) in enumerate(facts[0])]
    rows += [
        (title, [_number(run.scores.get(name)) for run in found.runs]) for name, title in found.titles.items()
    ]
    warned = [
        ", ".join(each.kind for each in run.choice.suspicions) if run.choice else "" for run in found.runs
    ]
    return [*rows, ("warnings", [each or "–" for each in warned])]


def _number(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.2f}"
    return f"{estimate.mean:.2f} ({estimate.low:.2f}–{estimate.high:.2f})"


def told(found: Comparison) -> Iterator[str]:
    """Yield a comparison in lines for a terminal."""
    rows = [("", [run.name for run in found.runs]), *rows_of(found)]
    first = max(len(name) for name, _ in rows)
    widths = [max(len(cells[place]) for _, cells in rows) for place in range(len(found.runs))]
    for name, cells in rows:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        yield f"{name:<{first}}  {line}".rstrip()
    for one, other, change in _steps(found):
        yield ""
        yield f"{one.name} → {other.name}: changed {told_of(change)}"
        yield from (f"  {line}" for line in changes_told(found, one, other))
    yield from found.notes


def changes_told(found: Comparison, one: Compared, other: Compared) -> Iterator[str]:
    """Yield what came of the changes: every number, and whether its change is more than noise."""
    for name, title in found.titles.items():
        change = difference_of(one, other, name)
        if change is None:
            continue
        clear = "" if change.shows_difference_from(0.0) else "; cannot tell"
        interval = "" if change.low is None else f" (95 % {change.low:+.2f} to {change.high:+.2f}){clear}"
        yield f"{title.lower()} {change.mean:+.2f}{interval}"


# --- the page --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PictureRow:
    """The same prompt and seed, drawn by the chosen checkpoint of each run."""

    prompt: str
    seed: int
    paths: Sequence[Path | None]


def comparison_html(found: Comparison) -> str:
    """Return the page of a comparison: complete in itself, with its facts as JSON."""
    return render(
        "compare.html.jinja",
        room=ROOM,
        version=__version__,
        style=own_asset("report.css"),
        block=json_markup(to_json(found)),
        runs=found.runs,
        rows=rows_of(found),
        steps=[
            (one.name, other.name, told_of(change), list(changes_told(found, one, other)))
            for one, other, change in _steps(found)
        ],
        pictures=Pictures(),
        shown=pictures_of(found.runs),
        notes=found.notes,
    )


def pictures_of(runs: Sequence[Compared]) -> list[PictureRow]:
    """Return the same prompts and seeds as the runs drew them: the cells that most of them have, a few seeds a prompt."""
    cells: dict[tuple[str, int], int] = {}
    for run in runs:
        for cell in sorted(run.drawn):
            cells[cell] = cells.get(cell, 0) + 1
    rows: list[PictureRow] = []
    taken: dict[str, int] = {}
    for prompt, seed in sorted(cells, key=lambda cell: (-cells[cell], cell)):
        if taken.get(prompt, 0) >= _SHOWN_SEEDS or (prompt not in taken and len(taken) >= _SHOWN_PROMPTS):
            continue
        taken[prompt] = taken.get(prompt, 0) + 1
        rows.append(PictureRow(prompt, seed, [_picture(run, prompt, seed) for run in runs]))
    return sorted(rows, key=lambda row: (row.prompt, row.seed))


def _picture(run: Compared, prompt: str, seed: int) -> Path | None:
    if run.judged is None or run.choice is None or (prompt, seed) not in run.drawn:
        return None
    look = run.judged.look
    return look.folder / look.find(run.choice.label, prompt, seed).path
