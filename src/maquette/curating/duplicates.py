"""Pictures that show the same thing twice, plainly or mirrored: which of them stays, and why.

Hashes name the candidates, thumbnails settle them: on flat drawings two poses may hash alike, and a change of
background colour alone leaves a hash untouched. Of a group the best stays and every other one is a near copy of it
(not merely of another copy), so that a slow pan does not collapse into a single picture.

Shapes: N pictures, P pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.curating import thumbnails
from maquette.curating.limits import Limits
from maquette.curating.records import Look, Weight
from maquette.dataset.hashes import MIRROR_GAIN, MIRROR_MIN, mirrored_pairs, near_pairs
from maquette.dataset.names import name_rank

Pairs = NDArray[np.int64]
MIRRORED_NAME = re.compile(r"(flip|mirror)", re.IGNORECASE)
TELLING = 0.02
"""A difference of similarity that says which of two mirror images is the right one."""
SETTLED_AT_ONCE = 1 << 16


def judge_duplicates(looks: Sequence[Look], limits: Limits, pairs: Pairs | None = None) -> int:
    """Reject every open picture that is a near copy of a better one. Returns how many.

    pairs: int [P, 2] of indices into `looks` that another measure found alike; None: they are looked for by hash.
    """
    places = [index for index, look in enumerate(looks) if look.is_open and look.sha256]
    chosen = [looks[index] for index in places]
    if pairs is None:
        pairs = copies(chosen, limits) if limits.duplicate_mean else np.zeros((0, 2), np.int64)
    else:
        place_of = {index: place for place, index in enumerate(places)}
        both = [(place_of[i], place_of[j]) for i, j in pairs.tolist() if i in place_of and j in place_of]
        pairs = np.array(both, np.int64).reshape(-1, 2)
    count = 0
    for loser, best in _near_the_best(chosen, pairs):
        other = chosen[best]
        text = _why_not_both(other, chosen[loser])
        chosen[loser].add("duplicate", "reject", text, other=other.name)
        count += chosen[loser].yours is None
    return count


def judge_mirrored(looks: Sequence[Look], limits: Limits, asymmetric: bool | None) -> int:
    """Say of open pictures which are mirror images of others; returns how many.

    asymmetric: whether the subject has something on one side only, None when nobody said. If so, one of the two
    shows it wrongly and is rejected: the one whose name says so, or that resembles the references less; where
    neither tells, the worse one, and the other goes to review. If nobody said, the worse one goes to review. On a
    symmetric subject both stay.
    """
    chosen = [look for look in looks if look.is_open and look.sha256]
    if not limits.duplicate_mean:
        return 0
    count = 0
    for left, right in _mirror_pairs(chosen, limits).tolist():
        pair = (chosen[left], chosen[right])
        if all(look.is_open for look in pair):
            _settle_mirrored(*pair, asymmetric)
            count += 1
    return count


def copies(looks: Sequence[Look], limits: Limits) -> Pairs:
    """Return int [P, 2]: the pairs of `looks` whose hashes are near and whose thumbnails agree."""
    groups: dict[tuple[int, bytes], list[int]] = {}
    for index, look in enumerate(looks):
        groups.setdefault((look.perceptual, look.thumbnail), []).append(index)
    firsts = [members[0] for members in groups.values()]
    hashes = [f"{looks[index].perceptual:016x}" for index in firsts]
    rows = thumbnails.thumbnails_of([looks[index] for index in firsts])
    candidates = near_pairs(hashes, limits.duplicate_bits)
    found = _settled(candidates, lambda pairs: _agree(rows[pairs[:, 0]], rows[pairs[:, 1]], limits))
    near = np.array(firsts, np.int64)[found].reshape(-1, 2)
    return np.concatenate([near, *_with_equals(groups.values(), near)])


def _with_equals(groups: Iterable[list[int]], near: Pairs) -> Iterator[Pairs]:
    """Yield the pairs of members with their group's first, and with what is near that first.

    Equal pictures are not compared with each other: a film's thousand still frames would make half a million pairs.
    """
    neighbours: dict[int, list[int]] = {}
    for left, right in near.tolist():
        neighbours.setdefault(left, []).append(right)
        neighbours.setdefault(right, []).append(left)
    for first, *others in groups:
        for other in others:
            ends = [first, *neighbours.get(first, ())]
            yield np.array([(other, end) for end in ends], np.int64)


def _mirror_pairs(looks: Sequence[Look], limits: Limits) -> Pairs:
    hashes = [f"{look.perceptual:016x}" for look in looks]
    mirrors = [f"{look.mirrored:016x}" for look in looks]
    rows = thumbnails.thumbnails_of(looks)
    flipped = thumbnails.mirrored(rows)

    def are_mirrored(pairs: Pairs) -> NDArray[np.bool_]:
        left, right = rows[pairs[:, 0]], rows[pairs[:, 1]]
        plain, _ = thumbnails.difference(left, right)
        turned, _ = thumbnails.difference(flipped[pairs[:, 0]], right)
        gains = (plain >= MIRROR_MIN) & (turned <= MIRROR_GAIN * plain)
        agrees: NDArray[np.bool_] = gains & _agree(flipped[pairs[:, 0]], right, limits)
        return agrees

    return _settled(mirrored_pairs(hashes, mirrors, limits.duplicate_bits), are_mirrored)


def _agree(left_ND: Any, right_ND: Any, limits: Limits) -> NDArray[np.bool_]:
    mean, largest = thumbnails.difference(left_ND, right_ND)
    agrees: NDArray[np.bool_] = (mean <= limits.duplicate_mean) & (largest <= limits.duplicate_max)
    return agrees


def _settled(
    candidates: Iterable[tuple[int, int, int]], accept: Callable[[Pairs], NDArray[np.bool_]]
) -> Pairs:
    """Return the pairs of `candidates` that `accept` (int [P, 2] to bool [P]) accepts."""
    kept = [np.zeros((0, 2), np.int64)]
    for pairs in _in_blocks(candidates):
        kept.append(pairs[accept(pairs)])
    return np.concatenate(kept)


def _in_blocks(candidates: Iterable[tuple[int, int, int]]) -> Iterator[Pairs]:
    block: list[tuple[int, int]] = []
    for left, right, _ in candidates:
        block.append((left, right))
        if len(block) == SETTLED_AT_ONCE:
            yield np.array(block, np.int64)
            block = []
    if block:
        yield np.array(block, np.int64)


def _near_the_best(looks: Sequence[Look], pairs: Pairs) -> Iterator[tuple[int, int]]:
    """Yield (loser, best) for every picture that is near one which ranks above it and stays itself."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    starts = np.searchsorted(both[:, 0], np.arange(len(looks) + 1))
    stays = np.zeros(len(looks), bool)
    for index in sorted(range(len(looks)), key=lambda index: _rank(looks[index])):
        near = both[starts[index] : starts[index + 1], 1]
        staying = near[stays[near]]
        if len(staying) and looks[index].yours != "kept":
            yield index, int(min(staying, key=lambda other: _rank(looks[other])))
        else:
            stays[index] = True


def _rank(look: Look) -> tuple[Any, ...]:
    """Sort key, the best first: what the person keeps, then sound, good, large, not named like a copy, and by name.

    Quality counts in steps of 0.02: a copy saved once more is not better for a last digit.
    """
    sound = look.automatic == "kept"
    area = look.width_px * look.height_px
    return look.yours != "kept", not sound, -round(look.quality / 0.02), -area, *name_rank(look.name)


def _why_not_both(best: Look, other: Look) -> str:
    if best.sha256 == other.sha256:
        return f"the same file as {best.name}, byte for byte"
    return f"near copy of {best.name}, which is {_better(best, other)}"


def _better(best: Look, other: Look) -> str:
    if best.yours == "kept":
        return "your choice"
    if best.width_px * best.height_px > 1.1 * other.width_px * other.height_px:
        return f"larger ({best.width_px}x{best.height_px} against {other.width_px}x{other.height_px})"
    ours, theirs = best.measures["sharpness"], other.measures["sharpness"]
    if ours > 1.05 * theirs:
        return f"sharper ({ours:.0f} against {theirs:.0f})"
    return "as good"


def _settle_mirrored(first: Look, second: Look, asymmetric: bool | None) -> None:
    """Give a reason to the one of two mirror images that is wrong, or may be."""
    right, wrong, evidence = _which_is_right(first, second)
    weights: dict[bool | None, Weight] = {True: "reject", None: "review", False: "note"}
    because = {
        True: "and the subject is not the same on both sides",
        None: "wrong if the subject has something on one side only: a profile would say",
        False: "harmless, since the profile names no side",
    }[asymmetric]
    wrong.add(
        "mirrored",
        weights[asymmetric],
        f"mirror image of {right.name}{evidence}, {because}",
        other=right.name,
    )
    if asymmetric and not evidence and right.yours is None:
        text = (
            f"its mirror image {wrong.name} was here too, and nothing tells which of the two is right: look"
        )
        right.add("mirrored", "review", text, other=wrong.name)


def _which_is_right(first: Look, second: Look) -> tuple[Look, Look, str]:
    """Return (right, wrong, evidence); the evidence is empty when only quality and order could decide."""
    for right, wrong in ((first, second), (second, first)):
        if right.yours == "kept" and wrong.yours != "kept":
            return right, wrong, " (your choice)"
    for right, wrong in ((first, second), (second, first)):
        if MIRRORED_NAME.search(wrong.name) and not MIRRORED_NAME.search(right.name):
            return right, wrong, " by its name"
    gap = (first.similarity or 0.0) - (second.similarity or 0.0)
    if first.similarity is not None and second.similarity is not None and abs(gap) > TELLING:
        right, wrong = (first, second) if gap > 0 else (second, first)
        return (
            right,
            wrong,
            f", less like the references ({wrong.similarity:.2f} against {right.similarity:.2f})",
        )
    right, wrong = sorted((first, second), key=_rank)
    return right, wrong, ""
