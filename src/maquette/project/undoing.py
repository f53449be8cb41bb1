"""`maquette undo`: where the changes of a path were noted, and taking the last one back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maquette.errors import MaquetteError, OutputError, Problem
from maquette.project.config_file import CONFIG_NAME, load_settings
from maquette.project.journal import Change, Journal, Undone, latest_first, undo_last


def undo(path: Path | str, *, kinds: Sequence[str] = ()) -> Undone:
    """Take back the last change that was made at `path`: of captions, by repairs, by curating, of copies.

    `path` is a folder of pictures, a file in it, or a project, whose pictures may lie elsewhere. Raises OutputError when
    there is nothing to undo.
    """
    return undo_last(places_of(Path(path)), kinds=kinds, where=Path(path))


def changes_at(path: Path | str, *, kinds: Sequence[str] = ()) -> list[Change]:
    """Return the changes at `path` that can be undone, the latest first."""
    return latest_first(change for place in places_of(Path(path)) for change in Journal(place).changes(kinds))


def places_of(path: Path) -> tuple[Path, ...]:
    """Return the folders whose journals answer for `path`: itself, and a project's pictures that lie elsewhere."""
    if not path.exists():
        raise OutputError(Problem(str(path), "no such file or folder", "what was changed", "Check the path."))
    folder = path if path.is_dir() else path.parent
    places = [folder]
    if (folder / CONFIG_NAME).is_file():
        try:
            wanted = load_settings(folder).dataset
        except MaquetteError:
            return (folder,)  # what is wrong with the settings is for `maquette check` to say
        named = [where for where in (wanted.images, wanted.regularization) if where is not None]
        places += [where if where.is_dir() else where.parent for where in named if where.exists()]
    return tuple(dict.fromkeys(place.resolve() for place in places))
