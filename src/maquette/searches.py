"""A search with what stands above its room: the rules' verdict on each trial, and the plan's price."""

from __future__ import annotations

from pathlib import Path

from maquette.events import Stage, run_stage
from maquette.planning.options import PlanOptions
from maquette.planning.run import plan_events
from maquette.project.config_file import load_settings
from maquette.project.settings import Settings
from maquette.rules.verdict import judge
from maquette.searching.opening import space_text
from maquette.searching.options import SearchOptions, WorkerOptions
from maquette.searching.search import Price, Searched, search_events, worker_events
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


def price_of_trial(settings: Settings) -> Price:
    """Return what a run of `settings` takes, as `plan` says it."""
    found = run_stage(plan_events(settings, PlanOptions()))
    return Price(seconds=found.time.seconds if found.time else None, disk_bytes=found.disk.total_bytes)
