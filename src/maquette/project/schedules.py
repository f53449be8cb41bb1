"""The learning-rate schedules that can be asked for, and which settings each of them heeds. Torch-free.

`training/schedules.py` computes them. A name with dots is a class of somebody's package, torch.optim.lr_scheduler's for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maquette.errors import did_you_mean
from maquette.project.validation import Unfit
from maquette.project.values import is_class_path, literal_arguments


@dataclass(frozen=True, kw_only=True)
class ScheduleFacts:
    """What a schedule heeds: settings of `[training]`, and arguments of its own with the kind of each."""

    heeds: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Name in `lr_scheduler_args` → what a value must be, in words."""
    needs: tuple[str, ...] = ()
    """Settings or arguments one of which must be given."""


WARM = "warmup_steps"
SHAPES = ("linear", "cosine", "1-sqrt")
SCHEDULES: Mapping[str, ScheduleFacts] = {
    "constant": ScheduleFacts(),
    "constant_with_warmup": ScheduleFacts(heeds=(WARM,)),
    "linear": ScheduleFacts(heeds=(WARM,)),
    "cosine": ScheduleFacts(heeds=(WARM,), arguments={"num_cycles": "a number"}),
    "cosine_with_restarts": ScheduleFacts(heeds=(WARM, "lr_cycles")),
    "polynomial": ScheduleFacts(heeds=(WARM, "lr_power"), arguments={"lr_end": "a number"}),
    "inverse_sqrt": ScheduleFacts(heeds=(WARM, "lr_timescale")),
    "cosine_with_min_lr": ScheduleFacts(
        heeds=(WARM, "lr_cycles", "lr_min_ratio"),
        arguments={"min_lr": "a number"},
        needs=("lr_min_ratio", "min_lr"),
    ),
    "cosine_warmup_with_min_lr": ScheduleFacts(
        heeds=(WARM, "lr_cycles", "lr_min_ratio"),
        arguments={"min_lr": "a number", "warmup_lr_rate": "a number"},
        needs=("lr_min_ratio", "min_lr"),
    ),
    "warmup_stable_decay": ScheduleFacts(
        heeds=(WARM, "lr_decay_steps", "lr_cycles", "lr_min_ratio"),
        arguments={"warmup_type": "a shape", "decay_type": "a shape"},
        needs=("lr_decay_steps",),
    ),
    "piecewise_constant": ScheduleFacts(arguments={"step_rules": "rules"}, needs=("step_rules",)),
}
"""Every schedule that `[training] lr_scheduler` may name beside classes, with transformers' and diffusers' definitions."""
OF_CLASSES = ScheduleFacts()
"""Of a class: its arguments say everything, and nobody but the class knows them."""
SETTINGS = ("warmup_steps", "lr_decay_steps", "lr_cycles", "lr_power", "lr_timescale", "lr_min_ratio")
"""Settings that only some schedules heed."""


def facts_of(name: str) -> ScheduleFacts:
    """Return what schedule `name` heeds."""
    return SCHEDULES.get(name, OF_CLASSES)


def known_schedule(name: str) -> str:
    """Return `name`. Raises ValueError where it is neither a schedule nor the dotted name of a class."""
    if name not in SCHEDULES and not is_class_path(name):
        raise Unfit(
            "a schedule of the table, or a class with its package (torch.optim.lr_scheduler.OneCycleLR)",
            did_you_mean(name, SCHEDULES),
            f"'{name}'",
        )
    return name


def schedule_arguments(name: str, given: Sequence[str]) -> dict[str, Any]:
    """Return what `given` (NAME=VALUE each) say to schedule `name`. Raises ValueError with everything that is wrong."""
    found = literal_arguments(given, words=True)
    if name not in SCHEDULES:
        return found
    known = SCHEDULES[name].arguments
    wrong = []
    for key, value in found.items():
        if key not in known:
            wrong.append(
                f"{name} has no argument '{key}'. {did_you_mean(key, known) if known else 'It has none.'}"
            )
        elif not _fits(value, known[key]):
            wrong.append(f"{key} must be {_WANTED[known[key]]}, not {value!r}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


_WANTED = {
    "a number": "a number",
    "a shape": f"one of {', '.join(SHAPES)}",
    "rules": "factors with the step that each ends at, and the last: 1:10,0.1:20,0.005",
}


def _fits(value: Any, kind: str) -> bool:
    if kind == "a shape":
        return value in SHAPES
    if kind == "a number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    try:
        parse_step_rules(str(value))
    except ValueError:
        return False
    return True


def parse_step_rules(text: str) -> tuple[dict[int, float], float]:
    """Return {step: the factor before it} and the factor after the last, from "1:10,0.1:20,0.005". Raises ValueError."""
    *parts, last = text.split(",")
    rules = {}
    for part in parts:
        factor, _, step = part.partition(":")
        rules[int(step)] = float(factor)
    return rules, float(last)


def missing_needs(name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what schedule `name` cannot do without where `given` (settings and arguments by name) hold none of it."""
    needs = facts_of(name).needs
    return needs if needs and all(given.get(each) is None for each in needs) else ()


def idle_schedule(values: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return those of `values` (settings by name) that schedule `name` does not heed, each with who does."""
    idle = {}
    for setting in SETTINGS:
        if setting in values and setting not in facts_of(name).heeds:
            who = [each for each, facts in SCHEDULES.items() if setting in facts.heeds]
            idle[setting] = f"the schedule {name} does not heed it; {', '.join(who)} do" + "es" * (
                len(who) == 1
            )
    return idle
