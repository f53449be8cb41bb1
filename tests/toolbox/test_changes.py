"""The arithmetic of changes: by factors it is what it is made whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maquette.toolbox.changes import Change, inner, joined, parts_of


def change(rank: int | None, outputs: int = 12, inputs: int = 20, seed: int = 0) -> Change:
    generator = torch.Generator().manual_seed(seed)

    def values(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    if rank is None:
        return Change(values(outputs, inputs), None)
    return Change(values(outputs, rank), values(rank, inputs))


@pytest.mark.parametrize("one", [3, None])
@pytest.mark.parametrize("other", [5, None])
def test_inner_products_and_sums_by_factors_are_those_of_the_matrices(
    one: int | None, other: int | None
) -> None:
    first, second = change(one, seed=1), change(other, seed=2)
    assert inner(first, second) == pytest.approx(float((first.matrix() * second.matrix()).sum()), rel=1e-12)
    assert first.squared == pytest.approx(float(first.matrix().square().sum()), rel=1e-12)
    whole = joined([first, second]).matrix()
    torch.testing.assert_close(whole, first.matrix() + second.matrix(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("outputs", "inputs"), [(12, 20), (20, 12)])
@pytest.mark.parametrize("rank", [3, 15, None], ids=["low", "higher than the matrix", "whole"])
def test_singular_values_are_the_matrix_s_own(rank: int | None, outputs: int, inputs: int) -> None:
    """Tolerance: float64 by way of squares, which keeps 1e-8 of the largest."""
    one = change(rank, outputs, inputs)
    parts = parts_of(one)
    known = torch.linalg.svdvals(one.matrix())[: len(parts.values)]
    torch.testing.assert_close(parts.values, known, rtol=1e-8, atol=1e-7)
    again = (parts.left * parts.values) @ parts.right
    torch.testing.assert_close(again, one.matrix(), rtol=1e-7, atol=1e-7)
    best = parts.first(2)
    missed = float(((best.left * best.values) @ best.right - one.matrix()).norm())
    assert missed == pytest.approx(float(known[2:].norm()), rel=1e-6)


def test_a_matrix_of_low_rank_has_no_directions_beyond_it() -> None:
    """What would be divided by a singular value of zero is rounding alone."""
    parts = parts_of(Change(change(2).matrix(), None))
    assert int((parts.values > 0).sum()) == 2
    assert torch.isfinite(parts.right).all() and float(parts.right[2:].abs().max()) == 0.0
