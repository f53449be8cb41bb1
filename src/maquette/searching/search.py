"""`maquette search`: settings proposed, trained in packs, ended early or to the end, and what they answer."""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import MaquetteError
from maquette.events import Artifact, Event, Finished, Message, Progress, Stage, Started
from maquette.locking import hold
from maquette.project.settings import Settings
from maquette.searching.joining import joined_search
from maquette.searching.opening import Opened, new_search, resumed_search
from maquette.searching.options import SearchOptions, WorkerOptions
from maquette.searching.records import StudyRecord, StudyState
from maquette.searching.report import search_report
from maquette.searching.study import SearchStudy, StudyPlan
from maquette.searching.telling import told_end
from maquette.searching.working import Work, leases_of, worked
from maquette.spoken import counted, disk_size, duration, without_passwords
from maquette.stopping import Stop, Stopped

if TYPE_CHECKING:
    from maquette.training.prepare import Judge

STAGE = "search"
STUDY = "study"
"""Kind of the event that says where the study lies."""
REPORT = "report"


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one trial takes by itself. None where nothing tells."""

    seconds: float | None
    disk_bytes: int


PriceOf = Callable[[Settings], Price | None]


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A search's result: its record, and where it lies."""

    record: StudyRecord
    folder: Path
    storage: str
    ended: tuple[int, ...] = ()
    """Trials whose end was said by this process."""


def search_events(
    project: Path,
    settings: Settings,
    options: SearchOptions,
    *,
    judge: Judge,
    resume: bool = False,
    price_of: PriceOf = lambda settings: None,
    stop: Stop | None = None,
) -> Stage[Searched]:
    """Search the settings of a project; with `resume` go on with a study that was begun.

    Killed anywhere, it goes on from its trials' own states. Raises MaquetteError with every problem before the first trial.
    """
    opened = (resumed_search if resume else new_search)(project, settings, options, judge)
    with closing(hold(opened.folder, STAGE)) as held:
        del held
        work = Work(judge=judge, places=opened.study.plan.pack, files=options.files, stop=stop)
        return (yield from _searched(opened, work, None if resume else price_of))


def worker_events(
    project: Path, settings: Settings, options: WorkerOptions, *, judge: Judge, stop: Stop | None = None
) -> Stage[Searched]:
    """Take part in a study that was begun, here or elsewhere, until it is over; leave it at any time.

    Raises MaquetteError with every problem before the first trial.
    """
    opened = joined_search(project, settings, options, judge)
    places = options.pack or opened.study.plan.pack
    return (
        yield from _searched(opened, Work(judge=judge, places=places, files=options.files, stop=stop), None)
    )


def _searched(opened: Opened, work: Work, price_of: PriceOf | None) -> Stage[Searched]:
    study = opened.study
    leases = leases_of(study, opened.url)
    writer = Writer(study, opened.folder, without_passwords(opened.url))
    writer.write("running")  # who looks from elsewhere sees it from the beginning
    yield Started(STAGE, study.plan.trials, "trial")
    yield Artifact(STUDY, opened.folder)
    yield from opened.messages
    if price_of is not None:
        yield Message(price_told(study.plan, price_of(study.basis.settings)))
    state: StudyState = "stopped"
    try:
        ended = yield from worked(study, leases, writer, work)
        state = "finished" if study.is_over else "stopped"
    except Stopped as ending:
        go_on = f"maquette search {study.basis.project} --resume --study {study.plan.study}"
        raise Stopped(ending.where, go_on) from ending
    finally:
        others = any(each.is_there for each in leases.workers())
        record = writer.write("running" if state == "stopped" and others else state)
    yield from _reported(opened.folder)
    yield Finished(STAGE)
    return Searched(record=record, folder=opened.folder, storage=writer.storage, ended=ended)


def trainings_of(plan: StudyPlan) -> int:
    """Return how many trainings a search makes at the most: its trials, and the further seeds of the best and the baseline."""
    return plan.trials + _further(plan)


def price_told(plan: StudyPlan, price: Price | None) -> str:
    """Return what a search takes at the most, in words."""
    text = f"{counted(plan.trials, 'trial')} and {counted(_further(plan), 'further seed')} of the best and the baseline"
    if price is not None:
        text += f", {disk_size(price.disk_bytes * trainings_of(plan))} of disk at the most"
        if price.seconds is not None:
            whole = trainings_of(plan) * price.seconds
            text += f", {duration(whole)} at the most one after another ({duration(price.seconds)} each)"
        if plan.pack > 1:
            text += f"; less by what {plan.pack} at once save, and by what is ended early"
    return f"{text}."


def _further(plan: StudyPlan) -> int:
    return (plan.finalists + 1) * plan.finalist_seeds if plan.finalists else 0


def _reported(folder: Path) -> Stage[None]:
    """Write the report; where that fails the search is none the worse, and it is said how to try again."""
    try:
        yield Artifact(REPORT, search_report(folder).report)
    except Exception as error:  # plots and statistics of other packages: days of search do not end for them
        told = (
            str(error.problems[0]) if isinstance(error, MaquetteError) else f"{type(error).__name__}: {error}"
        )
        again = shlex.join(["maquette", "search", "report", str(folder)])
        yield Message(
            f"The report could not be written ({told}). The search itself is kept; try again: {again}",
            "warning",
        )


class Writer:
    """Writes the study's results whenever they change, and says what is new."""

    def __init__(self, study: SearchStudy, folder: Path, storage: str) -> None:
        self.study, self.folder, self.storage = study, folder, storage
        self._events: deque[Event] = deque()
        self._ended = {each.number for each in study.trials() if each.is_over}

    def changed(self) -> None:
        """Write the results, and note what is to be told."""
        record = self.write("running")
        for each in record.trials:
            if each.is_over and each.number not in self._ended:
                self._ended.add(each.number)
                if each.state != "refused":
                    self._events.append(Message(told_end(each), "warning" if each.error else "info"))
        self._events.append(_progress(record))

    def told(self) -> Stage[None]:
        """Yield what is new."""
        while self._events:
            yield self._events.popleft()

    def write(self, state: StudyState) -> StudyRecord:
        """Write the results and return them."""
        record = replace(self.study.record(state), storage=self.storage)
        record.write(self.folder)
        return record


def _progress(record: StudyRecord) -> Progress:
    further = [each for each in record.trials if each.role == "finalist"]
    done = sum(each.is_over for each in (*record.searched, *further))
    values: dict[str, float | str] = {}
    best = record.best_trial
    if best is not None and best.value is not None:
        values["best"] = best.value
    running = [str(each.number) for each in record.trials if each.state == "running"]
    if running:
        values["running"] = ",".join(running)
    return Progress(STAGE, done, record.trials_asked + len(further), "trial", values)
