"""Which pictures to hold back from training, so that what is measured with them is unseen and training loses nothing.

Chosen one by one (greedily), each time the picture that adds most to

    mean over all pictures of the likeness to the nearest one held back      (they stand for the whole set)
  + mean over those held back of the likeness to the nearest one kept        (training keeps what they show)

Never held back: a picture with a near copy or mirror image in the set (it would not be unseen), and one that alone shows a view
or a framing. Nor, as long as there are others, one whose caption has a word that no kept picture's has.

Legend: N pictures.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.words.text import parts_of, word_set, words_of
from maquette.words.views import framings_named, views_named

FEWEST = 8
"""Of fewer pictures none is held back: each is worth more to training than to a measure."""
SHARE, LEAST, MOST = 0.2, 2, 8
MOST_PICTURES = 600
"""Of more, every so many are looked at: the choice is among them."""
_SHOWN, _SHOWN_LETTERS = 3, 40
_IDLE = word_set("a an the of in on at with and or to from by for his her its their is are")


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """A picture to hold back, and the one that shows most of the same and stays in training."""

    picture: Path
    stays: Path
    shared: tuple[str, ...] = ()
    """What both captions say and not every caption."""

    @property
    def told(self) -> str:
        """Why this one, in words."""
        what = f" ({', '.join(self.shared)})" if self.shared else ""
        return f"what {name_of(self.picture)} shows stays in training with {name_of(self.stays)}{what}"


def name_of(picture: Path) -> str:
    """Return a picture's name with its folder's, as files of one name may lie in several."""
    return f"{picture.parent.name}/{picture.name}" if picture.parent.name else picture.name


def number_to_hold_back(pictures: int) -> int:
    """Return how many of so many pictures are worth holding back."""
    return 0 if pictures < FEWEST else min(MOST, max(LEAST, round(SHARE * pictures)))


def hold_back(
    paths: Sequence[Path],
    likeness_NN: NDArray[Any],
    captions: Sequence[str],
    count: int,
    *,
    copies: Collection[int] = (),
) -> tuple[HeldBack, ...]:
    """Return at most `count` of `paths` to hold back, the most telling first; fewer where no more can be spared.

    `captions` has one for each picture ("" for none). `copies` are places of pictures that have a copy among the others.
    """
    alike_NN = _alike(likeness_NN, captions)
    words = [_words(caption) for caption in captions]
    views = [frozenset((*views_named(caption), *framings_named(caption))) for caption in captions]
    held: list[int] = []
    while len(held) < count:
        free = [place for place in range(len(paths)) if place not in held and place not in copies]
        free = [place for place in free if _keeps(place, held, views)]
        free = [place for place in free if _keeps(place, held, words)] or free
        if not free or len(held) + 2 > len(paths):
            break
        held.append(max(free, key=lambda place: (round(_worth(alike_NN, [*held, place]), 9), -place)))
    common = frozenset.intersection(*map(frozenset, map(_parts, captions))) if captions else frozenset()
    kept = [place for place in range(len(paths)) if place not in held]
    found = []
    for place in held:
        stays = max(kept, key=lambda other: (float(alike_NN[place, other]), -other))
        both = [part for part in _parts(captions[place]) if part in _parts(captions[stays])]
        shared = [part for part in both if part not in common and len(part) <= _SHOWN_LETTERS]
        found.append(HeldBack(picture=paths[place], stays=paths[stays], shared=tuple(shared[:_SHOWN])))
    return tuple(found)


def _alike(likeness_NN: NDArray[Any], captions: Sequence[str]) -> NDArray[np.float64]:
    """Return likeness from 0 to 1 within this set: that of the pictures, and as much that of their captions where there are."""
    count = len(likeness_NN)
    others = ~np.eye(count, dtype=bool)
    seen = np.asarray(likeness_NN, np.float64)
    low, high = (float(seen[others].min()), float(seen[others].max())) if count > 1 else (0.0, 1.0)
    seen = np.clip((seen - low) / max(high - low, 1e-9), 0.0, 1.0)
    said = [set(_parts(caption)) for caption in captions]
    if any(said):
        told = np.array([[len(a & b) / max(1, len(a | b)) for b in said] for a in said], np.float64)
        seen = (seen + told) / 2
    np.fill_diagonal(seen, 1.0)
    return seen


def _worth(alike_NN: NDArray[np.float64], held: list[int]) -> float:
    kept = np.setdiff1d(np.arange(len(alike_NN)), held)
    stand_for = alike_NN[:, held].max(axis=1).mean()
    stays = alike_NN[held][:, kept].max(axis=1).mean()
    return float(stand_for + stays)


def _keeps(place: int, held: Sequence[int], told: Sequence[frozenset[str]]) -> bool:
    """Return whether all that is told of a picture is told of one that would still be kept."""
    kept = [own for other, own in enumerate(told) if other != place and other not in held]
    return all(any(each in own for own in kept) for each in told[place])


def _words(caption: str) -> frozenset[str]:
    return frozenset(word.stem for word in words_of(caption)) - _IDLE


def _parts(caption: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in parts_of(caption))
