"""A search with what stands above its room: the rules' verdict on each trial, and the plan's price."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, Problem
from maquette.events import Stage, run_stage
from maquette.planning.options import PlanOptions
from maquette.planning.run import plan_events
from maquette.project.config_file import load_settings
from maquette.project.settings import Settings
from maquette.project.settings_edit import edit_settings
from maquette.rules.verdict import judge
from maquette.searching.opening import outlook, space_text
from maquette.searching.options import SearchOptions, WorkerOptions
from maquette.searching.places import known_study, study_folder
from maquette.searching.recommending import recommendation
from maquette.searching.records import read_study
from maquette.searching.search import (
    Price,
    Searched,
    price_told,
    search_events,
    trainings_of,
    worker_events,
)
from maquette.searching.space import Space
from maquette.searching.study import StudyPlan
from maquette.searching.verdict import with_verdict
from maquette.stopping import Stop


def search_stage(
    project: Path, options: SearchOptions, *, resume: bool = False, stop: Stop | None = None
) -> Stage[Searched]:
    """Yield the events of a search over the settings of `project`, and return its result."""
    settings = load_settings(project)
    return search_events(
        project, settings, options, judge=judge, resume=resume, price_of=price_of_trial, stop=stop
    )


def worker_stage(project: Path, options: WorkerOptions, *, stop: Stop | None = None) -> Stage[Searched]:
    """Yield the events of a worker that takes part in a search of `project`, and return the search's result."""
    return worker_events(project, load_settings(project), options, judge=judge, stop=stop)


def search_space(project: Path) -> str:
    """Return the space that a search of `project` has by itself, as TOML."""
    return space_text(project, load_settings(project), judge)


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a search would try, and what it takes at the most."""

    plan: StudyPlan
    space: Space
    price: Price

    @property
    def seconds(self) -> float | None:
        """One training after another; packing and ending early take off it."""
        return None if self.price.seconds is None else self.price.seconds * trainings_of(self.plan)

    def to_json(self) -> dict[str, Any]:
        """Return its numbers as plain values, and all of it in words."""
        return {
            "trials": self.plan.trials,
            "pack": self.plan.pack,
            "trainings": trainings_of(self.plan),
            "seconds": self.seconds,
            "disk_bytes": self.price.disk_bytes * trainings_of(self.plan),
            "price": price_told(self.plan, self.price),
        }


def search_outlook(project: Path, options: SearchOptions) -> Outlook:
    """Return what a search of `project` would try and take. Raises MaquetteError with what keeps it from beginning."""
    settings = load_settings(project)
    plan, space = outlook(project, settings, options, judge)
    return Outlook(plan=plan, space=space, price=price_of_trial(settings))


def use_recommended(project: Path, study: str | None = None) -> tuple[str, ...]:
    """Write what a study recommends (the last one where none is named) into the project's own settings.

    `maquette undo PROJECT` takes it back. Return the names of the settings that changed. Raises MaquetteError.
    """
    folder = study_folder(project, known_study(project, study))
    record = with_verdict(read_study(folder))
    found = recommendation(record, project)
    if found is None:
        raise ConfigError(
            Problem(
                str(folder), "no trial was finished", "a search with an answer", "Go on with it: --resume"
            )
        )
    changes = {each.name: each.after for each in found.changes if each.is_other}
    reasons = dict.fromkeys(changes, f"from {record.study}, trial {found.trial.number}")
    return edit_settings(
        project, changes, what=f"settings of {record.study}, trial {found.trial.number}", reasons=reasons
    ).changed


def price_of_trial(settings: Settings) -> Price:
    """Return what a run of `settings` takes, as `plan` says it."""
    found = run_stage(plan_events(settings, PlanOptions()))
    return Price(seconds=found.time.seconds if found.time else None, disk_bytes=found.disk.total_bytes)
