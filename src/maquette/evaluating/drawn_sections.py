"""What a report shows of the drawings: key numbers, before and after, measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.evaluating.charts import Axis, Chart, Series, line_chart
from maquette.evaluating.facts import ReportFacts
from maquette.evaluating.verdict import LEAK_ROLE, Verdict
from maquette.evaluating.words import change_text, interval
from maquette.measuring.looks import FLOOR, FirstLook, Measure, Summary
from maquette.spoken import disk_size, duration

_STRIP = 6
MARKS = {"learned": "✓", "flawed": "!", "unclear": "?", "worse": "✕", "unjudged": "○", "unfinished": "…"}
_ROLES = {
    "bare": "From the trigger",
    "full": "Full prompts",
    LEAK_ROLE: "Without the trigger (lower is better)",
    "edit": "Edits",
    "prompt": "Prompts",
}


@dataclass(frozen=True)
class Tile:
    """A key number."""

    value: str
    name: str
    note: str
    is_flaw: bool = False


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
    """One measure: its plot, and its numbers."""

    measure: Measure
    chart: Chart
    groups: Sequence[tuple[str, Sequence[MeasureRow]]]
    """The rows under the name of each kind of prompt."""


def tiles(facts: ReportFacts, verdict: Verdict) -> list[Tile]:
    """Return the key numbers under the pictures: what was judged first, then what it took."""
    record = facts.record
    found = []
    if verdict.floor and verdict.score:
        gain = f"{verdict.floor.mean:.2f} → {verdict.score.mean:.2f}"
        found.append(Tile(gain, f"{verdict.measure}, floor → with LoRA", interval(verdict.score)))
    found += [Tile(flaw.value, flaw.name, "", is_flaw=True) for flaw in verdict.flaws]
    found.append(Tile(f"{record.step:,}", "optimizer steps", f"{len(facts.pictures)} pictures"))
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
    seeds = look.seeds_of_all(prompt)[:_STRIP]
    rows = []
    if facts.pictures:
        subject = [(path, f"Training picture: {caption}") for path, caption in facts.pictures[:_STRIP]]
        rows.append(Strip("The subject", "training pictures", subject))
    for title, name, note in (
        ("Before", FLOOR, "the base model alone"),
        ("After", shown, f"with the LoRA, {shown}"),
    ):
        rows.append(Strip(title, note, [picture_of(look, name, prompt, seed) for seed in seeds]))
    return BeforeAfter(prompt, rows)


def picture_of(look: FirstLook, checkpoint: str, prompt: str, seed: int) -> tuple[Path, str]:
    """Return a drawing's file, and what it shows in words."""
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
    roles = dict.fromkeys(summary.role for summary in summaries)
    return MeasurePart(
        measure=measure,
        chart=_measure_chart(measure, summaries, height=300 if measure.name == verdict.measure else 210),
        groups=[
            (_role(role), [_measure_row(summary, verdict) for summary in summaries if summary.role == role])
            for role in roles
        ],
    )


def _measure_row(summary: Summary, verdict: Verdict) -> MeasureRow:
    cells = (
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
    styles = iter(("main", "second", "third"))
    for role in roles:
        style = "leak" if role == LEAK_ROLE else next(styles, "third")
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
