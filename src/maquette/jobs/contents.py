"""The content of what a stage reads, as hashes by name; two of them tell what changed between, in words.

A large file is hashed again only where its size or its times have changed since.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.dataset.facts import DatasetFacts
from maquette.files import sha256_file
from maquette.project.profile import PROFILE_NAME
from maquette.project.settings import Settings
from maquette.spoken import counted

Contents = dict[str, str]
"""`setting steps` → its value, `picture a.png` → its hash. What stands before the first space says of which kind it is."""
SHOWN = 3
LONGEST_SHOWN = 80
WITHOUT_EFFECT = ("output", "name", "trackers")
"""Settings that say where things go."""


class Hashes:
    """SHA-256 of files, each made once as long as the file stays as it is."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = {name: list(entry) for name, entry in known.items() if isinstance(entry, list)}
        self._used: dict[str, list[Any]] = {}

    def of(self, path: Path) -> str:
        """Return a file's hash; a word where it cannot be read."""
        try:
            status = path.stat()
            stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
            known = self._known.get(str(path))
            found = known[3] if known and known[:3] == stamp else sha256_file(path)
        except OSError:
            return "cannot be read"
        self._used[str(path)] = [*stamp, found]
        return str(found)

    def to_json(self) -> dict[str, Any]:
        """Return those that were asked for, to be kept."""
        return self._used


def contents_of_training(settings: Settings, facts: DatasetFacts, project: Path, hashes: Hashes) -> Contents:
    """Return all that a training of `settings` reads: settings, pictures, captions, masks, profile, base model."""
    found = {f"setting {name}": value for name, value in _flat(settings).items()}
    found |= _base(settings.model.base, hashes)
    for folder in (*facts.used_folders, *facts.held_folders):
        for path in folder.files:
            found[f"picture {_named(path, project)}"] = hashes.of(path)
        for mask in folder.masks.values():
            found[f"mask {_named(mask.path, project)}"] = hashes.of(mask.path)
    for caption in (*facts.captions, *facts.regularization_captions, *facts.held_captions):
        found[f"caption {_named(caption.path, project)}"] = caption.sha256 or hashed(caption.text)
    if facts.is_toml:
        found[f"file {_named(facts.root, project)}"] = hashes.of(facts.root)
    return found | contents_of_files("profile", [project / PROFILE_NAME], project, hashes)


def contents_of_files(kind: str, paths: Iterable[Path], project: Path, hashes: Hashes) -> Contents:
    """Return the content of those of `paths` that are there."""
    return {f"{kind} {_named(path, project)}": hashes.of(path) for path in paths if path.is_file()}


def contents_of_program() -> Contents:
    """Return which release this is: another one knows other rules."""
    return {"release Maquette": __version__}


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words what changed; empty where nothing did."""
    changed = [name for name in now if name in before and before[name] != now[name]]
    short = [name for name in changed if _is_short(name, before[name], now[name])]
    told = [f"{name.partition(' ')[2]} {before[name]} → {now[name]}" for name in short]
    told += _counted([name for name in changed if name not in short], "changed")
    told += _counted([name for name in now if name not in before], "new")
    told += _counted([name for name in before if name not in now], "gone")
    return "; ".join(told)


def digest(contents: Mapping[str, str]) -> str:
    """Return one hash of all."""
    return hashed(json.dumps(dict(sorted(contents.items()))))


def hashed(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _is_short(name: str, before: str, now: str) -> bool:
    """Return whether both values can be shown."""
    return name.startswith(("setting ", "release ")) and len(before + now) < LONGEST_SHOWN


def _counted(names: list[str], what: str) -> list[str]:
    """Return `2 captions changed (a.txt, b.txt)` for each kind of names."""
    kinds = Counter(name.partition(" ")[0] for name in names)
    told = []
    for kind, count in kinds.items():
        shown = [name.partition(" ")[2] for name in names if name.startswith(f"{kind} ")][:SHOWN]
        more = ", …" if count > SHOWN else ""
        told.append(f"{counted(count, kind)} {what} ({', '.join(shown)}{more})")
    return told


def _flat(settings: Settings) -> dict[str, str]:
    values = settings.model_dump(mode="json")
    found = {}
    for section, table in values.items():
        for name, value in table.items() if isinstance(table, dict) else ((section, table),):
            if name not in WITHOUT_EFFECT:
                found[name] = json.dumps(value, ensure_ascii=False)
    return found


def _base(base: str, hashes: Hashes) -> Contents:
    """Return the content of a base model: a file's, a folder's files', of a name on the hub the name."""
    path = Path(base).expanduser()
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
        return {f"base {each.relative_to(path)}": hashes.of(each) for each in files}
    return {f"base {path.name}": hashes.of(path) if path.is_file() else base}


def _named(path: Path, project: Path) -> str:
    """Return a path as it is told: below the project where it lies there."""
    place, root = path.absolute(), project.absolute()
    return str(place.relative_to(root) if place.is_relative_to(root) else place)
