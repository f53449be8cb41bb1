"""Which of a command's tasks was asked for, and what would do nothing in it."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from maquette.cli.output import result_command
from maquette.cli.tasks import Task, chosen_task

PAINT = Task(asked_by=("colour",), heeds=("wet", "show"))
SHOW = Task(asked_by=("show",))
UNDO = Task(asked_by=("undo",), heeds=("wet",))


@result_command(
    click.option("--colour"),
    click.option("--wet/--dry", default=None),
    click.option("--show", is_flag=True),
    click.option("--undo", is_flag=True),
    name="paint",
)
def paint(**given: Any) -> dict[str, Any]:
    task = chosen_task((PAINT, SHOW, UNDO), given)
    return {"lines": [{PAINT: "paint", SHOW: "show", UNDO: "undo"}[task]]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--colour red", "paint"),
        ("--show", "show"),
        ("--colour red --show", "paint"),
        ("--undo --dry", "undo"),
        ("", "maquette paint: nothing to do — one of: --colour; --show; --undo."),
        ("--undo --colour red", "--undo: given together with --colour — one task at a time."),
        ("--show --undo", "--undo: given together with --show — one task at a time."),
        ("--show --dry", "--wet: given together with --show — a task that heeds it. Leave it out."),
        ("--dry", "nothing to do"),
    ],
)
def test_what_was_asked_for(words: str, said: str) -> None:
    done = CliRunner().invoke(paint, words.split())
    assert said in done.output
    assert done.exit_code == (0 if said in ("paint", "show", "undo") else 2)
