"""Pictures that are not trained on, so that they can tell what training does to pictures it never saw.

Which these are follows from their content alone: pictures are ordered by the hash of their bytes, and the first ones are held
out. Names, folders' order and seeds decide nothing; a picture that joins the dataset moves at most one other across. A picture
that is held out is held out wherever the dataset shows it, its equal copies too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.dataset.facts import DatasetFacts, FolderFact, HeldOut
from maquette.dataset.measures import PictureFacts
from maquette.errors import Problem
from maquette.files import sha256_file

Hashes = Callable[[Path], str | None]


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """The hashes of what is held out, and pictures elsewhere that are measured too."""

    hashes: frozenset[str]
    elsewhere: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()


def hold_out(facts: DatasetFacts, wanted: HeldOut) -> DatasetFacts:
    """Return `facts` with what `wanted` holds out taken from folders and captions and put into `held_out`.

    What is wrong with the wish is in the facts' problems: nothing to hold out, or nothing left to train on.
    """
    hash_of = _hashes(facts)
    chosen = _chosen(facts, wanted, hash_of)
    subject = [folder for folder in facts.used_folders if not folder.is_regularization]
    held = {path for folder in subject for path in folder.files if hash_of(path) in chosen.hashes}
    left = replace(
        facts,
        folders=tuple(_part(folder, held, inside=False) for folder in facts.folders),
        captions=tuple(each for each in facts.captions if each.picture not in held),
        held_folders=tuple(
            _part(folder, held, inside=True) for folder in subject if held.intersection(folder.files)
        ),
        held_captions=tuple(each for each in facts.captions if each.picture in held),
        held_elsewhere=chosen.elsewhere,
    )
    problems = (*chosen.problems, *_problems(facts, left, wanted))
    return replace(left, problems=(*facts.problems, *problems))


def _hashes(facts: DatasetFacts) -> Hashes:
    known: dict[Path, str | None] = {}

    def hash_of(path: Path) -> str | None:
        """Return the hash of a picture's bytes; None of one that cannot be read, which training refuses anyhow."""
        look = facts.looks.get(path)
        if isinstance(look, Problem):
            return None
        if isinstance(look, PictureFacts):
            return look.sha256
        if path not in known:
            try:
                known[path] = sha256_file(path)
            except OSError:
                known[path] = None
        return known[path]

    return hash_of


def _chosen(facts: DatasetFacts, wanted: HeldOut, hash_of: Hashes) -> _Chosen:
    if wanted.paths:
        return _named(facts, wanted.paths, hash_of)
    subject = [folder for folder in facts.used_folders if not folder.is_regularization]
    if wanted.count is not None:
        every = _ordered((path for folder in subject for path in folder.files), hash_of)
        return _Chosen(hashes=frozenset(every[: wanted.count]))
    chosen: set[str] = set()
    for folder in subject:
        assert folder.subset is not None
        source = facts.plan.datasets[folder.subset.dataset]
        share = wanted.share if source.validation_split is None else source.validation_split
        ordered = _ordered(folder.files, hash_of)
        count = held_of(len(ordered), share)
        first = min((wanted.fold - 1) * count, len(ordered) - count)
        chosen.update(ordered[first : first + count])
    return _Chosen(hashes=frozenset(chosen))


def held_of(pictures: int, share: float) -> int:
    """Return how many of a folder's pictures a share holds out; as in sd-scripts ceil(pictures × (1 − share)) are trained on."""
    return pictures - math.ceil(pictures * (1 - share))


def in_order(contents: Iterable[str]) -> list[str]:
    """Return different contents, given by the hash of their bytes, in the order in which they are held out."""
    # Hashed once more, so that the choice has nothing to do with other uses of the same hash.
    return sorted(set(contents), key=lambda sha256: hashlib.sha256(f"held out {sha256}".encode()).hexdigest())


def _ordered(paths: Iterable[Path], hash_of: Hashes) -> list[str]:
    return in_order(sha256 for path in paths if (sha256 := hash_of(path)) is not None)


def _named(facts: DatasetFacts, named: Sequence[Path], hash_of: Hashes) -> _Chosen:
    from maquette.dataset.folders import list_folder

    own = {path.resolve(): path for path in facts.files}
    hashes: set[str] = set()
    elsewhere: list[Path] = []
    problems: list[Problem] = []
    for place in named:
        found = list_folder(place).pictures_for("maquette") if place.is_dir() else (place,)
        if not found or not (place.is_dir() or place.is_file()):
            given = "holds no pictures" if place.is_dir() else "no such file or folder"
            problems.append(Problem(str(place), given, "pictures to measure with", "Correct the path."))
            continue
        for path in found:
            inside = own.get(path.resolve())
            sha256 = hash_of(inside or path)
            if sha256 is not None:
                hashes.add(sha256)
            if inside is None:
                elsewhere.append(path)
    return _Chosen(hashes=frozenset(hashes), elsewhere=tuple(elsewhere), problems=tuple(problems))


def _part(folder: FolderFact, held: set[Path], *, inside: bool) -> FolderFact:
    """Return a folder with those of its pictures alone that are held out, or that are not; of regularization with all."""
    if folder.is_regularization:
        return folder
    return replace(
        folder,
        files=tuple(path for path in folder.files if (path in held) is inside),
        without_caption=tuple(path for path in folder.without_caption if (path in held) is inside),
    )


def _problems(before: DatasetFacts, after: DatasetFacts, wanted: HeldOut) -> Iterator[Problem]:
    if before.problems or not before.files:
        return
    count = len(before.files)
    if not after.files:
        given = f"all {count} pictures are held out"
        remedy = "Hold out fewer, or measure the training pictures: --validation-training."
        yield Problem(str(before.root), given, "pictures that are left to train on", remedy)
    elif not after.held_out and not wanted.paths:
        remedy = f"Hold out one of {count} or more: --validation-pictures 1."
        yield Problem(
            str(before.root), f"none of {count} pictures is held out", "at least one to measure with", remedy
        )
