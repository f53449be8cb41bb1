"""A study as a page shows it: plain values, in the words of the terminal and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from maquette.evaluating.report import finite
from maquette.evaluating.words import spelled, value_text
from maquette.searching.constraints import Constraint
from maquette.searching.recommending import Recommendation, project_of, recommendation
from maquette.searching.records import REPORT_NAME, SearchTrial, StudyRecord, Value
from maquette.searching.report import changes_shown, headline, param_names, space_of
from maquette.searching.space import Parameter, Space
from maquette.searching.telling import refusals, seconds_left, study_json, told_behind, told_state


def study_shown(record: StudyRecord, folder: Path, *, is_at_work: bool) -> dict[str, Any]:
    """Return a study with its trials, its answer so far and what it recommends; `is_at_work`: whether anybody searches it."""
    if record.state == "running" and not is_at_work:  # it was killed: its file tells of a moment that is over
        record = replace(record, state="stopped")
    space = space_of(record)
    constraints = {each.name: each for each in space.constraints} if space else {}
    found: dict[str, Any] = finite(
        {
            **study_json(record),
            "is_at_work": is_at_work,
            "asked": record.trials_asked,
            "pack": record.pack,
            "done": sum(each.is_over for each in record.searched),
            "seconds_left": seconds_left(record),
            "headline": headline(record),
            "told": record.comparison.told if record.comparison else "",
            "columns": param_names(record),
            "rows": [_row(each, record, constraints) for each in record.trials],
            "refused": [
                {"name": spelled(name), "count": count, "why": _why(name, constraints)}
                for name, count in refusals(record).items()
            ],
            "recommended": _recommended(recommendation(record, project_of(record, folder))),
            "report": (folder / REPORT_NAME).is_file(),
        }
    )
    return found


def space_shown(space: Space) -> dict[str, Any]:
    """Return what is searched, and what is refused of it, in words."""
    return {
        "parameters": [{"name": each.name, "words": parameter_words(each)} for each in space.parameters],
        "left_out": [
            line.removeprefix("# ")
            for line in space.text.splitlines()
            if line.startswith("#") and ": left out" in line
        ],
        "refused": [{"name": spelled(each.name), "why": each.why} for each in space.constraints],
    }


def parameter_words(parameter: Parameter) -> str:
    """Return what a parameter of a space may be, in words."""
    if parameter.kind == "choice":
        *first, last = [value_text(each) for each in parameter.choices]
        text = f"{', '.join(first)} or {last}" if first else last
    else:
        text = f"{value_text(parameter.low)} to {value_text(parameter.high)}"
        text += f" in steps of {value_text(parameter.step)}" if parameter.step else ""
        text += ", tried by its logarithm" if parameter.log else ""
    if parameter.layers:
        text += f", for {parameter.layers}"
    if parameter.only_if is not None:
        text += f", if {parameter.only_if.text}"
    return text


def _row(trial: SearchTrial, record: StudyRecord, constraints: Mapping[str, Constraint]) -> dict[str, Any]:
    return {
        "number": trial.number,
        "role": trial.role,
        "state": trial.state,
        "told": told_state(trial, record.state),
        "of": trial.of,
        "seed": trial.seed,
        "value": trial.value,
        "params": {name: _short(value) for name, value in trial.params.items()},
        "keys": dict(trial.params),
        "points": [[point.step, point.loss] for point in trial.points],
        "step": trial.step,
        "steps": trial.steps,
        "seconds": trial.seconds,
        "ended_s": trial.ended_s,
        "note": _note(trial, constraints),
    }


def _note(trial: SearchTrial, constraints: Mapping[str, Constraint]) -> str:
    """Return why a trial came to nothing, in words; empty where there is nothing to say."""
    if trial.behind is not None:
        return told_behind(trial)
    return trial.error or "; ".join(_why(name, constraints) for name in trial.refused_by)


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else value_text(value)


def _why(name: str, constraints: Mapping[str, Constraint]) -> str:
    return constraints[name].why if name in constraints else spelled(name)


def _recommended(found: Recommendation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "trial": found.trial.number,
        "changes": [
            {"name": name, "before": before, "after": after, "is_other": is_other}
            for name, before, after, is_other in changes_shown(found)
        ],
        "cost": found.cost,
        "problem": found.problem,
    }
