"""Facts about the memorisation measure on gains that are known."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from maquette.measuring.memorization import (
    DELTA,
    area,
    chance_of,
    memorization,
    write_memorization,
)


def losses(gains: dict[str, float], levels: int = 3) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return losses under the LoRA and under the base whose calibrated difference is `gains`."""
    base = {name: [0.1 * (level + 1) for level in range(levels)] for name in gains}
    under = {
        name: [(loss + DELTA) * np.exp(-gain) - DELTA for loss in base[name]] for name, gain in gains.items()
    }
    return under, base


def test_gains_are_read_off_losses_whatever_the_level() -> None:
    gains = {"a": 0.5, "b": 0.1, "c": -0.2, "h1": 0.3, "h2": 0.0, "h3": -0.1}
    under, base = losses(gains)
    found = memorization(
        {name: under[name] for name in "abc"}, {name: under[name] for name in ("h1", "h2", "h3")}, base
    )
    assert [(each.path, pytest.approx(each.gain)) for each in found.members] == [
        ("a", 0.5),
        ("b", 0.1),
        ("c", -0.2),
    ]
    assert found.area.mean == pytest.approx((3 + 2 + 0) / 9)
    assert [each.path for each in found.idle] == ["c"] and found.copied == ()


def test_chance_is_the_share_of_divisions_that_are_as_extreme() -> None:
    members, held = np.array([3.0, 2.0, 1.5]), np.array([1.0, 2.5, 0.5, 0.2])
    everyone = np.concatenate([members, held])
    exact = np.mean(
        [
            area(everyone[list(chosen)], np.delete(everyone, list(chosen))) >= area(members, held) - 1e-12
            for chosen in combinations(range(7), 3)
        ]
    )
    # 4,000 draws know a share of about 0.06 to 0.004; four times that is allowed.
    assert chance_of(members, held) == pytest.approx(exact, abs=0.016)


def test_equal_gains_are_no_memory() -> None:
    same = np.ones(6)
    assert area(same, same) == 0.5 and chance_of(same, same) == 1.0


def test_what_is_memorised_is_named_and_its_interval_has_a_width() -> None:
    gains = {f"m{n}": 2.0 + n / 10 for n in range(6)} | {f"h{n}": n / 10 for n in range(8)}
    under, base = losses(gains)
    found = memorization(
        {name: value for name, value in under.items() if name[0] == "m"},
        {name: value for name, value in under.items() if name[0] == "h"},
        base,
    )
    assert found.is_found and found.area.mean == 1.0 and found.chance < 0.01
    assert found.area.low is not None and 0.6 < found.area.low < 0.9 and found.area.high == pytest.approx(1.0)
    assert [each.path for each in found.copied] == [f"m{n}" for n in (5, 4, 3, 2, 1, 0)]
    score = found.score()
    assert score.normalised is not None and score.normalised.mean == 0.0


def test_unrelated_gains_are_suspected_no_more_often_than_promised() -> None:
    """200 LoRAs whose training and held-out pictures gain alike."""
    draws = np.random.default_rng(3)
    wrong = 0
    for _ in range(200):
        gains = {f"m{n}": draws.normal() for n in range(15)} | {f"h{n}": draws.normal() for n in range(8)}
        under, base = losses(gains)
        wrong += memorization(
            {name: value for name, value in under.items() if name[0] == "m"},
            {name: value for name, value in under.items() if name[0] == "h"},
            base,
        ).is_found
    # 5 % of 200 is 10, three standard deviations of the binomial 9.
    assert wrong <= 19


def test_every_gain_is_written(tmp_path: Path) -> None:
    under, base = losses({"a": 0.5, "h": 0.1})
    found = memorization({"a": under["a"]}, {"h": under["h"]}, base)
    path = write_memorization(tmp_path, {"step 10": found})
    assert '"chance"' in path.read_text(encoding="utf-8") and '"h"' in path.read_text(encoding="utf-8")


def test_a_trace_that_any_training_leaves_is_no_memory() -> None:
    """Training pictures that gained a tenth more than the others, each of them: certain, and of no account."""
    gains = {f"m{n}": 1.1 + n / 1000 for n in range(8)} | {f"h{n}": 1.0 + n / 1000 for n in range(8)}
    under, base = losses(gains)
    found = memorization(
        {name: value for name, value in under.items() if name[0] == "m"},
        {name: value for name, value in under.items() if name[0] == "h"},
        base,
    )
    assert found.area.mean == 1.0 and found.chance < 0.01
    assert found.excess == pytest.approx(1.1, rel=0.01) and not found.is_found and not found.copied


def test_the_generalisation_gap_is_what_training_opened_between_the_two() -> None:
    base = {"a": [0.2, 0.4], "b": [0.3, 0.3], "h1": [0.5, 0.7], "h2": [0.6, 0.4], "h3": [0.5, 0.5]}
    under = {
        name: [each - (0.1 if name in "ab" else 0.04) for each in losses] for name, losses in base.items()
    }
    members, held = ({n: under[n] for n in names} for names in (("a", "b"), ("h1", "h2", "h3")))
    gap = memorization(members, held, base).gap
    assert gap.mean == pytest.approx(0.06) and gap.low is not None and gap.high is not None
    assert gap.low == pytest.approx(0.06) and gap.high == pytest.approx(0.06), "every picture changed alike"
    assert memorization(members, held, base).scores()["generalisation_gap"].value == gap
    unsure = memorization(members, {"h1": under["h1"]}, base).gap
    assert unsure.mean == pytest.approx(0.06) and unsure.low is None
