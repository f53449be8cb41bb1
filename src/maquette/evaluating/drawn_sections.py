"""What a report shows of the drawings: key numbers, before and after, measures, the grid of checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.evaluating.charts import Axis, Chart, Series, line_chart
from maquette.evaluating.facts import ReportFacts, Verdict
from maquette.evaluating.looks import FLOOR, FirstLook, Measure, Summary
from maquette.evaluating.words import change_text, interval
from maquette.spoken import disk_size, duration

_SEEDS_SHOWN = 3
_STRIP = 6
MARKS = {"learned": "✓", "unclear": "?", "worse": "✕", "unjudged": "○", "unfinished": "…"}
_ROLES = {
    "bare": "The trigger alone",
    "full": "Full prompts",
    "leak": "Without the trigger (lower is better)",
    "edit": "Edits",
    "prompt": "Prompts",
}


@dataclass(frozen=True)
class Tile:
    """A key number."""

    value: str
    name: str
    note: str


@dataclass(frozen=True)
class Strip:
    """A row of pictures (path, alternative text) under one name."""

    title: str
    note: str
    pictures: Sequence[tuple[Path, str]]


@dataclass(frozen=True)
class BeforeAfter:
    """What the subject is, what the base draws for its word, and what the LoRA draws: a row each."""

    prompt: str
    rows: Sequence[Strip]


@dataclass(frozen=True)
class MeasureRow:
    """The numbers of one checkpoint under one kind of prompt."""

    name: str
    cells: Sequence[str | int]
    is_chosen: bool


@dataclass(frozen=True)
class MeasurePart:
    """One measure: its plot, the first role's numbers, the others' on demand."""

    measure: Measure
    chart: Chart
    first: Sequence[MeasureRow]
    others: Sequence[MeasureRow]


@dataclass(frozen=True)
class GridCell:
    """One drawing."""

    path: Path
    alt: str
    score: str | None


@dataclass(frozen=True)
class GridRow:
    """One prompt and seed, drawn by every checkpoint."""

    prompt: str
    seed: int
    cells: Sequence[GridCell]
    is_first: bool


@dataclass(frozen=True)
class Grid:
    """All prompts and seeds by checkpoint."""

    columns: Sequence[str]
    shown: Sequence[GridRow]
    rest: Sequence[GridRow]


def tiles(facts: ReportFacts, verdict: Verdict) -> list[Tile]:
    """Return the key numbers under the headline."""
    record = facts.record
    found = []
    if verdict.floor and verdict.score:
        gain = f"{verdict.floor.mean:.2f} → {verdict.score.mean:.2f}"
        found.append(Tile(gain, "floor → with LoRA", interval(verdict.score)))
    found.append(Tile(f"{record.step:,}", "optimizer steps", f"{len(facts.pictures)} pictures"))
    if record.final_loss is not None:
        note = "a lower loss is not a better LoRA"
        found.append(Tile(f"{record.final_loss:.3f}", "training loss at the end", note))
    total_s = sum(facts.timings.values()) or record.timings.get("total_s", 0.0)
    if total_s:
        device = record.device.name if record.device else ""
        found.append(Tile(duration(total_s), "in all", device))
    found.append(Tile(disk_size(facts.lora_bytes), "LoRA file", facts.lora.name))
    return found


def before_after(facts: ReportFacts, verdict: Verdict) -> BeforeAfter | None:
    """Return the rows of training pictures, of the base alone and of the LoRA; None where nothing was drawn."""
    look = facts.look
    if look is None or len(look.checkpoints()) < 2:
        return None
    shown = verdict.checkpoint or look.checkpoints()[-1]
    prompt = (look.prompts("bare") or look.prompts())[0]
    seeds = look.seeds(prompt)[:_STRIP]
    rows = []
    if facts.pictures:
        subject = [(path, f"Training picture: {caption}") for path, caption in facts.pictures[:_STRIP]]
        rows.append(Strip("The subject", "training pictures", subject))
    for title, name, note in (
        ("Before", FLOOR, "the base model alone"),
        ("After", shown, f"with the LoRA, {shown}"),
    ):
        rows.append(Strip(title, note, [_picture(look, name, prompt, seed) for seed in seeds]))
    return BeforeAfter(prompt, rows)


def _picture(look: FirstLook, checkpoint: str, prompt: str, seed: int) -> tuple[Path, str]:
    path = look.folder / look.find(checkpoint, prompt, seed).path
    return path, f"{checkpoint}, prompt “{prompt}”, seed {seed}"


def measures(facts: ReportFacts, verdict: Verdict) -> list[MeasurePart]:
    """Return each measure over the steps with its interval, and the table behind the plot."""
    look = facts.look
    if look is None:
        return []
    found = look.summaries()
    return [
        _measure_part(measure, rows, verdict)
        for measure in look.measures
        if (rows := [summary for summary in found if summary.measure == measure.name])
    ]


def _measure_part(measure: Measure, summaries: Sequence[Summary], verdict: Verdict) -> MeasurePart:
    first = summaries[0].role
    rows = [(summary.role, _measure_row(summary, verdict)) for summary in summaries]
    return MeasurePart(
        measure=measure,
        chart=_measure_chart(measure, summaries, height=300 if measure.name == verdict.measure else 210),
        first=[row for role, row in rows if role == first],
        others=[row for role, row in rows if role != first],
    )


def _measure_row(summary: Summary, verdict: Verdict) -> MeasureRow:
    cells = (
        _role(summary.role),
        f"{summary.score.mean:.3f}",
        interval(summary.score).removeprefix("95 % "),
        "–" if summary.change is None else change_text(summary.change),
        summary.score.count,
    )
    return MeasureRow(summary.checkpoint, cells, summary.checkpoint == verdict.checkpoint)


def _measure_chart(measure: Measure, summaries: Sequence[Summary], height: int) -> Chart:
    """Return a line for each role; the base alone is step 0. Only the first role shows its interval, for legibility."""
    roles = list(dict.fromkeys(summary.role for summary in summaries))
    series, rules = [], []
    for role, style in zip(roles, ("main", "second", "third"), strict=False):
        rows = [summary for summary in summaries if summary.role == role]
        points = [(float(row.step or 0), row.score.mean) for row in rows]
        band = [
            (float(row.step or 0), row.score.low, row.score.high)
            for row in rows
            if role == roles[0] and row.score.low is not None and row.score.high is not None
        ]
        rules += [
            (f"without LoRA {row.score.mean:.2f}", row.score.mean)
            for row in rows
            if role == roles[0] and row.step is None
        ]
        series.append(Series(name=_role(role), points=points, style=style, band=band, dots=True))
    return line_chart(
        series,
        title=f"{measure.title} by step",
        description="; ".join(f"{s.checkpoint}, {_role(s.role)}: {s.score.mean:.2f}" for s in summaries),
        x=Axis(label="optimizer step", low=0.0),
        y=Axis(label=measure.title.lower(), low=measure.low, high=measure.high),
        rules=rules,
        height=height,
    )


def _role(role: str) -> str:
    return _ROLES.get(role, role)


def grid(facts: ReportFacts) -> Grid | None:
    """Return all prompts and seeds by checkpoint: rows are prompts and seeds, columns checkpoints."""
    look = facts.look
    if look is None:
        return None
    columns = look.checkpoints()
    shown, rest = [], []
    for prompt in look.prompts():
        seeds = look.seeds(prompt)
        shown += _grid_rows(look, prompt, seeds[:_SEEDS_SHOWN], columns)
        rest += _grid_rows(look, prompt, seeds[_SEEDS_SHOWN:], columns)
    return Grid(columns, shown, rest)


def _grid_rows(look: FirstLook, prompt: str, seeds: Sequence[int], columns: Iterable[str]) -> list[GridRow]:
    return [
        GridRow(prompt, seed, [_grid_cell(look, name, prompt, seed) for name in columns], index == 0)
        for index, seed in enumerate(seeds)
    ]


def _grid_cell(look: FirstLook, checkpoint: str, prompt: str, seed: int) -> GridCell:
    path, alt = _picture(look, checkpoint, prompt, seed)
    scores = look.find(checkpoint, prompt, seed).scores
    told = (f"{scores[measure.name]:.2f}" for measure in look.measures if measure.name in scores)
    return GridCell(path, alt, next(told, None))
