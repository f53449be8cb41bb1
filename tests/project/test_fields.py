"""Records of options: what was said, what is wrong with it, and how its flags are spelled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from maquette.errors import ConfigError
from maquette.project.fields import Flag, Options, flag_of


class Paint(Options):
    """How a wall is painted."""

    colours: Annotated[tuple[str, ...], Flag("--colour")] = Field((), description="What is in the pots.")
    every_s: Annotated[float | None, Flag("--every", "S")] = Field(None, gt=0, description="Pause.")
    coats: int = Field(2, ge=1, le=5, description="Layers.")
    grain: Literal[40, 80, 120] = Field(80, description="Of the paper.")
    wall: Path | None = Field(None, description="What is painted.")


def test_all_problems_of_a_call_come_together_each_at_its_flag() -> None:
    with pytest.raises(ConfigError) as caught:
        Paint(coats=9, every_s=0, colour=["red"], grain=50)
    by_flag = {problem.where: problem for problem in caught.value.problems}
    assert set(by_flag) == {"--coats", "--every", "--colour", "--grain"}
    assert by_flag["--colour"].remedy == "Did you mean 'colours'?"
    assert by_flag["--coats"].given == "9" and by_flag["--coats"].remedy == "Layers."


def test_a_required_field_is_asked_for_by_its_flag() -> None:
    class Fence(Options):
        posts: int = Field(description="How many.")

    with pytest.raises(ConfigError, match="--posts: not given — required: a whole number"):
        Fence()


def test_none_says_nothing_and_what_was_said_is_known() -> None:
    paint = Paint(coats=None, wall=Path("w"), grain=None)
    assert paint.coats == 2 and paint.given() == {"wall": Path("w")}


def test_one_value_is_a_list_of_one_and_texts_are_read_as_a_command_line_gives_them() -> None:
    paint = Paint(colours="red", coats="3", grain="120", wall="w")  # type: ignore[arg-type]
    assert (paint.colours, paint.coats, paint.grain, paint.wall) == (("red",), 3, 120, Path("w"))


def test_keywords_win_over_a_record() -> None:
    made = Paint.made_from(Paint(coats=4, colours=("red",)), {"coats": 1, "wall": None})
    assert made == Paint(coats=1, colours=("red",))


def test_a_record_is_never_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Paint().coats = 3


def test_a_flag_is_the_field_s_name_unless_the_field_says_another() -> None:
    fields = Paint.model_fields
    assert [flag_of(name, field) for name, field in fields.items()] == [
        "--colour",
        "--every",
        "--coats",
        "--grain",
        "--wall",
    ]
