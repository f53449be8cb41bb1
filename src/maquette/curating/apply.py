"""The chosen pictures as a set of their own: copies with their captions in another folder, listed in its manifest.

The originals are only read. A folder that this program made is brought up to date by a later --apply; a copy that
somebody has changed since is never overwritten or taken away.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.curating import journal
from maquette.curating.decisions import WORK_NAME
from maquette.curating.listing import MANIFEST_NAME
from maquette.errors import OutputError, Problem
from maquette.files import replacing, sha256_file, write_json

CAPTION_ENDINGS = (".txt", ".caption")
SCHEMA = 1
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
    elif out.is_dir() and any(out.iterdir()):
        manifest = _manifest(out)
        if manifest is None:
            given = "a folder that holds something else"
        elif Path(manifest["source"]) != directory.resolve():
            given = f"the set chosen from {manifest['source']}"
    if given:
        raise OutputError(
            Problem(str(out), given, "a new folder, or one that --apply made of this one", "Name another.")
        )


def apply(directory: Path, names: Iterable[str], out: Path) -> Copied:
    """Make `out` hold copies of the named pictures and their captions, and nothing else of its own making."""
    require_own_folder(out, directory)
    before = _manifest(out)
    wanted = planned_copies(directory, names)
    copied, changed = sync(directory, wanted, out)
    if changed:
        files = before["files"] if before else None
        state = {name: entry["source"] for name, entry in files.items()} if files is not None else None
        journal.note_apply(directory / WORK_NAME / "history", {"out": str(out.resolve()), "files": state})
    return copied


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


def sync(directory: Path, wanted: Mapping[str, str], out: Path) -> tuple[Copied, bool]:
    """Bring `out` to hold `wanted` (name → source); return what it holds, and whether anything was done."""
    known: dict[str, Any] = (_manifest(out) or {"files": {}})["files"]
    notes: list[str] = []
    files: dict[str, Any] = {}
    changed = False
    for name, entry in known.items():
        copy = out / name
        if copy.is_file() and sha256_file(copy) != entry["sha256"]:
            notes.append(f"{copy} was changed since it was copied and stays as it is")
            files[name] = entry
        elif name not in wanted and copy.is_file():
            copy.unlink()
            changed = True
    for name, source in wanted.items():
        if name in files:
            continue
        sha256 = sha256_file(directory / source)
        if not ((out / name).is_file() and known.get(name, {}).get("sha256") == sha256):
            _copy(directory / source, out / name)
            changed = True
        files[name] = {"source": source, "sha256": sha256}
    changed = changed or set(files) != set(known)
    write_json(
        out / MANIFEST_NAME,
        {"schema": SCHEMA, "source": str(directory.resolve()), "files": dict(sorted(files.items()))},
    )
    pictures = sum(Path(name).suffix not in CAPTION_ENDINGS for name in files)
    return Copied(out, len(files), pictures, tuple(notes)), changed


def restore(directory: Path, before: Mapping[str, Any]) -> tuple[str, ...]:
    """Put a folder of copies back to what it held before; one that was new goes away when nothing is left in it."""
    out = Path(before["out"])
    if _manifest(out) is None:
        return (f"{out} is gone already",)
    wanted = before["files"] or {}
    there = {name: source for name, source in wanted.items() if (directory / source).is_file()}
    copied, _ = sync(directory, there, out)
    if before["files"] is None and not copied.files:
        (out / MANIFEST_NAME).unlink()
        _remove_empty(out)
    return copied.notes


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


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _manifest(out: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((out / MANIFEST_NAME).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and found.get("schema") == SCHEMA else None
    except (OSError, ValueError):
        return None


def _remove_empty(folder: Path) -> None:
    """Remove a folder and its empty folders below; whatever still holds something stays."""
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()
