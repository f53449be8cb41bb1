"""A report's sections about what the LoRA draws: the verdict, before and after, measures, the grid of
checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maquette.evaluating.charts import Axis, Series, line_chart
from maquette.evaluating.facts import ReportFacts, Verdict
from maquette.evaluating.looks import FLOOR, FirstLook, Measure, Summary
from maquette.evaluating.page import Markup, el, figure_picture, join
from maquette.evaluating.words import change_text, duration, interval, section, size

_SEEDS_SHOWN = 3
_MARKS = {"learned": "✓", "unclear": "?", "worse": "✕", "unjudged": "○", "unfinished": "…"}
_ROLES = {
    "bare": "The trigger alone",
    "full": "Full prompts",
    "leak": "Without the trigger (lower is better)",
    "edit": "Edits",
    "prompt": "Prompts",
}


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
        tiles.append(
            (
                f"{verdict.floor.mean:.2f} → {verdict.score.mean:.2f}",
                "floor → with LoRA",
                interval(verdict.score),
            )
        )
    tiles.append((f"{record.step:,}", "optimizer steps", f"{len(facts.pictures)} pictures"))
    if record.final_loss is not None:
        tiles.append(
            (f"{record.final_loss:.3f}", "training loss at the end", "a lower loss is not a better LoRA")
        )
    total_s = sum(facts.timings.values()) or record.timings.get("total_s", 0.0)
    if total_s:
        tiles.append(
            (duration(total_s), "in all", str(record.device.get("name", record.device.get("device", ""))))
        )
    tiles.append((size(facts.lora_bytes), "LoRA file", facts.lora.name))
    return el(
        "ul",
        *(el("li", el("b", value), el("span", name), el("small", note)) for value, name, note in tiles),
        class_="tiles",
    )


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
        subject = [
            figure_picture(path, f"Training picture: {caption}") for path, caption in facts.pictures[:6]
        ]
        rows.append(_strip("The subject", "training pictures", subject))
    for name, note in ((FLOOR, "the base model alone"), (shown, "with the LoRA")):
        drawn = [_picture(look, name, prompt, seed) for seed in seeds]
        rows.append(
            _strip(
                "Before" if name == FLOOR else "After", f"{note}, {shown}" if name != FLOOR else note, drawn
            )
        )
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
    found = look.summaries()
    parts = [
        _measure_part(measure, rows, verdict, height=300 if measure.name == verdict.measure else 210)
        for measure in look.measures
        if (rows := [summary for summary in found if summary.measure == measure.name])
    ]
    lead = (
        "Every checkpoint draws the same prompts with the same seeds. Intervals are 95 %, over prompts and "
        "seeds; a change is against the base alone, paired picture by picture."
    )
    return section("What each checkpoint is worth", *parts, lead=lead, anchor="measures")


def _measure_part(measure: Measure, summaries: Sequence[Summary], verdict: Verdict, *, height: int) -> Markup:
    """One measure: its plot, its definition, the first role's numbers, the others' on demand."""
    first = summaries[0].role
    others = [summary for summary in summaries if summary.role != first]
    definition = el("p", f"{measure.title}: {measure.definition}", class_="note")
    parts = [_measure_chart(measure, summaries, height), definition]
    parts.append(
        _measure_table(measure.title, [entry for entry in summaries if entry.role == first], verdict)
    )
    if others:
        told = el("summary", "The numbers of the other prompts")
        parts.append(el("details", told, _measure_table(measure.title, others, verdict)))
    return join(*parts)


def _measure_chart(measure: Measure, summaries: Sequence[Summary], height: int) -> Markup:
    """A line for each role; the base alone is step 0. Only the first role shows its interval, for legibility."""
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


def _measure_table(title: str, summaries: Sequence[Summary], verdict: Verdict) -> Markup:
    names = ("", "prompts", title, "95 %", "change", "pictures")
    rows = [_measure_row(summary, summary.checkpoint == verdict.checkpoint) for summary in summaries]
    head = el("thead", el("tr", *(el("th", text, scope="col") for text in names)))
    return el("div", el("table", head, el("tbody", *rows), class_="numbers"), class_="scroll")


def _measure_row(summary: Summary, chosen: bool) -> Markup:
    name = join(summary.checkpoint, " ", el("span", "chosen", class_="chip") if chosen else None)
    cells = (
        _role(summary.role),
        f"{summary.score.mean:.3f}",
        interval(summary.score).removeprefix("95 % "),
        "–" if summary.change is None else change_text(summary.change),
        summary.score.count,
    )
    told = [el("td", cell) for cell in cells]
    return el("tr", el("th", name, scope="row"), *told, class_="chosen" if chosen else None)


def grid(facts: ReportFacts, verdict: Verdict) -> Markup | None:
    """All prompts and seeds by checkpoint: rows are prompts and seeds, columns checkpoints."""
    look = facts.look
    if look is None:
        return None
    columns = look.checkpoints()
    titles = [
        el("th", name, scope="col", class_="chosen" if name == verdict.checkpoint else None)
        for name in columns
    ]
    shown, rest = [], []
    for prompt in look.prompts():
        seeds = look.seeds(prompt)
        shown += [
            _grid_row(look, prompt, seed, columns, first=index == 0)
            for index, seed in enumerate(seeds[:_SEEDS_SHOWN])
        ]
        rest += [
            _grid_row(look, prompt, seed, columns, first=index == 0)
            for index, seed in enumerate(seeds[_SEEDS_SHOWN:])
        ]
    parts = [_grid_table(titles, shown)]
    if rest:
        parts.append(el("details", el("summary", f"{len(rest)} more rows"), _grid_table(titles, rest)))
    lead = "The first column is the base model alone. A row keeps prompt and seed, so only the LoRA changes."
    return section("Every checkpoint, the same seeds", *parts, lead=lead, anchor="grid")


def _grid_table(titles: Sequence[Markup], rows: Sequence[Markup]) -> Markup:
    return el(
        "div",
        el(
            "table",
            el("thead", el("tr", el("th", "prompt and seed", scope="col"), *titles)),
            el("tbody", *rows),
            class_="grid-table",
            style=f"min-width: {200 + 84 * len(titles)}px",
        ),
        class_="scroll",
    )


def _grid_row(look: FirstLook, prompt: str, seed: int, columns: Iterable[str], *, first: bool) -> Markup:
    label = join(el("code", prompt) if first else None, el("span", f"seed {seed}", class_="seed"))
    cells = []
    for name in columns:
        scores = look.find(name, prompt, seed).scores
        told = next(
            (f"{scores[measure.name]:.2f}" for measure in look.measures if measure.name in scores), None
        )
        cells.append(
            el("td", _picture(look, name, prompt, seed), el("span", told, class_="score") if told else None)
        )
    return el("tr", el("th", label, scope="row"), *cells, class_="first" if first else None)
