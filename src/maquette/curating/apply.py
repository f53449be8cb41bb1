"""The chosen pictures as a set of their own: copies with their captions in another folder, listed in its manifest.

The originals are only read. A folder that this program made is brought up to date by a later --apply; a copy that
somebody has changed since is never overwritten or taken away. The manifest is the first file and says what is coming, so that
a folder is this program's own from the first copy on, wherever an --apply was killed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from maquette.curating.listing import MANIFEST_NAME
from maquette.errors import OutputError, Problem
from maquette.files import json_text, sha256_file
from maquette.locking import OWN_FOLDER, held
from maquette.project.journal import Journal
from maquette.project.journal import hash_of as sha256_of
from maquette.project.validation import below, read_as
from maquette.reading import FileKind

CAPTION_ENDINGS = (".txt", ".caption")
FILE = FileKind("the list of a folder of copies", "Name another folder.", OutputError)
KIND = "apply"
KEPT_CHANGES = 10
"""A change keeps the bytes of pictures that it took away: fewer are remembered than of decisions."""
KOHYA_FOLDER = re.compile(r"\d+_.+")


@dataclass(frozen=True)
class Copied:
    """What a folder of copies holds now."""

    out: Path
    files: int
    pictures: int
    notes: tuple[str, ...] = ()
    """Copies that were left alone since somebody changed them."""


def require_own_folder(out: Path, directory: Path) -> None:
    """Raise OutputError unless `out` is new, empty, or made by an earlier --apply of `directory`."""
    given = ""
    if out.resolve() == directory.resolve():
        given = "the very folder the pictures are in"
    elif out.is_file():
        given = "a file"
    elif out.is_dir() and not _holds_nothing(out):
        manifest = _manifest(out)
        if manifest is None:
            given = "a folder that holds something else"
        elif Path(manifest.source) != directory.resolve():
            given = f"the set chosen from {manifest.source}"
    if given:
        raise OutputError(
            Problem(str(out), given, "a new folder, or one that --apply made of this one", "Name another.")
        )


def apply(directory: Path, names: Iterable[str], out: Path) -> Copied:
    """Make `out` hold copies of the named pictures and their captions, and nothing else of its own making.

    The folder of copies has a journal of its own; that of `directory` says where the copies went, so that the change can
    be taken back from either.
    """
    with held(out, what="curate --apply"):
        return _applied(directory, names, out)


def _applied(directory: Path, names: Iterable[str], out: Path) -> Copied:
    require_own_folder(out, directory)
    wanted = planned_copies(directory, names)
    update = _update_of(directory, wanted, out)
    if update.removed or update.copied or update.manifest != _text_of(out / MANIFEST_NAME):
        here = Journal(directory).begin(KIND, f"copies in {out}", elsewhere=[out], keep=KEPT_CHANGES)
        here.open()
        recorder = Journal(out).begin(
            KIND, f"copies from {directory}", session=here.session, elsewhere=[directory], keep=KEPT_CHANGES
        )
        recorder.write(out / MANIFEST_NAME, update.begun.encode("utf-8"))
        for name in update.removed:
            recorder.remove(out / name)
        for name in update.copied:
            recorder.write(out / name, (directory / wanted[name]).read_bytes())
        recorder.write(out / MANIFEST_NAME, update.manifest.encode("utf-8"))
    pictures = sum(Path(name).suffix not in CAPTION_ENDINGS for name in update.files)
    return Copied(out, len(update.files), pictures, update.notes)


def planned_copies(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """Return name in the set → source below `directory`, pictures with their captions.

    Folders like `10_name` are kept, since their names mean something; others become part of the file's name, since
    trainers do not look into folders below.
    """
    planned: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names):
        target = _unused(_flat(name), taken)
        planned[target] = name
        for ending in CAPTION_ENDINGS:
            caption = Path(name).with_suffix(ending)
            if (directory / caption).is_file():
                planned[Path(target).with_suffix(ending).as_posix()] = caption.as_posix()
    return planned


@dataclass(frozen=True, kw_only=True)
class _Update:
    """What a folder of copies will hold, and what has to be done for it."""

    files: Mapping[str, Any]
    removed: tuple[str, ...]
    copied: tuple[str, ...]
    manifest: str
    begun: str
    """The manifest while that is under way: what was there, and what is coming."""
    notes: tuple[str, ...]


def _update_of(directory: Path, wanted: Mapping[str, str], out: Path) -> _Update:
    manifest = _manifest(out) or _Manifest(1, str(directory.resolve()), {})
    known = {**manifest.begun, **manifest.files}
    edited = {name for name in known if not manifest.is_ours(name, sha256_of(out / name))}
    files = {name: known[name] for name in edited}
    copied = []
    for name, source in wanted.items():
        if name not in edited:
            sha256 = sha256_file(directory / source)
            files[name] = _Copy(source, sha256)
            if sha256_of(out / name) != sha256:
                copied.append(name)
    now = _Manifest(1, manifest.source, dict(sorted(files.items())))
    begun = _Manifest(1, manifest.source, dict(sorted(known.items())), now.files)
    return _Update(
        files=files,
        removed=tuple(name for name in known if name not in files and (out / name).is_file()),
        copied=tuple(copied),
        manifest=_text(now),
        begun=_text(begun),
        notes=tuple(f"{out / name} was changed since it was copied and stays as it is" for name in edited),
    )


def _text(manifest: _Manifest) -> str:
    table = asdict(manifest)
    return json_text(table if table["begun"] else {name: table[name] for name in table if name != "begun"})


def _holds_nothing(out: Path) -> bool:
    """Return whether a folder is empty but for what this program notes there before its first file."""
    return all(entry.name == OWN_FOLDER or entry.suffix == ".part" for entry in out.iterdir())


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _flat(name: str) -> str:
    path = Path(name)
    kept = [part for part in path.parts[:-1] if KOHYA_FOLDER.fullmatch(part)]
    joined = [part for part in path.parts[:-1] if not KOHYA_FOLDER.fullmatch(part)]
    return "/".join([*kept, "_".join([*joined, path.name])])


def _unused(target: str, taken: set[str]) -> str:
    """Return `target`, or a numbered name when its stem is taken: captions belong to stems. Takes it."""
    path, number = Path(target), 1
    while path.with_suffix("").as_posix() in taken:
        number += 1
        path = Path(target).with_stem(f"{Path(target).stem}-{number}")
    taken.add(path.with_suffix("").as_posix())
    return path.as_posix()


@dataclass(frozen=True)
class _Copy:
    """Where a copy came from, and what it was then."""

    source: str
    sha256: str


@dataclass(frozen=True)
class _Manifest:
    """What a folder of copies says of itself."""

    schema: Literal[1]
    source: str
    files: Mapping[Annotated[str, AfterValidator(below)], _Copy]
    begun: Mapping[Annotated[str, AfterValidator(below)], _Copy] = field(default_factory=dict)
    """What an --apply that is under way, or was killed, was to leave."""

    def is_ours(self, name: str, sha256: str | None) -> bool:
        """Return whether a file is as it was copied, now or by a killed --apply, or is not there."""
        copies = (self.files.get(name), self.begun.get(name))
        return sha256 is None or any(copy is not None and copy.sha256 == sha256 for copy in copies)


def _manifest(out: Path) -> _Manifest | None:
    """Return what an earlier --apply wrote; None where there is none, or something else."""
    try:
        return read_as(_Manifest, out / MANIFEST_NAME, FILE)
    except OutputError:
        return None
