"""Click options made from records: their spelling, their words, and the values that reach the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import Field

from maquette.cli.app import COMMANDS, maquette
from maquette.cli.options import options_of
from maquette.cli.output import result_command
from maquette.project.fields import Flag, Options


class Pots(Options):
    """What is in the pots."""

    colours: Annotated[tuple[str, ...], Flag("--colour", "NAME")] = Field((), description="A colour.")


class Paint(Pots):
    """How it is painted."""

    coats: int = Field(2, ge=1, le=5, description="Layers.")
    grain: Literal[40, 80] = Field(80, description="Of the paper.")
    every_s: Annotated[float | None, Flag("--every", "S")] = Field(
        None, gt=0, description="Pause. Default: none."
    )
    wet: bool = Field(False, description="Wet in wet.")
    varnish: bool | None = Field(None, description="Varnished at the end.")
    wall: Path = Field(description="What is painted.")


@result_command(click.option("--sober", is_flag=True, help="By hand."), *options_of(Paint), name="paint")
def paint(sober: bool, **given: Any) -> dict[str, Any]:
    """Paint a wall."""
    return Paint(**given).model_dump(mode="json")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(paint, arguments, terminal_width=100)


def test_help_says_meaning_default_and_bounds_under_the_record_s_heading() -> None:
    said = run("--help").output
    own, bases = said.index("How it is painted:"), said.index("What is in the pots:")
    assert said.index("--sober") < own < said.index("--coats") < bases < said.index("--colour")
    lines = {line.split("  ")[1]: line for line in said.splitlines() if line.startswith("  --")}
    assert lines["--coats N"].endswith("Layers. [default: 2; ≥ 1, ≤ 5]")
    assert lines["--grain [40|80]"].endswith("Of the paper. [default: 80]")
    assert lines["--every S"].endswith("Pause. Default: none. [> 0]")
    assert lines["--wet"].endswith("Wet in wet.")
    assert "--varnish / --no-varnish" in lines
    assert lines["--wall PATH"].endswith("What is painted. [required]")
    assert lines["--colour NAME"].endswith("A colour. Repeat for several.")


def test_values_reach_the_record_and_what_is_not_said_does_not() -> None:
    said = run(
        "--wall", "w", "--colour", "red", "--colour", "blue", "--grain", "40", "--no-varnish", "--json"
    )
    assert json.loads(said.stdout) == {
        "colours": ["red", "blue"],
        "coats": 2,
        "grain": 40,
        "every_s": None,
        "wet": False,
        "varnish": False,
        "wall": "w",
    }


def test_every_wrong_value_is_said_at_once_and_in_json() -> None:
    said = run("--coats", "0", "--every", "x", "--json")
    assert said.exit_code == 2
    wrong = [problem["where"] for problem in json.loads(said.stdout)["error"]]
    assert sorted(wrong) == ["--coats", "--every", "--wall"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_has_a_meaning(name: str) -> None:
    command = maquette.get_command(click.Context(maquette), name)
    assert command is not None
    silent = [each.opts for each in command.params if isinstance(each, click.Option) and not each.help]
    assert not silent
