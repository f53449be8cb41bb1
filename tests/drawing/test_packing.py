"""Laws of batches: every request once, equal groups by trial, nobody beside a stranger."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maquette.drawing.packing import pack_rows


@given(
    wanted=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=40),
    batch=st.integers(1, 12),
)
def test_every_request_is_drawn_once_in_equal_groups(wanted: list[tuple[int, int]], batch: int) -> None:
    keys, trials = [key for key, _ in wanted], [trial for _, trial in wanted]
    packs = list(pack_rows(keys, trials, num_trials=4, batch=batch))
    drawn = [row for pack in packs for row, kept in zip(pack.rows, pack.wanted, strict=True) if kept]
    assert sorted(drawn) == list(range(len(wanted)))
    for pack in packs:
        size = len(pack.rows) // 4
        assert len(pack.rows) == 4 * size <= max(4, batch)
        assert len({keys[row] for row in pack.rows}) == 1
        for place, (row, kept) in enumerate(zip(pack.rows, pack.wanted, strict=True)):
            assert not kept or trials[row] == place // size


@given(count=st.integers(1, 50), batch=st.integers(1, 9))
def test_one_trial_needs_no_fillers(count: int, batch: int) -> None:
    packs = list(pack_rows(["same"] * count, [0] * count, num_trials=1, batch=batch))
    assert all(all(pack.wanted) for pack in packs)
    assert len(packs) == -(-count // batch)
    sizes = [len(pack.rows) for pack in packs]
    assert max(sizes) - min(sizes) <= len(packs), "batches are about equally large"
