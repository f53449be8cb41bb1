"""Laws of the report's grid: nothing is left out, what differs stands in front, numbers say what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from maquette.evaluating.comparison import grid
from maquette.measuring.looks import FLOOR, FirstLook

from .making import facts_of, look_of

SCORES = {FLOOR: [0.1] * 6, "step 100": [0.5] * 6, "step 200": [0.6] * 6}


def look_with(folder: Path, differing: dict[int, int]) -> FirstLook:
    """Return a look whose checkpoints draw the same gray, but for the seeds of `differing`: there by so many levels."""
    look = look_of(folder, SCORES)
    for entry in look.looks:
        level = 100 + (differing.get(entry.seed, 0) if entry.checkpoint == "step 200" else 0)
        Image.new("RGB", (16, 16), (level,) * 3).save(folder / entry.path)
    return look


def test_what_differs_stands_in_front_and_nothing_is_left_out(tmp_path: Path) -> None:
    found = grid(facts_of(tmp_path / "run", look_with(tmp_path / "look", {2: 40, 4: 90, 5: 60})))
    assert found is not None and found.columns == (FLOOR, "step 100", "step 200")
    [(prompt, front)], [(_, folded)] = found.shown, found.rest
    assert prompt == "zkw" and [row.seed for row in front] == [4, 5], (
        "the two that differ most, in the seeds' order"
    )
    assert sorted(row.seed for row in (*front, *folded)) == [1, 2, 3, 4, 5, 6]
    assert found.rest_in_words == "4 more rows; in 3 of them the checkpoints draw almost the same"


def test_where_nothing_differs_one_row_of_each_prompt_is_shown(tmp_path: Path) -> None:
    look = look_with(tmp_path / "look", {})
    other = replace(
        look, looks=tuple(replace(entry, prompt="zkw, sitting", role="full") for entry in look.looks)
    )
    both = replace(look, looks=look.looks + other.looks)
    found = grid(facts_of(tmp_path / "run", both))
    assert found is not None
    assert [(prompt, [row.seed for row in rows]) for prompt, rows in found.shown] == [
        ("zkw", [1]),
        ("zkw, sitting", [1]),
    ]
    assert found.rest_in_words == "10 more rows, in which the checkpoints draw almost the same"


def test_one_checkpoint_alone_and_a_lost_picture_count_as_different(tmp_path: Path) -> None:
    single = grid(
        facts_of(tmp_path / "run", look_of(tmp_path / "one", {FLOOR: [0.1, 0.2], "step 100": [0.3, 0.4]}))
    )
    look = look_with(tmp_path / "look", {})
    (look.folder / look.find("step 100", "zkw", 3).path).unlink()
    lost = grid(facts_of(tmp_path / "run", look))
    assert single is not None and lost is not None
    assert [row.seed for row in single.shown[0][1]] == [1, 2] and not single.rest
    assert [row.seed for row in lost.shown[0][1]] == [3]


def test_numbers_say_what_they_are(tmp_path: Path) -> None:
    found = grid(facts_of(tmp_path / "run", look_with(tmp_path / "look", {})))
    assert found is not None and found.scored == "identity, from 0 to 1"
    cell = found.shown[0][1][0].cells[2]
    assert (cell.measure, cell.score, cell.note) == ("identity", "0.60", "identity 0.60")
