"""The director of a worker among others: what it hands out is leased, and what it is told counts while the lease holds.

A trial's end is told to the study, then its lease is let go of. Who is killed between the two leaves a lease on a trial that
is over, which nobody wants any more; who is killed before them leaves a trial that is taken up where its run's folder says.
The study takes one end of a trial and ignores a second.

Workers that share no disk hand trials' folders on through one that all reach (`sharing.py`). Without such a folder a trial that
was begun on another machine begins again: it comes to the same, and counts once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from maquette.events import Event, Message
from maquette.locking import HeldByAnother, hold
from maquette.searching.director import SearchDirector
from maquette.searching.keeping import Keeper, patiently
from maquette.searching.sharing import SharedFiles, move_in, reached
from maquette.searching.study import folder_of, trial_run
from maquette.stopping import Stop, Stopped

if TYPE_CHECKING:
    from maquette.runs.record import RunRecord
    from maquette.training.pack import PackTrial

T = TypeVar("T")
BEGINS_AGAIN = "begins again: nothing of it lies on this disk or in --files"
LOOKS_EVERY_S = 1.0
LOOKS_AROUND_EVERY_S = 10.0


class LeasedDirector:
    """A pack's director (`training.pack.Director`) for one of several workers."""

    def __init__(self, director: SearchDirector, keeper: Keeper, files: SharedFiles | None = None) -> None:
        self.director, self.keeper, self.files = director, keeper, files
        self.told: list[str] = []
        """What a person should hear (`take_told`)."""
        director.take = self._take
        self.ended: list[int] = []
        """Trials whose end was said here."""
        self._ready: list[PackTrial] = []
        self._looked = time.monotonic()

    # --- the pack asks -----------------------------------------------------------------------------------

    def next(self, free: int) -> Sequence[PackTrial]:
        """Return at most `free` trials that are this worker's now: those that others left behind, then new ones."""
        found, self._ready = self._ready[:free], self._ready[free:]
        if len(found) < free:
            found += self._heard(lambda: self._next(free - len(found))) or ()
        # What was found to be at its end already was told, and is let go of.
        self.keeper.release(self.keeper.held - set(self.director.held))
        for each in found:
            self._heard(partial(self._signed, each.number))
        return tuple(found)

    def measured(self, trial: PackTrial, step: int, loss: float, error: float | None) -> bool:
        """Write down a loss; return whether the trial goes on. One that went to another is let go of at the next beat."""
        if not self.keeper.holds(trial.number):
            return True
        goes_on = self._heard(lambda: self._measured(trial, step, loss, error)) or False
        self.keeper.note(trial.number, step)
        if not goes_on:
            self.ended.append(trial.number)
            self._forget([trial.number])
        return goes_on

    def finished(self, trial: PackTrial, record: RunRecord) -> None:
        """Write down what a trial came to, where it is this worker's to say."""
        if self.files is not None and self.keeper.holds(trial.number):
            self.files.hand_on(trial.folder)
        self._ended(trial, lambda: self.director.finished(trial, record))

    def failed(self, trial: PackTrial, problem: str) -> None:
        """Write down why a trial could not be trained, where it is this worker's to say."""
        self._ended(trial, lambda: self.director.failed(trial, problem))

    def beat(self, trials: Sequence[PackTrial]) -> Sequence[int]:
        """Return which trials went to others; hand on the states of those that did not."""
        lost = self.keeper.lost
        at_work = {each.number for each in (*trials, *self._ready)}
        # What the pack did not take, since somebody works in its folder, is somebody else's.
        self._forget(lost | (set(self.director.held) - at_work))
        self.director.look_again()
        for each in trials:
            if each.number not in lost:
                self._hand_on(each.folder)
        self._look_around()
        return tuple(each.number for each in trials if each.number in lost)

    # --- beside the pack ---------------------------------------------------------------------------------

    def awaited(self, stop: Stop | None) -> Iterator[Event]:
        """Wait until there is something to train, or the search is over (`has_more` says which): others are at work.

        Raises Stopped where `stop` is asked.
        """
        told = False
        while not self._ready and not self._heard(lambda: self.director.study.is_over):
            if stop is not None and stop.asked:
                raise Stopped("between trials")
            self.director.look_again()
            self._look_around()
            self._ready += self.next(1)
            if self._ready:
                return
            if not told:
                yield Message("Nothing to train just now; waiting for the trials that other workers have.")
                told = True
            time.sleep(LOOKS_EVERY_S)

    def _look_around(self) -> None:
        """Write down what the study says, now and then: others change it too."""
        if time.monotonic() - self._looked >= LOOKS_AROUND_EVERY_S:
            patiently(self.director.changed)
            self._looked = time.monotonic()

    def take_told(self) -> list[str]:
        """Return what was not yet said to a person."""
        found, self.told = self.told, []
        return found

    @property
    def has_more(self) -> bool:
        """Whether a trial was taken that no pack trains yet."""
        return bool(self._ready)

    def hand_back(self) -> None:
        """Hand on the states of all that this worker has, as the pack left them: others go on with them at once."""
        for number in self.keeper.held - self.keeper.lost:
            self._hand_on(self._folder(number))

    def _take(self, number: int) -> bool:
        """Take a trial where it is nobody's, and bring what others have of it."""
        if not self.keeper.take(number):
            return False
        folder = self._folder(number)
        if _is_worked_in(folder):
            # Its worker stood still for longer than its lease and is there yet: it keeps the trial, or ends.
            self.keeper.release([number])
            return False
        if self.files is not None and self.files.bring(folder):
            study = self.director.study
            move_in(folder, trial_run(study, self.director.folder, number)[0], study.basis.dataset)
        self._tell_of_another(number, folder)
        return True

    def _tell_of_another(self, number: int, folder: Path) -> None:
        lease = next((each for each in patiently(self.keeper.leases.all) if each.trial == number), None)
        if lease is not None and lease.turn > 1:
            where = f"goes on at step {reached(folder)[2]}" if reached(folder)[2] > 0 else BEGINS_AGAIN
            self.told.append(f"trial {number}, begun by another worker, {where}")

    def _signed(self, number: int) -> None:
        self.director.study.note(number, worker=str(self.keeper.leases.worker))

    def _next(self, free: int) -> Sequence[PackTrial]:
        known = set(self.director.held)
        try:
            return self.director.next(free)
        except BaseException:
            # Asked again it would pass over what it has in hand already.
            for each in set(self.director.held) - known:
                del self.director.held[each]
            raise

    def _measured(self, trial: PackTrial, step: int, loss: float, error: float | None) -> bool:
        # A trial that is over in the study has been pruned, whatever is thought of it when the question is put again.
        return (
            self.director.measured(trial, step, loss, error)
            and not self.director.study.trial(trial.number).is_over
        )

    def _hand_on(self, folder: Path) -> None:
        if self.files is not None:
            self.files.hand_on_states(folder)

    def _folder(self, number: int) -> Path:
        return self.director.folder / folder_of(number)

    def _ended(self, trial: PackTrial, tell: Callable[[], None]) -> None:
        if self.keeper.holds(trial.number):
            self._heard(tell)
            self.ended.append(trial.number)
            self.keeper.release([trial.number])
        else:
            self._forget([trial.number])

    def _forget(self, numbers: Iterable[int]) -> None:
        given = set(numbers)
        for each in given:
            self.director.held.pop(each, None)
        self.keeper.release(given & self.keeper.held)

    def _heard(self, call: Callable[[], T]) -> T | None:
        """Return what the study answers; None where another worker said a trial's end in the meantime."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            return patiently(call)
        except UpdateFinishedTrialError:
            return None


def _is_worked_in(folder: Path) -> bool:
    """Return whether a living process trains in a run's folder."""
    if not folder.is_dir():
        return False
    try:
        hold(folder, "search").release()
    except HeldByAnother:
        return True
    return False
