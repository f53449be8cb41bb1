"""Laws of the loss per picture: noise level and time are taken out, and a planted picture is found among its like."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from maquette.logs.picture_losses import picture_losses
from maquette.runs.picture_losses import apart_in_words, share_of

STEPS, PICTURES, BATCH = 300, 12, 3


def _rows(seed: int = 0, own: dict[int, Any] | None = None, scale: float = 1.0) -> list[dict]:
    """Return a run whose loss falls with time and with the timestep; `own` multiplies a picture's by a share of the run."""
    rng = random.Random(seed)
    rows = []
    for step in range(1, STEPS + 1):
        shown = []
        for _ in range(BATCH):
            picture, timestep = rng.randrange(PICTURES), rng.randrange(1000)
            loss = math.exp(-2 - 2 * timestep / 1000 - step / STEPS + rng.gauss(0, 0.3))
            factor = own.get(picture, lambda share: 1.0)(step / STEPS) if own else 1.0
            shown.append([picture, timestep * scale, loss * factor])
        rows.append({"step": step, "shown": shown})
    return rows


def _standings(rows: list[dict]) -> dict[int, str]:
    return {each.picture: each.standing for each in picture_losses(rows) if each.standing}


def test_pictures_that_are_alike_do_not_stand_apart() -> None:
    for seed in range(5):
        assert _standings(_rows(seed)) == {}


def test_each_way_of_standing_apart_has_its_name() -> None:
    own = {
        3: lambda share: 1.8,
        5: lambda share: 1.0 + 1.2 * share,
        7: lambda share: 0.5,
    }
    assert _standings(_rows(1, own)) == {3: "apart from the start", 5: "left behind", 7: "ahead"}


def test_an_excess_is_what_was_planted_and_does_not_depend_on_what_a_timestep_is() -> None:
    own = {3: lambda share: 1.8}
    (first, *_), (scaled, *_) = picture_losses(_rows(2, own)), picture_losses(_rows(2, own, scale=0.001))
    assert first.picture == 3 and share_of(first.excess) == pytest.approx(0.75, abs=0.15)
    assert scaled.excess == pytest.approx(first.excess, abs=1e-3)


def test_a_short_run_tells_nothing() -> None:
    assert picture_losses(_rows()[:20]) == () and picture_losses([]) == ()
    assert picture_losses([{"step": 1, "loss": 0.1}]) == ()


def test_losses_that_are_no_numbers_are_left_out() -> None:
    rows = _rows(4)
    rows[10]["shown"][0][2] = float("nan")
    rows[11]["shown"][0][2] = 0.0
    assert len(picture_losses(rows)) == PICTURES


def test_what_stands_apart_is_said_with_what_to_look_at() -> None:
    (first, *_) = picture_losses(_rows(2, {3: lambda share: 1.8}))
    said = apart_in_words("07.png", first)
    assert said.startswith("07.png stands apart from the first steps on: its loss is ") and "caption" in said
