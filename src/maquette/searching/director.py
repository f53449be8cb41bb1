"""What a pack is told to train: the study's proposals, one for each place that is free.

A trial that was begun goes first: its run's folder says where it goes on. So a search that was killed anywhere goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import MaquetteError
from maquette.runs.folder import RECORD_NAME
from maquette.runs.record import RunRecord, read_record
from maquette.searching.records import Point, SearchTrial
from maquette.searching.study import SearchStudy, folder_of, trial_run
from maquette.training.pack import PackTrial

if TYPE_CHECKING:
    from maquette.searching.judging import Judged
    from maquette.searching.paired import Rival

Changed = Callable[[], None]
Judge = Callable[[Path, "Rival | None"], "Judged"]
"""Draws with a finished trial's run, and says how good that is; with a rival only as far as it may be as good."""


class SearchDirector:
    """Decides what is trained, what is pruned and what it came to (`training.pack.Director`)."""

    def __init__(
        self,
        study: SearchStudy,
        folder: Path,
        *,
        changed: Changed = lambda: None,
        judge: Judge | None = None,
    ) -> None:
        """`changed` is called whenever the study says something new. `judge`: where pictures are the objective."""
        self.study, self.folder, self.changed, self.judge = study, folder, changed, judge
        self.take: Callable[[int], bool] = lambda number: True
        """Asked before a trial is taken in hand: whether it is nobody else's."""
        self.held: dict[int, float] = {}
        """Trials that this process trains, with when it took them."""
        self._nothing_left = False

    # --- the pack asks -----------------------------------------------------------------------------------

    def next(self, free: int) -> Sequence[PackTrial]:
        """Return at most `free` trials to train, those that were begun before first."""
        found: list[PackTrial] = []
        if self._nothing_left:
            return ()
        while len(found) < free:
            taken = self._begun() or self._proposed()
            if taken is None:
                self._nothing_left = True
                break
            found.append(self.taken(taken.number))
        if found:
            self.changed()
        return tuple(found)

    def measured(self, trial: PackTrial, step: int, loss: float, error: float | None) -> bool:
        """Write down a loss; return whether the trial goes on."""
        goes_on = self.study.measured(trial.number, Point(step=step, loss=loss, error=error))
        if not goes_on:
            self.study.prune(trial.number, self._let_go(trial.number))
        self.changed()
        return goes_on

    def finished(self, trial: PackTrial, record: RunRecord) -> None:
        """Write down what a trial came to."""
        seconds = self._let_go(trial.number)
        self._finish(trial.number, record, seconds)
        self.changed()

    def failed(self, trial: PackTrial, problem: str) -> None:
        """Write down why a trial could not be trained."""
        self._let_go(trial.number)
        self.study.fail(trial.number, problem)
        self.changed()

    def beat(self, trials: Sequence[PackTrial]) -> Sequence[int]:
        """Say which trials are to be let go of: none, where one process searches alone."""
        return ()

    # --- taking and giving back --------------------------------------------------------------------------

    def taken(self, number: int) -> PackTrial:
        """Return a trial as the pack trains it, which this process holds from now on."""
        settings, place = trial_run(self.study, self.folder, number)
        rungs = self.study.rungs(number)
        self.held[number] = time.monotonic()
        return PackTrial(number=number, name=place.name, settings=settings, folder=place, rungs=rungs)

    def _begun(self) -> SearchTrial | None:
        """Return a trial that was begun and that nobody holds; one whose run is at its end is written down by the way."""
        for each in self.study.unfinished():
            if each.number in self.held or not self.take(each.number):
                continue
            record = ended_run(self.folder / (each.folder or ""))
            if record is None:
                return each
            self._finish(each.number, record, None)
        return None

    def _proposed(self) -> SearchTrial | None:
        """Return a new trial; one that another worker took in the moment it was proposed is left to that one."""
        found = self.study.propose()
        while found is not None and not self.take(found.number):
            found = self.study.propose()
        return found

    def look_again(self) -> None:
        """Ask the study anew when the pack next asks: others may have ended trials that something follows from."""
        self._nothing_left = False

    def _finish(self, number: int, record: RunRecord, seconds: float | None) -> None:
        point = record.validation.points[-1] if record.validation and record.validation.points else None
        if point is None or point.step != record.schedule.steps:
            self.study.fail(number, "its run ended without a validation loss")
            return
        self.study.measured(number, Point(step=point.step, loss=point.loss, error=point.error))
        if self.judge is None:
            self.study.finish(number, point.loss, seconds=seconds, step=record.step)
        else:
            found = self.judge(self.folder / folder_of(number), self.study.rival_of(number))
            self._finish_judged(number, found, seconds, record.step)

    def _finish_judged(self, number: int, found: Judged, seconds: float | None, step: int) -> None:
        if found.score is None:
            self.study.fail(number, "nothing could judge its pictures")
        elif found.behind is not None:
            self.study.prune(number, seconds, step=step, score=found.score, behind=found.behind)
        else:
            self.study.finish(
                number, found.score, seconds=seconds, step=step, score=found.score, pictures=found.pictures
            )

    def _let_go(self, number: int) -> float | None:
        """Return the seconds for which a trial stood here; something may be proposed from now on."""
        self._nothing_left = False
        taken = self.held.pop(number, None)
        known = self.study.trial(number).seconds or 0.0
        return None if taken is None else round(known + time.monotonic() - taken, 3)


def ended_run(folder: Path) -> RunRecord | None:
    """Return the record of a run that is trained to its end; None of one that is to go on or was not begun."""
    if not (folder / RECORD_NAME).is_file():
        return None
    try:
        record = read_record(folder)
    except MaquetteError:
        return None
    return record if record.state == "finished" and record.step >= record.schedule.steps else None
