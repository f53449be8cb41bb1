"""The varied choice: as many as asked, the same every time, covering more than a choice at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.curating import variety
from maquette.world.attributes import SCENE_VALUES, Scene
from maquette.world.cast import TOVAKI
from tests.curating.making import curate, draw, names_of, scenes


def cloud(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float16)


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 60), target=st.integers(1, 70), seed=st.integers(0, 5))
def test_the_choice_has_the_size_asked_for_and_no_picture_twice(count: int, target: int, seed: int) -> None:
    picked = variety.farthest(cloud(count, seed), target)
    assert len(picked) == len(set(picked)) == min(count, target)
    assert picked == variety.farthest(cloud(count, seed), target)


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 60), wanted=st.integers(1, 12))
def test_groups_are_numbered_by_size_and_hold_every_picture(count: int, wanted: int) -> None:
    groups = variety.clusters(cloud(count), wanted)
    sizes = np.bincount(groups)
    assert len(groups) == count
    assert (np.diff(sizes) <= 0).all()


def test_a_varied_choice_covers_more_than_a_random_one() -> None:
    rows = cloud(600)
    chosen = variety.farthest(rows, 30)
    random = np.random.default_rng(1).permutation(600)[:30].tolist()
    assert variety.nearest_chosen(rows, chosen)[1].min() > variety.nearest_chosen(rows, random)[1].min()


def test_of_two_likes_the_better_one_is_chosen() -> None:
    rows = np.array([[1, 0, 0], [0.999, 0.01, 0], [0, 1, 0], [0.01, 0.999, 0]], np.float16)
    assert set(variety.farthest(rows, 2, quality=[0.2, 0.9, 0.9, 0.2])) == {1, 2}


def test_alike_pairs_are_those_of_the_whole_table() -> None:
    rows = cloud(300)
    unit = rows.astype(np.float32) / np.linalg.norm(rows.astype(np.float32), axis=1, keepdims=True)
    expected = {(i, j) for i, j in np.argwhere(unit @ unit.T >= 0.6).tolist() if i < j}
    assert set(map(tuple, variety.alike_pairs(rows, 0.6).tolist())) == expected


def test_three_thousand_become_four_hundred() -> None:
    assert len(variety.farthest(cloud(3000), 400)) == 400


def test_every_view_stays_represented(tmp_path: Path) -> None:
    """Sixty frontal pictures, two of each other view: eight that are kept must show all four."""
    views = list(SCENE_VALUES["view"])
    some = [scene for scene in scenes(96) if scene.view == views[0]]
    some += [Scene(view=view, pose=pose) for view in views[1:] for pose in ("standing", "arms up")]
    draw(tmp_path, TOVAKI, some, size_px=64)
    found = curate(tmp_path, encoder="world", target=8)
    kept = {some[int(name[1:4])].view for name in names_of(found.kept)}
    assert len(found.kept) == 8
    assert kept == set(views)
    assert found.reasons["target"] == len(some) - len(found.review) - 8
