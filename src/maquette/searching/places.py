"""Where a project's studies lie, and which of them is meant."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.searching.records import DATABASE_NAME, RESULTS_NAME, SPACE_NAME, STUDIES


def studies_of(project: Path) -> list[str]:
    """Return the names of a project's studies, the one that was begun last first."""
    folder = project / STUDIES
    if not folder.is_dir():
        return []
    found = [each for each in folder.iterdir() if is_study(each)]
    return [each.name for each in sorted(found, key=lambda each: (_begun(each), each.name), reverse=True)]


def is_study(folder: Path) -> bool:
    """Return whether `folder` holds a study that was begun to the end: what it is asked for is written, its space last."""
    if (folder / RESULTS_NAME).is_file():
        return True
    return all((folder / name).is_file() for name in (DATABASE_NAME, SPACE_NAME))


def study_folder(project: Path, name: str) -> Path:
    """Return the folder of a project's study."""
    return project / STUDIES / name


def new_name(project: Path) -> str:
    """Return the next free name of a study."""
    return next(
        name for number in count(1) if not study_folder(project, name := f"study-{number:03d}").exists()
    )


def known_study(project: Path, name: str | None) -> str:
    """Return the study that is meant: of that name, else the last. Raises ConfigError where there is none."""
    known = studies_of(project)
    if name in known:
        return str(name)
    if name is None and known:
        return known[0]
    given = f"no study '{name}'" if name else "no study was begun here"
    remedy = did_you_mean(name, known) if name and known else f"Begin one: maquette search {project}"
    raise ConfigError(Problem(str(project / STUDIES), given, "a study of this project", remedy))


def _begun(folder: Path) -> float:
    """Return when a study was begun: its space is written once."""
    file = folder / SPACE_NAME
    return file.stat().st_mtime if file.is_file() else folder.stat().st_mtime
