"""What a report shows of the run: how to draw with its LoRA, curves, the sum, settings, surroundings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maquette.evaluating.charts import Axis, Chart, Series, line_chart, smoothed
from maquette.evaluating.facts import Delivery, ReportFacts
from maquette.evaluating.words import flattened, spelled, value_text
from maquette.project.config_file import dump_settings
from maquette.project.settings import Settings
from maquette.spoken import duration, memory_size
from maquette.words.prompts import escaped

Row = tuple[str, str]
CodeRow = tuple[str, str, bool]
"""Name, value, and whether the value is shown as code: something to copy."""


@dataclass(frozen=True)
class Curves:
    """Training loss, raw and smoothed, and the learning rates."""

    told: str
    loss: Chart
    rates: Chart | None


@dataclass(frozen=True)
class Sum:
    """How pictures, repeats, regularization, batches and epochs became steps."""

    told: str
    rows: Sequence[Row]


def curves(facts: ReportFacts) -> Curves | None:
    """Return the curves of training; None without any logged loss."""
    losses = [(float(row["step"]), _number(row.get("loss"))) for row in facts.metrics if "loss" in row]
    if not losses:
        return None
    smooth = smoothed(losses)
    broken = sum(not math.isfinite(loss) for _, loss in losses)
    told = (
        f"Training loss over {len(losses)} steps, smoothed from {smooth[0][1]:.3f} to {smooth[-1][1]:.3f}."
        if smooth
        else "No finite loss."
    )
    if broken:
        told += f" {broken} steps had a loss that is not a number."
    loss = line_chart(
        [
            Series(name="each step", points=losses, style="raw"),
            Series(name="smoothed", points=smooth, style="main"),
        ],
        title="Training loss",
        description=told,
        x=Axis(label="optimizer step"),
        y=Axis(label="loss", low=0.0),
    )
    return Curves(told, loss, _rates(facts.metrics))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _rates(metrics: Sequence[Mapping[str, Any]]) -> Chart | None:
    names = sorted({key for row in metrics for key in row if key.startswith(("lr", "learning_rate"))})
    series = []
    for name, style in zip(names, ("main", "second", "third"), strict=False):
        points = [(float(row["step"]), _number(row[name])) for row in metrics if name in row]
        label = name.removeprefix("learning_rate").removeprefix("lr").strip("/_ ").replace("_", " ")
        series.append(Series(name=label or "learning rate", points=points, style=style))
    if not series:
        return None
    return line_chart(
        series,
        title="Learning rates",
        description=f"Learning rate by step: {', '.join(entry.name for entry in series)}.",
        x=Axis(label="optimizer step"),
        y=Axis(label="learning rate", low=0.0),
        height=220,
    )


def sum_of(facts: ReportFacts) -> Sum:
    """Return the arithmetic of the run's steps."""
    schedule = facts.record.schedule
    numbers = [(key, value) for key, value in asdict(schedule).items() if isinstance(value, int)]
    return Sum(schedule.sum, [(spelled(key), value_text(value)) for key, value in numbers])


def use(facts: ReportFacts) -> list[CodeRow]:
    """Return where the file is and what it needs."""
    rows = [
        ("File", str(facts.lora), True),
        ("SHA-256", facts.lora_sha256, True),
        ("Trigger", escaped(facts.trigger) or "none", bool(facts.trigger)),
        ("Strength", f"{facts.strength:g}", False),
        ("Base model", facts.record.base.title, False),
    ]
    if facts.prompt_template:
        rows.append(("Prompt", escaped(facts.prompt_template), True))
    return rows


def delivery_rows(delivery: Delivery) -> list[CodeRow]:
    """Return what was installed for a drawing program."""
    rows = [("LoRA", delivery.lora), ("Listed as", delivery.lora_name)]
    rows += [("Workflow", delivery.workflow)] if delivery.workflow else []
    rows += [("Prompts", delivery.prompts)] if delivery.prompts else []
    return [(name, value, True) for name, value in rows]


Section = tuple[str, list[Row]]


@dataclass(frozen=True)
class SettingsShown:
    """The settings of the run by section: those that are not the defaults, and the others."""

    changed: Sequence[Section]
    default: Sequence[Section]


def settings(facts: ReportFacts) -> SettingsShown:
    """Return every setting of the run; a changed one says its default."""
    base = facts.record.settings.model.base
    default = dump_settings(Settings.model_validate({"model": {"base": base}}))
    default["model"]["base"] = None
    changed: list[Section] = []
    same: list[Section] = []
    for name, values in dump_settings(facts.record.settings).items():
        usual = default.get(name, {})
        differs = {key for key, value in values.items() if value != usual.get(key)}
        rows = [(key, value_text(value), value_text(usual.get(key))) for key, value in values.items()]
        if differs:
            told = [
                (key, f"{value}  (default {was})" if was != "–" else value)
                for key, value, was in rows
                if key in differs
            ]
            changed.append((spelled(name), told))
        if len(differs) < len(rows):
            same.append((spelled(name), [(key, value) for key, value, _ in rows if key not in differs]))
    return SettingsShown(changed, same)


def surroundings(facts: ReportFacts) -> list[tuple[str, list[Row]]]:
    """Return how long each part took, and where it ran."""
    record = facts.record
    times = {**record.timings, **facts.timings}
    timings = [
        (spelled(key.removesuffix("_s")), duration(value))
        for key, value in times.items()
        if isinstance(value, int | float)
    ]
    environment = {
        **(asdict(record.device) if record.device else {}),
        **flattened(asdict(record.environment)),
    }
    if record.peak_memory_bytes:
        environment["peak memory"] = memory_size(record.peak_memory_bytes)
    told = [(spelled(key), value_text(value)) for key, value in environment.items()]
    return [("Time", timings), ("Environment", told)]


def files(facts: ReportFacts) -> list[CodeRow]:
    """Return the files that the run left."""
    rows = [
        (
            f"{'final' if entry.final else 'checkpoint'}, step {entry.step:,}",
            str(facts.run / entry.path),
            True,
        )
        for entry in facts.record.checkpoints
    ]
    return [*rows, ("run record", str(facts.run / "run.json"), True)]
