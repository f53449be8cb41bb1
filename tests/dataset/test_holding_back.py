"""Which pictures are held back: those that stand for the others, none whose like does not stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maquette.dataset.holding_back import hold_back, number_to_hold_back


def likeness(groups: list[int]) -> np.ndarray:
    """Return likeness 0.9 within a group and 0.1 between groups."""
    same = np.equal.outer(groups, groups)
    table = np.where(same, 0.9, 0.1)
    np.fill_diagonal(table, 1.0)
    return table


def paths(count: int) -> list[Path]:
    return [Path(f"images/{number}.png") for number in range(count)]


GROUPS = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]


def test_one_of_each_group_is_held_back_and_its_like_stays() -> None:
    found = hold_back(paths(10), likeness(GROUPS), [""] * 10, 3)
    held = [int(each.picture.stem) for each in found]
    assert sorted(GROUPS[place] for place in held) == [0, 1, 2]
    for each in found:
        assert GROUPS[int(each.stays.stem)] == GROUPS[int(each.picture.stem)]
        assert each.stays not in {other.picture for other in found}


def test_what_has_a_copy_in_the_set_would_not_be_unseen() -> None:
    found = hold_back(paths(10), likeness(GROUPS), [""] * 10, 3, copies={0, 1, 4})
    assert not {"0", "1", "4"} & {each.picture.stem for each in found} and len(found) == 3


def test_the_only_picture_of_a_view_stays_in_training() -> None:
    captions = ["zkw, from behind" if place == 7 else "zkw, front view" for place in range(10)]
    found = hold_back(paths(10), likeness(list(range(10))), captions, 9)
    assert "7" not in {each.picture.stem for each in found}


def test_a_word_that_nobody_else_has_stays_as_long_as_there_are_others() -> None:
    captions = [f"zkw, {'hat' if place == 0 else 'standing'}" for place in range(10)]
    one = hold_back(paths(10), likeness([0] * 10), captions, 1)
    assert one[0].picture.stem != "0" and one[0].shared == ("standing",)
    long = [f"zkw in words of its own {word}" for word in "abcdefghij"]
    assert len(hold_back(paths(10), likeness([0] * 10), long, 2)) == 2


@pytest.mark.parametrize(("pictures", "held"), [(7, 0), (8, 2), (15, 3), (25, 5), (40, 8), (4000, 8)])
def test_few_pictures_are_spared_and_of_many_eight_are_enough(pictures: int, held: int) -> None:
    assert number_to_hold_back(pictures) == held
