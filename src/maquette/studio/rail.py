"""What each stop of a project's way has to say: done, open, blocked, at work; told from what lies on the disk, cheaply.

A stop without a line in `SAYS` has nothing to say, and stands in the rail all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from maquette.captioning.targets import find_place, find_targets
from maquette.curating.decisions import read_decisions
from maquette.errors import MaquetteError
from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Job
from maquette.project.noted import Noted, mark_of
from maquette.runs.choice import read_choice
from maquette.runs.record import RunRecord, read_record
from maquette.spoken import counted
from maquette.studio.asking import project_of
from maquette.studio.pages import RAIL
from maquette.studio.runs import runs_of
from maquette.studio.workspace import Project

State = Literal["done", "open", "blocked", "running", ""]


@dataclass(frozen=True, kw_only=True)
class StopState:
    """What one stop says. `count`: how many things wait there."""

    state: State = ""
    note: str = ""
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What several stops ask for, read once."""

    project: Project
    jobs: tuple[Job, ...]
    runs: tuple[tuple[Path, RunRecord], ...]
    """The oldest first."""
    mark: str
    """Of the project's content: what was found out about another one says nothing."""

    def noted(self, what: str) -> Noted:
        """Return where something about the project is kept."""
        return Noted(self.project.root, what, self.mark)

    def at_work(self, *kinds: str) -> StopState | None:
        """Return what a stop says while a job of its own is at work or waits."""
        jobs = [job for job in self.jobs if job.kind in kinds]
        running = next((job for job in jobs if job.state == "running"), None)
        if running is not None:
            share = f"{running.progress:.0%}" if running.progress is not None else "at work"
            return StopState(state="running", note=share)
        return StopState(state="running", note="waits in the queue") if jobs else None


def routes() -> list[Route]:
    """Return the address of the rail's states."""
    return [Route("/api/p/{project}/rail", told)]


def told(request: Request) -> Response:
    """Return what every stop of the rail has to say."""
    return JSONResponse(states_of(project_of(request)))


def states_of(project: Project) -> dict[str, dict[str, Any]]:
    """Return stop → state, note, count. What cannot be read is a stop's to say on its own page."""
    known = _Known(project=project, jobs=_jobs(project), runs=_runs(project), mark=mark_of(project.root))
    return {stop.name: vars(_said(SAYS.get(stop.name, _nothing), known)) for stop in RAIL}


def _said(says: Callable[[_Known], StopState], known: _Known) -> StopState:
    try:
        return says(known)
    except (MaquetteError, OSError) as error:
        problems = error.problems if isinstance(error, MaquetteError) else ()
        return StopState(state="blocked", note=str(problems[0])[:160] if problems else "cannot be read")


def _nothing(known: _Known) -> StopState:
    return StopState()


def _pictures(known: _Known) -> StopState:
    if (at_work := known.at_work("curate")) is not None:
        return at_work
    found = read_decisions(known.project.pictures)
    if found is None:
        return StopState(note="nothing has looked at them yet")
    waiting = sum(decision.state == "review" for decision in found.pictures.values())
    if waiting:
        return StopState(state="open", note=f"{waiting:,} to review", count=waiting)
    kept = sum(decision.state == "kept" for decision in found.pictures.values())
    return StopState(state="done", note=f"{kept:,} kept")


def _captions(known: _Known) -> StopState:
    if (at_work := known.at_work("caption")) is not None:
        return at_work
    there, missing = _counted_captions(known)
    if missing:
        return StopState(state="open", note=f"{missing:,} without a caption", count=missing)
    return StopState(state="done", note=counted(there, "caption"))


def _counted_captions(known: _Known) -> tuple[int, int]:
    """Return how many pictures have a caption and how many have none; thousands are read once, not at every look."""
    noted = known.noted("captions")
    kept = noted.recall()
    if kept is None or not kept.is_fresh:
        targets, _ = find_targets(find_place(known.project.root))
        missing = sum(not target.existing.strip() for target in targets)
        noted.keep({"there": len(targets) - missing, "missing": missing})
        return len(targets) - missing, missing
    return int(kept.value["there"]), int(kept.value["missing"])


def _check(known: _Known) -> StopState:
    recalled = known.noted("check").recall()
    if recalled is None:
        return StopState(note="not checked yet")
    if not recalled.is_fresh:
        return StopState(note="something has changed since the last check")
    errors, warnings = int(recalled.value.get("errors", 0)), int(recalled.value.get("warnings", 0))
    if errors:
        return StopState(state="blocked", note=counted(errors, "error"), count=errors)
    if warnings:
        return StopState(state="open", note=counted(warnings, "warning"), count=warnings)
    return StopState(state="done", note="nothing stands in the way")


def _plan(known: _Known) -> StopState:
    recalled = known.noted("plan").recall()
    plan = recalled.value.get("plan") if recalled is not None and recalled.is_fresh else None
    if not isinstance(plan, Mapping):
        return StopState(note="not looked at yet")
    memory = plan.get("memory", {})
    if not memory.get("fits", True):
        return StopState(state="blocked", note="it may not fit into the memory", count=1)
    return StopState(state="done", note=f"{plan.get('steps', 0):,} steps, fits")


def _train(known: _Known) -> StopState:
    if (at_work := known.at_work("train", "search")) is not None:
        return at_work
    if not known.runs:
        return StopState()
    newest = known.runs[-1][1]
    if newest.state == "failed":
        return StopState(state="blocked", note="the last run failed", count=1)
    if newest.state != "finished":
        return StopState(state="open", note=f"the last run is {newest.state}", count=1)
    return StopState(state="done", note=counted(len(known.runs), "run"))


def _judge(known: _Known) -> StopState:
    if (at_work := known.at_work("evaluate", "select")) is not None:
        return at_work
    finished = [place for place, record in known.runs if record.state == "finished"]
    if not finished:
        return StopState()
    choice = read_choice(finished[-1])
    if choice is None:
        return StopState(state="open", note="the last run is not judged yet", count=1)
    return StopState(state="done", note="a checkpoint is chosen")


def _use(known: _Known) -> StopState:
    """Say only whether there is something to install: where it went is the drawing programs' to know."""
    is_chosen = any(read_choice(place) is not None for place, _ in known.runs)
    return StopState(note="chosen weights can be installed" if is_chosen else "")


SAYS: Mapping[str, Callable[[_Known], StopState]] = {
    "pictures": _pictures,
    "captions": _captions,
    "check": _check,
    "plan": _plan,
    "train": _train,
    "judge": _judge,
    "use": _use,
}


def _jobs(project: Project) -> tuple[Job, ...]:
    with Ledger() as ledger:
        return tuple(job for job in ledger.jobs() if job.project == project.root and not job.is_over)


def _runs(project: Project) -> tuple[tuple[Path, RunRecord], ...]:
    found = []
    for place in runs_of(project):
        try:
            found.append((place, read_record(place)))
        except (MaquetteError, OSError):
            continue  # the Train page says what is wrong with it
    return tuple(sorted(found, key=lambda run: run[1].created_at))
