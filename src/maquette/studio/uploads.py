"""Pictures from a browser into the folder of a new project: in pieces, bounded, beside their place until all are there.

    FOLDER/.upload/list.json        what is coming
    FOLDER/.upload/images/NAME      what has come; NAME.part while it comes
    FOLDER/images/                  all of it, once the project is made

The folder is new or empty, or holds an upload that was interrupted: the same files go on where they stopped, others begin anew.
Only names from `incoming.select` are written, and no link is ever followed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from maquette.dataset.kinds import HEAD_BYTES, kind_of
from maquette.dataset.opening import READ_FORMATS
from maquette.errors import ConfigError, MaquetteError, OutputError, Problem
from maquette.files import cannot_write, state_folder, write_json
from maquette.project.validation import read_as
from maquette.reading import FileKind
from maquette.spoken import disk_size
from maquette.studio.incoming import CAPTION, Incoming, Selection, select
from maquette.studio.workspace import NotFound

STAGING = ".upload"
IMAGES = "images"
PIECE_BYTES = 8 << 20
"""How much a page sends at once; a server takes no more of one piece."""
MOST_UPLOADS = 4
LEFT_ALONE_S = 30.0
"""After so long without a piece an upload is nobody's any more, and others may begin in its place."""
SPARE_BYTES = 1 << 30
"""Left free on the disk: the project's caches and first checkpoints need room too."""
_LIST = FileKind("a list of pictures that were coming", "Remove the folder .upload beside it.", OutputError)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, kw_only=True)
class _List:
    files: tuple[tuple[str, int], ...] = ()
    """Names below the folder of pictures, and sizes."""
    made_folder: bool = False
    """Whether the project's folder was made for them."""


@dataclass(kw_only=True)
class Upload:
    """Pictures on their way into one folder."""

    folder: Path
    selection: Selection
    made_folder: bool
    """Whether the folder was not there before, and goes with what is dropped."""
    files: dict[int, Incoming] = field(default_factory=dict)
    touched: float = field(default_factory=time.monotonic)
    """When something of it came last."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Files that turned out to be something else, with what they are."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def images(self) -> Path:
        """Where the pictures are until the project is made."""
        return self.folder / STAGING / IMAGES

    def arrived(self) -> dict[int, int]:
        """Return how much of each file is there, by its place in the page's list; nothing of most at first."""
        found = {}
        for index, each in self.files.items():
            if each.name in self.wrong or _size(self.images / each.name) == each.num_bytes:
                found[index] = each.num_bytes
            elif (size := _size(_part(self.images / each.name))) > 0:
                found[index] = size
        return found


class Uploads:
    """The uploads of one running server."""

    def __init__(self) -> None:
        self._known: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def begin(self, folder: Path, files: Sequence[tuple[str, int]]) -> tuple[str, Upload]:
        """Make ready for files of these names and sizes; return the upload with the key that the page names it by.

        Raises ConfigError where nothing of it can be taken or the folder is not free, OutputError where the disk is full.
        """
        selection = select(files)
        if not any(not each.name.endswith(CAPTION) for each in selection.taken):
            raise ConfigError(_nothing(selection))
        with self._lock:
            for key, known in list(self._known.items()):
                if known.folder == folder:
                    _require_same(known, selection)
                    del self._known[key]
            if len(self._known) >= MOST_UPLOADS:
                given = f"{len(self._known)} uploads under way"
                raise ConfigError(
                    Problem("upload", given, f"at most {MOST_UPLOADS}", "Finish or drop one first.")
                )
            made = _make_ready(folder, selection)
            upload = Upload(
                folder=folder,
                selection=selection,
                made_folder=made,
                files={each.index: each for each in selection.taken},
            )
            key = secrets.token_urlsafe(12)
            self._known[key] = upload
        return key, upload

    def of(self, key: str) -> Upload:
        """Return an upload by its key. Raises NotFound."""
        with self._lock:
            if key not in self._known:
                remedy = "Choose the pictures again: what has come already is kept."
                raise NotFound(Problem("upload", "not under way here", "an upload of this page", remedy))
            return self._known[key]

    def drop(self, key: str) -> None:
        """Take away what has come; a folder that was made for it goes too."""
        upload = self.of(key)
        with self._lock:
            self._known.pop(key, None)
        with upload.lock:
            _clear(upload.folder)
            if upload.made_folder:
                with suppress(OSError):
                    upload.folder.rmdir()

    def done(self, key: str) -> None:
        """Forget an upload whose project is made."""
        with self._lock:
            self._known.pop(key, None)


def put(upload: Upload, index: int, offset: int, data: bytes) -> int:
    """Append a piece of a file; return how much of it is there now, which is where the page goes on.

    A piece that does not begin where the file ends is not written. Raises ConfigError for what was not announced.
    """
    each = upload.files.get(index)
    if each is None or len(data) > PIECE_BYTES or offset + len(data) > each.num_bytes or offset < 0:
        given = "more than was announced" if each is not None else "a file that was not announced"
        raise ConfigError(Problem("upload", given, "the files of the list", "Choose the pictures again."))
    path = upload.images / each.name
    with upload.lock:
        upload.touched = time.monotonic()
        if each.name in upload.wrong or _size(path) == each.num_bytes:
            return each.num_bytes
        part = _part(path)
        here = max(0, _size(part))
        if here != offset:
            return here
        _append(part, data)
        here += len(data)
        if here == each.num_bytes:
            _settle(upload, each, part, path)
        return here


def take(upload: Upload) -> Path:
    """Give the pictures their place once all are there; return it. Raises ConfigError while some are missing."""
    require_all(upload)
    place = upload.folder / IMAGES
    with upload.lock:
        if place.exists() or place.is_symlink():
            raise ConfigError(_not_free(place, "is there already"))
        upload.images.rename(place)
    return place


def give_back(upload: Upload) -> None:
    """Put the pictures where they were before `take`: the project could not be made."""
    with upload.lock, suppress(OSError):
        (upload.folder / IMAGES).rename(upload.images)


def tidy(upload: Upload) -> None:
    """Remove what an upload leaves once its pictures have their place."""
    shutil.rmtree(upload.folder / STAGING, ignore_errors=True)


def require_all(upload: Upload) -> None:
    """Raise ConfigError while pictures are missing, or where none of them is one."""
    arrived = upload.arrived()
    missing = sum(arrived.get(index) != each.num_bytes for index, each in upload.files.items())
    if missing:
        given = f"{missing:,} of {len(upload.files):,} files are still missing"
        raise ConfigError(Problem("upload", given, "all of them", "Wait, or choose the pictures again."))
    if all(each.name in upload.wrong or each.name.endswith(CAPTION) for each in upload.files.values()):
        raise ConfigError(_nothing(upload.selection))


def place_of(text: str) -> Path:
    """Return the folder that a person confirmed for a new project, its links resolved. Raises ConfigError."""
    given = text.strip()
    required = "a whole path, from the root or ~", f"For example {default_place('fox')}"
    try:
        path = Path(given).expanduser()
        is_link, resolved = path.is_symlink(), path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(Problem("folder", f"'{given[:200]}'", *required)) from error
    if not path.is_absolute():
        raise ConfigError(Problem("folder", f"'{given[:200]}'", *required))
    if is_link:
        raise ConfigError(Problem(str(path), "a link", "a folder of its own", f"Give {resolved} itself."))
    return resolved


def is_free(folder: Path) -> bool:
    """Whether a new project can begin in `folder`: nothing is there, an empty folder, or an upload that was interrupted."""
    if folder.is_symlink():
        return False
    if not folder.exists():
        return True
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
    return names <= {STAGING}


def default_place(name: str) -> Path:
    """Return where a new project of that name is proposed: below MAQUETTE_HOME where that is set, else in the home folder."""
    root = state_folder() / "projects" if os.environ.get("MAQUETTE_HOME") else Path.home() / "maquette"
    return root / name


def _make_ready(folder: Path, selection: Selection) -> bool:
    """Make the folder's staging, keeping what an interrupted upload of the same files left; return whether the folder is new."""
    made = not folder.exists()
    if not made:
        _require_free(folder)
    wanted = tuple((each.name, each.num_bytes) for each in selection.taken)
    staging = folder / STAGING
    if staging.is_symlink():
        raise ConfigError(_not_free(staging, "is a link"))
    if staging.exists():
        before = _listed(staging)
        made = before.made_folder
        if before.files != wanted:
            _clear(folder)
    _require_room(folder, selection)
    try:
        (staging / IMAGES).mkdir(parents=True, exist_ok=True)
        for below in {each.name.rpartition("/")[0] for each in selection.taken} - {""}:
            (staging / IMAGES / below).mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    write_json(staging / "list.json", {"files": [list(each) for each in wanted], "made_folder": made})
    return made


def _require_same(known: Upload, selection: Selection) -> None:
    """Raise ConfigError where another page is bringing other pictures to the same folder."""
    same = [(each.name, each.num_bytes) for each in known.selection.taken] == [
        (each.name, each.num_bytes) for each in selection.taken
    ]
    if not same and time.monotonic() - known.touched < LEFT_ALONE_S:
        raise ConfigError(_not_free(known.folder, "is being filled by another page"))


def _require_free(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigError(_not_free(folder, "is a file"))
    others = sorted(path.name for path in folder.iterdir() if path.name != STAGING)
    if others:
        raise ConfigError(_not_free(folder, f"holds {others[0]}" + (" and more" if others[1:] else "")))


def _not_free(path: Path, given: str) -> Problem:
    remedy = "Choose another folder; pictures that lie on this computer already are taken by their path, where they are."
    return Problem(str(path), given, "a folder that is new or empty", remedy)


def _require_room(folder: Path, selection: Selection) -> None:
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if free < selection.num_bytes + SPARE_BYTES:
        given = f"{disk_size(free)} free on its disk"
        wanted = f"{disk_size(selection.num_bytes)} for the pictures, and {disk_size(SPARE_BYTES)} to spare"
        raise OutputError(
            Problem(str(folder), given, wanted, "Choose a folder on another disk, or fewer pictures.")
        )


def _listed(staging: Path) -> _List:
    """Return what was coming before; nothing where no list can be read."""
    try:
        return read_as(_List, staging / "list.json", _LIST)
    except MaquetteError:
        return _List()


def _clear(folder: Path) -> None:
    """Remove the staging, which only this module writes."""
    if not (folder / STAGING).is_symlink():
        shutil.rmtree(folder / STAGING, ignore_errors=True)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _size(path: Path) -> int:
    """Return a file's size, -1 where there is none; a link is none."""
    try:
        told = path.lstat()
    except OSError:
        return -1
    return -1 if path.is_symlink() else told.st_size


def _append(part: Path, data: bytes) -> None:
    """Append to a file of this upload, whole or not at all."""
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_LINKS, 0o644)
        with os.fdopen(handle, "ab") as file:
            before = file.tell()
            try:
                file.write(data)
                file.flush()
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise
    except OSError as error:
        raise cannot_write(part, error) from error


def _settle(upload: Upload, each: Incoming, part: Path, path: Path) -> None:
    """Give a file that is all there its name, or leave it out where its bytes are no picture."""
    if not each.name.endswith(CAPTION):
        with part.open("rb") as file:
            found = kind_of(file.read(HEAD_BYTES))
        if found.format not in READ_FORMATS:
            upload.wrong[each.name] = found.given
            part.unlink(missing_ok=True)
            return
    part.replace(path)


def _nothing(selection: Selection) -> Problem:
    name, why = selection.left_out[0] if selection.left_out else ("nothing", "no file at all")
    return Problem(
        "files", f"no picture among them ({name}: {why})", "PNG, JPEG, WebP or BMP", "Choose others."
    )
