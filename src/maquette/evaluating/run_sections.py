"""A report's sections about the run: how to draw with its LoRA, curves, pictures, the sum, settings,
surroundings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from maquette.evaluating.charts import Axis, Series, line_chart, smoothed
from maquette.evaluating.facts import Delivery, ReportFacts
from maquette.evaluating.page import Child, Markup, el, figure_picture, join, table
from maquette.evaluating.words import duration, flattened, section, size, spelled, value_text


def curves(facts: ReportFacts) -> Markup | None:
    """Training loss, raw and smoothed, and the learning rates."""
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
    chart = line_chart(
        [
            Series(name="each step", points=losses, style="raw"),
            Series(name="smoothed", points=smooth, style="main"),
        ],
        title="Training loss",
        description=told,
        x=Axis(label="optimizer step"),
        y=Axis(label="loss", low=0.0),
    )
    lead = (
        f"{told} It mixes easy and hard noise levels, so a single step says little; and no loss tells which "
        "checkpoint draws best."
    )
    return section("How it learned", chart, _rates(facts.metrics), lead=lead, anchor="curves")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _rates(metrics: Sequence[Mapping[str, Any]]) -> Markup | None:
    names = sorted({key for row in metrics for key in row if key.startswith(("lr", "learning_rate"))})
    series = []
    for name, style in zip(names, ("main", "second", "third"), strict=False):
        points = [(float(row["step"]), _number(row[name])) for row in metrics if name in row]
        label = (
            name.removeprefix("learning_rate").removeprefix("lr").strip("/_ ").replace("_", " ")
            or "learning rate"
        )
        series.append(Series(name=label, points=points, style=style))
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


def training_pictures(facts: ReportFacts) -> Markup | None:
    """What it was trained on: each picture with its caption."""
    if not facts.pictures:
        return None
    cards = [
        el(
            "figure",
            figure_picture(path, f"Training picture: {caption}"),
            el("figcaption", caption or "(no caption)"),
        )
        for path, caption in facts.pictures
    ]
    lead = (
        f"{len(facts.pictures)} pictures. What a caption names is learned as that word; "
        "what it leaves out goes into the trigger."
    )
    return section("The training pictures", el("div", *cards, class_="cards"), lead=lead, anchor="pictures")


def arithmetic(facts: ReportFacts) -> Markup | None:
    """How pictures, repeats, regularization, batches and epochs became steps."""
    schedule = facts.record.schedule
    if not schedule:
        return None
    rows = [
        (spelled(key), value_text(value)) for key, value in schedule.items() if isinstance(value, int | float)
    ]
    told = el("p", schedule["sum"], class_="sum") if schedule.get("sum") else None
    lead = "Pictures × repeats, and how they became steps."
    return section(
        "The sum", told, el("details", el("summary", "Each number"), table(rows)), lead=lead, anchor="sum"
    )


def use(facts: ReportFacts) -> Markup:
    """Where the file is and how to draw with it."""
    rows: list[tuple[Child, Child]] = [
        ("File", el("code", str(facts.lora))),
        ("SHA-256", el("code", facts.lora_sha256)),
        ("Trigger", el("code", facts.trigger) if facts.trigger else "none"),
        ("Strength", f"{facts.strength:g}"),
    ]
    base = facts.record.base
    if base:
        rows.append(("Base model", value_text(base.get("title") or base.get("path") or base.get("family"))))
    if facts.prompt_template:
        rows.append(("Prompt", el("code", facts.prompt_template)))
    parts = [table(rows), *(_delivery(entry) for entry in facts.deliveries)]
    if not facts.deliveries:
        parts.append(_by_hand(facts))
    return section("Draw with it", *parts, anchor="use")


def _delivery(delivery: Delivery) -> Markup:
    rows: list[tuple[Child, Child]] = [
        ("LoRA", el("code", delivery.lora)),
        ("Listed as", el("code", delivery.lora_name)),
    ]
    if delivery.workflow:
        rows.append(("Workflow", el("code", delivery.workflow)))
    if delivery.prompts:
        rows.append(("Prompts", el("code", delivery.prompts)))
    steps = el("ol", *(el("li", step) for step in delivery.steps)) if delivery.steps else None
    notes = [el("p", note, class_="note") for note in delivery.notes]
    return el(
        "div", el("h3", f"Installed for {delivery.program}"), table(rows), steps, *notes, class_="delivery"
    )


def _by_hand(facts: ReportFacts) -> Markup:
    """How to install the file without the deploy command."""
    name, weight = facts.lora.stem, f"{facts.strength:g}"
    comfy = join(
        "Copy the file into ",
        el("code", "ComfyUI/models/loras"),
        ", add a ",
        el("b", "Load LoRA"),
        " node behind the checkpoint, and write the trigger into the prompt. Or let ",
        el("code", "maquette deploy"),
        " do it, with a workflow.",
    )
    webui = join(
        "AUTOMATIC1111 and Forge: copy it into ",
        el("code", "models/Lora"),
        " and prompt ",
        el("code", f"{facts.trigger} <lora:{name}:{weight}>".strip()),
        ".",
    )
    return el("ul", el("li", comfy), el("li", webui))


def settings(facts: ReportFacts) -> Markup | None:
    """Every setting of the run, by section."""
    if not facts.record.settings:
        return None
    parts = []
    for name, values in facts.record.settings.items():
        if isinstance(values, Mapping):
            parts.append(
                el(
                    "div",
                    el("h3", spelled(name)),
                    table([(key, value_text(value)) for key, value in values.items()]),
                )
            )
        else:
            parts.append(el("div", table([(name, value_text(values))])))
    return section("Settings", el("div", *parts, class_="columns"), anchor="settings")


def surroundings(facts: ReportFacts) -> Markup:
    """Where and when it ran, how long each part took, and the files it left."""
    record = facts.record
    times = {**record.timings, **facts.timings}
    timing_rows = [
        (spelled(key.removesuffix("_s")), duration(value))
        for key, value in times.items()
        if isinstance(value, int | float)
    ]
    environment = {**record.device, **flattened(record.environment)}
    if record.peak_memory_bytes:
        environment["peak memory"] = size(record.peak_memory_bytes)
    files: list[tuple[Child, Child]] = [
        (
            f"{'final' if entry.final else 'checkpoint'}, step {entry.step:,}",
            el("code", str(facts.run / entry.path)),
        )
        for entry in record.checkpoints
    ]
    files.append(("run record", el("code", str(facts.run / "run.json"))))
    blocks = (
        ("Time", timing_rows),
        ("Environment", [(spelled(key), value_text(value)) for key, value in environment.items()]),
    )
    told = [el("div", el("h3", title), table(list(rows))) for title, rows in blocks if rows]
    notes = [el("li", note) for note in (*record.notes, *facts.notes)]
    return section(
        "The run",
        el("ul", *notes, class_="notes") if notes else None,
        el("div", *told, class_="columns"),
        el("h3", "Files"),
        table(files),
        anchor="run",
    )
