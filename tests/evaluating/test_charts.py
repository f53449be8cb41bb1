"""Charts: where numbers, powers of ten and names lie, and what stands in the legend."""

from __future__ import annotations

import pytest

from maquette.evaluating.charts import Axis, Series, line_chart, log_ticks


def test_a_logarithmic_axis_gives_every_factor_the_same_width() -> None:
    points = [(1e-5, 1.0), (1e-4, 2.0), (1e-3, 3.0)]
    found = line_chart(
        [Series(name="", points=points, dots=True, line=False, tips=("a", "b", "c"))],
        title="",
        description="",
        x=Axis(label="rate", log=True),
        y=Axis(label="loss"),
    )
    first, second, third = (dot[0] for dot in found.dots)
    assert second - first == pytest.approx(third - second, abs=0.2)
    assert [dot[3] for dot in found.dots] == ["a", "b", "c"]
    assert not found.lines and not found.legend
    assert [text for _, text in found.x_ticks] == ["1e-5", "2e-5", "5e-5", "1e-4", "2e-4", "5e-4", "1e-3"]


def test_names_stand_under_whole_numbers_and_between_the_ends() -> None:
    found = line_chart(
        [Series(name="a", points=[(0.0, 1.0), (1.0, 2.0)])],
        title="",
        description="",
        x=Axis(label="rank", names=("4", "16")),
        y=Axis(label="loss"),
    )
    (left, four), (right, sixteen) = found.x_ticks
    assert (four, sixteen) == ("4", "16")
    assert left - found.left == pytest.approx(found.right - right, abs=0.2)


@pytest.mark.parametrize(("low", "high"), [(6e-5, 1.2e-4), (1e-6, 1.0), (3.0, 3.5)])
def test_ticks_of_a_logarithmic_axis_lie_within_it_and_are_few(low: float, high: float) -> None:
    found = log_ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low * (1 - 1e-9) <= each <= high * (1 + 1e-9) for each in found)
