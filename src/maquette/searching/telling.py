"""A study in words: its table, a trial in a line, the curve of its losses in letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maquette.searching.records import SearchTrial, StudyRecord, StudyState, Value
from maquette.spoken import counted, duration

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 130
"""Letters of a line, where nobody says how wide the window is."""


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Return values as bars between `low` and `high`."""
    span = high - low
    steps = [0.0 if span <= 0 else (value - low) / span for value in values]
    return "".join(BARS[min(len(BARS) - 1, max(0, int(each * len(BARS))))] for each in steps)


def table(record: StudyRecord, width: int = WIDTH) -> list[str]:
    """Return the study's trials as lines of at most `width` letters: number, state, value, curve, values.

    Refused ones are counted at the end.
    """
    shown = [each for each in record.trials if each.state != "refused"]
    losses = [point.loss for each in shown for point in each.points]
    low, high = (min(losses), max(losses)) if losses else (0.0, 0.0)
    best = record.best
    lines = [f"{'trial':>5}  {'state':<9} {'value':>8}  {'loss':<4} settings"]
    for each in shown:
        mark = "*" if each.number == best else " "
        value = "" if each.value is None else f"{each.value:.4f}"
        curve = sparkline([point.loss for point in each.points], low, high)
        lines.append(
            f"{each.number:>4}{mark}  {told_state(each, record.state):<9} {value:>8}  {curve:<4} {told_params(each)}"
        )
    return [*lines, *footer(record)]


def footer(record: StudyRecord) -> list[str]:
    """Return what stands below a table: how many are in which state, how many were refused, what is best, the time left."""
    parts = [f"{number} {state}" for state, number in record.by_state().items() if number]
    line = f"{record.study}: {', '.join(parts) or 'nothing yet'} of {counted(record.trials_asked, 'trial')}"
    if record.pruned_by_constraint:
        share = f"{record.refused_share:.0%} of the proposals"
        line += f"; {record.pruned_by_constraint} refused by constraints ({share})"
    further = [each for each in record.trials if each.role == "finalist"]
    if further:
        line += f"; {sum(each.is_over for each in further)} of {len(further)} further seeds"
    best = record.best_trial
    lines = [line]
    if best is not None and best.value is not None:
        lines.append(f"best so far: trial {best.number}, {record.objective} {best.value:.4f}")
    left = seconds_left(record)
    if left is not None:
        lines.append(f"about {duration(left)} left")
    return lines


def seconds_left(record: StudyRecord) -> float | None:
    """Return how long a running search still takes at the pace it had; None where nothing tells."""
    over = sum(each.is_over and each.state != "refused" for each in record.trials)
    waiting = sum(not each.is_over and each.role == "finalist" for each in record.trials)
    asked = record.trials_asked - sum(each.is_over for each in record.searched) + waiting
    if record.state != "running" or not over or asked <= 0:
        return None
    return record.seconds / over * asked


def told_state(trial: SearchTrial, of_study: StudyState = "running") -> str:
    """Return a trial's state in a word; of a baseline and of further seeds what they are.

    In a study that is stopped nothing runs, whatever was written when it was killed.
    """
    if trial.state == "running" and of_study == "stopped":
        return "left"
    if trial.state != "finished":
        return trial.state
    return {"baseline": "baseline", "finalist": f"as {trial.of}"}.get(trial.role, trial.state)


def told_params(trial: SearchTrial) -> str:
    """Return a trial's values in a line; of a baseline outside the space that they are the project's."""
    text = ", ".join(f"{name} {_value(value)}" for name, value in trial.params.items()) or "the project's own"
    if trial.role == "finalist":
        text = f"seed {trial.seed}, {text}"
    if trial.error:
        text = f"{trial.error}; {text}"
    return text


def told_end(trial: SearchTrial) -> str:
    """Return what became of a trial, in a line."""
    what = {"baseline": "baseline", "finalist": f"trial {trial.of} with seed {trial.seed}"}.get(
        trial.role, f"trial {trial.number}"
    )
    last = trial.points[-1] if trial.points else None
    if trial.state == "finished":
        return f"{what}: {trial.value:.4f}  {told_params(trial)}"
    if trial.behind is not None:
        return f"{what}: {told_behind(trial)}  {told_params(trial)}"
    if trial.state == "pruned" and last is not None:
        return (
            f"{what}: ended at step {last.step} of {trial.steps}, loss {last.loss:.4f}  {told_params(trial)}"
        )
    return f"{what}: {trial.state}  {told_params(trial)}"


def told_behind(trial: SearchTrial) -> str:
    """Return why a trial's pictures were not all drawn."""
    drawn = "" if trial.score is None else f"score {trial.score:.4f} of what was drawn, "
    return f"{drawn}worse than trial {trial.behind} over {trial.pairs} pairs of pictures (p = {trial.chance:.2g})"


def answer(record: StudyRecord) -> list[str]:
    """Return the search's answer in lines."""
    best = record.best_trial
    if best is None or best.value is None:
        return ["No trial was finished: there is nothing to recommend."]
    lines = [f"Best: trial {best.number}, {record.objective} {best.value:.4f}"]
    lines += [f"  {name} = {_value(value)}" for name, value in best.settings.items()] or [
        "  the project's own settings"
    ]
    return [*lines, *([record.comparison.told] if record.comparison else [])]


def best_json(record: StudyRecord) -> dict[str, Any] | None:
    """Return the best settings as plain values: which trial, its settings, its value; None before any is finished."""
    best = record.best_trial
    if best is None:
        return None
    return {
        "trial": best.number,
        "settings": dict(best.settings),
        "params": dict(best.params),
        "value": best.value,
        "score": best.score,
        "run": best.folder,
        "is_baseline": best.number == record.baseline,
    }


def study_json(record: StudyRecord) -> dict[str, Any]:
    """Return what `search --json` says of a study beside where it lies."""
    further = [each for each in record.trials if each.role == "finalist"]
    baseline: SearchTrial | None = None if record.baseline is None else record.trial(record.baseline)
    return {
        "name": record.study,
        "state": record.state,
        "best": best_json(record),
        "trials": record.by_state(),
        "pruned_by_constraint": record.pruned_by_constraint,
        "refused_share": round(record.refused_share, 4),
        "refused_by": refusals(record),
        "finalists": {"trained": sum(each.is_over for each in further), "asked": len(further)},
        "baseline": None if baseline is None else {"trial": baseline.number, "value": baseline.value},
        "beats_baseline": record.beats_baseline,
        "interval": None if record.interval is None else list(record.interval),
        "objective": record.objective,
        "seconds": record.seconds,
        "trials_per_hour": record.trials_per_hour,
    }


def refusals(record: StudyRecord) -> Mapping[str, int]:
    """Return how many proposals each constraint refused; one that breaks several counts for each."""
    found: dict[str, int] = {}
    for each in record.trials:
        for name in each.refused_by:
            found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))


def _value(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
