"""Trials' folders for workers that share no disk: each trains on its own, and hands what it has to a folder that all reach.

A copy is made of a trial's run whenever there is something to go on from: with each new state, and at its end. Every file appears
whole, the record last. Who takes a trial up brings the copy to its own disk first, where that is further than what lies there.
The folder may be of any kind that can hold files: a network disk, a mounted bucket; nothing is locked or appended to in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from maquette.dataset.records import Dataset
from maquette.errors import MaquetteError
from maquette.files import replacing
from maquette.locking import OWN_FOLDER
from maquette.project.settings import PATHS, SECTIONS, Settings
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.record import DatasetRecord, read_record

LEFT_OUT = {OWN_FOLDER, "events"}
"""Whose run it is, and what TensorBoard alone reads."""


OF_THE_MACHINE = (*PATHS, "base", "vae", "name")
"""Settings that say where something lies."""


class SharedFiles:
    """Copies of a study's trials in a folder that all its workers reach."""

    def __init__(self, shared: Path, own: Path) -> None:
        """`shared`: the study's place there; `own`: its folder on this disk."""
        self.shared, self.own = shared, own
        self._handed: dict[Path, tuple[int, ...]] = {}

    def bring(self, folder: Path) -> bool:
        """Copy a trial's run here where the shared copy is further; return whether it was."""
        there = self.shared / folder.relative_to(self.own)
        if reached(there) <= reached(folder):
            return False
        _copy(there, folder)
        return True

    def hand_on(self, folder: Path) -> None:
        """Copy a trial's run from here to the others."""
        if (folder / RECORD_NAME).is_file():
            _copy(folder, self.shared / folder.relative_to(self.own))

    def hand_on_states(self, folder: Path) -> None:
        """Do so where there is a state that was not yet handed on."""
        known = states_of(folder)
        if known and self._handed.get(folder) != known:
            self.hand_on(folder)
            self._handed[folder] = known


def move_in(folder: Path, settings: Settings, dataset: Dataset) -> None:
    """Let a run that was begun on another machine speak of this one's files: where its project lies is no part of what it is.

    `settings` are the trial's here, `dataset` holds the same pictures.
    """
    record = read_record(folder)
    homes = {each.sha256: each.path for each in dataset.pictures}
    moved = {
        str(Path(each.path).parent): str(homes[each.sha256].parent)
        for each in record.dataset.pictures
        if each.sha256 in homes
    }
    known = TypeAdapter(DatasetRecord)
    pictures = known.validate_python(_moved(known.dump_python(record.dataset, mode="json"), moved))
    tables = {
        section: getattr(record.settings, section).model_copy(
            update={
                name: getattr(getattr(settings, section), name)
                for name in table.model_fields
                if name in OF_THE_MACHINE
            }
        )
        for section, table in SECTIONS.items()
    }
    here = record.settings.model_copy(update=tables)
    if (here, pictures) != (record.settings, record.dataset):
        record.with_(settings=here, dataset=pictures).write(RunFolder(folder))


def _moved(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in places.items():
            if value == old or value.startswith(f"{old}/"):
                return new + value.removeprefix(old)
        return value
    if isinstance(value, list):
        return [_moved(each, places) for each in value]
    return {name: _moved(each, places) for name, each in value.items()} if isinstance(value, dict) else value


def reached(folder: Path) -> tuple[bool, int, int]:
    """Return how far a run came that may be gone on with: whether to its end, the newest state, the record's step."""
    try:
        record = read_record(folder)
    except MaquetteError:
        return (False, -1, -1)
    return (record.state in ("finished", "pruned"), max(states_of(folder), default=0), record.step)


def states_of(folder: Path) -> tuple[int, ...]:
    """Return the steps of the states that lie in a run's folder."""
    state = RunFolder(folder).state
    names = [each.stem.rpartition("-")[2] for each in sorted(state.glob("state-*.safetensors"))]
    return tuple(int(each) for each in names if each.isdigit())


def _copy(source: Path, target: Path) -> None:
    """Make `target` as `source` is: what is new or changed first, the record then, and what is no longer there goes last."""
    files = sorted(_files(source), key=lambda file: (file.name == RECORD_NAME, file))
    for file in files:
        copy = target / file.relative_to(source)
        if _is_unchanged(file, copy):
            continue
        with replacing(copy) as temporary:
            shutil.copyfile(file, temporary)
            with suppress(OSError):  # a bucket may keep no times: then its copy is made anew
                shutil.copystat(file, temporary)
    wanted = {file.relative_to(source) for file in files}
    for old in _files(target):
        if old.relative_to(target) not in wanted:
            old.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if inside.parts[0] not in LEFT_OUT and path.suffix != ".part" and path.is_file():
            yield path


def _is_unchanged(file: Path, copy: Path) -> bool:
    if not copy.is_file():
        return False
    known, found = file.stat(), copy.stat()
    # Some shared folders keep whole seconds alone; what changes within one is a record or a log, whose size tells.
    return (
        found.st_size == known.st_size
        and int(found.st_mtime) == int(known.st_mtime)
        and file.suffix == ".safetensors"
    )
