"""The folder that a run takes for itself: a new one, under its name or the next free number, or that of the run it goes on with.

It is held from here to the run's end (locking.py), so that two runs never write one folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from maquette.errors import MaquetteError, OutputError, Problem
from maquette.events import Message
from maquette.files import cannot_write, remove_stale_partials
from maquette.locking import HeldByAnother, Hold, hold
from maquette.project.settings import Settings
from maquette.runs.folder import RunFolder, has_begun_at_most
from maquette.runs.record import read_record

WHAT = "train"
TRIALS = "trials"
"""Folder below a run of several trials that holds theirs."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run's folder, held for it; a smoke run's lies where nobody else comes."""

    name: str
    """Of the folder and of its LoRA files."""
    folder: RunFolder
    holds: tuple[Hold, ...] = ()
    messages: tuple[Message, ...] = ()

    def close(self) -> None:
        """Let the folder go; it is removed where nothing was written."""
        for each in reversed(self.holds):
            each.release()

    def require_there(self) -> None:
        """Raise OutputError where the folder was removed under way."""
        for each in self.holds:
            each.require_there()


def claim(
    settings: Settings, *, next_name: bool, resume: Path | None, smoke: bool, num_trials: int = 1
) -> Claim:
    """Take the folder of a run of `num_trials` trials.

    Where its name is taken, a new run takes the next free number with `next_name`, and is refused without. Raises
    OutputError; HeldByAnother where a run is to be resumed that still runs.
    """
    if smoke:
        name = run_name(settings) if resume is None else resume.resolve().name
        return Claim(name=name, folder=RunFolder(Path(tempfile.mkdtemp(prefix="maquette-smoke-")) / name))
    if resume is not None:
        folder = RunFolder(resume.resolve())
        return Claim(name=folder.path.name, folder=folder, holds=_held(folder, num_trials) or ())
    taken: Path | None = None
    for name in _names(settings):
        folder = RunFolder((settings.saving.output / name).resolve())
        if (holds := _held_if_free(folder, num_trials)) is not None:
            told = () if taken is None else (_told_of_taken(taken, name),)
            return Claim(name=name, folder=folder, holds=holds, messages=told)
        if settings.saving.name and not next_name:
            raise _running(folder.path) or _exists(folder.path, name)
        taken = folder.path
    raise AssertionError("numbers have no end")


def trial_folder(folder: RunFolder, name: str, number: int, num_trials: int) -> tuple[str, RunFolder]:
    """Return name and folder of trial `number` (from 1) of a run: the run's own where it has one."""
    if num_trials == 1:
        return name, folder
    own = f"{name}-{number:02d}"
    return own, RunFolder(folder.path / TRIALS / own)


def run_name(settings: Settings) -> str:
    """Return the name that a run begun now has, and its files: as given or made from the trigger, the first free number."""
    return next(name for name in _names(settings) if is_free(settings.saving.output / name))


def free_folder(settings: Settings, *, next_name: bool, is_taken: Callable[[Path], bool]) -> Path:
    """Return the folder that a new run would take, passing over those that `is_taken` says are spoken for.

    Nothing is taken yet. Raises OutputError where it must have its name (no `next_name`) and that is on the disk.
    """
    for name in _names(settings):
        folder = (settings.saving.output / name).resolve()
        must_have_it = settings.saving.name and not next_name
        if must_have_it:
            require_free(folder, name)
        if must_have_it or (is_free(folder) and not is_taken(folder)):
            return folder
    raise AssertionError("numbers have no end")


def is_free(folder: Path) -> bool:
    """Return whether a new run may begin in `folder`: it is not there, empty, or all that was begun in it is its lock."""
    try:
        if not folder.is_dir():
            return not folder.exists()
        return has_begun_at_most(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error


def require_free(folder: Path, name: str) -> None:
    """Raise OutputError where `folder` holds something."""
    if not is_free(folder):
        raise _running(folder) or _exists(folder, name)


def _exists(folder: Path, name: str) -> OutputError:
    return OutputError(
        Problem(
            str(folder),
            "a run of that name exists",
            "a new name, since a run is never overwritten",
            f"Choose another --name than '{name}', or go on with it: maquette train --resume {folder}",
        )
    )


def _running(folder: Path) -> HeldByAnother | None:
    """Return who is at work in a folder; None where nobody is."""
    try:
        hold(folder, WHAT).release()
    except HeldByAnother as other:
        return other
    return None


def _names(settings: Settings) -> Iterator[str]:
    """Yield the names a run may have, the wanted one first: NAME, NAME-002, …; without a name TRIGGER-001, …"""
    if settings.saving.name:
        yield settings.saving.name
        yield from (f"{settings.saving.name}-{number:03d}" for number in count(2))
    letters = [letter if letter.isalnum() or letter in "-_." else "_" for letter in settings.subject.trigger]
    stem = "".join(letters).strip("._-") or "lora"
    yield from (f"{stem}-{number:03d}" for number in count(1))


def _held_if_free(folder: RunFolder, num_trials: int) -> tuple[Hold, ...] | None:
    """Return the holds of a folder in which a new run may begin; None where it may not, or another begins there now."""
    if not is_free(folder.path):
        return None
    try:
        return _held(folder, num_trials, new=True)
    except HeldByAnother:
        return None


def _held(folder: RunFolder, num_trials: int, *, new: bool = False) -> tuple[Hold, ...] | None:
    """Return the holds of a run's folder and of its trials' own: a trial may be resumed by itself.

    None where a `new` run was to begin in it, and another has meanwhile begun and ended there.
    """
    with ExitStack() as undo:
        holds = [hold(folder.path, WHAT)]
        undo.callback(holds[0].release)
        remove_stale_partials(folder.path)
        if new and not is_free(folder.path):
            return None
        for number in range(1, num_trials + 1) if num_trials > 1 else ():
            _, own = trial_folder(folder, folder.path.name, number, num_trials)
            holds.append(hold(own.path, WHAT))
            undo.callback(holds[-1].release)
        undo.pop_all()
    return tuple(holds)


def _told_of_taken(folder: Path, name: str) -> Message:
    """Say that a run has another name than wanted, and how to go on with the one before where it is not finished."""
    try:
        record = read_record(folder)
    except MaquetteError:
        return Message(f"{folder} is taken: this run is {name}")
    if record.state == "finished":
        return Message(f"{folder} holds a finished run: this one is {name}")
    if _running(folder):
        return Message(f"{folder} holds a run that is being trained now: this one is {name}")
    text = f"{folder} holds a run that is {record.state} at step {record.step} of {record.schedule.steps}: this one is {name}"
    return Message(f"{text}. To go on with that one instead: maquette train --resume {folder}", "warning")
