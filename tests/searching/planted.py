"""Studies of a loss that is known: real ones of Optuna over the field notes' space, with what a search meets on the way."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import optuna

from maquette.searching.constraints import broken
from maquette.searching.records import Point, Role, SearchTrial, StudyRecord, TrialState
from maquette.searching.space_file import parse_space
from maquette.searching.verdict import with_verdict

SPACE = """\
safety = true

[space]
network_dim = { choose = [4, 8, 16] }
network_alpha_ratio = { low = 0.25, high = 0.9, step = 0.05 }
network_dropout = { choose = [0, 0.05, 0.1] }
learning_rate = { low = 2e-5, high = 1e-3, log = true }
lr_scheduler = { choose = ["cosine", "constant"] }
max_train_epochs = { choose = [12, 16, 20, 24] }
lr_warmup_steps = { choose = [0, 50, 100] }
"""
BASELINE: Mapping[str, Any] = {
    "network_dim": 8,
    "network_alpha_ratio": 0.5,
    "network_dropout": 0.0,
    "learning_rate": 1e-4,
    "lr_scheduler": "cosine",
    "max_train_epochs": 16,
    "lr_warmup_steps": 0,
}
BEST_RATE = 4e-4


def true_loss(params: Mapping[str, Any]) -> float:
    """Return what settings are worth: the rate decides most, alpha some, the rank a little, the rest nothing."""
    away = math.log10(params["learning_rate"] / BEST_RATE)
    return (
        0.30
        + 0.10 * away**2
        + 0.03 * abs(params["network_alpha_ratio"] - 0.6)
        + {4: 0.008, 8: 0.0, 16: 0.002}[params["network_dim"]]
    )


def planted_study(
    *, trials: int = 30, seed: int = 0, noise: float = 0.002, finalists: int = 2, seeds: int = 3
) -> StudyRecord:
    """Return the record of a search by TPE: refused, pruned and failed trials, a baseline, finalists with further seeds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    space = parse_space(SPACE, "space.toml")
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=5))
    draw = random.Random(seed)
    found: list[SearchTrial] = []
    clock = 0.0
    while sum(each.state != "refused" for each in found) < trials:
        if not found:
            study.enqueue_trial(dict(BASELINE))
        asked = study.ask()
        params = {}
        for each in space.parameters:
            if each.kind == "choice":
                params[each.name] = asked.suggest_categorical(each.name, each.choices)
            else:
                value = asked.suggest_float(each.name, each.low, each.high, step=each.step, log=each.log)
                params[each.name] = round(value, 12)
        role: Role = "baseline" if not found else "start" if len(found) < 6 else "search"
        refused = () if role == "baseline" else broken(space.constraints, _seen(params))
        trial = _trained(asked.number, role, params, draw, noise, study) if not refused else None
        if trial is None:
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
            trial = SearchTrial(
                number=asked.number, role=role, state="refused", params=params, refused_by=refused
            )
        clock += (trial.seconds or 0.0) / 4
        settings = {"rank": params["network_dim"], "learning_rate": params["learning_rate"]}
        settings |= {"alpha": max(1, int(params["network_dim"] * params["network_alpha_ratio"] + 1e-9))}
        settings |= {"epochs": params["max_train_epochs"], "dropout": params["network_dropout"]}
        settings |= {
            "lr_scheduler": params["lr_scheduler"],
            "warmup_steps": params["lr_warmup_steps"],
        }
        folder = None if refused else f"trials/{asked.number:03}"
        found.append(replace(trial, settings=settings, ended_s=round(clock, 1), folder=folder))
    record = StudyRecord(
        study="study-001", project="my-project", created_at="2026-11-26T12:00:00+00:00", space=SPACE, pack=4,
        trials_asked=trials, trials=tuple(found), baseline=0, state="finished", seconds=round(clock, 1),
        trials_per_hour=round(3600 * trials / clock, 2),
        pruned_by_constraint=sum(each.state == "refused" for each in found),
    )  # fmt: skip
    return with_verdict(replace(record, trials=(*found, *_finalists(record, draw, noise, finalists, seeds))))


def _seen(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what constraints ask for."""
    alpha = max(1, int(params["network_dim"] * params["network_alpha_ratio"] + 1e-9))
    return {
        **params,
        "network_alpha": alpha,
        "optimizer_type": "adamw",
        "gradient_accumulation_steps": 2,
    }


def _trained(
    number: int,
    role: Role,
    params: Mapping[str, Any],
    draw: random.Random,
    noise: float,
    study: optuna.Study,
    *,
    of: int | None = None,
    seed: int = 42,
) -> SearchTrial:
    """Return a trial whose loss falls to what it is worth; every seventh or so fails, bad ones are pruned at a third."""
    steps = 10 * int(params["max_train_epochs"])
    end = true_loss(params) + draw.gauss(0, noise)
    rungs = [max(1, round(share * steps)) for share in (0.03, 0.11, 0.33, 0.66, 1.0)]
    points = tuple(
        Point(
            step=step,
            loss=end + 0.2 * math.exp(-6 * step / steps) + draw.gauss(0, noise / 3),
            error=noise,
        )
        for step in rungs
    )
    state: TrialState = "finished"
    if role in ("start", "search") and draw.random() < 0.07:
        state, points = "failed", points[:2]
    elif role in ("start", "search") and number > 6 and end > 0.32:
        state, points = "pruned", points[:3]
    if of is None:
        told = {"finished": end, "pruned": None, "failed": None}[state]
        study.tell(number, told, state=optuna.trial.TrialState[_NAMES[state]])
    return SearchTrial(
        number=number, role=role, state=state, params=dict(params), points=points, seed=seed, of=of,
        value=points[-1].loss if state == "finished" else None, seconds=0.5 * points[-1].step, step=points[-1].step,
        steps=steps, error="loss is not finite at step 17" if state == "failed" else None,
    )  # fmt: skip


_NAMES = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


def _finalists(
    record: StudyRecord, draw: random.Random, noise: float, finalists: int, seeds: int
) -> list[SearchTrial]:
    """Return the best settings and the baseline with further seeds."""
    done = [each for each in record.trials if each.state == "finished" and each.role != "baseline"]
    best = sorted(done, key=lambda each: each.value or 0.0)[:finalists]
    found: list[SearchTrial] = []
    study = optuna.create_study()
    for seed in range(43, 43 + seeds):
        shared = draw.gauss(0, noise)
        for each in (record.trial(0), *best):
            number = record.trials[-1].number + 1 + len(found)
            trial = _trained(number, "finalist", each.params, draw, noise, study, of=each.number, seed=seed)
            value = (trial.value or 0.0) + shared
            points = (*trial.points[:-1], replace(trial.points[-1], loss=value))
            found.append(
                replace(
                    trial,
                    value=value,
                    points=points,
                    settings=each.settings,
                    folder=f"trials/{number:03}",
                    ended_s=record.seconds,
                )
            )
    return found
