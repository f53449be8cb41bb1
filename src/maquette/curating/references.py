"""Pictures of a project chosen to show who the subject is: moved out of training into `references/`, and back.

A reference that was trained on rewards a LoRA that copies it; so a picture is one or the other. Its caption goes with it.
Every move is noted in the journals of both folders, as one change that one undo takes back.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.curating.listing import list_heap, list_references
from maquette.dataset.folders import with_dot
from maquette.dataset.opening import read_file
from maquette.errors import ConfigError, DatasetError, Problem, did_you_mean
from maquette.locking import held
from maquette.project.config_file import CONFIG_NAME, load_settings
from maquette.project.journal import Journal
from maquette.project.undoing import undo as undo_change

KIND = "references"
FOLDER = "references"
"""The folder of a project whose pictures are never trained on."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Pictures that changed their place."""

    names: tuple[str, ...]
    """Below the folder of pictures, and below `references/` alike."""
    references: tuple[Path, ...]
    """All references of the project now."""


def references_in(project: Path) -> tuple[Path, ...]:
    """Return the pictures in the project's references/; nothing where there are none."""
    folder = project / FOLDER
    try:
        return tuple(list_references([folder])) if folder.is_dir() else ()
    except DatasetError:  # no picture in it
        return ()


def choose_references(project: Path, names: Iterable[str]) -> Moved:
    """Move pictures, by their names below the project's folder of pictures, into its references/. Raises ConfigError."""
    images = images_of(project)
    return _move(project, names, images, project / FOLDER, f"{FOLDER}/")


def give_back(project: Path, names: Iterable[str]) -> Moved:
    """Move references back among the pictures that are trained on. Raises ConfigError."""
    images = images_of(project)
    return _move(project, names, project / FOLDER, images, "the pictures")


def undo(project: Path) -> tuple[Path, ...]:
    """Take the last such move back; return the files that are where they were."""
    return undo_change(project, kinds=(KIND,)).restored


def images_of(project: Path) -> Path:
    """Return the folder of a project's pictures. Raises ConfigError for what is no project, or has none."""
    if not (project / CONFIG_NAME).is_file():
        given = f"no {CONFIG_NAME} in it"
        raise ConfigError(Problem(str(project), given, "a project's folder", "Name the project itself."))
    images = load_settings(project).dataset.images
    if images is None or not Path(images).is_dir():
        raise ConfigError(Problem(str(project), "no folder of pictures", "images in [dataset]", "Set it."))
    return Path(images).resolve()


def _move(project: Path, names: Iterable[str], source: Path, target: Path, where: str) -> Moved:
    wanted = list(dict.fromkeys(names))
    ending = with_dot(load_settings(project).dataset.caption_extension or ".txt")
    with held(project, source, what="references"):
        _require_known(wanted, source, project)
        pairs = [
            (file, target / file.relative_to(source))
            for name in wanted
            for file in _with_caption(source / name, ending)
        ]
        _require_free(pairs)
        what = f"{len(wanted)} to {where}" if len(wanted) != 1 else f"{wanted[0]} to {where}"
        _note_and_move(pairs, project, source, target, what)
    return Moved(names=tuple(wanted), references=references_in(project))


def _note_and_move(
    pairs: Sequence[tuple[Path, Path]], project: Path, source: Path, target: Path, what: str
) -> None:
    """Copy everything, then take it away, each noted first: whatever a kill leaves, no picture is lost."""
    if not pairs:
        return
    roots = {folder: _journal_of(folder, project) for folder in (source, target)}
    to = Journal(roots[target]).begin(KIND, what, elsewhere=[roots[source]])
    away = (
        to
        if roots[source] == roots[target]
        else Journal(roots[source]).begin(KIND, what, session=to.session, elsewhere=[roots[target]])
    )
    for old, new in pairs:
        to.write(new, read_file(old))
    for old, _ in pairs:
        away.remove(old)


def _journal_of(folder: Path, project: Path) -> Path:
    """Return whose journal answers for `folder`: the project's for references, its own for pictures."""
    return project if folder == project / FOLDER else folder


def _with_caption(picture: Path, ending: str) -> list[Path]:
    """Return the picture and its caption, which stays where another picture of that name needs it too."""
    caption = picture.with_suffix(ending)
    alike = [each for each in picture.parent.glob(f"{glob.escape(picture.stem)}.*") if each != caption]
    return [picture, caption] if caption.is_file() and alike == [picture] else [picture]


def _require_known(names: Sequence[str], source: Path, project: Path) -> None:
    known = (
        {path.relative_to(source).as_posix() for path in references_in(project)}
        if source == project / FOLDER
        else set(list_heap(source).names)
    )
    problems = [
        Problem(
            name[:200],
            "no such picture here",
            f"a picture in {source}",
            did_you_mean(name[:200], sorted(known)),
        )
        for name in names
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)
    if source != project / FOLDER and len(set(names)) >= len(known):
        given = "every picture"
        remedy = "Leave some to train on."
        raise ConfigError(Problem(str(source), given, "some of the pictures", remedy))


def _require_free(pairs: Iterable[tuple[Path, Path]]) -> None:
    problems = [
        Problem(str(new), "is there already", "a free name", "Rename one of the two.")
        for _, new in pairs
        if new.exists()
    ]
    if problems:
        raise ConfigError(problems)
