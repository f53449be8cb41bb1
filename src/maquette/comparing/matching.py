"""Pictures of two datasets brought together by what they hold, and what became of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from maquette.comparing.sides import Side
from maquette.runs.record import PictureRecord

PictureChange = Literal["added", "removed", "changed", "renamed", "mask"]
"""`changed`: other bytes under one name; `renamed`: the same bytes under another; `mask`: only what hides parts of it."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A picture on both sides; None where it is on one alone."""

    a: PictureRecord | None
    b: PictureRecord | None

    @property
    def is_whole(self) -> bool:
        return self.a is not None and self.b is not None


@dataclass(frozen=True, kw_only=True)
class PictureDifference:
    """What became of one picture. `a` and `b` are its two values: hashes of what it holds, names where it was renamed."""

    name: str
    change: PictureChange
    a: str | None
    b: str | None
    caption: str = ""
    """Of one that was added or removed."""
    path_a: str = ""
    """Where it lay when `a` was recorded."""
    path_b: str = ""


def pairs_of(a: Side, b: Side) -> list[Pair]:
    """Return every picture of both sides once, in the order of `b`, those that are gone behind.

    Name and content decide first, then content alone (it was renamed), then the name alone (it was changed).
    """
    left, right = list(a.pictures), list(b.pictures)
    partner: dict[int, PictureRecord] = {}
    for key in (_name_and_content, _content, _name):
        for one, other in _alike(left, right, key):
            partner[id(other)] = one
        left = [each for each in left if not any(each is known for known in partner.values())]
        right = [each for each in right if id(each) not in partner]
    pairs = [Pair(a=partner.get(id(each)), b=each) for each in b.pictures]
    return pairs + [Pair(a=each, b=None) for each in left]


def _alike(
    left: Sequence[PictureRecord],
    right: Sequence[PictureRecord],
    key: Callable[[PictureRecord], Hashable],
) -> Iterator[tuple[PictureRecord, PictureRecord]]:
    waiting: dict[Hashable, list[PictureRecord]] = defaultdict(list)
    for each in left:
        waiting[key(each)].append(each)
    for each in right:
        if found := waiting.get(key(each)):
            yield found.pop(0), each


def _name_and_content(picture: PictureRecord) -> Hashable:
    return PurePath(picture.path).name, picture.sha256


def _content(picture: PictureRecord) -> Hashable:
    return picture.sha256


def _name(picture: PictureRecord) -> Hashable:
    return PurePath(picture.path).name


class Names:
    """Calls each picture by the shortest end of its path that no other picture of its side has."""

    def __init__(self, *sides: Side) -> None:
        self._shared = [_shared(each.path for each in side.pictures) for side in sides]

    def __call__(self, picture: PictureRecord) -> str:
        path = PurePath(picture.path)
        for length in (1, 2):
            end = PurePath(*path.parts[-length:]).as_posix()
            if all(end not in shared for shared in self._shared):
                return end
        return path.as_posix()


def _shared(paths: Iterable[str]) -> set[str]:
    """Return the ends of paths, one and two parts long, that several have."""
    ends: Counter[str] = Counter()
    for path in set(paths):
        parts = PurePath(path).parts
        ends.update({PurePath(*parts[-length:]).as_posix() for length in (1, 2)})
    return {end for end, count in ends.items() if count > 1}


def picture_differences(pairs: Iterable[Pair], names: Names) -> Iterator[PictureDifference]:
    """Yield what became of each picture that is not the same."""
    for pair in pairs:
        if pair.a is None or pair.b is None:
            yield _on_one_side(pair, names)
            continue
        name, before = names(pair.b), names(pair.a)
        paths = {"path_a": pair.a.path, "path_b": pair.b.path}
        if pair.a.sha256 != pair.b.sha256:
            yield PictureDifference(name=name, change="changed", a=pair.a.sha256, b=pair.b.sha256, **paths)
        elif PurePath(pair.a.path).name != PurePath(pair.b.path).name:
            yield PictureDifference(name=name, change="renamed", a=before, b=name, **paths)
        if pair.a.mask_sha256 != pair.b.mask_sha256:
            mask = f"{name} (mask)"
            yield PictureDifference(name=mask, change="mask", a=pair.a.mask_sha256, b=pair.b.mask_sha256)


def _on_one_side(pair: Pair, names: Names) -> PictureDifference:
    only = pair.b or pair.a
    assert only is not None
    return PictureDifference(
        name=names(only),
        change="added" if pair.a is None else "removed",
        a=pair.a.sha256 if pair.a else None,
        b=pair.b.sha256 if pair.b else None,
        caption=only.caption,
        path_a=pair.a.path if pair.a else "",
        path_b=pair.b.path if pair.b else "",
    )
