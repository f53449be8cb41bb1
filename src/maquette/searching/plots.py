"""A study's charts, drawn as the house draws all its charts: SVGs that follow the reader's light or dark setting, print, and need
no network. Optuna's own, which plotly draws, would put 4.5 MB of script into every page.

Dots are coloured by what a trial came to: the best fifth to the worst (`v0` to `v4`). Each line and dot carries its trial's
number as a class (`t12`), by which the page lights up a trial in all charts at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from maquette.evaluating.charts import WIDTH, Axis, Chart, Point, Series, line_chart, short
from maquette.evaluating.words import value_text
from maquette.searching.records import SearchTrial, StudyRecord, Value
from maquette.searching.space import Parameter
from maquette.searching.standing import Standing, chosen, in_order, standing
from maquette.searching.verdict import best_of, fresh_values

FIFTHS = 5
FEWEST = 3
"""Finished trials; fewer are told by their rows."""
_BINS = 8
_JITTER = 0.16
Told = Mapping[int, int]
"""Trial → the fifth it belongs to, 0 the best."""


def value_label(record: StudyRecord) -> str:
    """Return what the study's values are, for an axis."""
    return "validation loss" if record.objective == "loss" else "score"


def fifths(record: StudyRecord) -> dict[int, int]:
    """Return for each trained trial the fifth that it belongs to by its place, 0 the best."""
    order = in_order(record)
    return {each.number: place * FIFTHS // len(order) for place, each in enumerate(order)}


def tip(trial: SearchTrial) -> str:
    """Return what a dot says of its trial."""
    said = [f"trial {trial.number}"]
    said += [f"{trial.value:.4g}"] if trial.value is not None else [trial.state]
    said += [f"{name} {value_text(value)}" for name, value in trial.params.items()]
    return " · ".join(said)


# --- history ---------------------------------------------------------------------------------------------


def history(record: StudyRecord, *, by_time: bool = False) -> Chart | None:
    """Return every finished trial and the best so far, by trial or by the search's own minutes; None without such."""
    done = [each for each in record.trials if each.of is None and each.value is not None]
    if by_time:
        done = sorted(
            (each for each in done if each.ended_s is not None), key=lambda each: each.ended_s or 0.0
        )
    if len(done) < FEWEST:
        return None
    scale, unit = _clock(max(each.ended_s or 0.0 for each in done)) if by_time else (1.0, "trial")

    def place(trial: SearchTrial) -> float:
        return (trial.ended_s or 0.0) / scale if by_time else float(trial.number)

    best: list[Point] = []
    for end, each in enumerate(done, 1):
        leader = best_of(done[:end], record.direction)
        assert leader is not None and leader.value is not None
        best += [(place(each), best[-1][1])] if best and best[-1][1] != leader.value else []
        best.append((place(each), leader.value))
    shown = [
        Series(name="best so far", points=best),
        *_dots(record, done, place, {each.number: each.value or 0.0 for each in done}),
    ]
    base = None if record.baseline is None else record.trial(record.baseline).value
    return line_chart(
        shown,
        title="Best so far, by time" if by_time else "Best so far, by trial",
        description=f"from {done[0].value:.4g} to {best[-1][1]:.4g} over {len(done)} finished trials",
        x=Axis(label=f"{unit} of search" if by_time else "trial", low=0.0),
        y=Axis(label=value_label(record), high=_top([each.value for each in done if each.value is not None])),
        rules=[(f"baseline {base:.4g}", base)] if base is not None else [],
        height=280,
    )


def _clock(seconds: float) -> tuple[float, str]:
    """Return by what seconds are divided, and how that is called."""
    if seconds < 300:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")


def _top(given: Sequence[float]) -> float | None:
    """Return where an axis of values ends so that a few runaways do not stretch it; None where it ends with them."""
    values = sorted(value for value in given if math.isfinite(value))
    if len(values) < 8:
        return None
    low, usual, high = values[0], values[int(0.85 * (len(values) - 1))], values[-1]
    reach = low + 2.5 * (usual - low)
    return reach if high > reach > low else None


def _ceiling(values: Sequence[float]) -> float:
    top = _top(values)
    return math.inf if top is None else top


def _dots(
    record: StudyRecord,
    trials: Sequence[SearchTrial],
    place: Callable[[SearchTrial], float],
    values: Mapping[int, float],
) -> list[Series]:
    """Return a dot for each trial's value, each a series of its own so that it carries its number."""
    told = fifths(record)
    top = _ceiling([values[each.number] for each in trials])
    return [
        Series(
            name="",
            points=[(place(each), min(values[each.number], top))],
            style=_style(each, record, told),
            dots=True,
            line=False,
            tips=[tip(each)],
        )
        for each in sorted(trials, key=lambda each: -told.get(each.number, 0))
    ]


def _style(trial: SearchTrial, record: StudyRecord, told: Told) -> str:
    kind = "best" if trial.number == record.best else f"v{told.get(trial.number, FIFTHS - 1)}"
    kind = "base" if trial.number == record.baseline != record.best else kind
    return f"{kind} t{trial.number}"


# --- curves ----------------------------------------------------------------------------------------------


def curves(record: StudyRecord) -> Chart | None:
    """Return the validation loss of every trial by its share of steps, with where they were pruned; None without such."""
    shown = [each for each in record.trials if each.of is None and len(each.points) > 0 and each.steps]
    if not any(len(each.points) > 1 for each in shown):
        return None
    order = sorted(shown, key=lambda each: (each.state != "pruned", each.number == record.best))
    lines = [_curve(each, record) for each in order]
    ends = [
        Series(
            name="",
            points=[line.points[-1]],
            style=f"pruned t{each.number}",
            dots=True,
            line=False,
            tips=[f"trial {each.number} was pruned at step {each.points[-1].step} of {each.steps}"],
        )
        for each, line in zip(order, lines, strict=True)
        if each.state == "pruned"
    ]
    values = sorted(point.loss for each in shown for point in each.points if math.isfinite(point.loss))
    top = values[int(0.97 * (len(values) - 1))]
    chart = line_chart(
        [replace(each, points=[(x, min(y, top)) for x, y in each.points]) for each in (*lines, *ends)],
        title="Validation loss by share of steps",
        description=f"{len(shown)} trials, {len(ends)} of them pruned",
        x=Axis(label="share of its steps, %", low=0.0, high=100.0),
        y=Axis(label="validation loss"),
        height=340,
    )
    legend = (
        ("the best", "main"),
        ("the baseline", "base"),
        ("finished", "done"),
        ("pruned", "pruned"),
        ("failed", "failed"),
    )
    kinds = {line.style.partition(" ")[0] for line in lines}
    return replace(chart, legend=tuple(entry for entry in legend if entry[1] in kinds))


def _curve(trial: SearchTrial, record: StudyRecord) -> Series:
    kind: str = trial.state if trial.state in ("pruned", "failed") else "done"
    kind = "base" if trial.number == record.baseline else kind
    kind = "main" if trial.number == record.best else kind
    points = [(100 * each.step / (trial.steps or 1), each.loss) for each in trial.points]
    return Series(name="", points=points, style=f"{kind} t{trial.number}", dots=kind == "main")


def sparkline(trial: SearchTrial, low: float, high: float) -> str:
    """Return the path of a trial's losses in a box of 72 × 18, by share of its steps; empty without two of them."""
    points = [each for each in trial.points if math.isfinite(each.loss)]
    if len(points) < 2 or high <= low:
        return ""
    placed = [
        f"{72 * each.step / (trial.steps or points[-1].step):.1f} "
        f"{1 + 16 * (1 - (min(max(each.loss, low), high) - low) / (high - low)):.1f}"
        for each in points
    ]
    return "M" + "L".join(placed)


# --- what a value depends on -----------------------------------------------------------------------------


def slices(record: StudyRecord, parameters: Sequence[Parameter]) -> list[tuple[str, Chart]]:
    """Return for each parameter how the trained trials stand over it."""
    stand = standing(record)
    done = chosen(record, stand)
    found = []
    for each in parameters:
        known = [trial for trial in done if each.name in trial.params]
        if len(known) >= FEWEST and len({trial.params[each.name] for trial in known}) > 1:
            found.append((each.name, _slice(record, each, known, stand)))
    return found


def _slice(
    record: StudyRecord, parameter: Parameter, trials: Sequence[SearchTrial], stand: Standing
) -> Chart:
    axis = axis_of(parameter, trials)
    return line_chart(
        _dots(record, trials, lambda each: place_on(axis, parameter, each), stand.values),
        title=f"{stand.label} by {parameter.name}",
        description=_by_value(parameter, trials, stand),
        x=axis,
        y=Axis(label=stand.label, high=_top([stand.values[each.number] for each in trials])),
        height=250,
    )


def _by_value(parameter: Parameter, trials: Sequence[SearchTrial], stand: Standing) -> str:
    if parameter.kind != "choice":
        return f"{len(trials)} trained trials"
    means = [
        (value, [stand.values[each.number] for each in trials if each.params[parameter.name] == value])
        for value in parameter.choices
    ]
    return "; ".join(f"{value_text(value)}: mean {fmean(found):.4g}" for value, found in means if found)


def axis_of(parameter: Parameter, trials: Sequence[SearchTrial]) -> Axis:
    """Return a parameter as an axis: its choices by name, a range by its ends."""
    if parameter.kind == "choice":
        used = {each.params.get(parameter.name) for each in trials}
        names = tuple(value_text(value) for value in parameter.choices if value in used)
        return Axis(label=parameter.name, names=names)
    return Axis(label=parameter.name, low=parameter.low, high=parameter.high, log=parameter.log)


def place_on(axis: Axis, parameter: Parameter, trial: SearchTrial) -> float:
    """Return where a trial stands on the axis; beside its choice, so that dots of one choice do not hide each other."""
    value = trial.params[parameter.name]
    if not axis.names:
        return _number(value)
    return list(axis.names).index(value_text(value)) + _beside(trial)


def _beside(trial: SearchTrial) -> float:
    """Return how far beside its choice a trial's dot stands: the golden ratio spreads neighbours apart."""
    return ((trial.number * 0.618034) % 1 - 0.5) * 2 * _JITTER


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def rank_and_alpha(record: StudyRecord) -> Chart | None:
    """Return the trials by rank and alpha, coloured by what they came to; None where only one of them varies."""
    done = [each for each in in_order(record) if {"rank", "alpha"} <= each.settings.keys()]
    ranks = sorted({float(each.settings["rank"]) for each in done})
    alphas = {float(each.settings["alpha"]) for each in done}
    if len(ranks) < 2 or len(alphas) < 2:
        return None
    axis = Axis(label="rank", names=tuple(f"{rank:g}" for rank in ranks))
    told = fifths(record)
    marks = [
        Series(
            name="",
            points=[
                (
                    ranks.index(float(each.settings["rank"])) + _beside(each),
                    float(each.settings["alpha"]),
                )
            ],
            style=_style(each, record, told),
            dots=True,
            line=False,
            tips=[tip(each)],
        )
        for each in sorted(done, key=lambda each: -told[each.number])
    ]
    return line_chart(
        marks,
        title="Alpha over rank",
        description=f"{len(done)} trained trials over {len(ranks)} ranks",
        x=axis,
        y=Axis(label="alpha", low=0.0),
        height=300,
    )


def rates(record: StudyRecord, parameters: Sequence[Parameter]) -> list[tuple[str, Chart]]:
    """Return for each learning rate how the trained trials and the best quarter of them lie over its range."""
    done = in_order(record)
    best = done[: max(1, math.ceil(len(done) / 4))]
    found = []
    for each in parameters:
        is_rate = each.setting == "learning_rate" or each.setting.endswith("_lr")
        if is_rate and each.kind != "choice" and len(done) >= 8:
            found.append((each.name, _histogram(each, done, best)))
    return found


def _histogram(parameter: Parameter, done: Sequence[SearchTrial], best: Sequence[SearchTrial]) -> Chart:
    edges = _edges(parameter)
    series = []
    for name, trials, style in (
        ("all trained trials", done, "all"),
        (f"the best quarter ({len(best)})", best, "quarter"),
    ):
        counts = [0] * _BINS
        for each in trials:
            value = _number(each.params.get(parameter.name))
            if parameter.low <= value <= parameter.high:
                counts[min(_BINS - 1, sum(value >= edge for edge in edges[1:]))] += 1
        bars = [
            Series(
                name=name if index == 0 else "",
                points=[],
                style=style,
                band=[(edges[index], 0.0, float(count)), (edges[index + 1], 0.0, float(count))],
            )
            for index, count in enumerate(counts)
            if count or index == 0
        ]
        series += bars
    return line_chart(
        series,
        title=f"{parameter.name} of the best quarter",
        description=f"from {min(_number(each.params.get(parameter.name)) for each in best):.3g} to "
        f"{max(_number(each.params.get(parameter.name)) for each in best):.3g}",
        x=Axis(label=parameter.name, low=parameter.low, high=parameter.high, log=parameter.log),
        y=Axis(label="trials", low=0.0),
        height=250,
    )


def _edges(parameter: Parameter) -> list[float]:
    low, high = parameter.low, parameter.high
    shares = [index / _BINS for index in range(_BINS + 1)]
    if parameter.log:
        return [low * (high / low) ** share for share in shares]
    return [low + (high - low) * share for share in shares]


# --- the finalists ---------------------------------------------------------------------------------------


def seeds(record: StudyRecord) -> Chart | None:
    """Return the further seeds of the finalists and the baseline: a line for each seed, so that pairs are seen; None without."""
    fresh = fresh_values(record.trials)
    if len(fresh) < 2:
        return None
    order = sorted(fresh, key=lambda number: (number != record.baseline, number))
    names = tuple("baseline" if number == record.baseline else f"trial {number}" for number in order)
    known = sorted(set().union(*fresh.values()))
    lines = [
        Series(
            name="one seed" if index == 0 else "",
            points=[
                (float(place), fresh[number][seed])
                for place, number in enumerate(order)
                if seed in fresh[number]
            ],
            style="seed",
            dots=True,
            tips=[
                f"{names[place]}, seed {seed}: {fresh[number][seed]:.4g}"
                for place, number in enumerate(order)
                if seed in fresh[number]
            ],
        )
        for index, seed in enumerate(known)
    ]
    means = [(float(place), fmean(fresh[number].values())) for place, number in enumerate(order)]
    return line_chart(
        [*lines, Series(name="mean", points=means, style="main", dots=True, line=False)],
        title="The finalists with further seeds",
        description="; ".join(
            f"{name}: mean {mean:.4g}" for name, (_, mean) in zip(names, means, strict=True)
        ),
        x=Axis(label="", names=names),
        y=Axis(label=value_label(record)),
        height=270,
    )


# --- parallel coordinates --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """Every trial as a line over all parameters, the value last."""

    height: int
    axes: tuple[tuple[float, str, tuple[tuple[float, str], ...]], ...]
    """Where each stands, its name, and its marks: height and text."""
    lines: tuple[tuple[str, str, str], ...]
    """Path, style, what it says when pointed at."""
    top: int = 34
    width: int = WIDTH

    @property
    def base(self) -> int:
        return self.height - 18


def parallel(record: StudyRecord, parameters: Sequence[Parameter], order: Sequence[str]) -> Parallel | None:
    """Return the trained trials as lines over the parameters, `order` first; None where there is nothing to see."""
    stand = standing(record)
    done = chosen(record, stand)
    ranked = sorted(parameters, key=lambda each: order.index(each.name) if each.name in order else len(order))
    shown = [
        each
        for each in ranked
        if all(each.name in trial.params for trial in done)
        and len({trial.params[each.name] for trial in done}) > 1
    ]
    if len(done) < FEWEST or not shown:
        return None
    frame = Parallel(height=330, axes=(), lines=())
    gap = (frame.width - 110) / len(shown)
    columns = [48 + gap * index for index in range(len(shown) + 1)]
    known = [stand.values[each.number] for each in done]
    low, high = min(known), min(max(known), _ceiling(known))

    def at(share: float) -> float:
        return round(frame.base - min(max(share, 0.0), 1.0) * (frame.base - frame.top), 1)

    axes = [
        (columns[index], each.name, tuple((at(share), text) for share, text in _marks(each, done)))
        for index, each in enumerate(shown)
    ]
    marks = ((at(0.0), short(_rounded(low))), (at(1.0), short(_rounded(high))))
    axes.append((columns[-1], stand.label, marks))
    told = fifths(record)
    lines = []
    for each in sorted(done, key=lambda each: -told[each.number]):
        shares = [_share(parameter, each, done) for parameter in shown]
        shares.append((stand.values[each.number] - low) / (high - low or 1.0))
        path = "M" + "L".join(
            f"{column:.1f} {at(share)}" for column, share in zip(columns, shares, strict=True)
        )
        lines.append((path, _style(each, record, told), tip(each)))
    return replace(frame, axes=tuple(axes), lines=tuple(lines))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _used(parameter: Parameter, trials: Sequence[SearchTrial]) -> list[Value]:
    used = {each.params.get(parameter.name) for each in trials}
    return [value for value in parameter.choices if value in used]


def _share(parameter: Parameter, trial: SearchTrial, trials: Sequence[SearchTrial]) -> float:
    """Return how high on its axis a trial stands, 0 to 1."""
    value = trial.params[parameter.name]
    if parameter.kind == "choice":
        choices = _used(parameter, trials)
        return choices.index(value) / max(1, len(choices) - 1)
    low, high, number = parameter.low, parameter.high, _number(value)
    if parameter.log:
        low, high, number = (math.log(each) for each in (low, high, max(number, low)))
    return (number - low) / (high - low or 1.0)


def _marks(parameter: Parameter, trials: Sequence[SearchTrial]) -> list[tuple[float, str]]:
    if parameter.kind == "choice":
        choices = _used(parameter, trials)
        return [(place / max(1, len(choices) - 1), value_text(value)) for place, value in enumerate(choices)]
    return [(0.0, short(parameter.low)), (1.0, short(parameter.high))]
