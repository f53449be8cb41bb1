"""The sections of a report, each a function from the facts to markup; None where there is nothing to say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from maquette.evaluate.charts import Axis, Series, line_chart, smoothed
from maquette.evaluate.facts import Delivery, ReportFacts, Verdict
from maquette.evaluate.looks import FLOOR, FirstLook, Summary
from maquette.evaluate.page import Child, Markup, el, figure_picture, join, table
from maquette.evaluate.statistics import Estimate

_SEEDS_SHOWN = 3
_MARKS = {"learned": "✓", "unclear": "?", "worse": "✕", "unjudged": "○", "unfinished": "…"}
_ROLES = {"bare": "The trigger alone", "full": "Full prompts", "leak": "Without the trigger (lower is better)", "prompt": "Prompts"}


def section(title: str, *children: Child, lead: Child = None, anchor: str) -> Markup:
    """Return a titled section with an optional leading sentence."""
    head = el("h2", title)
    return el("section", head, el("p", lead, class_="lead") if lead else None, *children, id=anchor)


def headline(facts: ReportFacts, verdict: Verdict) -> Markup:
    """The verdict in plain words, with the key numbers beneath."""
    mark = el("span", _MARKS[verdict.outcome], class_=f"mark {verdict.outcome}", aria_hidden="true")
    return el(
        "header",
        el("p", "Maquette · report", class_="eyebrow"),
        el("p", facts.title, class_="title"),
        el("h1", mark, " ", verdict.headline),
        *(el("p", sentence) for sentence in verdict.sentences),
        _tiles(facts, verdict),
    )


def _tiles(facts: ReportFacts, verdict: Verdict) -> Markup:
    record = facts.record
    tiles: list[tuple[str, str, str]] = []
    if verdict.floor and verdict.score:
        tiles.append((f"{verdict.floor.mean:.2f} → {verdict.score.mean:.2f}", "floor → with LoRA", interval(verdict.score)))
    tiles.append((f"{record.step:,}", "optimizer steps", f"{len(facts.pictures)} pictures"))
    if record.final_loss is not None:
        tiles.append((f"{record.final_loss:.3f}", "training loss at the end", "a lower loss is not a better LoRA"))
    total_s = sum(facts.timings.values()) or record.timings.get("total_s", 0.0)
    if total_s:
        tiles.append((duration(total_s), "in all", str(record.device.get("name", record.device.get("device", "")))))
    tiles.append((size(facts.lora_bytes), "LoRA file", facts.lora.name))
    return el(
        "ul",
        *(el("li", el("b", value), el("span", name), el("small", note)) for value, name, note in tiles),
        class_="tiles",
    )


def interval(estimate: Estimate) -> str:
    """Return "95 % 0.61–0.77", or nothing without an interval."""
    return "" if estimate.low is None else f"95 % {estimate.low:.2f}–{estimate.high:.2f}"


def duration(seconds: float) -> str:
    """Return "48 s", "3 min 20 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    amount = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def before_after(facts: ReportFacts, verdict: Verdict) -> Markup | None:
    """What the subject is, what the base draws for its word, and what the LoRA draws: a row each."""
    look = facts.look
    if look is None or len(look.checkpoints()) < 2:
        return None
    shown = verdict.checkpoint or look.checkpoints()[-1]
    prompt = (look.prompts("bare") or look.prompts())[0]
    seeds = look.seeds(prompt)[:6]
    rows = []
    if facts.pictures:
        subject = [figure_picture(path, f"Training picture: {caption}") for path, caption in facts.pictures[:6]]
        rows.append(_strip("The subject", "training pictures", subject))
    for name, note in ((FLOOR, "the base model alone"), (shown, "with the LoRA")):
        drawn = [_picture(look, name, prompt, seed) for seed in seeds]
        rows.append(_strip("Before" if name == FLOOR else "After", f"{note}, {shown}" if name != FLOOR else note, drawn))
    lead = join("Both rows are drawn from ", el("code", prompt), " with the same seeds.")
    return section("Before and after", el("div", *rows, class_="strips"), lead=lead, anchor="before-after")


def _strip(title: str, note: str, pictures: Sequence[Markup]) -> Markup:
    label = el("figcaption", el("b", title), el("span", note))
    return el("figure", label, el("div", *pictures, class_="strip"), class_="strip-row")


def _picture(look: FirstLook, checkpoint: str, prompt: str, seed: int) -> Markup:
    entry = look.find(checkpoint, prompt, seed)
    return figure_picture(look.folder / entry.path, f"{checkpoint}, prompt “{prompt}”, seed {seed}")


def measures(facts: ReportFacts, verdict: Verdict) -> Markup | None:
    """Each measure over the steps with its interval, and the table behind the plot."""
    look = facts.look
    if look is None or not look.measures:
        return None
    parts: list[Markup] = []
    for measure in look.measures:
        summaries = [summary for summary in look.summaries() if summary.measure == measure.name]
        if not summaries:
            continue
        chart = _measure_chart(measure.title, (measure.low, measure.high), summaries, verdict)
        definition = el("p", f"{measure.title}: {measure.definition}", class_="note")
        parts.append(join(chart, definition, _measure_table(measure.title, summaries, verdict)))
    lead = (
        "Every checkpoint draws the same prompts with the same seeds. Intervals are 95 %, over prompts and seeds; "
        "the change is paired with the floor picture by picture."
    )
    return section("What each checkpoint is worth", *parts, lead=lead, anchor="measures")


def _measure_chart(
    title: str, limits: tuple[float, float], summaries: Sequence[Summary], verdict: Verdict
) -> Markup | None:
    roles = list(dict.fromkeys(summary.role for summary in summaries))
    series, rules = [], []
    for role, style in zip(roles, ("main", "second", "third"), strict=False):
        rows = [summary for summary in summaries if summary.role == role and summary.step is not None]
        floor = next((summary for summary in summaries if summary.role == role and summary.step is None), None)
        points = [(float(row.step or 0), row.score.mean) for row in rows]
        band = [] if role != roles[0] else [(float(row.step or 0), row.score.low, row.score.high) for row in rows if row.score.low is not None and row.score.high is not None]
        if floor is not None:
            points.insert(0, (0.0, floor.score.mean))
            if role == roles[0]:
                if floor.score.low is not None and floor.score.high is not None:
                    band.insert(0, (0.0, floor.score.low, floor.score.high))
                rules.append((f"floor {floor.score.mean:.2f}", floor.score.mean))
        series.append(Series(name=_role(role), points=points, style=style, band=band, dots=True))
    if not any(entry.points for entry in series):
        return None
    spoken = "; ".join(f"{s.checkpoint}, {_role(s.role)}: {s.score.mean:.2f}" for s in summaries)
    return line_chart(
        series, title=f"{title} by step", description=spoken, x=Axis(label="optimizer step", low=0.0),
        y=Axis(label=title.lower(), low=limits[0], high=limits[1]), rules=rules,
    )  # fmt: skip


def _role(role: str) -> str:
    return _ROLES.get(role, role)


def _measure_table(title: str, summaries: Sequence[Summary], verdict: Verdict) -> Markup:
    head = el("tr", *(el("th", text, scope="col") for text in ("", "prompts", title, "95 %", "change to the floor", "pictures")))
    rows = []
    for summary in summaries:
        change = summary.change
        told = "–" if change is None else f"{change.mean:+.2f}" + (f" ({change.low:+.2f} to {change.high:+.2f})" if change.low is not None else "")
        chosen = summary.checkpoint == verdict.checkpoint
        name = join(summary.checkpoint, " ", el("span", "chosen", class_="chip")) if chosen else summary.checkpoint
        cells = (_role(summary.role), f"{summary.score.mean:.3f}", interval(summary.score).removeprefix("95 % "), told, summary.score.count)
        rows.append(el("tr", el("th", name, scope="row"), *(el("td", cell) for cell in cells), class_="chosen" if chosen else None))
    return el("div", el("table", el("thead", head), el("tbody", *rows)), class_="scroll")


def grid(facts: ReportFacts, verdict: Verdict) -> Markup | None:
    """All prompts and seeds by checkpoint: rows are prompts and seeds, columns checkpoints."""
    look = facts.look
    if look is None:
        return None
    columns = look.checkpoints()
    titles = [el("th", name, scope="col", class_="chosen" if name == verdict.checkpoint else None) for name in columns]
    shown, rest = [], []
    for prompt in look.prompts():
        seeds = look.seeds(prompt)
        shown += [_grid_row(look, prompt, seed, columns, first=index == 0) for index, seed in enumerate(seeds[:_SEEDS_SHOWN])]
        rest += [_grid_row(look, prompt, seed, columns, first=index == 0) for index, seed in enumerate(seeds[_SEEDS_SHOWN:])]
    parts = [_grid_table(titles, shown)]
    if rest:
        parts.append(el("details", el("summary", f"{len(rest)} more rows"), _grid_table(titles, rest)))
    lead = "The first column is the base model alone. A row keeps its prompt and its seed, so only the LoRA changes."
    return section("Every checkpoint, the same seeds", *parts, lead=lead, anchor="grid")


def _grid_table(titles: Sequence[Markup], rows: Sequence[Markup]) -> Markup:
    return el("div", el("table", el("thead", el("tr", el("th", "prompt and seed", scope="col"), *titles)), el("tbody", *rows), class_="grid-table", style=f"min-width: {200 + 84 * len(titles)}px"), class_="scroll")


def _grid_row(look: FirstLook, prompt: str, seed: int, columns: Iterable[str], *, first: bool) -> Markup:
    label = join(el("code", prompt) if first else None, el("span", f"seed {seed}", class_="seed"))
    cells = []
    for name in columns:
        scores = look.find(name, prompt, seed).scores
        told = next((f"{scores[measure.name]:.2f}" for measure in look.measures if measure.name in scores), None)
        cells.append(el("td", _picture(look, name, prompt, seed), el("span", told, class_="score") if told else None))
    return el("tr", el("th", label, scope="row"), *cells, class_="first" if first else None)


def curves(facts: ReportFacts) -> Markup | None:
    """Training loss, raw and smoothed, and the learning rates."""
    losses = [(float(row["step"]), _number(row.get("loss"))) for row in facts.metrics if "loss" in row]
    if not losses:
        return None
    smooth = smoothed(losses)
    broken = sum(not math.isfinite(loss) for _, loss in losses)
    told = f"Training loss over {len(losses)} steps, smoothed from {smooth[0][1]:.3f} to {smooth[-1][1]:.3f}." if smooth else "No finite loss."
    if broken:
        told += f" {broken} steps had a loss that is not a number."
    chart = line_chart(
        [Series(name="each step", points=losses, style="raw"), Series(name="smoothed", points=smooth, style="main")],
        title="Training loss", description=told, x=Axis(label="optimizer step"), y=Axis(label="loss", low=0.0),
    )  # fmt: skip
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
        label = name.removeprefix("learning_rate").removeprefix("lr").strip("/_ ").replace("_", " ") or "learning rate"
        series.append(Series(name=label, points=points, style=style))
    if not series:
        return None
    return line_chart(
        series, title="Learning rates", description=f"Learning rate by step: {', '.join(entry.name for entry in series)}.",
        x=Axis(label="optimizer step"), y=Axis(label="learning rate", low=0.0), height=220,
    )  # fmt: skip


def training_pictures(facts: ReportFacts) -> Markup | None:
    """What it was trained on: each picture with its caption."""
    if not facts.pictures:
        return None
    cards = [
        el("figure", figure_picture(path, f"Training picture: {caption}"), el("figcaption", caption or "(no caption)"))
        for path, caption in facts.pictures
    ]
    lead = f"{len(facts.pictures)} pictures. What a caption names is learned as that word; what it leaves out goes into the trigger."
    return section("The training pictures", el("div", *cards, class_="cards"), lead=lead, anchor="pictures")


def arithmetic(facts: ReportFacts) -> Markup | None:
    """How pictures, repeats, regularization, batches and epochs became steps."""
    schedule = facts.record.schedule
    if not schedule:
        return None
    rows = [(spelled(key), value_text(value)) for key, value in schedule.items() if isinstance(value, int | float)]
    told = el("p", schedule["sum"], class_="sum") if schedule.get("sum") else None
    lead = "Pictures × repeats, and how they became steps."
    return section("The sum", told, el("details", el("summary", "Each number"), table(rows)), lead=lead, anchor="sum")


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
    rows: list[tuple[Child, Child]] = [("LoRA", el("code", delivery.lora)), ("Listed as", el("code", delivery.lora_name))]
    if delivery.workflow:
        rows.append(("Workflow", el("code", delivery.workflow)))
    if delivery.prompts:
        rows.append(("Prompts", el("code", delivery.prompts)))
    steps = el("ol", *(el("li", step) for step in delivery.steps)) if delivery.steps else None
    notes = [el("p", note, class_="note") for note in delivery.notes]
    return el("div", el("h3", f"Installed for {delivery.program}"), table(rows), steps, *notes, class_="delivery")


def _by_hand(facts: ReportFacts) -> Markup:
    """How to install the file without the deploy command."""
    name, weight = facts.lora.stem, f"{facts.strength:g}"
    comfy = join("Copy the file into ", el("code", "ComfyUI/models/loras"), ", add a ", el("b", "Load LoRA"), " node behind the checkpoint, and write the trigger into the prompt. Or let ", el("code", "maquette deploy"), " do it, with a workflow.")
    webui = join("AUTOMATIC1111 and Forge: copy it into ", el("code", "models/Lora"), " and prompt ", el("code", f"{facts.trigger} <lora:{name}:{weight}>".strip()), ".")
    return el("ul", el("li", comfy), el("li", webui))


def settings(facts: ReportFacts) -> Markup | None:
    """Every setting of the run, by section."""
    if not facts.record.settings:
        return None
    parts = []
    for name, values in facts.record.settings.items():
        if isinstance(values, Mapping):
            parts.append(el("div", el("h3", spelled(name)), table([(key, value_text(value)) for key, value in values.items()])))
        else:
            parts.append(el("div", table([(name, value_text(values))])))
    return section("Settings", el("div", *parts, class_="columns"), anchor="settings")


def surroundings(facts: ReportFacts) -> Markup:
    """Where and when it ran, how long each part took, and the files it left."""
    record = facts.record
    times = {**record.timings, **facts.timings}
    timing_rows = [(spelled(key.removesuffix("_s")), duration(value)) for key, value in times.items() if isinstance(value, int | float)]
    environment = {**record.device, **flattened(record.environment)}
    if record.peak_memory_bytes:
        environment["peak memory"] = size(record.peak_memory_bytes)
    files: list[tuple[Child, Child]] = [
        (f"{'final' if entry.final else 'checkpoint'}, step {entry.step:,}", el("code", str(facts.run / entry.path))) for entry in record.checkpoints
    ]
    files.append(("run record", el("code", str(facts.run / "run.json"))))
    blocks = (("Time", timing_rows), ("Environment", [(spelled(key), value_text(value)) for key, value in environment.items()]))
    told = [el("div", el("h3", title), table(list(rows))) for title, rows in blocks if rows]
    notes = [el("li", note) for note in (*record.notes, *facts.notes)]
    return section(
        "The run", el("ul", *notes, class_="notes") if notes else None, el("div", *told, class_="columns"),
        el("h3", "Files"), table(files), anchor="run",
    )  # fmt: skip


def flattened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings as one, inner names as they are."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flattened(value) if isinstance(value, Mapping) else {key: value}
    return flat


def spelled(name: str) -> str:
    """Return a field's name as words."""
    return name.replace("_", " ").strip()


def value_text(value: Any) -> str:
    """Return a value as a table shows it."""
    if value is None or value == "" or value == () or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(value_text(entry) for entry in value)
    return str(value)
