"""Where drawing programs are on this computer: those that were installed into before, and those that lie where they usually do.

    HOME/places.json    {"places_version": 1, "places": [{"program", "folder"}…]}, the latest first

A program is told by what its folder holds, not by its name; nothing is written there by looking.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from maquette.errors import ConfigError, MaquetteError, OutputError, Problem
from maquette.files import state_folder, write_json
from maquette.project.validation import read_as
from maquette.reading import FileKind

NAME = "places.json"
VERSION = 1
MOST_PLACES = 40
MOST_FOLDERS = 400
"""Of one folder that are looked into."""
USUAL = (
    "",
    "Documents",
    "AI",
    "StabilityMatrix/Data/Packages",
    "StabilityMatrix/Packages",
    "pinokio/api",
)
"""Below the home folder: where programs are put, and where their managers put them."""
Flag = Literal["comfyui", "webui", "diffusers"]
FLAGS: tuple[Flag, ...] = get_args(Flag)
_KIND = FileKind("the list of drawing programs", "Delete it: places are known again once used.", OutputError)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that LoRAs are installed into."""

    program: Flag
    """As the option of `maquette deploy` is called."""
    folder: Path
    """Resolved, links included."""
    title: str
    used: bool = False
    """Whether something was installed there before."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    program: Flag
    folder: str


@dataclass(frozen=True, kw_only=True)
class _File:
    places_version: Literal[1] = 1
    places: tuple[_Entry, ...] = ()


def known_places() -> list[Place]:
    """Return the places that are there: those used before, the latest first, then those that are found."""
    used = [
        Place(program=entry.program, folder=Path(entry.folder), title=_titles()[entry.program], used=True)
        for entry in _remembered()
        if _is_there(entry.program, Path(entry.folder))
    ]
    known = {(place.program, place.folder) for place in used}
    return [*used, *(place for place in _found() if (place.program, place.folder) not in known)][:MOST_PLACES]


def known_told() -> str:
    """Return the known places as the options that name them; empty where there are none."""
    told = [f"--{each.program} {shlex.quote(str(each.folder))}" for each in known_places()[:3]]
    return f" Known here: {', '.join(told)}" if told else ""


def place_at(folder: str, program: str = "") -> Place:
    """Return the place that a person means by typing `folder`: an absolute path, links resolved.

    `program` is what it should be; without it, the program whose folder it is. Raises ConfigError for any other folder.
    """
    path = _resolved(folder)
    titles = _titles()
    wanted: tuple[Flag, ...] = tuple(flag for flag in titles if program in ("", flag))
    found = next((flag for flag in wanted if _root(flag, path) is not None), None)
    if found is None and program == "diffusers" and path.is_dir():
        found = "diffusers"
    if found is None:
        meant = next((title for flag, title in titles.items() if flag == program), "a drawing program")
        given = f"no folder of {meant}" if path.is_dir() else "no such folder"
        remedy = "Give the folder that holds its models/, or choose diffusers for a folder of your own."
        raise ConfigError(Problem(str(path)[:300], given, "a drawing program's folder", remedy))
    root = _root(found, path) or path
    return Place(program=found, folder=root.resolve(), title=titles[found])


def remember(title: str, folder: Path) -> None:
    """Put a place first in the list. What cannot be noted is not: nothing depends on it."""
    flag = next((flag for flag, each in _titles().items() if each == title), None)
    if flag is None:
        return
    entry = _Entry(program=flag, folder=str(folder.resolve()))
    entries = [entry, *(each for each in _remembered() if each != entry)][:MOST_PLACES]
    with suppress(OutputError):
        write_json(
            state_folder() / NAME, {"places_version": VERSION, "places": [asdict(each) for each in entries]}
        )


def _remembered() -> tuple[_Entry, ...]:
    path = state_folder() / NAME
    with suppress(MaquetteError, OSError):
        if path.is_file():
            return read_as(_File, path, _KIND).places
    return ()


def _titles() -> dict[Flag, str]:
    from maquette.deploying.comfyui import COMFYUI
    from maquette.deploying.diffusers_folder import TITLE
    from maquette.deploying.webui import WEBUI

    return dict(zip(FLAGS, (COMFYUI.title, WEBUI.title, TITLE), strict=True))


def _root(flag: str, folder: Path) -> Path | None:
    """Return the root of the program in `folder`, None where it is not there."""
    from maquette.deploying.comfyui import COMFYUI
    from maquette.deploying.webui import WEBUI

    program = {"comfyui": COMFYUI, "webui": WEBUI}.get(flag)
    with suppress(OSError):
        if program is not None and program.is_at(folder):
            return program.root(folder, create=False)
    return None


def _is_there(flag: str, folder: Path) -> bool:
    return folder.is_dir() if flag == "diffusers" else _root(flag, folder) is not None


def _found() -> Iterator[Place]:
    """Yield the programs that lie in the usual places."""
    titles = _titles()
    programs: tuple[Flag, ...] = ("comfyui", "webui")
    for folder in _candidates():
        for flag in programs:
            root = _root(flag, folder)
            if root is not None:
                yield Place(program=flag, folder=root.resolve(), title=titles[flag])


def _candidates() -> Iterator[Path]:
    with suppress(RuntimeError, OSError):  # a user without a home
        home = Path.home()
        for below in USUAL:
            yield from _folders(home / below, "app" if below == "pinokio/api" else "")


def _folders(folder: Path, inner: str) -> Iterator[Path]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return
    yield from (entry / inner for entry in entries[:MOST_FOLDERS] if entry.is_dir())


def _resolved(folder: str) -> Path:
    try:
        path = Path(folder.strip()).expanduser()
        if folder.strip() and path.is_absolute():
            return path.resolve()
    except (OSError, ValueError, RuntimeError):  # what no disk can have, or a stranger's home
        pass
    raise ConfigError(
        Problem(
            folder[:300] or "the folder", "no whole path", "a path from the root or from ~", "Type it whole."
        )
    )
